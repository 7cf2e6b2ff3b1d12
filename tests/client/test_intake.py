import pytest

from streams.client.examples import EXAMPLES
from streams.client.intake import take_event
from streams.errors import DeadLetter
from streams.runtime.codec import FUTURE_MS
from streams.runtime.signing import encode

NOW_MS = 1_800_000_000_000
VIEW = (
    b'{"type":"view","id":"e","video":"v","viewer":"u","slice":"discover:football",'
    b'"ts":1714557600000,"watch_ms":1,"duration_ms":2}'
)


def reason_of(line: bytes, now_ms: int = NOW_MS, limit: int = 10_000) -> str:
    with pytest.raises(DeadLetter) as refused:
        take_event(line, now_ms, limit)
    return refused.value.reason


def test_every_example_is_taken_and_goes_to_its_topic() -> None:
    topics = [take_event(encode(event), NOW_MS, 10_000).topic for event in EXAMPLES]
    assert topics == ["uploads", "recognitions", "reviews"] + ["interactions"] * 14 + ["uploads"]


def test_the_examples_are_every_type_that_producers_write() -> None:
    kinds = {type(event).__struct_config__.tag for event in EXAMPLES}
    assert kinds == {
        "upload", "recognition", "review", "impression", "view", "like", "unlike", "comment",
        "share", "follow", "hide", "report", "order", "profile", "unfollow", "gift", "stay",
        "ended",
    }  # fmt: skip


@pytest.mark.parametrize(
    "kind", ["admit", "revise", "hold", "release", "takedown", "end", "policy"]
)
def test_control_records_are_refused(kind: str) -> None:
    assert reason_of(f'{{"type":"{kind}","id":"x"}}'.encode()) == "signature"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"", "empty"),
        (b"{", "json"),
        (b"garbage", "json"),
        (b"[]", "not_object"),
        (b"null", "not_object"),
        (b"[" + VIEW + b"]", "not_object"),
        (b"[" * 100_000, "depth"),
        (b'{"type":"like","id":"\xff"}', "utf8"),
        (b'{"type":["view"]}', "type"),
        (b'{"type":"VIEW"}', "type_unknown"),
        (VIEW.replace(b'"e"', b'"e f"'), "id"),
        (VIEW.replace(b'"v"', b'"v{1}"'), "id"),
        (VIEW.replace(b"discover:football", b"discover:Football"), "slice"),
        (VIEW.replace(b"1714557600000", b"1714557600"), "ts"),
        (VIEW.replace(b'"watch_ms":1', b'"watch_ms":-1'), "range"),
        (VIEW + VIEW, "json"),
    ],
)
def test_what_the_pipeline_would_refuse_is_refused_for_the_same_reason(
    line: bytes, reason: str
) -> None:
    assert reason_of(line, limit=1_000_000) == reason


def test_a_line_above_the_limit_is_not_parsed() -> None:
    assert reason_of(VIEW, limit=len(VIEW) - 1) == "too_large"
    assert take_event(VIEW, NOW_MS, len(VIEW)).topic == "interactions"


def test_an_event_ahead_of_its_record_is_refused() -> None:
    ahead = 1_714_557_600_000 - FUTURE_MS
    assert reason_of(VIEW, now_ms=ahead - 1) == "future"
    assert take_event(VIEW, ahead, 10_000).topic == "interactions"
