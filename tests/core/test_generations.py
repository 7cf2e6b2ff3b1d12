"""Generations of duplicates: every offset is in one, and they only become longer."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kit.events import NOW, like, view
from kit.folding import Folding, placed
from kit.keys import META

from streams.core.generations import Generations, read_generations
from streams.core.partition_control import Generation
from streams.ops.recount import Recount


@st.composite
def lengthenings(draw: st.DrawFn) -> Generations:
    generations, offset = Generations.of(draw(st.integers(1, 20))), 0
    for _ in range(draw(st.integers(0, 4))):
        offset += draw(st.integers(0, 60))
        longer = generations.records + draw(st.integers(1, 30))
        generations = generations.lengthened(offset, longer)
    return generations


@given(lengthenings())
def test_each_generation_begins_where_the_one_before_ends(generations: Generations) -> None:
    for offset in range(400):
        start, end = generations.start(offset), generations.end(offset)
        assert start <= offset < end
        assert generations.number(start) == generations.number(offset)
        assert generations.number(end) == generations.number(offset) + 1
        assert generations.back(end, 1) == start
    assert generations.back(399, 10_000) == 0


@given(lengthenings(), st.integers(0, 400), st.integers(1, 50))
def test_what_lies_before_the_current_one_stays(
    generations: Generations, offset: int, more: int
) -> None:
    offset = max(offset, generations.spans[-1][0])
    longer = generations.lengthened(offset, generations.records + more)
    start = generations.start(offset)
    assert [longer.start(at) for at in range(start)] == [
        generations.start(at) for at in range(start)
    ]
    assert (longer.start(offset), longer.end(offset)) == (start, start + longer.records)
    assert all(longer.number(at) == generations.number(at) for at in range(start + 1))


@given(lengthenings())
def test_they_come_back_from_their_bytes(generations: Generations) -> None:
    assert read_generations(generations.encode(), 7).spans == generations.spans


@pytest.mark.parametrize(
    "raw", [b"[]", b"[[1,10]]", b"[[0,0]]", b"[[0,10],[15,20]]", b"[[0,10],[0,20]]", b"{", b"[[0]]"]
)
def test_what_cannot_be_generations_is_refused(raw: bytes) -> None:
    with pytest.raises(ValueError, match="generations"):
        read_generations(raw, 10)


def test_a_meta_without_any_has_those_of_the_beginning() -> None:
    assert read_generations(b"", 10).spans == ((0, 10),)


def longer(records: int) -> Generation:
    return Generation(f"generation-{records}", NOW, records)


def test_a_repeat_counts_nothing_for_longer_from_the_record_on() -> None:
    filler = [view(f"f{n}", viewer=f"u{n}") for n in range(16)]
    log = [view("e1"), *filler[:8], longer(20), *filler[8:], view("e1")]
    short = [event for event in log if not isinstance(event, Generation)]
    assert Folding(4).fold(placed(short)).outcomes["view", "applied"] == 18
    assert Folding(8).fold(placed(log)).outcomes["view", "applied"] == 17


def test_generations_never_become_shorter() -> None:
    done = Folding(100).fold(placed([longer(99), longer(100), longer(101), longer(101)])).flush()
    assert [refusal.reason for refusal in done.rejected] == ["stale"]
    assert done.outcomes["generation", "duplicate"] == 2
    assert done.outcomes["generation", "applied"] == 1
    assert done.meta.generations == b"[[0,101]]"


def test_the_first_record_of_a_log_may_lengthen_them() -> None:
    done = Folding(3).fold(placed([longer(5), *(like(f"l{n}", viewer="u1") for n in range(12))]))
    recount = Recount(0, 1, 3)
    for event, offset, _ in placed([longer(5), *(like(f"l{n}", viewer="u1") for n in range(12))]):
        recount.add(event, offset)
    [counts] = recount.counts.values()
    [row] = done.video().slices.values()
    assert counts["likes"] == row.likes == 1
    assert done.meta == META
