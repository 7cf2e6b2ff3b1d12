"""What to record: topics, times and offsets resolved to a range of every partition."""

import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from streams.errors import Halt, Retry, Unreachable
from streams.recording.manifest import FORMAT_VERSION, Manifest, Span, Topic, Until
from streams.runtime.answers import require_all, silent
from streams.runtime.installation import Installation
from streams.runtime.letters import APP_VERSION
from streams.runtime.namespace import fingerprint
from streams.runtime.ports import Cluster, LogReader, Offsets, Place
from streams.settings import Settings, given_secret

OffsetRange = tuple[Place, tuple[int | None, int | None]]
"""A partition, and its first offset and the one behind its last; None leaves that side open."""


@dataclass(frozen=True)
class Request:
    """What to record. `offsets` names single partitions and their range, and then no others.

    `start_ms` None: from the start of the log, or from its end with `from_end`. Without `until`
    live, or up to the present end with `to_end`.
    """

    topics: Sequence[str]
    start_ms: int | None = None
    until: Until | None = None
    from_end: bool = False
    to_end: bool = False
    offsets: Mapping[Place, tuple[int | None, int | None]] | None = None

    def is_live(self, now_ms: int) -> bool:
        """Tell whether records that are written from now on belong to it."""
        return not self.to_end and (self.until is None or self.until.time_ms > now_ms)


@dataclass(frozen=True)
class Provenance:
    """What is known of the installation whose log is recorded: see `Manifest`."""

    installation: Installation | None = None
    secret: str | None = None
    generation_records: int | None = None


async def provenance_of(
    find: Callable[[], Awaitable[Installation | None]],
    settings: Settings,
    tell: Callable[[str], None],
) -> Provenance:
    """Return what is known of the installation that `find` looks for.

    What does not answer is told: to know nothing of its keys is no reason not to record.
    """
    secret = given_secret()
    mark = fingerprint(secret.reveal) if secret else None
    try:
        installation = await find()
    except Unreachable:
        raise
    except Retry as error:
        tell(f"{error}; the recording will not say")
        installation = None
    records = settings.generation_records
    if installation is not None:
        records = installation.generation_records(settings)
    return Provenance(installation, mark, records)


async def plan_recording(
    reader: LogReader, cluster: Cluster, request: Request, now_ms: int
) -> dict[str, Topic]:
    """Return the topics of a request with the offsets to record; `Halt` if it cannot be met.

    Partitions that no leader answers for are left out, as `missing`.
    """
    existing = await cluster.describe()
    planned: dict[str, Topic] = {}
    for name in request.topics:
        if name not in existing:
            known = ", ".join(sorted(existing)[:8]) or "none"
            raise Halt(f"topic {name} does not exist; there are: {known}", code="topic_missing")
        identity = await cluster.identity(name)
        config = dict(await cluster.configs(name))
        numbers = list(range(identity.partitions))
        if request.offsets:
            numbers = sorted(number for topic, number in request.offsets if topic == name)
        missing = silent(numbers, await reader.offsets(name, numbers))
        answering = [number for number in numbers if number not in missing]
        spans = await _spans(reader, request, name, answering, now_ms)
        follow = request.offsets is None and request.is_live(now_ms)
        topic = Topic(identity.partitions, identity.topic_id, config, spans, follow, missing)
        planned[name] = topic
    return planned


async def begin(
    reader: LogReader,
    cluster: Cluster,
    request: Request,
    provenance: Provenance,
    now_ms: int,
) -> Manifest:
    """Return the manifest of a new recording; `Halt` if what is asked for is not there."""
    planned = await plan_recording(reader, cluster, request, now_ms)
    identity = await cluster.identity(next(iter(planned)))
    created = datetime.fromtimestamp(now_ms // 1000, UTC).isoformat()
    return Manifest(
        *(FORMAT_VERSION, uuid.uuid4().hex, created, APP_VERSION, identity.cluster_id, planned),
        until=request.until,
        secret=provenance.secret,
        generation_records=provenance.generation_records,
        installation=provenance.installation,
    )


async def _spans(
    reader: LogReader, request: Request, topic: str, numbers: Sequence[int], now_ms: int
) -> dict[int, Span]:
    bounds = require_all(topic, numbers, await reader.offsets(topic, numbers))
    starts = {number: bounds[number].start for number in numbers}
    ends: dict[int, int | None] = dict.fromkeys(numbers)
    if request.from_end:
        starts = {number: bounds[number].end for number in numbers}
    elif request.start_ms is not None:
        starts = await at_time(reader, topic, numbers, request.start_ms)
    if not request.is_live(now_ms):
        ends = {number: bounds[number].end for number in numbers}
    for number in numbers:
        first, last = (request.offsets or {}).get((topic, number), (None, None))
        starts[number] = starts[number] if first is None else first
        ends[number] = ends[number] if last is None else last
        _require_inside(topic, number, starts[number], bounds[number])
    return {n: Span(starts[n], ends[n]) for n in numbers}


def _require_inside(topic: str, number: int, start: int, bounds: Offsets) -> None:
    if not bounds.start <= start <= bounds.end:
        raise Halt(
            f"{topic}[{number}]: offset {start} is not in the log, which holds {bounds.start} to "
            f"{bounds.end - 1}",
            code="data_loss",
        )


async def at_time(
    reader: LogReader, topic: str, numbers: Sequence[int], time_ms: int
) -> dict[int, int]:
    """Return each partition's first offset at or after a time, its end if there is none.

    `Halt` if the brokers cannot search by time: then they do not find the oldest record either.
    """
    bounds = require_all(topic, numbers, await reader.offsets(topic, numbers))
    firsts = require_all(
        topic, numbers, await reader.offsets_at(topic, dict.fromkeys(numbers, time_ms))
    )
    filled = [number for number in numbers if bounds[number].start < bounds[number].end]
    if filled and all(firsts[number] is None for number in filled):
        oldest = await reader.offsets_at(topic, dict.fromkeys(filled, 0))
        if all(offset is None for offset in oldest.values()):
            raise Halt(
                f"these brokers cannot search {topic} by time (the embedded one cannot): "
                "give a range with --offsets, or leave --from and --to out"
            )
    return {n: bounds[n].end if (at := firsts[n]) is None else at for n in numbers}


def parse_range(text: str, full_name: Callable[[str], str]) -> OffsetRange:
    """Return a range as it is written; ValueError if it is none.

    >>> parse_range("log:3=10..20", str), parse_range("log:0=..", str)
    ((('log', 3), (10, 20)), (('log', 0), (None, None)))
    """
    place, _, bounds = text.partition("=")
    topic, _, partition = place.rpartition(":")
    first, dots, last = bounds.partition("..")
    if not topic or not dots:
        raise ValueError(text)
    return (full_name(topic), int(partition)), (_offset(first), _offset(last))


def _offset(text: str) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdigit()):
        raise ValueError(text)
    return int(text)
