"""What goes in, for tests: events, records and whole logs, each with readable defaults.

A test names what it is about and leaves the rest: `view("e1", watch_ms=9_000)`. Everything here is
a value; the same arguments give the same bytes.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final, NamedTuple

import msgspec

from kit.keys import NEXT_SIGNER, SIGNER
from streams.core.events import (
    Admit,
    Clear,
    Comment,
    ControlRecord,
    End,
    Follow,
    Gift,
    Hide,
    Hold,
    Impression,
    InteractionRecord,
    Like,
    LogRecord,
    Order,
    PartitionControl,
    Policy,
    Profile,
    Reconsider,
    Release,
    Report,
    Revise,
    Share,
    SlicePolicy,
    Stay,
    Takedown,
    Unfollow,
    Unlike,
    View,
    Weights,
)
from streams.core.fields import ServedVia
from streams.core.outlook import term_name
from streams.core.partition_control import Generation, Key, Lead, TopicMove, Upgrade
from streams.core.partitioner import partition_of
from streams.core.units import MICROS
from streams.runtime.ports import Headers
from streams.runtime.signing import Signer, control_record, encode

NOW: Final = 1_700_000_000_000
"""Milliseconds: when the events of tests happen."""
HOUR_MS: Final = 3_600_000

FANS: Final = "following:fans"
SHENYANG: Final = "nearby:shenyang"
FOOTBALL: Final = "discover:football"
BASKETBALL: Final = "discover:basketball"
COOKING: Final = "discover:cooking"
MUSIC: Final = "discover:music"


WEIGHTS: Final = Weights(
    watch=600_000,
    complete=100_000,
    like=500_000,
    comment=600_000,
    share=800_000,
    follow=1_000_000,
    hide=-1_000_000,
    report=-2_000_000,
    order=1_000_000,
)
"""Worth of each part of a view: a full watch alone is worth 0.6, with `complete` 0.7."""

VARIANCE: Final = 20_000
"""How much videos differ in one slice, what they have in common with other slices included."""


def slice_policy(
    reach: int = 5_000,
    price: int = 330_000,
    prior_mean: int = 350_000,
    loadings: tuple[int, int, int] = (0, 0, 0),
) -> SlicePolicy:
    """Return a slice that starts out barely worth its price and knows little."""
    return SlicePolicy(
        reach=reach,
        horizon=400,
        prior_mean=prior_mean,
        own_variance=VARIANCE - sum(each * each for each in loadings) // MICROS,
        noise_variance=100_000,
        price=price,
        loadings=loadings,
    )


BOON: Final = 10_000
"""What the price of ordinary people (bands 0 to 4) is lower than that of band 5."""
COMMERCIAL: Final = 165_000
"""What commercial videos pay on top."""
TERMS: Final = {
    term_name(surface, band, commercial): (COMMERCIAL if commercial else 0)
    - (BOON if band < 5 else 0)
    for surface in ("discover", "nearby")
    for band in range(6)
    for commercial in (False, True)
}

FIXED: Final = Policy(
    id="policy-1",
    ts=NOW,
    seq=1,
    version="fixed-1",
    weights=WEIGHTS,
    slices={
        FANS: slice_policy(reach=400),
        SHENYANG: slice_policy(reach=600, price=300_000),
        FOOTBALL: slice_policy(loadings=(110_000, 20_000, 0)),
        BASKETBALL: slice_policy(loadings=(110_000, 0, 0)),
        COOKING: slice_policy(price=360_000, loadings=(0, 90_000, 0)),
        MUSIC: slice_policy(reach=200, loadings=(40_000, 60_000, 0)),
    },
    tranche=20,
    growth=3,
    top_stage=3,
    budget=2_000,
    widen_z=1_282_000,
    widen_used=500_000,
    nearly_used=800_000,
    noise_views=10,
    noise_floor=1_000,
    noise_cross=150_000,
    fit_value=50_000,
    open_max=64,
    guarantee_slices=3,
    guarantee_ms=24 * HOUR_MS,
    fresh_share=20_000,
    late_after_ms=HOUR_MS,
    terms=TERMS,
    report_drain=20_000,
    report_bar=2_000_000,
)
"""Six slices on all three surfaces, tranches of 20: small logs reach every kind of decision.

