"""A receipt in words: nothing in it is lost or rounded, and what it claims is so."""

import re
from typing import get_args

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from kit.stories import receipt
from msgspec.structs import replace

from streams.core.receipts import ACTIONS, Crowd, Draw, Reason, Receipt, ReportSum
from streams.ops.explain import WORDS, decimal, explain, kept_at, moment
from streams.ops.lessons import Lesson

MICROS_FIELDS = {"value", "base", "noise_variance", "mean", "sd", "score", "price", "z"}
micros = st.integers(-(10**15), 10**15)
counts = st.integers(0, 10**12)
words = st.text("abcdefghijkl0123456789_-", min_size=1, max_size=12)
heads = {
    "id": words, "n": counts, "video": words, "action": st.sampled_from(ACTIONS),
    "reason": st.sampled_from(get_args(Reason)), "cause": words,
    "ts": st.integers(1_000_000_000_000, 4_102_444_799_999), "policy": words, "rule": counts,
    "creator": words, "band": st.integers(0, 5), "commercial": st.booleans(),
    "format": st.sampled_from(("video", "live")),
}  # fmt: skip
judged = st.builds(
    Receipt, **heads, slice=st.just("discover:football"), stage=counts, tranche=counts,
    returned=counts, allowance=counts, impressions=counts, views=counts, value=micros, base=micros,
    noise_variance=micros, mean=micros, sd=micros, score=micros, price=micros, z=micros,
    sums=st.just((1, 0, 0, 1, 0, 1, 0, 0, 0)),
)  # fmt: skip
slices = st.sampled_from(("discover:football", "discover:music", "nearby:shenyang"))
reports = st.builds(ReportSum, counts, counts, counts)
reviewed = st.builds(
    Receipt, **heads, slice=st.just(""), impressions=counts, views=counts, reports=reports
)
whole = st.builds(
    Receipt, **heads, slice=st.just(""),
    crowds=st.lists(st.builds(Crowd, slices, micros, micros, counts)).map(tuple),
)  # fmt: skip


def numbers_of(text: str) -> list[str]:
    return re.findall(r"-?\d[\d,]*(?:\.\d+)?", text)


def as_micros(text: str) -> int:
    whole_part, _, part = text.replace(",", "").partition(".")
    number = int(whole_part.lstrip("-")) * 1_000_000 + int(part.ljust(6, "0") or 0)
    return -number if text.startswith("-") else number


@given(judged)
def test_every_number_of_a_judgement_appears_exactly(of_one: Receipt) -> None:
    text = explain(of_one)
    written = [as_micros(number) for number in numbers_of(text)]
    for name, value in msgspec.structs.asdict(of_one).items():
        if name in {"ts", "commercial"} or not isinstance(value, int):
            continue
        expected = value if name in MICROS_FIELDS else value * 1_000_000
        assert (abs(expected) if name == "z" else expected) in written, name
    for part in (of_one.id, of_one.cause, of_one.policy, of_one.action, of_one.slice):
        assert part in text
    assert moment(of_one.ts) in text
    assert ("commercial" in text) == of_one.commercial


def test_what_chance_said_stands_under_the_decision() -> None:
    drew = explain(receipt(draw=Draw(50_000, 8, "discover:dance")))
    assert (
        "drew discover:dance, one of 8 crowds that nobody was shown it in, each by 0.0062" in drew
    )
    for draw, words in (
        (
            Draw(50_000, 1, ""),
            "Chance drew none of 1 crowd that nobody was shown it in: by 0.05 it would have.",
        ),
        (
            Draw(50_000, 0, ""),
            "Chance had no crowd to draw: there is none left that nobody was shown it in.",
        ),
    ):
        assert words in explain(receipt(draw=draw)).split("\n   ")
    assert "Chance" not in explain(receipt())


@given(whole)
def test_every_crowd_of_a_whole_video_is_listed_with_expectation_and_score(of_all: Receipt) -> None:
    lines = explain(of_all).split("\n   ")
    assert len(lines) == 2 + len(of_all.crowds)
    for crowd, line in zip(of_all.crowds, lines[1:], strict=False):
        assert line.startswith(f"{crowd.slice}: expected {decimal(crowd.mean)}, ")
        assert f"score {decimal(crowd.score)}, {crowd.allowance:,} impression" in line


