"""Files that others wrote: `kcat -J` lines, plain NDJSON of events, and our own lines.

They are first turned into a recording in a temporary folder, so that everything that works on a
recording works on them, and memory stays flat however long they are.
"""

import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, NamedTuple

import msgspec
import orjson
import zstandard

from streams.core.events import EVENT_TYPES
from streams.core.partitioner import partition_of
from streams.errors import Halt
from streams.recording.damage import folder_of
from streams.recording.lines import LINE_ERRORS, Recorded, decode_lines
from streams.recording.manifest import FORMAT_VERSION, Manifest, Span, Topic
from streams.recording.reader import Recording
from streams.recording.writer import RecordingWriter
from streams.runtime.letters import APP_VERSION
from streams.runtime.ports import Place

BATCH: Final = 1_000
BATCH_BYTES: Final = 4 << 20
PARTITIONS_MAX: Final = 10_000
_TOPICS: Final[dict[str, str]] = {
    **dict.fromkeys(EVENT_TYPES.values(), "interactions"),
    "upload": "uploads",
    "ended": "uploads",
    "recognition": "recognitions",
    "review": "reviews",
}
"""Type of an event -> where it belongs, without the prefix."""


class KcatLine(msgspec.Struct):
    """One line of `kcat -J`; further fields are read over."""

    topic: str
    partition: int
    offset: int
    ts: int = -1
    tstype: str = "create"
    key: msgspec.Raw = msgspec.Raw(b"null")
    payload: msgspec.Raw = msgspec.Raw(b"null")
    headers: list[str | None] = []


_kcat: Final = msgspec.json.Decoder(KcatLine).decode
_text: Final = msgspec.json.Decoder(str).decode
Parse = Callable[[bytes], Recorded]


@contextmanager
def opened(path: Path, *, full_name: Callable[[str], str], partitions: int) -> Iterator[Recording]:
    """Open a recording, or a foreign file as one; `Halt` with one line if it is neither.

    Where plain events belong, their lines do not say: into `partitions` partitions of the topic
    of their type, which `full_name` gives its prefix.
    """
    folder = folder_of(path)
    if folder is not None:
        yield Recording(folder)
        return
    with TemporaryDirectory(prefix="streams-replay-") as temporary:
        _import(path, Path(temporary) / "recording", _Reading(full_name, partitions))
        yield Recording(Path(temporary) / "recording")


class _Reading(NamedTuple):
    """Where plain events belong."""

    full_name: Callable[[str], str]
    partitions: int


def _import(path: Path, folder: Path, reading: _Reading) -> None:
    """Write a foreign file's records as a recording; two passes: which partitions, then records."""
    counts: dict[str, int] = {}
    starts: dict[Place, int] = {}
    for record in _records(path, reading):
        counts[record.topic] = max(counts.get(record.topic, 0), record.partition + 1)
        starts.setdefault((record.topic, record.partition), record.offset)
    for topic in {reading.full_name(name) for name in _TOPICS.values()} & counts.keys():
        counts[topic] = max(counts[topic], reading.partitions)
    topics = {
        name: Topic(
            count, "", {}, {p: Span(at, None) for (t, p), at in starts.items() if t == name}
        )
        for name, count in counts.items()
    }
    stamp = f"{path.resolve()}:{path.stat().st_size}:{path.stat().st_mtime_ns}"
    created = datetime.fromtimestamp(path.stat().st_mtime, UTC).isoformat()
    identity = uuid.uuid5(uuid.NAMESPACE_URL, stamp).hex
    manifest = Manifest(FORMAT_VERSION, identity, created, APP_VERSION, "", topics)
    writer = RecordingWriter(folder, manifest, time.monotonic)
    for place, batch in _batches(_records(path, reading)):
        writer.append(place, batch)
    writer.flush()
    writer.finish(complete=True)


def _batches(records: Iterable[Recorded]) -> Iterator[tuple[Place, list[Recorded]]]:
    """Yield runs of one partition each; what waits for more is bounded in records and bytes."""
    waiting: dict[Place, list[Recorded]] = {}
    size = 0
    for record in records:
        place = (record.topic, record.partition)
        batch = waiting.setdefault(place, [])
        batch.append(record)
        size += len(record.value or b"")
        if size >= BATCH_BYTES:
            yield from waiting.items()
            waiting, size = {}, 0
        elif len(batch) >= BATCH:
            yield place, waiting.pop(place)
    yield from waiting.items()


