"""In which ways a replay's target would change or refuse what it gets: each wants a yes of its own.

What is looked at is the topic's configuration and what the manifest says of the records, so a
broker that does not tell its configuration gives no caveats.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final, Literal, NamedTuple

from streams.errors import Halt
from streams.recording.manifest import Segment
from streams.recording.reader import Recording, read_segment
from streams.recording.routing import Options, Partitions, Target
from streams.runtime.ports import Cluster

CaveatKind = Literal["partitions", "append-time", "compaction", "sizes", "timestamps", "retention"]
KINDS: Final[tuple[CaveatKind, ...]] = CaveatKind.__args__  # type: ignore[attr-defined]
"""What can be accepted of a target, in the order in which a plan names it."""

OVERHEAD_BYTES: Final = 128
"""Of a batch with one record, beside its key, value and headers; rounded up."""
SEND_BYTES: Final = 256 << 10
"""A producer's batch before compression."""


class Caveat(NamedTuple):
    """One way in which a topic would change or refuse records, in words."""

    kind: CaveatKind
    words: str


class Cargo(NamedTuple):
    """What a recorded topic brings to its target; times in ms, as they will be sent."""

    segments: Sequence[Segment]
    oldest_ms: int
    newest_ms: int


def require_target(target: Target, partitions: Partitions) -> None:
    """Raise `Halt` unless every recorded partition has a place in the target."""
    for name, topic in target.topics.items():
        count = target.counts.get(topic)
        wanted = target.recorded[name]
        if count is None:
            raise Halt(
                f"the target has no topic {topic}: create it with {wanted} partitions",
                code="topic_missing",
            )
        if partitions == "keep" and count < wanted:
            raise Halt(
                f"topic {topic} has {count} partitions, the recording of {name} has {wanted}: "
                "use --partitions rekey, or a topic with as many"
            )


def require_accepted(caveats: Sequence[Caveat], accepted: Collection[str]) -> None:
    """Raise `Halt` that names what has to be accepted before anything is sent."""
    missing = [kind for kind in KINDS if kind in {c.kind for c in caveats} - set(accepted)]
    if missing:
        flags = " ".join(f"--accept {kind}" for kind in missing)
        raise Halt(
            f"nothing was sent: the target would not keep the records as they are (see above); "
            f"change it, or add {flags}",
            code="target",
        )


async def caveats_of(
    recording: Recording, cluster: Cluster, target: Target, options: Options, now_ms: int
) -> list[Caveat]:
    """Return in which ways the target topics would change or refuse the records."""
    caveats: list[Caveat] = []
    for name, topic in target.topics.items():
        config = await cluster.configs(topic)
        if options.partitions == "keep" and target.counts[topic] > target.recorded[name]:
            caveats.append(_more_partitions(topic, target.counts[topic], target.recorded[name]))
        cargo = _cargo(recording, name, options, now_ms)
        if cargo is None:
            continue
        stamped = config.get("message.timestamp.type") == "LogAppendTime"
        caveats += _compaction(topic, config)
        caveats += _sizes(recording, topic, config, cargo)
        if stamped:
            words = f"{topic} puts the time of writing in place of every timestamp (LogAppendTime)"
            caveats.append(Caveat("append-time", words))
        else:
            caveats += _timestamps(topic, config, cargo, now_ms)
        caveats += _retention(topic, config, cargo, None if stamped else now_ms)
    return sorted(caveats, key=lambda caveat: KINDS.index(caveat.kind))


def largest_record(recording: Recording, segments: Sequence[Segment], above: int) -> int:
    """Return the size in bytes of the largest record, 0 where no line is longer than `above`.

    A line is never shorter than its record, so only segments with a long one are read.
    """
    largest = 0
    for segment in segments:
        if segment.longest_line is None or segment.longest_line > above:
            whole = recording.manifest.complete
            for chunk in read_segment(recording.folder, segment, complete=whole):
                for record in chunk:
                    headers = sum(len(n) + len(value or b"") for n, value in record.headers)
                    size = len(record.key or b"") + len(record.value or b"") + headers
                    largest = max(largest, size)
    return largest


def _cargo(recording: Recording, name: str, options: Options, now_ms: int) -> Cargo | None:
    """Return what is sent of a topic, None if it is nothing."""
    segments = [s for s in recording.manifest.segments if s.topic == name and s.records]
    firsts = [s.first_timestamp for s in segments if s.first_timestamp is not None]
    lasts = [s.last_timestamp for s in segments if s.last_timestamp is not None]
    if not firsts or not lasts:
        return None
    oldest, newest = min(firsts), max(lasts)
    if options.selection.start_ms is not None:
        oldest = max(oldest, options.selection.start_ms)
    if options.selection.end_ms is not None:
        newest = min(newest, options.selection.end_ms)
    if options.timestamps == "now":
        return Cargo(segments, now_ms, now_ms)
    if options.timestamps == "shift":
        at_pace = options.pace.speed == 1 and options.pace.max_gap_ms is None
        ahead = 0 if at_pace else max(newest - oldest, 0)  # the faster, the further ahead
        return Cargo(segments, now_ms, now_ms + ahead)
    return Cargo(segments, oldest, newest)


