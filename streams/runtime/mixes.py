"""The topic `mix` as a table: what feeds add to the scores of classes, so that the shares hold.

The leader writes one record a minute, its key is the leader's term: a leader that slept over
another one's term spoils no record but its own. The greatest (term, seq) is in force. Each record
is signed as those of the log are, and whatever nobody in force signed is not there.
"""

from collections.abc import Iterable, Mapping
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, Struct

from streams.core.events import Name
from streams.core.fields import Count, Micros, Millis, Ratio, Sequence, SliceName, Term
from streams.core.keys import Trust
from streams.core.shares import PromiseName
from streams.core.units import MICROS, SLICES_PER_VIDEO
from streams.errors import DeadLetter, Retry
from streams.runtime.ports import LogReader, Outgoing, Record
from streams.runtime.reasons import PARSER_ERRORS
from streams.runtime.signing import SIGNATURE, Signer, require_signature
from streams.settings import Settings

TOPIC: Final = "mix"
KEY: Final = b"mix "
"""Before the term: key of the latest mix of one leader."""
KEPT_MS: Final = 180_000
"""A mix that no other one follows is in force as it is for so long."""
FADED_MS: Final = 14_400_000
"""Then it fades, to nothing, in so long: what stays is in the policy's prices.

That is as slowly as the slow mean of a tilt forgets: until somebody measures again, nothing is a
better guess of what shares need than the last that they needed.
"""
PAST: Final = 3
"""A share is measured under the tilt of so many mixes before the one that is made of it."""
LATEST: Final = 50
"""So many records at the end of the topic hold the one in force: leaders write one a minute."""

BEGIN: Final = -1
"""The position of whoever read nothing yet."""
FETCH_MS: Final = 500
SILENT_TRIES: Final = 20

Shortness = Literal["", "supply", "bound", "surfaces", "unmeasured", "yields"]
"""Why a share is not held: its class has too little to show, the tilt is at its bound, feeds do not
blend surfaces, too little of the traffic is known, or what comes before it is short itself."""


class Promise(Struct, frozen=True, omit_defaults=True):
    """How one share stands that was promised: a floor, or the ceiling of commercial videos.

    `owed` impressions are missing in its class (too many were shown, of a ceiling); they raise
    (lower) the class by `tilt` micro-units of value, of which `slow` is the mean of hours. `gain`
    is what a tilt moves: micro-units of share for one of value. `pace` is the mean of the
    impressions a minute that the share is of. `past` are the tilts of the mixes before, the latest
    first; under the last of them the share was measured.
    """

    name: PromiseName
    bound: Ratio  # of the floor or ceiling itself
    share: Ratio = 0  # measured last
    owed: Count = 0
    tilt: Micros = 0
    slow: Micros = 0
    gain: Annotated[int, Meta(ge=1, lt=1 << 53)] = 3 * MICROS
    pace: Count = 0
    short: Shortness = ""
    cost: Count = 0  # value that holding it cost since the day began, micro-units
    past: Annotated[tuple[Micros, ...], Meta(max_length=PAST)] = ()


class Ceiling(Struct, frozen=True, omit_defaults=True):
    """How creators stood to the ceiling of one when they were looked at last.

    `share` is the ceiling, None where nobody's share of the day is known. `above` have more,
    `lowered` have something taken off their scores, `most` of anybody.
    """

    minute: Count
    share: Ratio | None = None
    above: Count = 0
    lowered: Count = 0
    most: Micros = 0


