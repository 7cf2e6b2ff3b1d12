"""The policy as people write it, and the record that the fold works with.

`config/policy.toml` speaks of probabilities, shares and hours; here they become the integers of
`core.events.Policy`, once, together with the slices of the catalogue.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from hashlib import sha256
from math import log
from pathlib import Path
from statistics import NormalDist
from typing import Annotated, Final, NamedTuple, Self

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import asdict, replace

from streams.control.figures import micros, ratio_micros
from streams.control.policy.catalogue import Catalogue
from streams.control.policy.sample import ONE_IN
from streams.control.shares.ceiling import CeilingRules, CeilingTable, ceiling_rules
from streams.control.shares.rules import ShareRules, SharesTable, share_rules
from streams.core.events import Policy, ViewerBits, Weights
from streams.core.fields import BANDS, EPOCH_MS
from streams.core.halves import ALL_FAMILIES, is_freezable, unplaced
from streams.core.outlook import term_name
from streams.core.units import MICROS, SLICES_PER_VIDEO, SURFACES
from streams.errors import Misconfigured
from streams.settings import read_toml
from streams.shapes import shaped

_HOUR_MS: Final = 3_600_000
_SECOND_MS: Final = 1_000
_SMALLEST: Final = Decimal(1) / MICROS


class GuaranteeBound(NamedTuple):
    """How many full guarantees a creator has a day, and what is owed to each video beyond."""

    full_a_day: int = 3
    beyond: int = 20  # public impressions


USUAL_BOUND: Final = GuaranteeBound()
"""Where the file does not tell."""


@dataclass(frozen=True, slots=True)
class PolicyRules:
    """A policy ready to be broadcast, and the numbers that only admission, keeper and shares need.

    `draft` has everything but the place in time, and the key that draws, which the leader makes:
    take the records from `record`.
    """

    draft: Policy
    guarantee: int
    one_in: int
    shares: ShareRules
    bound: GuaranteeBound
    ceiling: CeilingRules

    @property
    def version(self) -> str:
        """What receipts name: the file's name for it and a hash of its content."""
        return self.draft.version

    def record(self, seq: int, now_ms: int) -> Policy:
        """Return the record of one broadcast before any leader, drawing by its own version.

        `seq` must rise.
        """
        placed = {"id": f"policy-{seq}", "seq": seq, "ts": now_ms}
        return replace(self.draft, explore_key=self.version, **placed)

    @classmethod
    def from_toml(cls, path: Path, catalogue: Catalogue) -> Self:
        """Read a policy file; Misconfigured with one line a problem: the key and what to write."""
        return cls.parse(read_toml(path), catalogue, where=str(path))

    @classmethod
    def parse(cls, data: Mapping[str, object], catalogue: Catalogue, where: str) -> Self:
        """Build from the parsed content of a file; `where` names it in errors."""
        file = shaped(data, _PolicyFile, where)
        draft = versioned(_valid(_draft(file, catalogue, where), where))
        draft = replace(draft, files=draft.version)
        shares = share_rules(file.shares, catalogue, f"{where}: shares")
        owed = file.guarantee
        bound = GuaranteeBound(owed.full_a_day, owed.beyond)
        ceiling = ceiling_rules(file.ceiling, f"{where}: ceiling")
        return cls(draft, owed.impressions, file.keeper.one_in, shares, bound, ceiling)


def versioned(policy: Policy) -> Policy:
    """Return a policy whose version is the name of its files and a hash of what it decides by.

    The key that draws is no part of it: an installation has but one.
    """
    name = policy.files.rpartition("-")[0] or policy.version  # a draft has but a name
    bare = replace(unplaced(policy), version=name, files="", moved=(), frozen=(), pinned="")
    bare = replace(bare, explore_key="")
    return replace(policy, version=f"{name}-{_fingerprint(bare)}")