Football and basketball share a taste, cooking and music another; nearby and following share none.
"""


DRAWING: Final[Mapping[str, Any]] = {"explore_probability": 500_000, "explore_key": "chance"}
"""What a policy says that often has chance draw a crowd."""


def policy(**changes: Any) -> Policy:
    """Return the fixed policy with some fields changed."""
    return msgspec.structs.replace(FIXED, **changes)


# ---------------------------------------------------------------- one event


def impression(
    event_id: str = "e1",
    *,
    video: str = "v1",
    viewer: str = "",
    slice_id: str = FOOTBALL,
    ts: int = NOW,
    via: ServedVia | None = None,
    score: int | None = None,
    **more: Any,
) -> Impression:
    """Return an exposure that started, to a viewer of its own unless one is named."""
    viewer = viewer or f"u-{event_id}"[:64]
    return Impression(event_id, video, viewer, slice_id, ts, via, score, **more)


def view(
    event_id: str = "e1",
    *,
    video: str = "v1",
    viewer: str = "u1",
    slice_id: str = FOOTBALL,
    ts: int = NOW,
    watch_ms: int = 5_000,
    duration_ms: int = 10_000,
) -> View:
    """Return an exposure that ended, half the video watched."""
    return View(event_id, video, viewer, slice_id, ts, watch_ms, duration_ms)


def like(
    event_id: str = "e1",
    *,
    video: str = "v1",
    viewer: str = "u1",
    slice_id: str = FOOTBALL,
    ts: int = NOW,
) -> Like:
    """Return a like."""
    return Like(event_id, video, viewer, slice_id, ts)


def unlike(
    event_id: str = "e1",
    *,
    video: str = "v1",
    viewer: str = "u1",
    slice_id: str = FOOTBALL,
    ts: int = NOW,
) -> Unlike:
    """Return the taking back of a like."""
    return Unlike(event_id, video, viewer, slice_id, ts)


def admit(
    event_id: str = "admit-1",
    *,
    video: str = "v1",
    seq: int = 1,
    fits: Mapping[str, int] | None = None,
    **more: Any,
) -> Admit:
    """Return an admission of a well-known creator's video that its tags send nowhere."""
    named = {"commercial": False, "limited": False, "band": 5, "creator": "c1"} | more
    return Admit(event_id, video, NOW, seq, fits=dict(fits or {}), **named)


def revise(
    event_id: str = "revise-1",
    *,
    video: str = "v1",
    seq: int = 2,
    fits: Mapping[str, int] | None = None,
    limited: bool | None = None,
    ts: int = NOW,
    **more: Any,
) -> Revise:
    """Return a revision that leaves everything as it is."""
    return Revise(event_id, video, ts, seq, None if fits is None else dict(fits), limited, **more)


def hold(event_id: str = "hold-1", *, video: str = "v1", seq: int = 2) -> Hold:
    """Return a pause of every slice."""
    return Hold(event_id, video, NOW, seq)


def release(event_id: str = "release-1", *, video: str = "v1", seq: int = 3) -> Release:
    """Return the end of a pause."""
    return Release(event_id, video, NOW, seq)


def reconsider(
    event_id: str = "reconsider-1",
    *,
    video: str = "v1",
    seq: int = 2,
    slices: Sequence[str] = (),
    **more: Any,
) -> Reconsider:
    """Return another look at everything that evidence stopped."""
    return Reconsider(event_id, video, NOW, seq, tuple(slices), **more)


def clear(
    event_id: str = "clear-1", *, video: str = "v1", seq: int = 2, looked: int = NOW, **more: Any
) -> Clear:
    """Return a person's word that the video may go on being shown."""
    return Clear(event_id, video, NOW, seq, looked, **more)


def end(event_id: str = "end-1", *, video: str = "v1", seq: int = 9) -> End:
    """Return the end of a live room."""
    return End(event_id, video, NOW, seq)


def takedown(event_id: str = "takedown-1", *, video: str = "v1", seq: int = 9) -> Takedown:
    """Return the end of a video."""
    return Takedown(event_id, video, NOW, seq)


# ---------------------------------------------------------------- one record


