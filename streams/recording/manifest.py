"""What a recording says of itself: `manifest.json`, always whole, always checked."""

import os
import re
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
import orjson
from msgspec import Meta, Struct

from streams.core.keys import FIRST, NOBODY, Trust
from streams.errors import Halt
from streams.runtime.installation import Installation
from streams.runtime.ports import Place, Record

FORMAT_VERSION: Final = 2
"""Written; every version up to it is read. 1 had none of the fields that may be absent here."""
MANIFEST: Final = "manifest.json"
RESERVE: Final = ".reserve"
"""Room kept free for the manifest that says that the disk is full."""
RESERVE_BYTES: Final = 1 << 18

_TOPIC: Final = re.compile(r"\A[A-Za-z0-9._-]{1,249}\Z")
Natural = Annotated[int, Meta(ge=0)]


class Segment(Struct, forbid_unknown_fields=True):
    """One segment file.

    `size` and `sha256` cover whole frames; the file may be longer in a recording that is not
    complete.
    """

    topic: str
    partition: Natural
    first_offset: Natural
    last_offset: int  # first_offset - 1 before any record
    records: Natural = 0
    gaps: Natural = 0  # runs of offsets that the log did not have, also before the first record
    first_timestamp: int | None = None  # least, ms
    last_timestamp: int | None = None  # greatest, ms
    size: Natural = 0  # bytes
    sha256: str = sha256().hexdigest()
    longest_line: Natural | None = None  # bytes; None if nobody looked

    @property
    def path(self) -> str:
        """Path inside the recording."""
        return segment_path(self.topic, self.partition, self.first_offset)

    def add(self, records: Sequence[Record], following: int, longest_line: int) -> None:
        """Count records behind all earlier ones; `following` is the offset without a gap.

        `longest_line` is the longest of theirs. `Halt` if an offset does not rise.
        """
        for record in records:
            offset = record.offset
            if offset != following:
                if offset < following:
                    message = f"{self.topic}[{self.partition}]: offset {offset} came twice"
                    raise Halt(message, code="damaged")
                self.gaps += 1
            following = offset + 1
        times = [record.timestamp for record in records]
        self.records += len(records)
        self.last_offset = following - 1
        self._span_times(min(times), max(times))
        self._span_lines(longest_line)

    def merge(self, other: "Segment") -> None:
        """Count what `other` counted of the records that follow."""
        self.records += other.records
        self.gaps += other.gaps
        self.last_offset = other.last_offset
        if other.first_timestamp is not None and other.last_timestamp is not None:
            self._span_times(other.first_timestamp, other.last_timestamp)
        self._span_lines(other.longest_line)

    def _span_lines(self, longest: int | None) -> None:
        known = self.longest_line is not None and longest is not None
        self.longest_line = max(self.longest_line or 0, longest or 0) if known else None

    def _span_times(self, least: int, greatest: int) -> None:
        if self.first_timestamp is None or self.last_timestamp is None:
            self.first_timestamp, self.last_timestamp = least, greatest
        else:
            self.first_timestamp = min(self.first_timestamp, least)
            self.last_timestamp = max(self.last_timestamp, greatest)


def fresh_segment(place: Place, first_offset: int) -> Segment:
    """Return a segment that begins at an offset and holds nothing yet."""
    return Segment(*place, first_offset, first_offset - 1, longest_line=0)


class Span(Struct, forbid_unknown_fields=True):
    """Offsets of a partition that were asked for; `end` None means live."""

    start: Natural
    end: int | None


class Topic(Struct, forbid_unknown_fields=True):
    """A recorded topic as the cluster had it; `spans` by partition.

    `follow` says that partitions which are added later belong to the recording, too; `missing` are
    those that no leader answered for, so that they are not in it.
    """

    partitions: Annotated[int, Meta(ge=1)]
    topic_id: str
    config: dict[str, str]
    spans: dict[int, Span]
    follow: bool = False
    missing: list[int] = []


class Until(Struct, frozen=True, forbid_unknown_fields=True):
    """An end by time: records with a later timestamp are left out.

    A partition is at its end with the first record that is later by more than the slack.
    """

    time_ms: int
    slack_ms: Natural

    @property
    def over_ms(self) -> int:
        """Time after which no more records of the time asked for are waited for."""
        return self.time_ms + self.slack_ms


class Manifest(Struct, forbid_unknown_fields=True):
    """The whole manifest. `complete` once everything that was asked for is in it.

    `installation` with its public keys, `generation_records` and `secret` (a fingerprint of that
    of 0.1.0) are those of what was recorded, None where its recorder did not know them.
    """

    format_version: int
    recording_id: str
    created_at: str  # ISO 8601, UTC
    app_version: str
    cluster_id: str
    topics: dict[str, Topic]
    segments: list[Segment] = []
    records: Natural = 0
    first_timestamp: int | None = None  # least of all records, ms
    last_timestamp: int | None = None  # greatest of all records, ms
    complete: bool = False
    until: Until | None = None
    secret: str | None = None
    generation_records: int | None = None
    installation: Installation | None = None

    def trust(self, topic: str, partition: int) -> Trust:
        """Return who may sign where a recorded partition begins; nobody where that is not known."""
        if self.installation is None:
            of_first = self.secret is not None or self.app_version.startswith("0.1.")
            return FIRST if of_first else NOBODY
        span = self.topics[topic].spans.get(partition)
        return self.installation.trust(whole=span is None or span.start == 0)

    def count(self) -> None:
        """Bring the totals up to date with the segments."""
        self.records = sum(segment.records for segment in self.segments)
        firsts = [s.first_timestamp for s in self.segments if s.first_timestamp is not None]
        lasts = [s.last_timestamp for s in self.segments if s.last_timestamp is not None]
        self.first_timestamp = min(firsts, default=None)
        self.last_timestamp = max(lasts, default=None)

    def of(self, topic: str, partition: int) -> list[Segment]:
        """Return the segments of a partition in offset order."""
        found = [s for s in self.segments if (s.topic, s.partition) == (topic, partition)]
        return sorted(found, key=lambda segment: segment.first_offset)


