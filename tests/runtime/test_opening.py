"""Where reading starts: the watermark + 1 less what is kept for ids, or a halt that says why."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kit.events import record
from kit.twins import LOG, World

from streams.core.generations import Generations
from streams.core.window import REPLAYED_GENERATIONS
from streams.errors import Halt
from streams.runtime.ledger import Skip, Skips
from streams.runtime.memory import MemoryConsumer, MemoryProducer
from streams.runtime.opening import Opening, mark_of, start_of
from streams.runtime.ports import Offsets
from streams.runtime.surroundings import Surroundings

GENERATION = 10
LEDGER = Skips([Skip(0, 3, 5, "ada", "disk", 1_700_000_000_000)])


def start(watermark: int, first: int, end: int) -> int:
    return start_of(0, watermark, Offsets(first, end), Generations.of(GENERATION)).position


@pytest.mark.parametrize("first", [0, 17])
def test_a_partition_never_counted_is_read_from_the_beginning_of_its_log(first: int) -> None:
    assert start(-1, first, 100) == first


def test_whole_generations_before_the_next_record_are_read_again() -> None:
    assert start(59, 0, 100) == 60 - REPLAYED_GENERATIONS * GENERATION
    assert start(58, 0, 100) == 50 - REPLAYED_GENERATIONS * GENERATION
    assert start(3, 0, 100) == 0


def test_ids_that_retention_took_are_named() -> None:
    assert start_of(0, 95, Offsets(80, 100), Generations.of(GENERATION)).lost == range(
        90 - REPLAYED_GENERATIONS * GENERATION, 80
    )
    assert not start_of(0, 95, Offsets(10, 100), Generations.of(GENERATION)).lost


def test_a_record_that_was_not_counted_and_is_gone_is_a_loss_of_data() -> None:
    assert start(41, 42, 100) == 42
    with pytest.raises(Halt, match="offsets 42 to 43 are no longer in the log") as halted:
        start(41, 44, 100)
    assert (halted.value.code, halted.value.partition) == ("data_loss", 0)


def test_a_log_that_ends_below_the_watermark_was_truncated() -> None:
    assert start(41, 0, 42) <= 42
    with pytest.raises(Halt, match="ends at 41, below the watermark 41") as halted:
        start(41, 0, 41)
    assert halted.value.code == "log_truncated"


@given(st.integers(-1, 500), st.integers(0, 500), st.integers(0, 500))
def test_nothing_uncounted_is_ever_passed_over(watermark: int, first: int, more: int) -> None:
    try:
        position = start(watermark, first, first + more)
    except Halt:
        return
    assert first <= position <= max(watermark + 1, first)


def test_the_last_record_may_have_a_header_whose_name_is_not_text() -> None:
    marks = {mark_of(record(b"{", headers=[(name, b"1")])) for name in ("caf\udce9", "caf\udce8")}
    assert len(marks) == 2


async def read_ledger() -> Skips:
    return LEDGER


@pytest.fixture
def opening() -> Opening:
    world = World()
    around = Surroundings(
        MemoryProducer(world.log),
        world.whole(world.store),
        world.settings,
        world.installation,
        read_ledger=read_ledger,
    )
    return Opening(MemoryConsumer(world.log, LOG, "g"), around, world.namespace, 1)


async def test_who_asks_for_the_topic_again_takes_the_answer_from_nobody(opening: Opening) -> None:
    async def twice() -> None:
        await opening.require_same_topic()
        await opening.require_same_topic()

    await asyncio.gather(twice(), opening.require_same_topic())


async def test_who_asks_for_the_ledger_again_takes_the_answer_from_nobody(opening: Opening) -> None:
    async def twice() -> None:
        await opening._known_ledger(0)
        await opening._known_ledger(0)

    _, known = await asyncio.gather(twice(), opening._known_ledger(0))
    assert known is LEDGER
