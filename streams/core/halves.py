"""The two halves of a policy: what operators say of it in their files, and what is learned.

Learned are a few families of numbers, most of them one number a slice; launched by the files, then
moved by the keeper, unless an operator froze them. Everything else is the operators'.
"""

from collections.abc import Collection, Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final

from msgspec.structs import replace

from streams.core.events import Policy
from streams.core.fields import EPOCH_MS

FAMILIES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "means": "prior_mean",
        "tastes": "loadings",
        "spreads": "own_variance",
        "noises": "noise_variance",
        "horizons": "horizon",
        "prices": "price",
        "buttons": "button_mean",
        "delays": "delay_ms",
    }
)
"""Families of one number a slice, and what `SlicePolicy` calls it."""
WHOLE: Final[Mapping[str, str]] = MappingProxyType(
    {"cross": "noise_cross", "shares": "leans", "organic": "organic"}
)
"""Families of one field for all slices, and what `Policy` calls it."""
ALL_FAMILIES: Final = (*FAMILIES, *WHOLE)


def is_frozen(frozen: Collection[str], family: str, slice_id: str = "") -> bool:
    """Tell whether a number stays: its whole family is frozen, or this slice's number alone.

    >>> frozen = ("prices", "means:discover:football")
    >>> is_frozen(frozen, "prices", "discover:music"), is_frozen(frozen, "means", "discover:music")
    (True, False)
    """
    return family in frozen or f"{family}:{slice_id}" in frozen


def is_freezable(name: str, slices: Collection[str]) -> bool:
    """Tell whether a name is one of a family, or of a family's number of one of these slices."""
    family, _, slice_id = name.partition(":")
    return name in ALL_FAMILIES or (family in FAMILIES and slice_id in slices)


def with_learned(
    policy: Policy,
    source: Policy,
    families: Collection[str] = ALL_FAMILIES,
    frozen: Collection[str] = (),
) -> Policy:
    """Return a policy with numbers of these families as they are in another one, frozen ones not.

    A slice that the other one does not have keeps its own.
    """
    slices = {}
    for name, spec in policy.slices.items():
        other = source.slices.get(name)
        taken: dict[str, Any] = {
            field: getattr(other, field)
            for family, field in FAMILIES.items()
            if other is not None and family in families and not is_frozen(frozen, family, name)
        }
        slices[name] = replace(spec, **taken)
    whole: dict[str, Any] = {
        field: getattr(source, field)
        for family, field in WHOLE.items()
        if family in families and not is_frozen(frozen, family)
    }
    return replace(policy, slices=slices, **whole)


def differing(one: Policy, other: Policy) -> tuple[str, ...]:
    """Return the families of which some number differs, in slices that both have."""
    pairs = [
        (spec, other.slices[name]) for name, spec in one.slices.items() if name in other.slices
    ]
    families = [
        family
        for family, field in FAMILIES.items()
        if any(getattr(here, field) != getattr(there, field) for here, there in pairs)
    ]
    whole = [name for name, field in WHOLE.items() if getattr(one, field) != getattr(other, field)]
    return (*families, *whole)


def in_order(families: Iterable[str]) -> tuple[str, ...]:
    """Return families in the order of `ALL_FAMILIES`."""
    return tuple(sorted(set(families), key=ALL_FAMILIES.index))


def unplaced(policy: Policy) -> Policy:
    """Return a policy without what tells one broadcast of it from another: place, author, why."""
    nowhere: dict[str, Any] = {"id": "policy", "ts": EPOCH_MS, "seq": 1, "term": 0}
    return replace(policy, **nowhere, by="", why="", evidence={})
