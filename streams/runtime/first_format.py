"""Control records as releases up to 0.1.0 wrote them, read into today's types.

A log keeps them for as long as it is kept, signed, so they are translated when they are read and
never rewritten. The counters of such a log come out exactly as they were; what is decided from
them follows today's rule, with numbers that say the same as far as it can:

| then                                  | now                                                     |
|---------------------------------------|---------------------------------------------------------|
| a slice's `prior_variance`            | `own_variance`; no loadings                             |
| a slice's `neighbours`                | nothing: they were no covariance                        |
| a slice's `reach`                     | `reach`, and `horizon` up to `HORIZON`                  |
| `ordinary_subsidy`                    | a term of minus that much, bands 0 to 4                 |
| `commercial_price`, a factor          | a term: that factor's surplus on the surface's median   |
|                                       | price                                                   |
| an admission's `tier`                 | band 5 if `established`, else 0                         |
| an admission's `starts`               | full fits, where `following` or `nearby`: others are    |
|                                       | open anyway                                             |
| (nothing)                             | the shipped defaults of what a policy did not have      |
"""

from statistics import median_low
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Struct

from streams.core.events import (
    BANDS,
    Admit,
    Id,
    Micros,
    Millis,
    Policy,
    Ratio,
    Sequence,
    SliceName,
    SlicePolicy,
    Variance,
    Weights,
)
from streams.core.outlook import term_name
from streams.core.units import MICROS, SLICES_PER_VIDEO, SURFACES, surface_of

HORIZON: Final = 400
"""Impressions that a video could expect in one slice."""
_WELL_KNOWN: Final = BANDS - 1


class FirstSlice(Struct, frozen=True):
    """A slice in a policy of 0.1.0."""

    reach: Annotated[int, Meta(ge=1, lt=1 << 40)]
    prior_mean: Micros
    prior_variance: Variance
    noise_variance: Variance
    price: Micros


class FirstPolicy(Struct, frozen=True, tag_field="type", tag="policy"):
    """A policy of 0.1.0."""

    id: Id
    ts: Millis
    seq: Sequence
    version: Id
    weights: Weights
    slices: Annotated[dict[SliceName, FirstSlice], Meta(min_length=1, max_length=SLICES_PER_VIDEO)]
    tranche: Annotated[int, Meta(ge=1, le=1_000_000)]
    growth: Annotated[int, Meta(ge=2, le=100)]
    top_stage: Annotated[int, Meta(ge=1, le=20)]
    budget: Annotated[int, Meta(ge=1, lt=1 << 40)]
    widen_z: Annotated[int, Meta(ge=0, le=10 * MICROS)]
    widen_used: Ratio
    nearly_used: Ratio
    noise_views: Annotated[int, Meta(ge=1, le=10_000)]
    noise_floor: Annotated[int, Meta(ge=1, lt=1 << 40)]
    fit_value: Micros
    ordinary_subsidy: Micros
    commercial_price: Annotated[int, Meta(ge=0, le=10 * MICROS)]
    late_after_ms: Annotated[int, Meta(ge=0, le=10**11)]


class FirstAdmit(Struct, frozen=True, tag_field="type", tag="admit"):
    """An admission of 0.1.0."""

    id: Id
    video: Id
    ts: Millis
    seq: Sequence
    tier: Literal["ordinary", "established"]
    commercial: bool
    limited: bool
    starts: Annotated[list[SliceName], Meta(max_length=64)]
    fits: Annotated[dict[SliceName, Ratio], Meta(max_length=256)]


_decode_first: Final = msgspec.json.Decoder(FirstPolicy | FirstAdmit).decode
_SAME: Final = [
    name
    for name in FirstPolicy.__struct_fields__
    if name in Policy.__struct_fields__ and name != "slices"
]


class _Kind(Struct):
    type: str = ""


_decode_kind: Final = msgspec.json.Decoder(_Kind).decode


def decode_control(decoder: msgspec.json.Decoder[Any], value: bytes) -> Any:
    """Decode a control record as `decoder` does, one of 0.1.0 into what it says today.

    Raises what any decoder of msgspec raises.
    """
    if not _may_be_first(value) or _decode_kind(value).type not in {"admit", "policy"}:
        return decoder.decode(value)
    first = _decode_first(value)
    return admit_of(first) if isinstance(first, FirstAdmit) else policy_of(first)


def _may_be_first(value: bytes) -> bool:
    """Tell whether a record may be of 0.1.0: today's have none of these names."""
    return b'"tier"' in value or b'"ordinary_subsidy"' in value


def admit_of(first: FirstAdmit) -> Admit:
    """Return what an admission of 0.1.0 says today."""
    named = {name: MICROS for name in first.starts if surface_of(name) != "discover"}
    return Admit(
        id=first.id,
        video=first.video,
        ts=first.ts,
        seq=first.seq,
        commercial=first.commercial,
        limited=first.limited,
        fits={**first.fits, **named},
        band=_WELL_KNOWN if first.tier == "established" else 0,
    )


def policy_of(first: FirstPolicy) -> Policy:
    """Return what a policy of 0.1.0 says today."""
    return Policy(
        **{name: getattr(first, name) for name in _SAME},
        slices={name: _slice_of(spec) for name, spec in first.slices.items()},
        terms=_terms(first),
        noise_cross=150_000,
        widen_viewers=(30, 90),
        stop_viewers=15,
        annoyed_share=30_000,
        open_max=64,
        guarantee_slices=3,
        guarantee_ms=86_400_000,
        fresh_share=20_000,
    )


def _slice_of(first: FirstSlice) -> SlicePolicy:
    return SlicePolicy(
        reach=first.reach,
        horizon=min(first.reach, HORIZON),
        prior_mean=first.prior_mean,
        own_variance=first.prior_variance,
        noise_variance=first.noise_variance,
        price=first.price,
    )


def _terms(first: FirstPolicy) -> dict[str, int]:
    """Return what the classes pay more or less, by surface."""
    terms = {}
    for surface in SURFACES:
        prices = [spec.price for name, spec in first.slices.items() if surface_of(name) == surface]
        typical = median_low(prices) if prices else 0
        for band in range(BANDS):
            subsidy = first.ordinary_subsidy if band < _WELL_KNOWN else 0
            surplus = (typical - subsidy) * (first.commercial_price - MICROS) // MICROS
            terms[term_name(surface, band, commercial=False)] = -subsidy
            terms[term_name(surface, band, commercial=True)] = surplus - subsidy
    return {name: term for name, term in terms.items() if term}
