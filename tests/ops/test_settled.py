"""What was done about a letter is remembered beside it."""

from kit.events import record

from streams.ops.settled import HEADER, MARK_ELEMENTS, Settled, marks, read_settled
from streams.runtime.letters import read_letter
from streams.runtime.memory import MemoryLog, MemoryReader


async def test_marks_are_read_back_and_all_else_is_open(
    log: MemoryLog, reader: MemoryReader
) -> None:
    for mark in marks("t", "redriven", [(2, (1, 7, 0)), (0, (1, 7, 9_999))]):
        assert read_letter(log.append(mark)) is None
    for mark in marks("t", "discarded", [(1, (3, 1 << 40, 2))]):
        log.append(mark)
    settled = await read_settled(reader, "t", range(3))
    assert settled.fate((1, 7, 0)) == settled.fate((1, 7, 9_999)) == "redriven"
    assert settled.fate((3, 1 << 40, 2)) == "discarded"
    assert {settled.fate(other) for other in [(1, 7, 1), (1, 8, 0), (0, 7, 0)]} == {None}


def test_a_mark_lies_in_the_partition_of_its_letter_so_that_it_outlives_it() -> None:
    made = marks("t", "redriven", [(2, (0, 1, 0)), (1, (0, 2, 0)), (2, (0, 3, 0))])
    assert sorted(mark.partition for mark in made if mark.partition is not None) == [1, 2]


def test_no_mark_grows_too_large_for_its_topic() -> None:
    made = list(
        marks("t", "redriven", [(0, (9_999, 1 << 50, n)) for n in range(MARK_ELEMENTS + 1)])
    )
    assert len(made) == 2
    assert max(len(mark.value or b"") for mark in made) < 200_000


def test_what_is_no_mark_settles_nothing() -> None:
    settled = Settled()
    headers = [(HEADER, b"redriven")]
    for value in (None, b"{", b"\xff", b'{"fate":"eaten","elements":[[0,0,0]]}'):
        settled.note(record(value, headers=headers))
    settled.note(record(b'{"fate":"redriven","elements":[[0,0,0]]}'))
    assert settled.fate((0, 0, 0)) is None
