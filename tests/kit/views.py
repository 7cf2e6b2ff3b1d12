"""What stands beside the counters on real servers, compared with what it is made from."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from kit.facts import TOPICS, dossier_differences, facts_of
from kit.keys import INSTALLATION
from kit.redises import client_of
from kit.rig import CONFIG, Rig
from streams.control.admission import dossier
from streams.control.admission.dossier import Dossier
from streams.control.rules import load_rules
from streams.core.counters import VIDEO_ROW, decode_video
from streams.core.partitioner import partition_of
from streams.core.serving import Entry
from streams.runtime.documents import read_copy
from streams.runtime.kafka import KafkaCluster, KafkaReader
from streams.runtime.namespace import namespace_of
from streams.runtime.ports import Record
from streams.runtime.redis import RedisDossiers, RedisStore
from streams.runtime.rows import StoredRows
from streams.runtime.waiting import read_waiting
from streams.settings import load_settings

Told = Mapping[tuple[str, str], tuple[int, ...]]
"""Allowance, impressions counted, and impressions due, by slice and video."""
ALLOWANCE, IMPRESSIONS, DUE = 2, 3, 7
"""Places in an entry as Redis holds it; `index.lua` counts them from 1."""
_unpack: Final = msgspec.msgpack.Decoder().decode


async def view_differences(rig: Rig) -> list[str]:
    """Return where dossiers, their copies, what waits, or the index is not what it has to be."""
    said = {name: await rig.read(f"{rig.prefix}{name}") for name in TOPICS}
    facts = facts_of(said, load_rules(CONFIG).tools, rig.partitions)
    known, revisions = await _dossiers(rig)
    found = list(dossier_differences(known, facts, _stages(rig, {*known, *facts})))
    copies = _revisions(await rig.read(f"{rig.prefix}dossiers"))
    found += [f"the copy of {v} is not its dossier" for v in _unlike(copies, revisions)]
    waits = {video for video, one in known.items() if one.waiting is not None}
    found += [f"{v} waits, or should" for v in sorted(waits ^ await _waiting(rig))]
    wanted = await _wanted(rig)
    told = _told(rig, {slice_id for slice_id, _ in wanted})
    return found + [f"{at}: the index has {told.get(at)}" for at in _unlike(told, wanted)]


def _unlike(one: Mapping[Any, Any], other: Mapping[Any, Any]) -> Iterator[Any]:
    return (key for key in sorted({*one, *other}) if one.get(key) != other.get(key))


async def _dossiers(rig: Rig) -> tuple[dict[str, Dossier], dict[str, int]]:
    """Return what Redis holds of each video, and its revision."""
    port = RedisDossiers(rig.redis_url)
    try:
        pages = [page async for page in port.scan()]
    finally:
        await port.close()
    documents = {video: document for page in pages for video, document in page.items()}
    known = {video: dossier.decode(document.text) for video, document in documents.items()}
    return known, {video: document.revision for video, document in documents.items()}


def _revisions(records: Sequence[Record]) -> dict[str, int]:
    copies = [copy for record in records if (copy := read_copy(record)) is not None]
    return {video: document.revision for video, document in sorted(copies, key=lambda c: c[1][0])}


def _stages(rig: Rig, videos: set[str]) -> dict[str, str]:
    """Return where the counters say that videos stand."""
    stages = {}
    with client_of(rig.redis_url) as client:
        for video in videos:
            home = partition_of(video.encode(), rig.partitions)
            row = client.hget(f"s:{{{home}}}:v:{video}", VIDEO_ROW)
            stages[video] = "unknown" if row is None else decode_video(row).stage
    return stages


async def _waiting(rig: Rig) -> set[str]:
    options = {"topic_prefix": rig.prefix, "partitions": rig.partitions}
    reader = KafkaReader(rig.brokers)
    await reader.start()
    try:
        waiting = await read_waiting(reader, load_settings(CONFIG, options, {}))
    finally:
        await reader.stop()
    return {one.video for one in waiting if one.cause != "reports"}


async def _wanted(rig: Rig) -> Told:
    """Return what the rows have to tell feeds."""
    identity = await KafkaCluster(rig.brokers).identity(rig.log)
    store = RedisStore(rig.redis_url)
    rows = StoredRows(store, namespace_of(identity, INSTALLATION.id), rig.partitions)
    pages: list[Sequence[tuple[str, Entry]]] = []
    try:
        for partition in rig.all_partitions():
            pages += [page async for page in rows.tell(partition, None)]
    finally:
        await store.close()
    return {
        (slice_id, one.video): (one.allowance, one.impressions, one.due)
        for page in pages
        for slice_id, one in page
    }


def _told(rig: Rig, slices: set[str]) -> Told:
    told = {}
    with client_of(rig.redis_url) as client:
        for slice_id in slices:
            for video, raw in client.hgetall(f"s:slice:{{{slice_id}}}:entries").items():
                pair = _unpack(raw)
                if pair[1] is not None and pair[1] is not False:
                    numbers = pair[ALLOWANCE], pair[IMPRESSIONS], max(pair[DUE], 0)
                    told[slice_id, video.decode()] = numbers
    return told
