"""Letters: the record as it was, why it was refused, and never more than its topic takes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kit.events import NOW, Logged, record, view
from kit.keys import TRUST

from streams.core.receipts import Refusal
from streams.ops.topics import BATCH_OVERHEAD_BYTES
from streams.runtime.codec import ARRAY_MAX, Spelling, decode_log
from streams.runtime.letters import Letter, letter_of, read_letter
from streams.runtime.memory.log import MemoryLog
from streams.runtime.ports import Outgoing
from streams.runtime.signing import encode

LIMIT = 1 << 20
GROUP = "g" * 200


def letter(bad: Logged) -> Outgoing:
    return letter_of(
        bad, decode_log([bad], TRUST, Spelling(LIMIT)).refusals, "decode", GROUP, LIMIT
    )


def read(written: Outgoing) -> Letter:
    log = MemoryLog()
    log.create("interactions.dlq", 1)
    said = read_letter(log.append(written))
    assert said is not None
    return said


def size_of(written: Outgoing) -> int:
    """What it takes of `max.message.bytes`: everything that was written, and a few for lengths."""
    parts = [written.key or b"", written.value or b""]
    parts += [part for name, text in written.headers for part in (name.encode(), text or b"")]
    return sum(len(part) + 6 for part in parts)


def test_a_letter_keeps_the_record_as_it_was_and_says_why() -> None:
    headers = [("trace", b"\xff"), ("trace", b"2")]
    bad = record(b"{", 17, key=b"v" * 5_000, headers=headers, partition=3)
    written = letter(bad)
    assert written.topic == "interactions.dlq"
    assert (written.key, written.value) == (bad.key, b"{")
    assert list(written.headers[:2]) == headers
    fields = dict(written.headers[2:])
    assert fields["__streams.errors.reason"] == b"json"
    assert fields["__streams.errors.stage"] == b"decode"
    assert fields["__streams.errors.partition"] == b"3"
    assert fields["__streams.errors.offset"] == b"17"
    assert fields["__streams.errors.consumer.group"] == GROUP.encode()
    assert fields["x-original-topic"] == b"interactions"


def test_a_letter_is_dated_when_it_is_written_and_names_the_record_s_own_time() -> None:
    """Retention counts from the letter's timestamp: the record may be older than any letter."""
    written = letter(record(b"{"))
    assert written.timestamp is None
    assert dict(written.headers)["__streams.errors.timestamp"] == str(NOW).encode()


def test_what_was_written_is_read_back() -> None:
    said = read(letter(record(b'[{"type":"view"},' + encode(view("e1")) + b",2]", 9, partition=4)))
    assert said[:5] == ("interactions", 4, 9, NOW, "decode")
    assert [(one.element, one.reason) for one in said.refusals] == [
        (0, "missing"),
        (2, "not_object"),
    ]
    assert all(one.message for one in said.refusals)
    assert said.refused == 2


def test_a_record_that_is_no_letter_reads_as_none() -> None:
    assert read_letter(record(b"{")) is None
    halves = [(f"__streams.errors.{name}", b"x") for name in ("topic", "partition", "offset")]
    assert read_letter(record(b"{", headers=halves)) is None


def test_one_letter_holds_as_many_refusals_as_fit_and_their_count() -> None:
    bad = record(b"[" + b",".join([b"1"] * ARRAY_MAX) + b"]")
    written = letter(bad)
    assert written.value == bad.value
    said = read(written)
    assert said.refused == ARRAY_MAX
    assert [one.element for one in said.refusals] == list(range(len(said.refusals)))
    assert 100 < len(said.refusals) < ARRAY_MAX


@pytest.mark.parametrize("count", [0, 3, 100])
def test_a_letter_never_asks_for_more_than_its_topic_takes(count: int) -> None:
    elements = b",".join([b"1"] * 9_000)
    bad = record(b"[" + elements + b" " * (900_000 - len(elements)) + b"]")
    written = letter(bad._replace(headers=[(f"h{n}", b"x" * 9_000) for n in range(count)]))
    assert size_of(written) <= LIMIT + BATCH_OVERHEAD_BYTES
    assert (count < 100) == (written.value == bad.value)


@given(
    st.integers(0, LIMIT + 100_000),
    st.lists(st.integers(0, 20_000), max_size=8),
    st.integers(0, 10_000),
    st.text(max_size=300),
)
def test_whatever_the_record_its_letter_fits(
    value: int, headers: list[int], key: int, message: str
) -> None:
    bad = record(b"1" * value, key=b"k" * key, headers=[("h", b"x" * size) for size in headers])
    written = letter_of(bad, [Refusal(0, 0, "json", message)] * 400, "decode", GROUP, LIMIT)
    assert size_of(written) <= LIMIT + BATCH_OVERHEAD_BYTES
    assert read(written).offset == bad.offset
