"""What goes along to a log of another partition count beside its counters.

Dossiers with the guarantees that creators have, the beginnings of their days, and the topics that
are tables; of `traffic` every minute that it holds.
"""

from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Final, NamedTuple, get_args

import msgspec
from msgspec import Struct

from streams.core.partitioner import partition_of
from streams.core.quiet import DAY_MS
from streams.errors import Halt
from streams.ops.repartition_tail import Sender
from streams.runtime.answers import require_all
from streams.runtime.codec import ControlTopic
from streams.runtime.documents import TOPIC as DOSSIERS
from streams.runtime.installation import RECORD_KEY
from streams.runtime.installation import TOPIC as TABLE
from streams.runtime.mixes import TOPIC as MIX
from streams.runtime.ports import (
    Claim,
    Document,
    DossierChange,
    Dossiers,
    LogReader,
    Offsets,
    Outgoing,
    Producer,
    Record,
)
from streams.runtime.reading import batches_of
from streams.runtime.waiting import TOPIC as WAITING
from streams.settings import Settings

CLAIM_KEY: Final = b"repartition"
"""Key of the record in `policies` that says who repartitions, and of what."""
DAYS: Final = 6
"""So many days that began are kept, up to today's."""
_ALL: Final = 1 << 31


class Carried(NamedTuple):
    """A topic that goes along, and where a record of it goes among so many partitions (or not).

    `alone` is one of a single partition.
    """

    topic: str
    home: Callable[[Record, int], int | None]
    alone: bool = False


class TopicSet(NamedTuple):
    """Topics by their settings, and the partition count of the log among them."""

    settings: Settings
    partitions: int


class _Upload(Struct):
    creator: str = ""


class _Grant(Struct):
    day: int = 0


class _Known(Struct):
    """Of a dossier, who has a full guarantee of which day."""

    upload: _Upload | None = None
    grant: _Grant | None = None


_decode_known: Final = msgspec.json.Decoder(_Known).decode


def _by_video(record: Record, partitions: int) -> int | None:
    """Return the partition of the video that a key names, behind a cause maybe."""
    video = (record.key or b"").rpartition(b":")[2]
    return partition_of(video, partitions) if video else None


def _alone(record: Record, _partitions: int) -> int | None:
    return None if record.key in (RECORD_KEY, CLAIM_KEY) else 0


CARRIED: Final = (
    Carried(TABLE, _alone, alone=True),
    Carried(MIX, _alone, alone=True),
    Carried(WAITING, _by_video),
    Carried(DOSSIERS, _by_video),
    Carried("traffic", lambda record, partitions: record.partition % partitions),
)


async def carry_topics(
    reader: LogReader, source: TopicSet, producer: Producer, target: TopicSet
) -> int:
    """Write what these topics hold to those of the target; return how many records that were.

    Written twice it says the same: the last record of a key counts, and a minute has its id.
    """
    sender, count = Sender(producer), 0
    for carried in CARRIED:
        topic = target.settings.topic(carried.topic)
        async for record in _records(reader, source, carried):
            home = carried.home(record, target.partitions)
            if home is not None:
                text = (record.value, record.key, record.headers)
                await sender.send(Outgoing(topic, *text, home, record.timestamp))
                count += 1
    await sender.settle()
    return count


async def _records(reader: LogReader, source: TopicSet, carried: Carried) -> AsyncIterator[Record]:
    topic = source.settings.topic(carried.topic)
    partitions = range(1 if carried.alone else source.partitions)
    bounds = require_all(topic, partitions, await reader.offsets(topic, partitions))
    for partition, both in bounds.items():
        async for records in batches_of(reader, {(topic, partition): both}):
            for record in records:
                yield record


async def require_heard(reader: LogReader, source: TopicSet, dossiers: Dossiers, log: str) -> None:
    """Raise `Halt` unless the dossiers hold all that producers and people said of videos.

    `log` names the log that they were told of.
    """
    for partition in range(source.partitions):
        positions = (await dossiers.read(partition, log, ())).positions
        for name in get_args(ControlTopic):
            topic = source.settings.topic(name)
            answer = await reader.offsets(topic, [partition])
            start, end = require_all(topic, [partition], answer)[partition]
            held = max(positions.get(topic, start), start)
            async for _ in batches_of(reader, {(topic, partition): Offsets(held, end)}):
                raise Halt(
                    f"{topic}[{partition}]: the control plane has not heard what stands from "
                    f"offset {held} on: start it, and stop it when nothing is behind",
                    code="unsettled",
                    partition=partition,
                )


async def carry_dossiers(
    before: Dossiers, after: Dossiers, partitions: int, log: str, now_ms: int
) -> int:
    """Put every dossier to its partition of `partitions`, and what creators were promised.

    `log` names the one that they belong to now. Returns how many there are; `Halt` if something
    else writes them.
    """
    videos = set[str]()
    async for some in before.scan():
        homes: defaultdict[int, dict[str, Document]] = defaultdict(dict)
        for video, document in some.items():
            homes[partition_of(video.encode(), partitions)][video] = document
        for home, documents in homes.items():
            await _put(after, home, log, documents)
        await after.claim(log, list(_claims(some, partitions)), _ALL)
        videos.update(some)
    today = now_ms // DAY_MS
    for day, start in (await before.days(range(today - DAYS, today + 1))).items():
        await after.keep_day(day, start)
    return len(videos)


async def _put(
    after: Dossiers, partition: int, log: str, documents: Mapping[str, Document]
) -> None:
    known = (await after.read(partition, log, list(documents))).documents
    nothing = Document(0, b"")
    changes = [
        DossierChange(video, known.get(video, nothing).revision, document)
        for video, document in documents.items()
        if known.get(video, nothing).revision < document.revision
    ]
    if await after.put(partition, log, changes, {}) != "ok":
        raise Halt(
            f"the dossiers of partition {partition} are written by something else: stop it, then "
            "run the same command again",
            code="busy",
            partition=partition,
        )


def _claims(documents: Mapping[str, Document], partitions: int) -> Iterator[Claim]:
    for video, document in documents.items():
        try:
            known = _decode_known(document.text)
        except msgspec.DecodeError:
            continue  # the control plane says what is wrong with it
        if known.grant is not None and known.grant.day and known.upload is not None:
            creator = known.upload.creator
            home = partition_of(creator.encode(), partitions)
            yield Claim(home, creator, known.grant.day, video)
