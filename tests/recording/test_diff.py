"""The first receipt in which two runs differ, and the cause that lies furthest back."""

from collections.abc import Sequence
from typing import Any

import pytest
from kit.events import DRAWING, FIXED, NOW, Logged, policy, record, records_of, synthetic_log, view
from kit.folding import Folding, decoded
from msgspec.structs import replace

from streams.core.receipts import Draw, decode, encode
from streams.errors import Halt
from streams.recording.diff import Run, compare_runs, read_run


def run(records: Sequence[Logged]) -> Run:
    folding = Folding(10_000, 0, 1).fold(decoded(records))
    return read_run([encode(receipt) for receipt in folding.receipts], "run")


@pytest.fixture(scope="module")
def log() -> Any:
    return synthetic_log(events=3_000)


@pytest.fixture(scope="module")
def whole(log: Sequence[Logged]) -> Any:
    return run(log)


def test_equal_runs_have_no_difference(whole: Run) -> None:
    compared = compare_runs(whole, dict(reversed(whole.items())))
    assert compared == (len(whole), len(whole), 0, None)
    assert len(whole) > 40


def test_repeats_are_dropped_by_id(whole: Run) -> None:
    lines = [raw for raw in whole.values() for _ in range(2)]
    assert compare_runs(read_run(lines, "twice"), whole).first is None


def test_a_lost_record_is_told_from_other_counts(log: Sequence[Logged], whole: Run) -> None:
    lost = [r for n, r in enumerate(log) if 500 < n < 700 and b'"view"' in (r.value or b"")]
    compared = compare_runs(whole, run([r for r in log if r not in lost]))
    assert compared.first is not None
    assert compared.first.why.startswith(
        (
            "other feedback was counted",
            "another event led here",
            "its crowds were expected otherwise",
        )
    )
    assert compared.differing > 1


def test_another_policy_is_told(log: Sequence[Logged], whole: Run) -> None:
    changed = policy(version="other", tranche=25, **DRAWING)
    (signed,) = records_of([changed])
    other = [
        record(signed.value, r.offset, r.timestamp, key=None, headers=signed.headers)
        if r.value is not None and b'"fixed-1"' in r.value
        else r
        for r in log
    ]
    assert compare_runs(whole, run(other)).first.why == "another policy was in force"


def test_other_numbers_under_the_same_version_are_told(log: Sequence[Logged], whole: Run) -> None:
    slices = {name: replace(spec, price=spec.price + 1) for name, spec in FIXED.slices.items()}
    (signed,) = records_of([policy(slices=slices, **DRAWING)])
    other = [
        record(signed.value, r.offset, r.timestamp, key=None, headers=signed.headers)
        if r.value is not None and b'"fixed-1"' in r.value
        else r
        for r in log
    ]
    first = compare_runs(whole, run(other)).first
    assert first.why == "the policy's numbers differ under the same version"
    assert set(first.fields) >= {"price"}


def test_a_run_that_ended_earlier_is_told(log: Sequence[Logged], whole: Run) -> None:
    compared = compare_runs(whole, run(log[: len(log) // 2]))
    assert compared.first.other is None
    assert compared.first.why.startswith("only the first run decided here")


def test_the_first_difference_is_the_earliest_by_event_time(whole: Run) -> None:
    keys = sorted(whole, key=lambda key: (decode(whole[key]).ts, key))
    later, earlier = keys[-1], keys[3]
    changed = dict(whole)
    for key in (later, earlier):
        changed[key] = encode(replace(decode(whole[key]), score=1))
    first = compare_runs(whole, changed).first
    assert first.id == earlier
    assert first.why == "the same inputs were judged otherwise: two versions of the code"


def test_other_feedback_in_other_slices_is_told(whole: Run) -> None:
    key = next(key for key, raw in whole.items() if decode(raw).sums)
    changed = dict(whole)
    changed[key] = encode(replace(decode(whole[key]), mean=1, sums=(1,) * 9))
    first = compare_runs(whole, changed).first
    assert first.why.startswith("other feedback was counted in other slices")


def test_another_draw_is_told(whole: Run) -> None:
    key = next(key for key, raw in whole.items() if decode(raw).draw)
    changed = dict(whole)
    changed[key] = encode(replace(decode(whole[key]), draw=Draw(500_000, 5, "discover:music")))
    first = compare_runs(whole, changed).first
    assert first.why.startswith("chance drew otherwise: the policy has another key")


def test_an_id_with_two_spellings_is_no_run(whole: Run) -> None:
    raw = next(iter(whole.values()))
    with pytest.raises(Halt, match="comes twice with other bytes"):
        read_run([raw, encode(replace(decode(raw), score=1))], "run")


def test_what_is_no_receipt_is_named_with_its_line(whole: Run) -> None:
    with pytest.raises(Halt, match="run: line 2 is no receipt"):
        read_run([next(iter(whole.values())), encode(view(ts=NOW))], "run")
