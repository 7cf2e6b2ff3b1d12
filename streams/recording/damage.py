"""What is wrong with a recording, each fault in one line.

`quick` reads no record: the files that must be there, their sizes and checksums, those that must
not. `thorough` reads every record too and counts what the manifest claims. `strangers` are files
that only lie about in the folder.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final, NamedTuple

from streams.recording.lines import Recorded
from streams.recording.manifest import MANIFEST, RESERVE, Manifest, Segment
from streams.recording.reader import Damaged, Recording, read_segment
from streams.recording.routing import own_headers
from streams.recording.segments import hash_file
from streams.runtime.codec import Spelling, decode_log
from streams.runtime.ports import Place

Schema = Callable[[Sequence[Recorded]], Counter[str]]
"""Counts the events that cannot be used among records, by reason."""
GAPS_SHOWN: Final = 20


class Gap(NamedTuple):
    """Offsets that the recording does not have: `first` to `last`."""

    first: int
    last: int


@dataclass
class Checked:
    """What a thorough look found in one partition."""

    topic: str
    partition: int
    records: int = 0
    first_offset: int | None = None
    last_offset: int | None = None
    gaps: list[Gap] = field(default_factory=list)  # the first GAPS_SHOWN of them
    gap_count: int = 0
    unordered: int = 0  # timestamps below their predecessor's; allowed, and kept
    invalid: Counter[str] = field(default_factory=Counter)  # events by reason, of the log only
    digest: str = ""  # of key, value, headers and timestamp of all records in order

    def as_row(self) -> dict[str, Any]:
        """Return the stable fields of the output."""
        return {
            "topic": self.topic,
            "partition": self.partition,
            "records": self.records,
            "first_offset": self.first_offset,
            "last_offset": self.last_offset,
            "gaps": self.gap_count,
            "missing": ", ".join(f"{gap.first}..{gap.last}" for gap in self.gaps[:3]) or None,
            "unordered": self.unordered,
            "invalid": sum(self.invalid.values()),
            "digest": self.digest,
        }


def quick(recording: Recording) -> list[str]:
    """Return the faults that show without reading records."""
    return [fault for _, fault in _quick_faults(recording)]


def strangers(recording: Recording) -> list[str]:
    """Return a line for each file that is not the recording's and does not disturb it."""
    return [
        f"{path.relative_to(recording.folder)}: does not belong to the recording"
        for path in _unknown(recording)
        if not _disturbs(path)
    ]


def require_whole(recording: Recording, topics: Collection[str]) -> list[str]:
    """Raise `Damaged` with the first fault that shows in these topics without reading records.

    Return what else is wrong in the folder: it is no reason not to read these topics.
    """
    faults = list(_quick_faults(recording))
    ours = [fault for topic, fault in faults if topic is None or topic in topics]
    if ours:
        more = f" (and {len(ours) - 1} more: see `streams replay verify`)"
        raise Damaged(ours[0] + (more if len(ours) > 1 else ""))
    return [f"{fault} (not needed here)" for _, fault in faults] + strangers(recording)


def thorough(
    recording: Recording,
    place: Place,
    schema: Schema | None = None,
    tell: Callable[[int], None] = lambda _: None,
) -> Checked:
    """Read a partition as a whole and return what is in it; raises `Damaged` at its first fault.

    `schema` counts events that cannot be used, by reason.
    """
    checked = Checked(*place)
    digest = RecordsDigest()
    span = recording.manifest.topics[place[0]].spans.get(place[1])
    following = span.start if span else 0
    newest = -1
    for segment in recording.manifest.of(*place):
        gaps = checked.gap_count
        for chunk in read_segment(recording.folder, segment, complete=recording.manifest.complete):
            newest = _look(checked, chunk, following, newest)
            following = chunk[-1].offset + 1
            for record in chunk:
                digest.add(record)
            if schema is not None:
                checked.invalid += schema(chunk)
            tell(len(chunk))
        if recording.manifest.complete:
            _require_counts(segment, following, checked.gap_count - gaps)
    checked.digest = digest.text
    return checked


def log_schema(manifest: Manifest, place: Place, spelling: Spelling) -> Schema:
    """Return a count of what the worker's codec refuses in a partition, read from its beginning.

    Signatures are looked at where it is known whose count.
    """
    known = manifest.installation is not None or spelling.secret is not None
    trust = manifest.trust(*place) if known else None

    def count(records: Sequence[Recorded]) -> Counter[str]:
        nonlocal trust
        decoded = decode_log(records, trust, spelling)
        trust = decoded.trust if known else None
        return Counter[str](refusal.reason for refusal in decoded.refusals)

    return count


