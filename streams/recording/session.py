"""One recorder at a time in a folder: from a request, or from what the folder already holds."""

import fcntl
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import NamedTuple

from streams.errors import Halt
from streams.recording.following import TopicWatch
from streams.recording.manifest import MANIFEST, load_manifest
from streams.recording.planning import Provenance, Request, begin
from streams.recording.recorder import Recorder
from streams.recording.resuming import reopen
from streams.recording.writer import RecordingWriter
from streams.runtime.ports import Cluster, LogReader


class Source(NamedTuple):
    """What is recorded from, and what is known of its installation."""

    reader: LogReader
    cluster: Cluster
    provenance: Provenance


@asynccontextmanager
async def recording_session(
    folder: Path, source: Source, request: Request | None, now_ms: Callable[[], int]
) -> AsyncIterator[Recorder]:
    """Yield a recorder into a folder that is nobody else's for the time of the block.

    Without a request it goes on with the recording that is there. `Halt` if another recorder is
    at work, if the folder is not free, or if the log cannot give what is asked for.
    """
    reader, cluster = source.reader, source.cluster
    if request is None:
        manifest = load_manifest(folder)  # before the lock: a folder that is not there stays so
    else:
        manifest = await begin(reader, cluster, request, source.provenance, now_ms())
    with sole_writer(folder):
        if request is None:
            manifest = await reopen(folder, reader, cluster)
        else:
            require_free(folder)
        writer = RecordingWriter(folder, manifest, time.monotonic)
        yield Recorder(reader, writer, TopicWatch(reader, cluster, manifest), now_ms=now_ms)


def require_free(folder: Path) -> None:
    """Raise `Halt` unless a new recording may begin in the folder; hidden files do not count."""
    if (folder / MANIFEST).exists():
        raise Halt(
            f"{folder} already holds a recording: continue it with --resume, or name another"
        )
    if folder.exists() and (not folder.is_dir() or _visible(folder)):
        raise Halt(f"{folder} is not empty: name a new folder")


@contextmanager
def sole_writer(folder: Path) -> Iterator[None]:
    """Hold the folder for the time of the block: two recorders would spoil each other's files.

    Whatever is to be known of the folder is looked at inside: before, another may be at work.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise Halt(f"cannot record into {folder}: {error.strerror}") from None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise Halt(f"another `streams record` is writing to {folder}") from None
    finally:
        os.close(handle)


def _visible(folder: Path) -> bool:
    return any(not path.name.startswith(".") for path in folder.iterdir())