class Mix(Struct, frozen=True, omit_defaults=True, tag_field="type", tag="mix"):
    """What feeds go by for a minute.

    `seq` is the minute (tick) of the traffic that it was made from, `ts` the leader's clock.
    `tilts` are added to the scores of a class on a surface (`term_name`), beside what the policy's
    prices have. `due` is the share of a slice's slots that newcomers need; of slices that it does
    not name the policy's. `private_slots` of ten should be of creators that the viewer follows,
    where feeds show surfaces apart. `short` tells of slices that newcomers have too few slots in.
    `worth` is the value of all views since the `day` began.
    """

    term: Term
    seq: Sequence
    ts: Millis
    by: Name = ""
    tilts: dict[str, Micros] = {}
    due: Annotated[dict[SliceName, Ratio], Meta(max_length=SLICES_PER_VIDEO)] = {}
    private_slots: Annotated[int, Meta(ge=0, le=10)] = 0
    promises: tuple[Promise, ...] = ()
    short: tuple[SliceName, ...] = ()
    unmeasured: tuple[int, ...] = ()  # partitions
    day: Count = 0  # since 1970
    worth: Count = 0
    ceiling: Ceiling | None = None  # before the first look


_encode: Final = msgspec.json.Encoder(order="deterministic").encode
_decode: Final = msgspec.json.Decoder(Mix).decode


def order_of_mix(mix: Mix) -> tuple[int, int]:
    """Return what says which of two mixes is the later one."""
    return mix.term, mix.seq


def mix_record(settings: Settings, mix: Mix, signer: Signer) -> Outgoing:
    """Return the record of a mix."""
    key, value = KEY + b"%d" % mix.term, _encode(mix)
    return Outgoing(settings.topic(TOPIC), value, key, [signer.header(key, value)], 0)


def read_mix(record: Record, trust: Trust) -> Mix | None:
    """Return the mix of a record, None if it is of another kind.

    Of another kind is what nobody signed whose key is in `trust`.
    """
    if record.value is None or not any(name == SIGNATURE for name, _ in record.headers):
        return None
    try:
        require_signature(record, trust, None)
        mix = _decode(record.value)
    except (DeadLetter, *PARSER_ERRORS):
        return None
    return mix if record.key == KEY + b"%d" % mix.term else None


def latest_mix(records: Iterable[Record], trust: Trust, known: Mix | None = None) -> Mix | None:
    """Return the greatest mix of some records and the one known so far."""
    mixes = [mix for record in records if (mix := read_mix(record, trust)) is not None]
    return max((*mixes, *([known] if known else ())), key=order_of_mix, default=None)


async def mix_records(
    reader: LogReader, settings: Settings, position: int = BEGIN
) -> tuple[list[Record], int]:
    """Return what stands in the topic from an offset on, and where to go on; the latest at first.

    `Retry` if the topic does not answer.
    """
    topic = settings.topic(TOPIC)
    bounds = (await reader.offsets(topic, [0])).get(0)
    if bounds is None:
        raise Retry(f"{topic} does not answer")
    begins = position == BEGIN or position > bounds.end  # so is one that was made again
    first = bounds.end - LATEST if begins else position
    start = min(max(first, bounds.start), bounds.end)
    reader.assign({(topic, 0): start})
    records: list[Record] = []
    silent = 0
    while (position := await reader.position(topic, 0)) < bounds.end:
        batches = await reader.fetch(FETCH_MS, 1_000)
        records += batches.get((topic, 0), ())
        silent = 0 if batches else silent + 1
        if silent > SILENT_TRIES:
            raise Retry(f"{topic} does not answer")
    reader.assign({})
    return records, position


def remains(age_ms: int) -> int:
    """Return how much of a mix is left, in millionths, so long after it was written.

    >>> remains(60_000), remains(KEPT_MS + FADED_MS // 4), remains(KEPT_MS + FADED_MS)
    (1000000, 750000, 0)
    """
    return min(max(MICROS - (age_ms - KEPT_MS) * MICROS // FADED_MS, 0), MICROS)


def tilts_on(mix: Mix, surface: str, left: int = MICROS) -> Mapping[str, int]:
    """Return what is added to the score of each class on a surface, `left` (millionths) of it.

    >>> mix = Mix(1, 7, 1_700_000_000_000, tilts={"discover:0": 30_000, "following:0": 10_000})
    >>> tilts_on(mix, "discover", left=500_000)
    {'0': 15000}
    """
    parted = ((name.partition(":"), tilt) for name, tilt in mix.tilts.items())
    return {kind: tilt * left // MICROS for (on, _, kind), tilt in parted if on == surface}