class RecordsDigest:
    """A digest over key, value, headers and timestamp of a partition's records, in order.

    Headers that replays added are left out, so a replayed topic has the digest of its source.
    """

    def __init__(self) -> None:
        self._digest = blake2b(digest_size=16)

    def add(self, record: Recorded) -> None:
        """Take the next record."""
        self._digest.update(content_of(record))

    @property
    def text(self) -> str:
        """The digest, 32 hexadecimal digits."""
        return self._digest.hexdigest()


def content_of(record: Recorded) -> bytes:
    """Return key, value, headers and timestamp, so that other ones give other bytes.

    Headers that replays added are left out.
    """
    parts = [b"%d" % record.timestamp, record.key, record.value]
    for name, value in own_headers(record.headers):
        parts += [name.encode(), value]
    lengths = b",".join([b"-" if part is None else b"%d" % len(part) for part in parts])
    return lengths + b";" + b"".join([part or b"" for part in parts])


def _quick_faults(recording: Recording) -> Iterator[tuple[str | None, str]]:
    """Yield faults with the topic that they are in, None where they may be in any."""
    for path in _unknown(recording):
        name = path.relative_to(recording.folder).as_posix()
        if path.name == MANIFEST:
            yield None, f"{name}: a second recording inside {recording.folder}: move one of them"
        elif _disturbs(path):
            yield None, f"{name}: not in {MANIFEST}: a segment of another recording; move it away"
    for segment in recording.manifest.segments:
        if (fault := _quick_fault(recording, segment)) is not None:
            yield segment.topic, fault


def _unknown(recording: Recording) -> list[Path]:
    """Return the files that the manifest does not know."""
    known = {MANIFEST, RESERVE, f".{MANIFEST}.new"}
    known |= {segment.path for segment in recording.manifest.segments}
    files = sorted(path for path in recording.folder.rglob("*") if not path.is_dir())
    return [path for path in files if path.relative_to(recording.folder).as_posix() not in known]


def _disturbs(path: Path) -> bool:
    """Tell whether a file makes it doubtful what belongs to the recording."""
    return path.name == MANIFEST or path.name.startswith("segment-")


def _quick_fault(recording: Recording, segment: Segment) -> str | None:
    path = recording.folder / segment.path
    complete = recording.manifest.complete
    try:
        size = path.stat().st_size
        if size < segment.size:
            return _explain(recording, segment, f"is cut: {size} bytes of {segment.size}")
        if complete and size > segment.size:
            what = f"is longer than in {MANIFEST}: {size} bytes, not {segment.size}"
            return _explain(recording, segment, what)
        if hash_file(path, segment.size) != segment.sha256:
            return _explain(recording, segment, "was changed: its sha256 differs")
    except FileNotFoundError:
        return f"{segment.path}: is missing ({segment.records} records)"
    except OSError as error:
        return f"{segment.path}: cannot be read: {error.strerror}"
    return None


def _explain(recording: Recording, segment: Segment, what: str) -> str:
    """Return what is wrong with a segment, more exactly where its records tell."""
    try:
        for _ in read_segment(recording.folder, segment, complete=True):
            pass
    except Damaged as damaged:
        return str(damaged)
    return f"{segment.path}: {what}"


def _look(checked: Checked, chunk: Sequence[Recorded], following: int, newest: int) -> int:
    """Note offsets, gaps and the order of times; return the latest timestamp."""
    if checked.first_offset is None:
        checked.first_offset = chunk[0].offset
    for record in chunk:
        if record.offset != following:
            checked.gap_count += 1
            if len(checked.gaps) < GAPS_SHOWN:
                checked.gaps.append(Gap(following, record.offset - 1))
        following = record.offset + 1
        checked.unordered += record.timestamp < newest
        newest = record.timestamp
    checked.records += len(chunk)
    checked.last_offset = chunk[-1].offset
    return newest


def _require_counts(segment: Segment, following: int, gaps: int) -> None:
    if following != segment.last_offset + 1:
        raise Damaged(
            f"{segment.path}: ends at offset {following - 1}, {MANIFEST} says {segment.last_offset}"
        )
    if gaps != segment.gaps:
        raise Damaged(
            f"{segment.path}: has {gaps} gaps, the log had {segment.gaps}: records are gone"
        )


def folder_of(path: Path) -> Path | None:
    """Return the recording that `path` names, by its folder or manifest; None for another file."""
    if path.name == MANIFEST and path.is_file():
        return path.parent
    return None if path.is_file() else path
