"""The promises of the file: what the platform owes, what it may cost, and what cannot be held."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Final, Literal

from msgspec import Struct

from streams.control.figures import micros, ratio_micros
from streams.control.policy.catalogue import Catalogue
from streams.core.shares import MARGIN, Bar
from streams.core.units import MICROS
from streams.errors import Misconfigured

DUE_MOST: Final = 50_000
"""At most this share of a slice's slots is for newcomers, in millionths."""
Feeds = Literal["blend", "tabs"]


@dataclass(frozen=True, slots=True)
class ShareRules:
    """What the platform promised, in the order in which it counts, and what it may cost.

    A promise raises or lowers its class by at most `tilt_max` micro-units of value; what it comes
    to over hours, by at most `term_max`, becomes a part of the prices.
    """

    bars: tuple[Bar, ...]
    tilt_max: int
    term_max: int
    gain: int  # micro-units of share that a tilt of one value moves, before it is measured
    feeds: Feeds


class SharesTable(Struct, frozen=True, forbid_unknown_fields=True):
    """The table `[shares]` of `policy.toml`."""

    private: Decimal
    ordinary: Decimal
    commercial: Decimal
    tilt_max: Decimal
    term_max: Decimal
    gain: Decimal
    feeds: Feeds


def share_rules(table: SharesTable, catalogue: Catalogue, where: str) -> ShareRules:
    """Return the rules of a file; `Misconfigured` where they could not be held by anything."""
    private = ratio_micros(table.private, f"{where}.private")
    ordinary = ratio_micros(table.ordinary, f"{where}.ordinary")
    ceiling = ratio_micros(table.commercial, f"{where}.commercial")
    if private + ordinary > MICROS:
        raise Misconfigured(
            f"{where}: the floors private and ordinary sum to {table.private + table.ordinary}: "
            "lower them until they are at most 1 together"
        )
    if private and not any(spec.surface == "following" for spec in catalogue.slices.values()):
        raise Misconfigured(
            f"{where}.private: no following slice in slices.toml could hold it: add one, or use 0"
        )
    if ceiling and ceiling <= MARGIN:
        raise Misconfigured(f"{where}.commercial: {table.commercial} leaves no room: above 0.01")
    return ShareRules(
        (
            Bar("private", private),
            Bar("ordinary", ordinary),
            Bar("commercial", ceiling),
        ),
        _bound(table.tilt_max, f"{where}.tilt_max"),
        _bound(table.term_max, f"{where}.term_max"),
        _bound(table.gain, f"{where}.gain", most=1_000),
        table.feeds,
    )


def _bound(value: Decimal, where: str, most: int = 1) -> int:
    """Return a number above 0: with a bound of 0 nothing could be moved, and nothing held."""
    if value.is_finite() and 0 < value <= most:
        return micros(value, where)
    raise Misconfigured(f"{where}: {value} is out of range: use more than 0, at most {most}")
