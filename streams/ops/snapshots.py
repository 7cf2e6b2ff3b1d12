"""The folder of snapshots: the newest good one of a partition, and the next one behind it.

    <folder>/<installation>/<topic id>/partition=3/00000000000000821122.snapshot

Files are readable by their owner alone: they hold the ids of viewers. What is damaged, cut short,
forged or foreign is passed over, with its reason, in favour of the one before it.
"""

import os
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Final, NamedTuple

from msgspec.structs import replace

from streams.core.keys import Trust
from streams.errors import Halt
from streams.ops.recount import ResumePoint
from streams.ops.snapshot_file import (
    Header,
    Origin,
    Sealed,
    Unfit,
    pack,
    read,
    read_header,
    require_origin,
    require_signed,
    unpack,
    write,
)
from streams.runtime.installation import Installation
from streams.runtime.key_files import write_private
from streams.runtime.letters import APP_VERSION
from streams.runtime.ports import TopicIdentity
from streams.runtime.signing import Signer

_NAME: Final = re.compile(r"\A[0-9]{20}\.snapshot\Z")
_FOLDER: Final = 0o700
HEADER_BYTES: Final = 1 << 16


class Snapshot(NamedTuple):
    """A snapshot that can be gone on from."""

    sealed: Sealed
    point: ResumePoint

    @property
    def header(self) -> Header:
        """What it says of itself."""
        return self.sealed.header


class SnapshotFolder:
    """The snapshots of one log of one installation."""

    def __init__(self, folder: Path, identity: TopicIdentity, installation: Installation) -> None:
        self._folder: Final = folder / installation.id / identity.topic_id
        self._origin: Final = Origin(installation.id, identity.topic_id, 0, identity.partitions)
        self._trust: Final = Trust(installation.id, installation.keys, upgraded=True)

    def headers(self, partition: int) -> list[Header]:
        """Return what a partition's snapshots say of themselves, the newest first."""
        found = []
        for path in self._paths(partition):
            with suppress(OSError, Unfit), path.open("rb") as file:
                found.append(read_header(file.readline(HEADER_BYTES)))
        return found

    def good(self, partition: int, upto: int, refused: list[str]) -> Iterator[Snapshot]:
        """Yield what can be gone on from, the newest first, none behind the offset `upto`.

        What cannot is added to `refused`, with its reason.
        """
        for path in self._paths(partition):
            if int(path.stem) > upto:
                continue
            try:
                yield self._load(path, partition)
            except Unfit as unfit:
                refused.append(f"{path}: {unfit}")

    def keep(
        self,
        partition: int,
        point: ResumePoint,
        before: Snapshot | None,
        changed: Collection[str],
        stamp: "Stamp",
    ) -> Header:
        """Write the snapshot behind `before`, in which the videos `changed` did; return its header.

        `Halt` if it cannot be written.
        """
        origin = replace(self._origin, partition=partition)
        folder = self._of(partition)
        kept = None if before is None else before.header
        base = None if kept is None or kept.grown >= kept.whole_bytes else kept
        body = pack(point, point.rows if base is None else changed)
        header = Header(
            origin,
            point.watermark,
            stamp.made_at,
            APP_VERSION,
            before=-1 if kept is None else kept.watermark,
            parent="" if before is None else before.sealed.name,
            proved_from=stamp.proved_from,
            whole_at=point.watermark if base is None else base.whole_at,
            whole_bytes=len(body) if base is None else base.whole_bytes,
            grown=0 if base is None else base.grown + len(body),
            size=len(body),
            sha256=sha256(body).hexdigest(),
        )
        try:
            folder.mkdir(mode=_FOLDER, parents=True, exist_ok=True)
            _write_whole(folder / _name(point.watermark), write(header, body, stamp.signer))
            if base is None and kept is not None:
                self._drop_below(partition, kept.whole_at)
        except OSError as error:
            raise Halt(f"cannot write {folder}: {error.strerror}", partition=partition) from None
        return header

    def _load(self, path: Path, partition: int) -> Snapshot:
        """Return a snapshot with all that it stands on."""
        newest = self._read(path, partition)
        require_signed(newest, self._trust)
        chain = [newest]
        while not chain[-1].header.is_whole:
            chain.append(self._parent(path, chain[-1].header))
        rows: dict[str, Mapping[str, bytes]] = {}
        points = [unpack(one.body, one.header.watermark, rows) for one in reversed(chain)]
        return Snapshot(newest, points[-1])

    def _parent(self, path: Path, header: Header) -> Sealed:
        """Return what a snapshot goes on from, which must be what it was then."""
        before = path.with_name(_name(header.before))
        try:
            parent = self._read(before, header.origin.partition)
        except Unfit as unfit:
            raise Unfit(f"it goes on from {before.name}, and of that: {unfit}") from None
        if parent.name != header.parent:
            raise Unfit(f"it goes on from {before.name}, and what lies there is another one")
        return parent

    def _read(self, path: Path, partition: int) -> Sealed:
        try:
            sealed = read(path.read_bytes())
        except OSError as error:
            raise Unfit(f"cannot be read: {error.strerror}") from None
        require_origin(sealed, replace(self._origin, partition=partition))
        if path.name != _name(sealed.header.watermark):
            raise Unfit(f"it is misplaced: it holds the watermark {sealed.header.watermark}")
        return sealed

    def _paths(self, partition: int) -> list[Path]:
        """Return a partition's files, the newest first; `Halt` if the folder cannot be read."""
        folder = self._of(partition)
        try:
            paths = list(folder.iterdir()) if folder.is_dir() else []
        except OSError as error:
            raise Halt(f"cannot read {folder}: {error.strerror}") from None
        return sorted((path for path in paths if _NAME.match(path.name)), reverse=True)

    def _drop_below(self, partition: int, watermark: int) -> None:
        for path in self._paths(partition):
            if int(path.stem) < watermark:
                path.unlink(missing_ok=True)

    def _of(self, partition: int) -> Path:
        return self._folder / f"partition={partition}"


class Stamp(NamedTuple):
    """Who makes a snapshot and when (ms), and from which offset on it is proved."""

    signer: Signer
    made_at: int
    proved_from: int


def _name(watermark: int) -> str:
    return f"{watermark:020d}.snapshot"


def _write_whole(path: Path, text: bytes) -> None:
    """Put a file there, all or nothing, that only its owner reads."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}.new")
    fresh.unlink(missing_ok=True)
    try:
        write_private(fresh, text)
        fresh.replace(path)
    except OSError:
        fresh.unlink(missing_ok=True)
        raise