@given(reviewed)
def test_every_number_of_what_was_reported_appears_exactly(of_all: Receipt) -> None:
    written = [as_micros(number) for number in numbers_of(explain(of_all))]
    assert isinstance(of_all.reports, ReportSum)
    reporters, total, bar = msgspec.structs.astuple(of_all.reports)
    whole_ones = (reporters, of_all.impressions, of_all.views)
    assert {total, bar, *(each * 1_000_000 for each in whole_ones)} <= set(written)


@given(whole, st.integers(0, 100_000))
def test_what_a_ceiling_takes_off_is_told_with_why(of_all: Receipt, handicap: int) -> None:
    told = {"reason": "ceiling", "handicap": handicap, "note": "its creator has 9 %", "crowds": ()}
    head, line, _ = explain(replace(of_all, **told)).split("\n   ")
    assert WORDS["ceiling"] in head
    assert line.endswith(": its creator has 9 %.")
    assert line.startswith(f"{decimal(handicap)} is taken off" if handicap else "Nothing is taken")


def test_a_later_receipt_says_by_how_much_it_is_ranked_less() -> None:
    text = explain(receipt(handicap=30_000))
    assert "0.03 is taken off its scores on public surfaces, down to the price at most." in text
    assert "taken off" not in explain(receipt())


@given(judged)
def test_the_comparison_tells_the_truth(of_one: Receipt) -> None:
    text = explain(of_one)
    relation = re.search(r"to come, ([<=>]) the price", text)[1]
    assert {
        "<": of_one.score < of_one.price,
        "=": of_one.score == of_one.price,
        ">": of_one.score > of_one.price,
    }[relation]
    assert (" below the price" in text) == (of_one.z < 0)


def test_a_stop_says_which_mean_would_have_kept_it() -> None:
    stop = receipt("stop", mean=281_000, score=301_000, price=340_000)
    assert kept_at(stop) == 320_000
    assert "A mean of 0.32 would have kept it." in explain(stop)
    assert "would have kept it" not in explain(receipt("keep"))


def test_a_lesson_is_told_both_ways_and_only_where_there_is_one() -> None:
    text = explain(receipt("stop"), Lesson(380_000, 412_000, "discover:music", -48_000))
    assert "What other crowds think of it moved the expectation here from 0.38 to 0.412." in text
    assert "moves the expectation in discover:music most: by -0.048." in text
    assert explain(receipt("stop"), Lesson(1, 1, "", 0)) == explain(receipt("stop"))


def test_a_slice_that_left_the_policy_is_told_without_a_judgement() -> None:
    gone = receipt("stop", reason="slice_gone", sums=(), views=12, impressions=15, returned=45)
    text = explain(gone)
    assert "After 12 views (15 impressions) it was not judged." in text
    assert "45 given back" in text


def test_who_decided_and_why_is_told_where_a_person_did() -> None:
    frozen = receipt("stop", reason="slice_frozen", sums=(), by="alice", note="a riot\x1b[2J")
    assert "a person froze this slice" in explain(frozen)
    assert "\n   alice said so: a riot" in explain(frozen)
    assert "\x1b" not in explain(frozen)
    assert "said so." in explain(receipt("stop", slice="", reason="takedown", by="bob"))
    assert "said so" not in explain(receipt("stop"))


def test_a_receipt_about_a_live_room_says_what_counts_there() -> None:
    said = explain(receipt("stop", format="live", impressions=700, views=600))
    assert "After 600 views (700 visits), of which" in said
    assert "It is a live room: every 5 minutes what was seen of it weighs half as much" in said
    assert "first 30 seconds" in said
    assert "live room" not in explain(receipt("stop"))
    over = explain(receipt("stop", slice="", reason="ended", format="live", sums=()))
    assert "the live room is over; nobody took it down" in over


def test_every_reason_has_its_words() -> None:
    assert WORDS.keys() == set(get_args(Reason))


@given(micros)
def test_decimals_are_exact(number: int) -> None:
    assert as_micros(decimal(number)) == number


def test_a_decision_about_no_crowd_counts_none() -> None:
    settled = replace(receipt(), slice="", n=5, action="review", crowds=())
    assert explain(settled).splitlines()[0].startswith("#5 review: ")
