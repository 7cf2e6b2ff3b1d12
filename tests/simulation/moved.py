"""A life that goes over to another partition count at its end: nothing is lost, or counted again.

Nor is anything that is written there once more; and what comes there can be proved.
"""

from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace

from kit.control import NOW
from kit.keys import SIGNER
from kit.repartitions import feed, traffic_of, videos_in, world_of
from kit.twins import LOG, World, counted
from simulation.life import Life
from simulation.plan import Step
from simulation.processes import PARTITIONS, settings
from simulation.traffic import Traffic

from streams.core.generations import read_generations
from streams.ops.repartition import Repartitioner
from streams.ops.repartition_ends import Holding
from streams.runtime.memory import MemoryDossiers, MemoryProducer
from streams.runtime.ports import Record


async def differences(life: Life, partitions: int, folder: Path) -> AsyncIterator[str]:
    """Take a life's counters over, count on, and yield what differs."""
    store, dossiers = life.whole_store(), MemoryDossiers()
    rows = [await store.scan(partition) for partition in range(PARTITIONS)]
    videos = {video: dict(fields) for each in rows for video, fields in each.items()}
    summed = traffic_of(_world_of(life))
    after, repeats = world_of(partitions, settings().generation_records), _repeats(life)
    moving = Repartitioner(
        Holding(life.counted_log(), store, life.redis.dossiers),
        Holding(after.counted_log(folder), after.store, dossiers),
        life.redis.index,
        MemoryProducer(after.log),
        SIGNER,
        lambda: life.wall_ms("producers"),
    )
    after.installation = await moving.run()
    if videos_in(after) != videos:
        yield "rows are others behind the move"
    if traffic_of(after) != summed:
        yield "the minutes sum up to something else behind the move"
    if _documents(dossiers) != _documents(life.redis.dossiers):
        yield "dossiers are others behind the move"
    feed(after, repeats, PARTITIONS)
    await counted(after)
    if videos_in(after) != videos:
        yield "what is written again behind the move counts again"
    for number, video in enumerate(("v0", "v1")):
        Traffic(after.log, lambda: NOW).bring(Step(1_000 + number, "crowd", video, 9))
    await counted(after)
    found = await after.verified(folder)
    if found.differences or found.unproved:
        yield f"behind the move: {found.examples[:3]}, {found.unproved}"


def _world_of(life: Life) -> World:
    def sent(topic: str) -> list[Record]:
        return [one for p in range(PARTITIONS) for one in life.log.records(topic, p)]

    world: World = SimpleNamespace(sent=sent, store=life.redis.store)  # type: ignore[assignment]
    return world


def _documents(dossiers: MemoryDossiers) -> dict[str, object]:
    return {
        video: document
        for shelf in dossiers.shelves.values()
        for video, document in shelf.documents.items()
    }


def _repeats(life: Life) -> list[Record]:
    """Return what people wrote in each partition's current generation: it is remembered longest.

    The one before is forgotten one record sooner: that of the move has a place, too.
    """
    found = []
    for partition, stored in sorted(life.redis.store.partitions.items()):
        spans = read_generations(stored.meta.generations, settings().generation_records)
        since = spans.start(stored.watermark + 1)
        records = life.log.records(LOG, partition)
        found += [one for one in records if one.offset >= since and not one.headers]
    return found
