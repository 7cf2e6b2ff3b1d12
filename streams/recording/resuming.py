"""A recording that was interrupted: what its files hold, and whether the log can go on with it."""

from pathlib import Path

from streams.errors import Halt
from streams.recording.following import TopicWatch
from streams.recording.lines import LINE_ERRORS, decode_lines
from streams.recording.manifest import MANIFEST, Manifest, Segment, load_manifest
from streams.recording.reader import Damaged
from streams.recording.segments import BrokenFrame, hash_file, read_frames
from streams.runtime.answers import require_all
from streams.runtime.ports import Cluster, LogReader


async def reopen(folder: Path, reader: LogReader, cluster: Cluster) -> Manifest:
    """Return the manifest of a recording to go on with, counting all whole frames of its files.

    `Halt` if it is damaged, or if the log is another one or has lost what comes next.
    """
    manifest = load_manifest(folder)
    for segment in manifest.segments:
        _recount(folder, segment)
    manifest.count()
    await TopicWatch(reader, cluster, manifest).look()
    for name, topic in manifest.topics.items():
        numbers = sorted(topic.spans)
        bounds = require_all(name, numbers, await reader.offsets(name, numbers))
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
            longest = max(map(len, frame.text.splitlines(keepends=True)))
            segment.add(decode_lines(frame.text), segment.last_offset + 1, longest)
            segment.size = frame.end
    except BrokenFrame:
        pass  # the log still has what a cut frame held: it is read from there again
    except LINE_ERRORS as error:
        raise Damaged(f"{segment.path}: behind byte {segment.size}: {error}") from None
    segment.sha256 = hash_file(path, segment.size)