def _more_partitions(topic: str, count: int, recorded: int) -> Caveat:
    words = (
        f"{topic} has {count} partitions, the recording {recorded}: with --partitions keep, keys "
        f"stay where they were among {recorded}, not where producers of {topic} put them"
    )
    return Caveat("partitions", words)


def _compaction(topic: str, config: Mapping[str, str]) -> Iterator[Caveat]:
    if "compact" in config.get("cleanup.policy", ""):
        words = (
            f"{topic} is compacted: it keeps the last record of a key only, and refuses records "
            "without a key (policies)"
        )
        yield Caveat("compaction", words)


def _sizes(
    recording: Recording, topic: str, config: Mapping[str, str], cargo: Cargo
) -> Iterator[Caveat]:
    limit = _number(config, "max.message.bytes")
    if limit is None:
        return
    largest = largest_record(recording, cargo.segments, limit - OVERHEAD_BYTES)
    if largest + OVERHEAD_BYTES > limit:
        words = f"{topic} takes {limit} bytes at most, the largest record has {largest}"
        yield Caveat("sizes", f"{words}: unless it packs well, it is refused")
    elif limit < SEND_BYTES and _could_fill(cargo, limit):
        words = f"{topic} takes batches of {limit} bytes at most, {SEND_BYTES} are sent together"
        yield Caveat("sizes", f"{words}: unless they pack well, they are refused")


def _could_fill(cargo: Cargo, limit: int) -> bool:
    """Tell whether a partition's records together may be more than `limit` bytes."""
    return any(s.records * (s.longest_line or limit) > limit for s in cargo.segments)


def _timestamps(
    topic: str, config: Mapping[str, str], cargo: Cargo, now_ms: int
) -> Iterator[Caveat]:
    either = _number(config, "message.timestamp.difference.max.ms")  # of brokers before 3.6
    before = _number(config, "message.timestamp.before.max.ms") or either
    after = _number(config, "message.timestamp.after.max.ms") or either
    if before is not None and cargo.oldest_ms < now_ms - before:
        words = f"{topic} refuses timestamps older than {_span(before)}, and there are such"
        yield Caveat("timestamps", f"{words}: use --timestamps shift")
    if after is not None and cargo.newest_ms > now_ms + after:
        words = f"{topic} refuses timestamps more than {_span(after)} ahead, and there are such"
        yield Caveat("timestamps", f"{words}: use --timestamps now, or the original pace")


def _retention(
    topic: str, config: Mapping[str, str], cargo: Cargo, now_ms: int | None
) -> Iterator[Caveat]:
    """Name what deletes records early; `now_ms` None: their timestamps are not kept."""
    if "delete" not in config.get("cleanup.policy", "delete"):
        return
    kept_ms, kept_bytes = _number(config, "retention.ms"), _number(config, "retention.bytes")
    if now_ms is not None and kept_ms is not None and 0 <= kept_ms < now_ms - cargo.oldest_ms:
        words = (
            f"{topic} keeps records for {_span(kept_ms)} and these are older: the broker may "
            "delete them; raise its retention.ms, or use --timestamps shift"
        )
        yield Caveat("retention", words)
    sizes: dict[int, int] = {}
    for segment in cargo.segments:
        sizes[segment.partition] = sizes.get(segment.partition, 0) + segment.size
    if kept_bytes is not None and 0 <= kept_bytes < max(sizes.values()):
        words = f"{topic} keeps {kept_bytes} bytes a partition, the recording has about"
        yield Caveat("retention", f"{words} {max(sizes.values())}: raise its retention.bytes")


def _number(config: Mapping[str, str], name: str) -> int | None:
    text = config.get(name, "")
    return int(text) if text.lstrip("-").isdigit() else None


def _span(milliseconds: int) -> str:
    """Return a length of time in words.

    >>> _span(604_800_000), _span(90_000), _span(1_500)
    ('168 h', '1.5 min', '1.5 s')
    """
    for unit, size in (("h", 3_600_000), ("min", 60_000)):
        if milliseconds >= size:
            return f"{milliseconds / size:g} {unit}"
    return f"{milliseconds / 1_000:g} s"