def _draft(file: "_PolicyFile", catalogue: Catalogue, where: str) -> Policy:
    growth, evidence = file.growth, file.evidence
    weights = {
        name: _value(value, f"{where}: weights.{name}")
        for name, value in asdict(file.weights).items()
    }
    button_mean = _value(evidence.button_mean, f"{where}: evidence.button_mean")
    return Policy(
        id="policy",
        ts=EPOCH_MS,
        seq=1,
        version=file.name,
        weights=Weights(**weights),
        slices=catalogue.slice_policies(growth.horizon, button_mean, evidence.delay_s * _SECOND_MS),
        first=growth.first,
        tranche=growth.tranche,
        growth=growth.factor,
        top_stage=growth.top_stage,
        budget=growth.budget,
        widen_z=_quantile(growth.widen_probability, f"{where}: growth.widen_probability"),
        widen_used=ratio_micros(growth.widen_used, f"{where}: growth.widen_used"),
        nearly_used=ratio_micros(growth.nearly_used, f"{where}: growth.nearly_used"),
        noise_views=evidence.noise_views,
        noise_floor=_value(evidence.noise_floor, f"{where}: evidence.noise_floor", _SMALLEST),
        noise_cross=ratio_micros(evidence.noise_cross, f"{where}: evidence.noise_cross"),
        fit_value=_value(evidence.fit_value, f"{where}: evidence.fit_value"),
        open_max=growth.open_max,
        guarantee_slices=file.guarantee.slices,
        guarantee_ms=file.guarantee.hours * _HOUR_MS,
        fresh_share=ratio_micros(file.guarantee.fresh_share, f"{where}: guarantee.fresh_share"),
        terms=_terms(file.price, f"{where}: price"),
        late_after_ms=evidence.late_after_hours * _HOUR_MS,
        widen_viewers=file.viewers.widen,
        stop_viewers=file.viewers.stop,
        return_margin=_value(
            growth.return_margin, f"{where}: growth.return_margin", least=Decimal(0)
        ),
        annoyed_share=ratio_micros(file.viewers.annoyed, f"{where}: viewers.annoyed"),
        frozen=_frozen(file.keeper.frozen, catalogue, f"{where}: keeper.frozen"),
        explore_probability=_value(
            file.exploration.probability,
            f"{where}: exploration.probability",
            least=Decimal(0),
            most=Decimal("0.5"),
        ),
        report_drain=_report_drain(file.reports, f"{where}: reports"),
        report_bar=file.reports.bar * MICROS,
    )


def _report_drain(reports: "_Reports", where: str) -> int:
    """Return the micro-reports that an impression takes off: see `core.reports`."""
    usual = ratio_micros(reports.usual, f"{where}.usual")
    grave = ratio_micros(reports.grave, f"{where}.grave")
    if not 0 < usual < grave:
        raise Misconfigured(f"{where}: usual must be above 0, and grave above it")
    return round((grave - usual) / log(grave / usual))


def _frozen(names: tuple[str, ...], catalogue: Catalogue, where: str) -> tuple[str, ...]:
    for name in names:
        if not is_freezable(name, catalogue.slices):
            families = ", ".join(ALL_FAMILIES)
            raise Misconfigured(f"{where}: {name} is none of {families}, nor family:slice of one")
    return tuple(sorted(set(names)))


def _valid(draft: Policy, where: str) -> Policy:
    """Return the draft after the checks that every reader of the log makes."""
    return shaped(msgspec.to_builtins(draft), Policy, where)


def _fingerprint(draft: Policy) -> str:
    return sha256(msgspec.json.encode(draft, order="deterministic")).hexdigest()[:8]


def _quantile(probability: Decimal, where: str) -> int:
    """Return how many standard deviations, in micros, bound a probability from above.

    >>> _quantile(Decimal("0.9"), ""), _quantile(Decimal("0.5"), "")
    (1281552, 0)
    """
    if not (probability.is_finite() and Decimal("0.5") <= probability <= Decimal("0.999999")):
        raise Misconfigured(f"{where}: {probability} is out of range: use 0.5 to 0.999999")
    return round(NormalDist().inv_cdf(float(probability)) * MICROS)


def _value(
    value: Decimal, where: str, least: Decimal = Decimal(-100), most: Decimal = Decimal(100)
) -> int:
    """Return a value in micro-units; beyond 100 it was surely written in micro-units."""
    if value.is_finite() and least <= value <= most:
        return micros(value, where)
    raise Misconfigured(f"{where}: {value} is out of range: use {least:f} to {most}")


