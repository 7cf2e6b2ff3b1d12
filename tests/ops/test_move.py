"""Counters go along to another topic with the same log, and only on a signed word in that log."""

import pytest
from kit.events import FIXED, NOW, Logged, admit, signed_record, synthetic_log
from kit.keys import INSTALLATION, NEXT_SIGNER, SIGNER, SPELLING, STRANGER
from kit.twins import LOG, World, counted

from streams.core.partition_control import TopicMove
from streams.errors import Halt, Retry
from streams.ops.move import Mover, PartitionMove
from streams.runtime.memory import MemoryProducer, MemoryReader
from streams.runtime.ports import TopicIdentity
from streams.runtime.signing import Signer

WHOLE = synthetic_log(seed=3, events=400)


async def counted_world(log: list[Logged] | None = None) -> World:
    made = World()
    made.put(log or WHOLE)
    return await counted(made)


def elsewhere(made: World, log: list[Logged] | None = None) -> World:
    """Return brokers that hold the log under another topic id, and the store of before."""
    other = World()
    other.log.create("before", 1)  # a topic id is used up
    other.log.delete(LOG)
    other.log.create(LOG, 1)
    other.put(log or WHOLE)
    other.put(made.log.records("traffic", 0))  # moved with the log
    other.store = made.store
    assert identity_of(other) != identity_of(made)
    return other


def identity_of(made: World) -> TopicIdentity:
    return made.log.identity(LOG)


def mover(made: World) -> Mover:
    reader = MemoryReader(made.log)
    return Mover(made.store, reader, identity_of(made), INSTALLATION.id, SPELLING)


def word(before: str, after: str) -> TopicMove:
    return TopicMove("move-1", NOW, before, after)


async def moved(made: World, signer: Signer = NEXT_SIGNER) -> int:
    await mover(made).plan()
    return await mover(made).move(MemoryProducer(made.log), signer, word)


async def test_a_log_that_moved_halts_until_its_counters_are_moved_too() -> None:
    made = await counted_world()
    then, watermark = identity_of(made), made.store.partitions[0].watermark
    here = elsewhere(made)
    with pytest.raises(Halt, match="differ in id"):
        await here.store.meta(0, here.namespace)
    assert await mover(here).plan() == [PartitionMove(0, "elsewhere", then.topic_id, watermark)]
    assert await moved(here) == 1
    assert await mover(here).plan() == [
        PartitionMove(0, "here", identity_of(here).topic_id, watermark)
    ]
    await counted(here)
    assert here.store.partitions[0].watermark == watermark + 1, "the record of the move"
    assert await here.is_exact()


async def test_moving_again_does_nothing() -> None:
    here = elsewhere(await counted_world())
    await moved(here)
    before = list(here.log.records(LOG, 0)), here.store.partitions[0].namespace
    assert await moved(here) == 0
    assert (list(here.log.records(LOG, 0)), here.store.partitions[0].namespace) == before


async def test_a_word_that_stands_in_the_log_already_is_not_said_again() -> None:
    """What was cut short between the record and the counters."""
    made = await counted_world()
    here = elsewhere(made)
    said = word(identity_of(made).topic_id, identity_of(here).topic_id)
    here.put([signed_record(said, WHOLE[-1].offset + 1, signer=NEXT_SIGNER)])
    before = list(here.log.records(LOG, 0))
    assert await moved(here) == 1
    assert list(here.log.records(LOG, 0)) == before


async def test_the_word_of_a_key_that_was_retired_in_the_log_moves_nothing() -> None:
    here = elsewhere(await counted_world())
    with pytest.raises(Halt, match="no `move` record that counts"):
        await moved(here, SIGNER)


@pytest.mark.parametrize(
    "said",
    [word("another", "here"), word("here", "another")],
)
async def test_a_word_about_another_move_moves_nothing(said: TopicMove) -> None:
    log = [signed_record(FIXED), signed_record(admit(), 1)]
    made = await counted_world(log)
    here = elsewhere(made, [*log, signed_record(said, 2)])
    with pytest.raises(Halt, match="no `move` record that counts"):
        await moved(here, Signer(INSTALLATION.id, STRANGER))
    assert here.store.partitions[0].namespace == made.namespace


async def test_a_topic_without_the_log_is_refused() -> None:
    made = await counted_world()
    with pytest.raises(Halt, match="ends at 5"):
        await mover(elsewhere(made, WHOLE[:5])).plan()


async def test_a_topic_with_another_record_at_the_watermark_is_refused() -> None:
    made = await counted_world()
    last = WHOLE[-1]
    changed = [*WHOLE[:-1], last._replace(timestamp=last.timestamp + 1)]
    with pytest.raises(Halt, match="cut and written anew"):
        await mover(elsewhere(made, changed)).plan()


async def test_counters_of_another_installation_are_refused() -> None:
    made = await counted_world()
    here = elsewhere(made)
    mine = Mover(
        here.store, MemoryReader(here.log), identity_of(here), "fedcba9876543210", SPELLING
    )
    with pytest.raises(Halt, match="differ in installation"):
        await mine.plan()


async def test_a_partition_that_was_never_counted_has_nothing_to_move() -> None:
    made = World()
    made.put(WHOLE)
    assert await mover(made).plan() == [PartitionMove(0, "none", "", -1)]
    assert await moved(made) == 0


async def test_a_partition_that_takes_no_record_is_told() -> None:
    here = elsewhere(await counted_world())
    producer = MemoryProducer(here.log)
    producer.fail_next(Retry("no leader"))
    with pytest.raises(Retry, match="did not take the record move-1"):
        await mover(here).move(producer, NEXT_SIGNER, word)