class Logged(NamedTuple):
    """One record as a driver would hand it out (`streams.runtime.ports.Record`)."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Headers


def record(
    value: bytes | None,
    offset: int = 0,
    timestamp: int = NOW,
    *,
    key: bytes | None = b"v1",
    headers: Headers = (),
    partition: int = 0,
    topic: str = "interactions",
) -> Logged:
    """Return a record with these bytes."""
    return Logged(topic, partition, offset, timestamp, key, value, headers)


def interaction_record(
    events: InteractionRecord | Sequence[InteractionRecord], offset: int = 0, timestamp: int = NOW
) -> Logged:
    """Return the record of one interaction, or of an array of them."""
    first = events[0] if isinstance(events, Sequence) else events
    return record(encode(events), offset, timestamp, key=first.video.encode())


def signed_record(
    event: ControlRecord, offset: int = 0, timestamp: int = NOW, signer: Signer = SIGNER
) -> Logged:
    """Return the record of a control event, signed."""
    out = control_record("interactions", event, signer, 0)
    return record(out.value, offset, timestamp, key=out.key, headers=out.headers)


def records_of(events: Sequence[LogRecord]) -> list[Logged]:
    """Return one record per event at offsets 0, 1, 2, ..., control events signed."""
    return [
        signed_record(event, offset)
        if isinstance(event, ControlRecord)
        else interaction_record(event, offset)
        for offset, event in enumerate(events)
    ]


# ---------------------------------------------------------------- a whole log


def videos_of(partition: int, partitions: int, count: int) -> list[str]:
    """Return the first `count` of the names v0, v1, ... that live in this partition."""
    names: list[str] = []
    number = 0
    while len(names) < count:
        if partition_of(f"v{number}".encode(), partitions) == partition:
            names.append(f"v{number}")
        number += 1
    return names


def synthetic_log(
    seed: int = 1,
    videos: int = 12,
    events: int = 1_000,
    partition: int = 0,
    partitions: int = 1,
    *,
    led: bool = False,
) -> list[Logged]:
    """Return one partition's log of about `events` events: everything that a real one holds.

    Impressions, their views some time later or never, engagement; single objects and arrays;
    admissions before and after the first feedback, a quarter of them of live rooms, of which some
    end; policies that draw; a second one with a slice less and other weights, then a leader with
    the first one's numbers again, and an old leader's word; holds, releases, takedowns; repeats,
    late events, offsets that no record has; and a few of every kind of bad input, good neighbours
    beside bad elements included. The same arguments give the same bytes. With `led` there is a
    control plane beside it: policies, keys and leaders are its own.
    """
    names = videos_of(partition, partitions, videos)
    others = [] if partitions == 1 else videos_of((partition + 1) % partitions, partitions, 3)
    return list(_Crowd(Random(seed), names, others, partition).log(events, led=led))


_VIAS: Final[Sequence[ServedVia]] = ("rank", "rank", "fresh", "explore", "push")
_Button = Like | Unlike | Comment | Share | Follow | Hide | Report | Order
_BUTTONS: Final[Sequence[type[_Button]]] = (
    *(Like, Like, Like),
    *(Comment, Share, Follow, Hide, Report, Order),
)


class _Taste(NamedTuple):
    """How much of a video a slice's viewers watch, and how often they press a button."""

    watched: float
    eager: float


