"""What one partition's fold remembers: videos in memory, the window, the policy, changed rows."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import msgspec

from streams.core.counters import (
    DIGEST_MODULUS,
    NOTHING_TOLD,
    VIDEO_ROW,
    Slice,
    VideoState,
    encode_slice,
    encode_video,
    load_video,
    row_digest,
    salt_of,
)
from streams.core.events import (
    FirstPolicy,
    FirstRecord,
    LogRecord,
    PartitionControl,
    Policy,
    VideoControl,
)
from streams.core.first_rows import decode_policy as decode_first_policy
from streams.core.first_rows import encode_first, load_first
from streams.core.generations import read_generations
from streams.core.keys import Trust, read_trust
from streams.core.keys import encode as encode_trust
from streams.core.outlook import Outlook
from streams.core.partitioner import partition_of
from streams.core.serving import NOTHING_DUE, Entry, due_of, entries
from streams.core.ticks import OpenTraffic, read_stored
from streams.core.traffic import ClassSums, kind_of
from streams.core.window import Window
from streams.errors import UNREADABLE

_ALL: Final = 1 << 62
_encode_policy: Final = msgspec.json.Encoder().encode
_decode_policy: Final = msgspec.json.Decoder(Policy).decode


class Meta(NamedTuple):
    """What a partition stores beside its rows, in one spelling for every driver.

    The digest covers the rows and `traffic`.
    """

    event_time: int  # greatest event time met, ms; 0 before any
    digest: str  # 32 hexadecimal digits
    policy: bytes  # JSON of the policy in force, b"" before any
    mark: str = ""  # what tells the record at the watermark from another one, "" if none is kept
    keys: bytes = b""  # JSON of who may sign behind the watermark, b"" before any flush
    traffic: bytes = b""  # JSON of the open tick and of what its clock goes by, b"" before any
    generations: bytes = b""  # JSON of `Generations.spans`, b"" before any flush
    skips: bytes = b""  # JSON of the places that nobody could read, b"" if there are none


FRESH: Final = Meta(0, "0" * 32, b"")
TRAFFIC_SALT: Final = salt_of("", "traffic")
"""Of the digest of what is stored as `traffic`; no video has such a name."""


class Archived(NamedTuple):
    """Rows of a video that are in no store but in a record of the archive, and its key."""

    key: bytes
    rows: Mapping[str, bytes]


class Changes(NamedTuple):
    """Rows changed since the last call, as absolute values, and the meta that goes with them.

    A video that returns from the archive has all of its rows among them; the rows of one that
    leaves for it are dropped, and where they are is kept in their place. The digest counts both.
    """

    epoch: int
    rows: dict[str, dict[str, bytes]]  # video -> field -> stored spelling
    meta: Meta
    entries: Mapping[str, Sequence[Entry]] = {}  # slice -> what feeds are to be told of it
    untold: int = 0  # videos that are to be told of another time
    returned: Mapping[str, Archived] = {}  # video -> where it was
    departed: Mapping[str, int] = {}  # video -> its pointer


class PartitionState:
    """State of one partition's fold; private to its owner, changed only by `core.fold`.

    `partitions` is the partition count of the log, `generation_records` the length of a
    generation of duplicates in offsets at its beginning. `meta` is what Redis holds at the
    watermark; `ValueError` if it cannot be read. Without `telling`, nothing is kept for feeds.
    """

    __slots__ = (
        "_again",
        "_flushed",
        "_keys_raw",
        "_policy_raw",
        "_telling",
        "_traffic_digest",
        "_untold",
        "archived",
        "changed",
        "digest",
        "epoch",
        "event_time",
        "first_policy",
        "outlook",
        "partition",
        "partitions",
        "traffic",
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
        self.window.generations = read_generations(meta.generations, generation_records)
        self.videos: Final[dict[str, VideoState]] = {}
        self.event_time = meta.event_time
        self.digest = int(meta.digest, 16)
        if not 0 <= self.digest < DIGEST_MODULUS:
            raise ValueError("digest: not of 127 bits")
        self._policy_raw = meta.policy
        self._telling: Final = telling
        self._untold: Final[dict[str, set[str]]] = {}  # fields that changed, by video
        # videos whose rows were stored as they are no more, and feeds were never told of that:
        # who filled an index from them may have
        self._again: Final[set[str]] = set()
        self._keys_raw = meta.keys
        self.trust = read_trust(meta.keys)
        upgraded = self.trust.upgraded
        # in force before the upgrade, and from then on
        self.first_policy = None if upgraded else _read_first_policy(meta.policy)
        self.outlook = _read_policy(meta.policy) if upgraded else None
        self.traffic: Final = OpenTraffic(partition, self.outlook, read_stored(meta.traffic))
        self._traffic_digest = row_digest(TRAFFIC_SALT, meta.traffic)
        self.changed: list[tuple[str, VideoState, str, Slice | None]] = []
        self.archived: dict[str, Archived] = {}  # whose rows are not stored, as far as is known
        self.epoch = 0  # rises with every `take_changes`
        self._flushed = -1  # greatest epoch known to be stored

    @property
    def version(self) -> str | None:
        """The version of the policy in force, today's or one of 0.1.0."""
        policy = self.first_policy or self.policy
        return policy.version if policy else None

    @property
    def policy(self) -> Policy | None:
        """The policy in force."""
        return self.outlook.policy if self.outlook else None

    def missing(self, events: Sequence[LogRecord]) -> list[str]:
        """Return the videos of `events` that belong here and are not in memory, sorted."""
        try:
            met = {event.video for event in events}  # type: ignore[union-attr]
        except AttributeError:  # a policy or a key is about no video
            met = {
                event.video
                for event in events
                if not isinstance(event, PartitionControl | FirstPolicy)
            }
        return sorted(
            video
            for video in met.difference(self.videos)
            if partition_of(video.encode(), self.partitions) == self.partition
        )

    def load(self, video: str, fields: Mapping[str, bytes]) -> None:
        """Bring a video into memory as its hash holds it (no fields: a new video).

        Feeds may know of all that was owed to it, and are told of that again once it changes.
        `ValueError` if a row cannot be read.
        """
        load = load_video if self.trust.upgraded else load_first
        state = self.videos[video] = load(video, fields)
        if not fields:
            state.told = NOTHING_TOLD
        if self._telling and self.outlook is not None:
            state.due = dict.fromkeys(due_of(self.outlook, state), NOTHING_DUE)

    def sums_of(self, state: VideoState, slice_id: str, row: Slice) -> ClassSums:
        """Return what the traffic of a video in a slice is summed in."""
        if row.sums is None:
            self.hot_of(state, slice_id, row)
        assert row.sums is not None
        return row.sums

    def hot_of(self, state: VideoState, slice_id: str, row: Slice) -> list[int]:
        """Return `traffic.HOT` of those sums.

        Kept with the row, but of a live room: so the fold has to ask, and meets its events here.
        """
        own = state.row
        kind = kind_of(own.band, own.commercial, own.admitted)
        row.sums, hot = self.traffic.sums_of(slice_id, kind)
        if own.format != "live":
            row.hot = hot
        return hot

    def remember(self, event: LogRecord, offset: int) -> None:
        """Take an event at or below the watermark for its id only."""
        if not isinstance(event, VideoControl | PartitionControl | FirstRecord):
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
        before, self.outlook, self.first_policy = self.policy, Outlook(policy), None
        self.traffic.outlook = self.outlook
        if before is None or before.slices.keys() != policy.slices.keys():
            for state in self.videos.values():
                forget_sums(state)
        self._policy_raw = _encode_policy(policy)

    def set_first_policy(self, policy: FirstPolicy) -> None:
        """Put a policy of 0.1.0 in force, up to the upgrade."""
        self.first_policy = policy
        self._policy_raw = _encode_policy(policy)

    def set_trust(self, trust: Trust) -> None:
        """Put keys in force."""
        self.trust = trust
        self._keys_raw = encode_trust(trust)

    def take_changes(self, offset: int | None = None, most: int = _ALL) -> Changes:
        """Return what changed since the last call and begin the next epoch.

        The caller stores it and then says so with `stored`. With the offset of the last record
        folded, also what feeds are to be told since they were last (`take_entries`).
        """
        rows: dict[str, dict[str, bytes]] = {}
        digest = self.digest
        upgraded = self.trust.upgraded
        for video, state, field, row in self.changed:
            if row is None:
                raw = encode_video(state.row) if upgraded else encode_first(state.row)
                salt = state.row_salt = state.row_salt or salt_of(video, field)
                new = row_digest(salt, raw)
                digest += new - state.row_digest
                state.row_digest = new
            else:
                raw = encode_slice(row) if upgraded else encode_first(row)
                salt = row.salt = row.salt or salt_of(video, field)
                new = row_digest(salt, raw)
                digest += new - row.digest
                row.digest = new
            if video in rows:
                rows[video][field] = raw
            else:
                rows[video] = {field: raw}
        returned = self._bring_back(rows) if self.archived else {}
        if self._telling:
            untold = self._untold
            for video, fields in rows.items():
                if video in untold:
                    untold[video].update(fields)
                    self._again.add(video)
                else:
                    untold[video] = set(fields)
        traffic = self.traffic.stored() if upgraded else b""
        new = row_digest(TRAFFIC_SALT, traffic)
        digest += new - self._traffic_digest
        self._traffic_digest = new
        self.digest = digest % DIGEST_MODULUS
        self.changed = []
        epoch = self.epoch
        self.epoch += 1
        told = {} if offset is None else self.take_entries(offset, most)
        meta = Meta(
            self.event_time,
            f"{self.digest:032x}",
            self._policy_raw,
            keys=self._keys_raw,
            traffic=traffic,
            generations=self.window.generations.encode(),
        )
        return Changes(epoch, rows, meta, told, self.untold, returned)

    def _bring_back(self, rows: dict[str, dict[str, bytes]]) -> dict[str, Archived]:
        """Add what did not change of archived videos that did: nothing of them is stored."""
        returned = {video: self.archived.pop(video) for video in rows if video in self.archived}
        for video, archived in returned.items():
            rows[video] = {**archived.rows, **rows[video]}
            state = self.videos[video]
            state.told, state.controlled = NOTHING_TOLD, True
        return returned

    def is_moving(self, video: str, since: int) -> bool:
        """Tell whether a video changed in epoch `since` or later, or feeds are to be told of it."""
        state = self.videos.get(video)
        return video in self._untold or (state is not None and state.touched >= since)

    def forget_archived(self) -> None:
        """Forget where archived videos are that are not in memory.

        Only while none is being loaded and what left is stored: from then on the store tells it.
        """
        gone = [video for video in self.archived if video not in self.videos]
        for video in gone:
            del self.archived[video]

    @property
    def untold(self) -> int:
        """Of how many videos feeds are to be told something since they were last."""
        return len(self._untold)

    def take_entries(self, offset: int, most: int = _ALL) -> dict[str, list[Entry]]:
        """Return what feeds are to be told of the videos that changed since the last time.

        About once a second will do. `offset` is that of the last record folded; all that changed
        must be stored, or be on its way with this. Once `most` entries are there, what other videos
        have to tell is left for the next time.
        """
        untold, outlook, left = self._untold, self.outlook, most
        if outlook is None:
            untold.clear()
            return {}
        told: defaultdict[str, list[Entry]] = defaultdict(list)
        for video, fields in list(untold.items()):
            if left <= 0:
                break
            del untold[video]
            touched = sorted(fields.difference((VIDEO_ROW,)))
            state = self.videos[video]
            unsure = video in self._again
            self._again.discard(video)
            for slice_id, entry in entries(outlook, video, state, touched, offset, unsure=unsure):
                told[slice_id].append(entry)
                left -= 1
        return dict(told)

    def forget_untold(self) -> None:
        """Keep nothing for feeds: they will be told from the rows."""
        self._again.update(self._untold)
        self._untold.clear()

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
            self._again.discard(video)
        return len(leaving)


def forget_sums(state: VideoState) -> None:
    """Have it asked anew what a video's traffic is summed in: its class changed, or the policy."""
    for row in state.slices.values():
        row.sums = row.hot = None


def _read_first_policy(raw: bytes) -> FirstPolicy | None:
    try:
        return decode_first_policy(raw) if raw else None
    except UNREADABLE as error:
        raise ValueError(f"policy: {error}") from None


def _read_policy(raw: bytes) -> Outlook | None:
    try:
        return Outlook(_decode_policy(raw)) if raw else None
    except UNREADABLE as error:
        raise ValueError(f"policy: {error}") from None
