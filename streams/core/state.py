"""What one partition's fold remembers: videos in memory, the window, the policy, changed rows."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import msgspec

from streams.core.counters import (
    DIGEST_MODULUS,
    VIDEO_ROW,
    Slice,
    VideoState,
    encode_slice,
    encode_video,
    load_video,
    row_digest,
    salt_of,
)
from streams.core.events import LogRecord, PartitionControl, Policy, VideoControl
from streams.core.keys import Trust, read_trust
from streams.core.keys import encode as encode_trust
from streams.core.outlook import Outlook
from streams.core.partitioner import partition_of
from streams.core.serving import Entry, entries
from streams.core.window import Window

_encode_policy: Final = msgspec.json.Encoder().encode
_decode_policy: Final = msgspec.json.Decoder(Policy).decode


class Meta(NamedTuple):
    """What a partition stores beside its rows, in one spelling for every driver."""

    event_time: int  # greatest event time met, ms; 0 before any
    digest: str  # of all rows, 32 hexadecimal digits
    policy: bytes  # JSON of the policy in force, b"" before any
    mark: str = ""  # what tells the record at the watermark from another one, "" if none is kept
    keys: bytes = b""  # JSON of who may sign behind the watermark, b"" before any flush


FRESH: Final = Meta(0, "0" * 32, b"")


class Changes(NamedTuple):
    """Rows changed since the last call, as absolute values, and the meta that goes with them."""

    epoch: int
    rows: dict[str, dict[str, bytes]]  # video -> field -> stored spelling
    meta: Meta
    entries: Mapping[str, Sequence[Entry]] = {}  # slice -> what feeds are to be told of it


class PartitionState:
    """State of one partition's fold; private to its owner, changed only by `core.fold`.

    `partitions` is the partition count of the log, `generation_records` the length of a
    generation of duplicates in offsets. `meta` is what Redis holds at the watermark; `ValueError`
    if it cannot be read. Without `telling`, nothing is kept for feeds.
    """

    __slots__ = (
        "_flushed",
        "_keys_raw",
        "_policy_raw",
        "_telling",
        "_untold",
        "changed",
        "digest",
        "epoch",
        "event_time",
        "outlook",
        "partition",
        "partitions",
        "trust",
        "videos",
        "window",
    )

    def __init__(
        self,
        partition: int,
        partitions: int,
        generation_records: int,
        meta: Meta = FRESH,
        *,
        telling: bool = True,
    ) -> None:
        self.partition: Final = partition
        self.partitions: Final = partitions
        self.window: Final = Window(generation_records)
        self.videos: Final[dict[str, VideoState]] = {}
        self.event_time = meta.event_time
        self.digest = int(meta.digest, 16)
        if not 0 <= self.digest < DIGEST_MODULUS:
            raise ValueError("digest: not of 127 bits")
        self._policy_raw = meta.policy
        self.outlook = _read_policy(meta.policy)
        self._telling: Final = telling
        self._untold: Final[dict[str, set[str]]] = {}  # fields that changed, by video
        self._keys_raw = meta.keys
        self.trust = read_trust(meta.keys)
        self.changed: list[tuple[str, VideoState, str, Slice | None]] = []
        self.epoch = 0  # rises with every `take_changes`
        self._flushed = -1  # greatest epoch known to be stored

    @property
    def policy(self) -> Policy | None:
        """The policy in force."""
        return self.outlook.policy if self.outlook else None

    def missing(self, events: Sequence[LogRecord]) -> list[str]:
        """Return the videos of `events` that belong here and are not in memory, sorted."""
        try:
            met = {event.video for event in events}  # type: ignore[union-attr]
        except AttributeError:  # a policy or a key is about no video
            met = {event.video for event in events if not isinstance(event, PartitionControl)}
        return sorted(
            video
            for video in met.difference(self.videos)
            if partition_of(video.encode(), self.partitions) == self.partition
        )

    def load(self, video: str, fields: Mapping[str, bytes]) -> None:
        """Bring a video into memory as its hash holds it (no fields: a new video).

        `ValueError` if a row cannot be read.
        """
        self.videos[video] = load_video(video, fields)

    def remember(self, event: LogRecord, offset: int) -> None:
        """Take an event at or below the watermark for its id only."""
        if not isinstance(event, VideoControl | PartitionControl):
            self.window.repeats(event, offset)

    def touch_slice(self, video: str, state: VideoState, slice_id: str, row: Slice) -> None:
        """Note that a slice's row changed."""
        if row.epoch != self.epoch:
            row.epoch = state.touched = self.epoch
            self.changed.append((video, state, slice_id, row))

    def touch_video(self, video: str, state: VideoState) -> None:
        """Note that a video's own row changed."""
        if state.row_epoch != self.epoch:
            state.row_epoch = state.touched = self.epoch
            self.changed.append((video, state, VIDEO_ROW, None))

    def set_policy(self, policy: Policy) -> None:
        """Put a policy in force."""
        self.outlook = Outlook(policy)
        self._policy_raw = _encode_policy(policy)

    def set_trust(self, trust: Trust) -> None:
        """Put keys in force."""
        self.trust = trust
        self._keys_raw = encode_trust(trust)

    def take_changes(self, offset: int | None = None) -> Changes:
        """Return what changed since the last call and begin the next epoch.

        The caller stores it and then says so with `stored`. With the offset of the last record
        folded, also what feeds are to be told since they were last (`take_entries`).
        """
        rows: dict[str, dict[str, bytes]] = {}
        digest = self.digest
        for video, state, field, row in self.changed:
            if row is None:
                raw = encode_video(state.row)
                salt = state.row_salt = state.row_salt or salt_of(video, field)
                new = row_digest(salt, raw)
                digest += new - state.row_digest
                state.row_digest = new
            else:
                raw = encode_slice(row)
                salt = row.salt = row.salt or salt_of(video, field)
                new = row_digest(salt, raw)
                digest += new - row.digest
                row.digest = new
            if video in rows:
                rows[video][field] = raw
            else:
                rows[video] = {field: raw}
        if self._telling:
            for video, fields in rows.items():
                self._untold.setdefault(video, set()).update(fields)
        self.digest = digest % DIGEST_MODULUS
        self.changed = []
        epoch = self.epoch
        self.epoch += 1
        told = {} if offset is None else self.take_entries(offset)
        meta = Meta(self.event_time, f"{self.digest:032x}", self._policy_raw, keys=self._keys_raw)
        return Changes(epoch, rows, meta, told)

    @property
    def untold(self) -> bool:
        """Whether feeds are to be told anything since they were last."""
        return bool(self._untold)

    def take_entries(self, offset: int) -> dict[str, list[Entry]]:
        """Return what feeds are to be told of the videos that changed since the last time.

        About once a second will do. `offset` is that of the last record folded; all that changed
        must be stored, or be on its way with this.
        """
        untold, outlook = dict(self._untold), self.outlook
        self._untold.clear()
        if outlook is None:
            return {}
        told: defaultdict[str, list[Entry]] = defaultdict(list)
        for video, fields in untold.items():
            touched = sorted(fields.difference((VIDEO_ROW,)))
            state = self.videos[video]
            for slice_id, entry in entries(outlook, video, state, touched, offset):
                told[slice_id].append(entry)
        return dict(told)

    def stored(self, epoch: int) -> None:
        """Note that the changes of `epoch` and all earlier ones are stored."""
        self._flushed = epoch

    def evict(self, keep: int) -> int:
        """Forget videos, those that changed longest ago first, down to `keep`; return how many.

        A video with changes that are not yet stored, or that feeds were not told, stays.
        """
        stored = [
            (state.touched, video)
            for video, state in self.videos.items()
            if state.touched <= self._flushed and video not in self._untold
        ]
        leaving = sorted(stored)[: max(len(self.videos) - keep, 0)]
        for _, video in leaving:
            del self.videos[video]
        return len(leaving)


def _read_policy(raw: bytes) -> Outlook | None:
    try:
        return Outlook(_decode_policy(raw)) if raw else None
    except msgspec.DecodeError as error:
        raise ValueError(f"policy: {error}") from None