@dataclass
class _Crowd:
    """Viewers who act at random, by one random source."""

    random: Random
    names: list[str]
    others: list[str]
    partition: int
    signer: Signer = SIGNER
    offset: int = 0
    now: int = NOW
    number: int = 0
    seqs: dict[str, int] = field(default_factory=dict)
    waiting: list[InteractionRecord] = field(default_factory=list)
    sent: list[InteractionRecord] = field(default_factory=list)
    tastes: dict[tuple[str, str], _Taste] = field(default_factory=dict)
    admitted: list[str] = field(default_factory=list)

    def log(self, events: int, *, led: bool) -> Iterator[Logged]:
        half, last = (events, events) if led else (events // 2, events * 4 // 5)
        if not led:
            yield self._keys(Upgrade("upgrade-1", NOW))
            yield self._signed(policy(**DRAWING))
        waiting = list(self.names[: max(len(self.names) - 1, 1)])  # the last is never admitted
        while self.number < events:
            if self.number >= half:
                half = events + 1
                yield from self._rotation()
                dearer = {
                    name: msgspec.structs.replace(spec, price=spec.price + 15_000)
                    for name, spec in FIXED.slices.items()
                    if name != MUSIC
                }
                yield self._signed(
                    policy(
                        id="policy-2",
                        seq=2,
                        version="fixed-2",
                        ts=self.now,
                        slices=dearer,
                        weights=msgspec.structs.replace(WEIGHTS, like=450_000, hide=-900_000),
                        **DRAWING,
                    )
                )
            if self.number >= last:
                last = events + 1
                yield self._keys(Lead("lead-1", self.now, 1, "leader-1"))
                yield self._keys(policy(id="policy-9", seq=9, version="fixed-9"))  # an old leader's
                ours = policy(id="policy-3", term=1, version="fixed-3", ts=self.now, **DRAWING)
                yield self._signed(ours)
            chance = self.random.random()
            if waiting and chance < 0.05:
                yield self._admit(waiting.pop(0))
            elif chance < 0.055 and self.admitted:
                yield self._control()
            elif chance < 0.09:
                yield self._bad()
            elif chance < 0.35:
                yield self._array()
            else:
                yield self._record(self._next())
                if self.offset % 25 == 0:
                    yield self._record(self._weightless())

    def _rotation(self) -> Iterator[Logged]:
        """Bring another key into force, sign with it, and take the first one out."""
        first = self.signer
        both = (first.key.public, NEXT_SIGNER.key.public)
        yield self._keys(Key("keys-1", self.now, 1, both))
        self.signer = NEXT_SIGNER
        yield self._keys(Key("keys-2", self.now, 2, (NEXT_SIGNER.key.public,)))
        yield self._keys(Generation("generation-1", self.now, 350))
        yield self._keys(TopicMove("move-1", self.now, "elsewhere", "here"))

    # what a viewer does

    def _next(self) -> InteractionRecord:
        self.now += self.random.randrange(1, 400)
        chance = self.random.random()
        if self.sent and chance < 0.04:
            return self.random.choice(self.sent[-150:])
        if self.waiting and chance < 0.55:
            event = self.waiting.pop(self.random.randrange(len(self.waiting)))
        else:
            event = self._exposure()
        self.sent.append(event)
        return event

    def _weightless(self) -> InteractionRecord:
        about = (f"w{self.offset}", self.names[0], f"u{self.offset % 60}", FOOTBALL, self.now)
        kinds = (Profile, Unfollow, Gift, Stay)
        kind = kinds[self.offset // 25 % len(kinds)]
        return kind(*about, self.offset) if kind in (Gift, Stay) else kind(*about)

    def _exposure(self) -> InteractionRecord:
        slices = sorted(FIXED.slices)
        video = self.names[int(len(self.names) * self.random.random() ** 2)]
        usual = slices[self.names.index(video) % len(slices)]
        slice_id = usual if self.random.random() < 0.6 else self.random.choice(slices)
        ts = self.now - (3 * HOUR_MS if self.random.random() < 0.02 else 0)
        viewer = f"u{self.random.randrange(60)}"
        about = (video, viewer, slice_id, ts)
        if self.random.random() < 0.7:
            taste = self._taste(video, slice_id)
            share = min(max(self.random.gauss(taste.watched, 0.3), 0), 1.3)
            self.waiting.append(View(self._id(), *about, int(share * 12_000), 12_000))
            if self.random.random() < taste.eager:
                self.waiting += [kind(self._id(), *about) for kind in self._buttons()]
        return Impression(self._id(), *about, *self._served())

    def _served(self) -> tuple[ServedVia | None, int | None]:
        """Say why it was shown and by what score; every fourth feed says nothing."""
        if self.number % 4 == 0:
            return None, None
        return _VIAS[self.number % 5], None if self.number % 7 == 0 else self.number * 997 % 700_000

    def _buttons(self) -> list[type[_Button]]:
        pressed = [self.random.choice(_BUTTONS) for _ in range(self.random.randrange(1, 3))]
        return [*pressed, Unlike] if self.random.random() < 0.15 else pressed

    def _taste(self, video: str, slice_id: str) -> _Taste:
        key = (video, slice_id)
        if key not in self.tastes:
            self.tastes[key] = _Taste(self.random.uniform(0.1, 0.95), self.random.uniform(0, 0.4))
        return self.tastes[key]

    def _id(self) -> str:
        self.number += 1
        return f"e{self.partition}-{self.number}"

    # what the control plane says

    def _admit(self, video: str) -> Logged:
        slices = sorted(FIXED.slices)
        self.admitted.append(video)
        usual = slices[self.names.index(video) % len(slices)]
        return self._signed(
            admit(
                f"admit-{video}",
                video=video,
                seq=self._seq(video),
                fits={FANS: MICROS, SHENYANG: 200_000} | {usual: 700_000},
                band=self.random.randrange(6),
                commercial=self.random.random() < 0.2,
                limited=self.random.random() < 0.15,
                guarantee=self.random.choice([0, 20, 60]),
                format="live" if self._is_room(video) else "video",
            )
        )

    def _control(self) -> Logged:
        video = self.random.choice(self.admitted)
        seq = self._seq(video)
        about: dict[str, Any] = {"video": video, "seq": seq}
        name = f"c-{video}-{seq}"
        return self._signed(
            self.random.choice(
                [
                    hold(name, **about),
                    release(name, **about),
                    release(name, **about),
                    reconsider(name, **about),
                    revise(name, limited=True, **about),
                    revise(name, limited=False, handicap=0, term=1, **about),
                    revise(name, fits={COOKING: 900_000}, handicap=20_000, term=1, **about),
                    (end if self._is_room(video) else takedown)(name, **about)
                    if self.random.random() < 0.3
                    else clear(name, looked=self.now, **about),
                    hold(name, video=video, seq=max(seq - 2, 0)),  # stale
                ]
            )
        )

    def _is_room(self, video: str) -> bool:
        return self.names.index(video) % 4 == 1

    def _seq(self, video: str) -> int:
        self.seqs[video] = self.seqs.get(video, 0) + 1
        return self.seqs[video]

    # how it is spelled

    def _record(self, event: InteractionRecord) -> Logged:
        return self._logged(encode(event), event.video.encode())

    def _array(self) -> Logged:
        events = [self._next() for _ in range(self.random.randrange(2, 8))]
        return self._logged(encode(events), events[0].video.encode())

    def _signed(self, event: ControlRecord) -> Logged:
        out = control_record("interactions", event, self.signer, self.partition)
        return self._logged(out.value, out.key, out.headers)

    def _keys(self, event: PartitionControl) -> Logged:
        out = control_record("interactions", event, self.signer, self.partition)
        self.offset += 1
        return record(
            *(out.value, self.offset - 1, self.now),
            key=out.key,
            headers=out.headers,
            partition=self.partition,
        )

    def _bad(self) -> Logged:
        good = [self._next(), self._next()]
        raw = encode(good[0])
        unheard = msgspec.json.encode({**msgspec.json.decode(raw), "colour": "red", "id": "x"})
        unsigned = self._seq(self.names[0])
        forged = encode(takedown(video=self.names[0], seq=unsigned))
        beside = encode(good)
        choices: list[bytes | None] = [
            None,
            b"",
            raw[:-9],
            raw + raw,
            b'"text"',
            unheard,
            forged,
            beside[:-1] + b',{"type":"view"}]',
            encode([good[0], msgspec.structs.replace(good[1], slice="mars:people")]),
            encode([msgspec.structs.replace(good[0], ts=self.now + 2 * HOUR_MS), good[1]]),
            encode([msgspec.structs.replace(good[0], id="a b"), good[1]]),
        ]
        choices += [encode(msgspec.structs.replace(good[0], video=video)) for video in self.others]
        return self._logged(self.random.choice(choices), good[0].video.encode())

    def _logged(self, value: bytes | None, key: bytes | None, headers: Headers = ()) -> Logged:
        offset = self.offset
        self.offset += 2 if self.random.random() < 0.01 else 1  # a transaction marker's offset
        return record(value, offset, self.now, key=key, headers=headers, partition=self.partition)