def _terms(price: "_Price", where: str) -> dict[str, int]:
    """Return what each class adds to the price, on every public surface; nothing is left out."""
    terms = {}
    for surface in SURFACES:
        for band in range(BANDS):
            for commercial in (False, True) if surface != "following" else ():
                own = _value(price.bands.get(str(band), Decimal(0)), f"{where}.bands.{band}")
                extra = _value(price.commercial, f"{where}.commercial") if commercial else 0
                if term := own + extra:
                    terms[term_name(surface, band, commercial)] = term
    return terms


class _Weights(Struct, frozen=True, forbid_unknown_fields=True):
    watch: Decimal
    complete: Decimal
    like: Decimal
    comment: Decimal
    share: Decimal
    follow: Decimal
    hide: Decimal
    report: Decimal
    order: Decimal


class _Growth(Struct, frozen=True, forbid_unknown_fields=True):
    tranche: Annotated[int, Meta(ge=1, le=1_000_000)]
    factor: Annotated[int, Meta(ge=2, le=100)]
    top_stage: Annotated[int, Meta(ge=1, le=20)]
    budget: Annotated[int, Meta(ge=1, lt=1 << 40)]
    horizon: Annotated[int, Meta(ge=1, lt=1 << 40)]
    open_max: Annotated[int, Meta(ge=1, le=SLICES_PER_VIDEO)]
    widen_probability: Decimal
    widen_used: Decimal
    nearly_used: Decimal
    return_margin: Decimal
    first: Annotated[int, Meta(ge=0, le=1_000_000)] = 0


class _Evidence(Struct, frozen=True, forbid_unknown_fields=True):
    noise_views: Annotated[int, Meta(ge=1, le=10_000)]
    noise_floor: Decimal
    noise_cross: Decimal
    button_mean: Decimal
    delay_s: Annotated[int, Meta(ge=0, le=86_400)]
    fit_value: Decimal
    late_after_hours: Annotated[int, Meta(ge=0, le=10**11 // _HOUR_MS)]


class _Viewers(Struct, frozen=True, forbid_unknown_fields=True):
    widen: Annotated[tuple[ViewerBits, ...], Meta(max_length=20)]
    stop: ViewerBits
    annoyed: Decimal


class _Reports(Struct, frozen=True, forbid_unknown_fields=True):
    usual: Decimal = Decimal("0.0005")
    grave: Decimal = Decimal("0.005")
    bar: Annotated[int, Meta(ge=0, le=100_000)] = 7


_BandName = Annotated[str, Meta(pattern=r"\A[0-5]\Z", description="a fan band, 0 to 5")]


class _Price(Struct, frozen=True, forbid_unknown_fields=True):
    bands: dict[_BandName, Decimal]
    commercial: Decimal


class _Guarantee(Struct, frozen=True, forbid_unknown_fields=True):
    impressions: Annotated[int, Meta(ge=0, le=10_000)]
    slices: Annotated[int, Meta(ge=1, le=16)]
    hours: Annotated[int, Meta(ge=0, le=10**11 // _HOUR_MS)]
    fresh_share: Decimal
    full_a_day: Annotated[int, Meta(ge=1, le=10_000)] = USUAL_BOUND.full_a_day
    beyond: Annotated[int, Meta(ge=0, le=10_000)] = USUAL_BOUND.beyond


class _Exploration(Struct, frozen=True, forbid_unknown_fields=True):
    probability: Decimal = Decimal(0)


class _Keeper(Struct, frozen=True, forbid_unknown_fields=True):
    frozen: tuple[str, ...] = ()
    one_in: Annotated[int, Meta(ge=1, le=1_000_000)] = ONE_IN


class _PolicyFile(Struct, frozen=True, forbid_unknown_fields=True):
    name: Annotated[
        str,
        Meta(
            pattern=r"\A[a-z0-9][a-z0-9_-]{0,39}\Z",
            description="a name of a-z, 0-9, _ and -, up to 40 characters",
        ),
    ]
    weights: _Weights
    growth: _Growth
    evidence: _Evidence
    viewers: _Viewers
    price: _Price
    guarantee: _Guarantee
    shares: SharesTable
    exploration: _Exploration = _Exploration()
    keeper: _Keeper = _Keeper()
    reports: _Reports = _Reports()
    ceiling: CeilingTable = CeilingTable()