def segment_path(topic: str, partition: int, first_offset: int) -> str:
    """Return where a segment lies in its recording.

    >>> segment_path("interactions", 3, 821122)
    'topics/interactions/partition=3/segment-00000000000000821122.ndjson.zst'
    """
    return f"topics/{topic}/partition={partition}/segment-{first_offset:020d}.ndjson.zst"


def save_manifest(folder: Path, manifest: Manifest) -> None:
    """Write the manifest, all or nothing; `OSError` leaves the one before."""
    manifest.count()
    manifest.format_version = FORMAT_VERSION  # also of one that an older version began
    fields = msgspec.to_builtins(manifest, str_keys=True)
    for fields_of, segment in zip(fields["segments"], manifest.segments, strict=True):
        fields_of["path"] = segment.path
    fields["manifest_sha256"] = _digest(fields)
    write_whole(folder / MANIFEST, orjson.dumps(fields, option=orjson.OPT_INDENT_2) + b"\n")


def load_manifest(folder: Path) -> Manifest:
    """Return the manifest of a recording; `Halt` with one line if there is none to be trusted."""
    path = folder / MANIFEST
    try:
        fields = orjson.loads(path.read_bytes())
    except FileNotFoundError:
        raise Halt(_missing(folder), code="damaged") from None
    except orjson.JSONDecodeError as error:
        raise Halt(f"{path} is not JSON: {error}", code="damaged") from None
    except OSError as error:
        raise Halt(f"cannot read {path}: {error.strerror}") from None
    version = fields.get("format_version") if isinstance(fields, dict) else None
    if type(version) is not int:
        raise Halt(f"{path} is no manifest: it has no format_version", code="damaged")
    if version > FORMAT_VERSION:
        raise Halt(
            f"{path} has format {version}, this version reads up to {FORMAT_VERSION}: "
            "use the version of streams that recorded it",
            code="newer_format",
        )
    return _read(path, fields)


def write_whole(path: Path, text: bytes, *, sync: bool = True) -> None:
    """Replace a file's content, all or nothing, whenever the process dies.

    With `sync` whenever the machine dies, too.
    """
    fresh = path.with_name(f".{path.name}.new")
    try:
        with fresh.open("wb") as file:
            file.write(text)
            file.flush()
            if sync:
                os.fsync(file.fileno())
        fresh.replace(path)
    except OSError:
        fresh.unlink(missing_ok=True)
        raise


def _read(path: Path, fields: dict[str, Any]) -> Manifest:
    digest = fields.pop("manifest_sha256", None)
    try:
        intact = digest == _digest(fields)
    except orjson.JSONEncodeError:  # it nests deeper than anything that was written
        intact = False
    if not intact:
        raise Halt(
            f"{path} was changed after it was written: its own sha256 differs", code="damaged"
        )
    segments = fields.get("segments", ())
    listed = segments if isinstance(segments, list) else []
    paths = [segment.pop("path", None) for segment in listed if isinstance(segment, dict)]
    try:
        manifest = msgspec.convert(fields, Manifest, strict=False)
    except msgspec.ValidationError as error:
        raise Halt(f"{path} is no manifest of this format: {error}", code="damaged") from None
    for topic in {*manifest.topics, *(segment.topic for segment in manifest.segments)}:
        if topic not in manifest.topics or not _TOPIC.match(topic) or not topic.strip("."):
            raise Halt(f"{path} names a topic that it does not describe: {topic!r}", code="damaged")
    for segment, text in zip(manifest.segments, paths, strict=True):
        if segment.path != text:
            raise Halt(f"{path}: {text!r} is not where {segment.path} lies", code="damaged")
    return manifest


def _digest(fields: dict[str, Any]) -> str:
    return sha256(orjson.dumps(fields, option=orjson.OPT_SORT_KEYS)).hexdigest()


def _missing(folder: Path) -> str:
    inner = sorted(path.parent.name for path in folder.glob(f"*/{MANIFEST}"))
    if len(inner) > 1:
        return f"{folder} holds {len(inner)} recordings ({', '.join(inner[:4])}): name one of them"
    if inner:
        return f"{folder} is not a recording, but {folder / inner[0]} is: name that"
    if not folder.is_dir():
        return f"{folder} does not exist"
    empty = not any(folder.iterdir())
    what = "is empty" if empty else f"has no {MANIFEST}"
    return f"{folder} {what}: not a recording"