def _records(path: Path, reading: _Reading) -> Iterator[Recorded]:
    parse: Parse | None = None
    for number, line in enumerate(_lines(path), 1):
        if not line.strip():
            continue
        try:
            if parse is None:
                parse = _parser(line, reading)
            record = parse(line)
        except (*LINE_ERRORS, LookupError, AttributeError, TypeError) as error:
            raise Halt(f"{path}: line {number}: {_one_line(error)}", code="damaged") from None
        if not 0 <= record.partition < PARTITIONS_MAX or record.offset < 0:
            raise Halt(f"{path}: line {number}: no such partition or offset", code="damaged")
        yield record
    if parse is None:
        raise Halt(f"{path}: is empty", code="damaged")


def _lines(path: Path) -> Iterator[bytes]:
    """Yield the lines of a file, unpacked if its name ends in .zst."""
    try:
        with path.open("rb") as file:
            if path.suffix == ".zst":
                reader = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True)
                yield from _split(lambda: reader.read(1 << 17))
            else:
                yield from _split(lambda: file.read(1 << 17))
    except OSError as error:
        raise Halt(f"cannot read {path}: {error.strerror}") from None
    except zstandard.ZstdError as error:
        raise Halt(f"{path}: is no whole zstd file: {error}", code="damaged") from None


def _split(read: Callable[[], bytes]) -> Iterator[bytes]:
    rest = b""
    while part := read():
        *lines, rest = (rest + part).split(b"\n")
        yield from lines
    if rest:
        yield rest


def _parser(line: bytes, reading: _Reading) -> Parse:
    """Return how to read the lines of a file, told by its first one."""
    fields = orjson.loads(line)
    first = fields[0] if isinstance(fields, list) and fields else fields
    if not isinstance(first, dict):
        raise TypeError(_NEITHER)
    if "value_encoding" in first:
        return lambda text: decode_lines(text)[0]
    if "payload" in first and "offset" in first:
        return _read_kcat
    if first.get("type") in _TOPICS:
        return _EventReader(reading)
    raise ValueError(_NEITHER)


_NEITHER: Final = (
    "neither a line of a recording, nor of kcat -J (topic, partition, offset, payload), "
    "nor an event (type, id, video)"
)


def _read_kcat(line: bytes) -> Recorded:
    fields = _kcat(line)
    headers = [
        (name or "", None if text is None else text.encode())
        for name, text in zip(fields.headers[::2], fields.headers[1::2], strict=True)
    ]
    key, value = _kcat_bytes(fields.key), _kcat_bytes(fields.payload)
    kind = 1 if fields.tstype == "logappend" else 0
    place = (fields.topic, fields.partition, fields.offset)
    return Recorded(*place, fields.ts, key, value, headers, kind)


def _kcat_bytes(spelled: msgspec.Raw) -> bytes | None:
    """Return what was in the log: a string's text, or other JSON as it stands."""
    raw = bytes(spelled)
    if raw == b"null":
        return None
    return _text(raw).encode() if raw.startswith(b'"') else raw


class _EventReader:
    """Reads events, one object or one array a line, as records of the log that they would be."""

    def __init__(self, reading: _Reading) -> None:
        self._reading = reading
        self._next: dict[Place, int] = {}

    def __call__(self, line: bytes) -> Recorded:
        decoded = orjson.loads(line)
        events: list[dict[str, Any]] = decoded if isinstance(decoded, list) else [decoded]
        topic = self._reading.full_name(_TOPICS[str(events[0]["type"])])
        key = str(events[0]["video"]).encode()
        partition = partition_of(key, self._reading.partitions)
        offset = self._next.get((topic, partition), 0)
        self._next[topic, partition] = offset + 1
        timestamp = max(int(event["ts"]) for event in events)
        return Recorded(topic, partition, offset, timestamp, key, line.strip())


def _one_line(error: Exception) -> str:
    if isinstance(error, KeyError):
        known = str(error).strip("'") in ("type", "video", "ts")
        return f"the event has no {error}" if known else f"unknown type {error}"
    if isinstance(error, IndexError):
        return "an array without events"
    return str(error).partition("\n")[0]
