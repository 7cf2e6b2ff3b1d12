"""What to record: topics, times and offsets resolved to a range of every partition."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from streams.errors import Halt
from streams.recording.lines import LINE_ERRORS, decode_lines
from streams.recording.manifest import MANIFEST, Manifest, Segment, Span, Topic, load_manifest
from streams.recording.reader import Damaged
from streams.recording.segments import BrokenFrame, hash_file, read_frames
from streams.runtime.answers import require_all
from streams.runtime.ports import Cluster, LogReader, Offsets, Place


@dataclass(frozen=True)
class Request:
    """What to record. `offsets` names single partitions and their range, and then no others.

    `start_ms` None: from the start of the log, or from its end with `from_end`. `end_ms` None:
    live, or up to the present end with `to_end`.
    """

    topics: Sequence[str]
    start_ms: int | None = None
    end_ms: int | None = None
    from_end: bool = False
    to_end: bool = False
    offsets: Mapping[Place, tuple[int | None, int | None]] | None = None


async def plan(reader: LogReader, cluster: Cluster, request: Request) -> dict[str, Topic]:
    """Return the topics of a request with the offsets to record; `Halt` if it cannot be met."""
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
        spans = await _spans(reader, request, name, numbers)
        planned[name] = Topic(identity.partitions, identity.topic_id, config, spans)
    return planned


def require_free(folder: Path) -> None:
    """Raise `Halt` unless a new recording may begin in the folder."""
    if (folder / MANIFEST).exists():
        raise Halt(
            f"{folder} already holds a recording: continue it with --resume, or name another"
        )
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise Halt(f"{folder} is not empty: name a new folder")


async def reopen(folder: Path, reader: LogReader, cluster: Cluster) -> Manifest:
    """Return the manifest of a recording to go on with, counting all whole frames of its files.

    `Halt` if it is damaged, or if the log is another one or has lost what comes next.
    """
    manifest = load_manifest(folder)
    for segment in manifest.segments:
        _recount(folder, segment)
    manifest.count()
    for name, topic in manifest.topics.items():
        identity = await cluster.identity(name)
        if (identity.cluster_id, identity.topic_id) != (manifest.cluster_id, topic.topic_id):
            raise Halt(f"{folder} was recorded from another cluster or another topic {name}")
        bounds = require_all(name, topic.spans, await reader.offsets(name, sorted(topic.spans)))
        for number, span in topic.spans.items():
            segments = manifest.of(name, number)
            following = segments[-1].last_offset + 1 if segments else span.start
            if following < bounds[number].start:
                raise Halt(
                    f"{name}[{number}]: offsets {following} to {bounds[number].start - 1} are no "
                    "longer in the log (retention): record into a new folder",
                    code="data_loss",
                )
    return manifest


async def _spans(
    reader: LogReader, request: Request, topic: str, numbers: Sequence[int]
) -> dict[int, Span]:
    bounds = require_all(topic, numbers, await reader.offsets(topic, numbers))
    starts = {number: bounds[number].start for number in numbers}
    ends: dict[int, int | None] = dict.fromkeys(numbers)
    if request.from_end:
        starts = {number: bounds[number].end for number in numbers}
    elif request.start_ms is not None:
        starts = await at_time(reader, topic, numbers, request.start_ms)
    if request.to_end:
        ends = {number: bounds[number].end for number in numbers}
    elif request.end_ms is not None:
        ends = dict(await at_time(reader, topic, numbers, request.end_ms))
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
    found = await reader.offsets_at(topic, dict.fromkeys(numbers, time_ms))
    require_all(topic, numbers, found)
    filled = [number for number in numbers if bounds[number].start < bounds[number].end]
    if filled and all(found[number] is None for number in filled):
        oldest = await reader.offsets_at(topic, dict.fromkeys(filled, 0))
        if all(offset is None for offset in oldest.values()):
            raise Halt(
                f"these brokers cannot search {topic} by time (the embedded one cannot): "
                "give a range with --offsets, or leave --from and --to out"
            )
    return {n: bounds[n].end if (at := found[n]) is None else at for n in numbers}


def _recount(folder: Path, segment: Segment) -> None:
    """Count the whole frames that a segment holds behind the manifest's word."""
    path = folder / segment.path
    try:
        length = path.stat().st_size
        if length < segment.size or hash_file(path, segment.size) != segment.sha256:
            raise Damaged(f"{segment.path}: differs from its sha256 in {MANIFEST}")
        if length == segment.size:
            return
    except OSError as error:
        raise Damaged(f"{segment.path}: {error.strerror}") from None
    try:
        for frame in read_frames(path, segment.size):
            segment.add(decode_lines(frame.text), segment.last_offset + 1)
            segment.size = frame.end
    except BrokenFrame:
        pass  # the log still has what a cut frame held: it is read from there again
    except LINE_ERRORS as error:
        raise Damaged(f"{segment.path}: behind byte {segment.size}: {error}") from None
    segment.sha256 = hash_file(path, segment.size)
