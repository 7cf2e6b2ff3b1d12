"""Control records of 0.1.0 read into today's types.

A policy at the `upgrade` record, and whatever stands behind it, signed as records of today are.
What is decided from them follows today's rule, with numbers that say the same as far as it can:

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

from collections.abc import Iterable
from statistics import median_low
from typing import Final

from streams.core.events import (
    Admit,
    FirstAdmit,
    FirstPolicy,
    FirstSlicePolicy,
    Policy,
    SlicePolicy,
)
from streams.core.fields import BANDS
from streams.core.outlook import term_name
from streams.core.units import MICROS, SURFACES, surface_of

HORIZON: Final = 400
"""Impressions that a video could expect in one slice."""
_WELL_KNOWN: Final = BANDS - 1
_SAME: Final = [
    name
    for name in FirstPolicy.__struct_fields__
    if name in Policy.__struct_fields__ and name != "slices"
]


def admit_of(first: FirstAdmit) -> Admit:
    """Return what an admission of 0.1.0 says today."""
    return Admit(
        id=first.id,
        video=first.video,
        ts=first.ts,
        seq=first.seq,
        commercial=first.commercial,
        limited=first.limited,
        fits={**first.fits, **named_fits(first.starts)},
        band=band_of_tier(first.tier),
    )


def named_fits(slices: Iterable[str]) -> dict[str, int]:
    """Return full fits of the slices that a video reaches only by name."""
    return {name: MICROS for name in slices if surface_of(name) != "discover"}


def band_of_tier(tier: str) -> int:
    """Return the fan band that stands for a tier of 0.1.0."""
    return _WELL_KNOWN if tier == "established" else 0


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


def _slice_of(first: FirstSlicePolicy) -> SlicePolicy:
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
