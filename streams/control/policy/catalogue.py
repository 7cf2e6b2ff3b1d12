"""The catalogue of audience slices, and which of them a video's tags point to.

`config/slices.toml` says for each slice how many impressions it reaches, which tags its crowd
looks for, which slices are like it, and what the decision knows before any evidence. The policy
keeper moves those numbers later; the catalogue is where they begin. Everything is frozen and
pure; decimals of the file become integer micro-units once, at load.
"""

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from math import isqrt
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Final, Self

from msgspec import Meta, Struct
from msgspec.structs import replace

from streams.control.admission.recognise import noisy_or
from streams.control.admission.taxonomy import TagKey, Taxonomy, tag_weights
from streams.control.figures import every, micros, ratio_micros
from streams.control.policy.factors import factorise
from streams.core.events import SlicePolicy, Tag
from streams.core.units import MICROS, SLICES_PER_VIDEO, SliceId, is_slice, surface_of
from streams.errors import Misconfigured
from streams.settings import read_toml
from streams.shapes import shaped

_SECOND_MS: Final = 1_000
Matches = tuple[tuple[SliceId, int], ...]
"""Slices with the fit of one video to each (micro-units), best first, then by id."""


@dataclass(frozen=True, slots=True)
class SliceSpec:
    """One slice as the catalogue describes it.

    `tags` holds how much each tag says that this crowd cares, `cities` the written forms of the
    city of a `nearby` slice. `neighbours` says how alike another slice is (micro-units, by id).
    `policy` has reach, prior mean, variances and price in the units of `SlicePolicy`, its
    `own_variance` being the whole one: what a first policy record is made of. `own` has what the
    slice does not leave to the policy file: horizon, button mean, delay.
    """

    id: SliceId
    label: str
    tags: Mapping[TagKey, int]
    cities: tuple[str, ...]
    neighbours: Mapping[SliceId, int]
    policy: SlicePolicy
    own: Mapping[str, int]

    @property
    def surface(self) -> str:
        """`following`, `nearby` or `discover`."""
        return surface_of(self.id)

    def fit(self, tags: Iterable[Tag]) -> int:
        """Return how well `tags` match this crowd, 0 to 1 000 000.

        Each tag is an independent reason to care, as strong as its confidence times its weight;
        so one sure tag suffices, and a crowd with many tags has no advantage over one with few.
        """
        return noisy_or(
            tag.confidence_micros * self.tags.get(TagKey(tag.dimension, tag.name), 0) // MICROS
            for tag in tags
        )


class Catalogue:
    """Every slice there is; read once at start, never changed."""

    def __init__(self, slices: Iterable[SliceSpec], default: SliceId) -> None:
        by_id = {spec.id: spec for spec in sorted(slices, key=lambda spec: spec.id)}
        self.slices: Final[Mapping[SliceId, SliceSpec]] = MappingProxyType(by_id)
        self.default: Final = default
        self.alike: Final = _both_ways(by_id.values())
        self._city: Final = {city: spec.id for spec in by_id.values() for city in spec.cities}

    @classmethod
    def from_toml(cls, path: Path, taxonomy: Taxonomy | None = None) -> Self:
        """Read the slices, and the taxonomy beside them unless it is given.

        Raises Misconfigured with one line that names file, slice and what to do.
        """
        known = taxonomy or Taxonomy.from_toml(path.parent / "taxonomy.toml")
        return cls.parse(read_toml(path), known=known.implies, where=str(path))

    @classmethod
    def parse(cls, data: Mapping[str, object], *, known: Iterable[TagKey], where: str) -> Self:
        """Build from the parsed content of a file; `known` are the tags that slices may name."""
        file = shaped(data, _SlicesFile, where)
        known = tuple(known)
        specs = every(
            partial(_spec, raw, place, known, where)
            for place, raw in enumerate(file.slice, start=1)
        )
        _check_ids(specs, file.default, where)
        for spec in specs:
            _check_neighbours(spec, {other.id for other in specs}, f"{where}: slice {spec.id}")
        _check_kinds(specs, file.default, where)
        return cls(specs, SliceId(file.default))

    def matches(self, tags: Sequence[Tag], city: str) -> Matches:
        """Return the slices that a video may reach, with its fit to each, best first.

        Followers always and the slice of the upload's city fit fully; every `discover` slice fits
        as its tags do, which may be 0.

        >>> everyone = {"id": "following:fans", "reach": 9, "prior_mean": 0, "price": 0,
        ...     "prior_variance": 1, "noise_variance": 1}
        >>> near = {**everyone, "id": "nearby:shenyang", "cities": ["沈阳"]}
        >>> broad = {**everyone, "id": "discover:all"}
        >>> slices = Catalogue.parse({"default": "discover:all", "slice": [everyone, near, broad]},
        ...     known=(), where="example")
        >>> slices.matches((), "沈阳市")
        (('following:fans', 1000000), ('nearby:shenyang', 1000000), ('discover:all', 0))
        """
        here = self.nearby(city)
        fits = [
            (spec.id, spec.fit(tags) if spec.surface == "discover" else MICROS)
            for spec in self.slices.values()
            if spec.surface != "nearby" or spec.id == here
        ]
        return tuple(sorted(fits, key=lambda match: (-match[1], match[0])))

    def nearby(self, city: str) -> SliceId | None:
        """Return the slice of a city in any catalogued spelling, None for an unknown city."""
        return self._city.get(_city_name(city))

    def slice_policies(
        self, horizon: int, button_mean: int = 0, delay_ms: int = 0
    ) -> dict[str, SlicePolicy]:
        """Return what a policy says of each slice; these numbers where it has none of its own.

        What neighbours have in common becomes loadings, and is taken off each slice's own variance.
        """
        loadings = factorise(list(self.slices), self.alike)
        usual = {"horizon": horizon, "button_mean": button_mean, "delay_ms": delay_ms}
        return {
            name: replace(_with_loadings(spec.policy, loadings[name]), **(usual | dict(spec.own)))
            for name, spec in self.slices.items()
        }


class _SlicesFile(Struct, frozen=True, forbid_unknown_fields=True):
    default: str
    # each slice is checked on its own, so that an error can name it
    slice: Annotated[tuple[dict[str, Any], ...], Meta(min_length=1, max_length=SLICES_PER_VIDEO)]


class _SliceEntry(Struct, frozen=True, forbid_unknown_fields=True):
    id: Annotated[str, Meta(description="surface:group")]
    reach: Annotated[int, Meta(ge=1, lt=1 << 40)]
    prior_mean: Decimal
    prior_variance: Decimal
    noise_variance: Decimal
    price: Decimal
    horizon: Annotated[int, Meta(ge=1, lt=1 << 40)] | None = None
    button_mean: Decimal | None = None
    delay_s: Annotated[int, Meta(ge=0, le=86_400)] | None = None
    label: str = ""
    tags: dict[str, Decimal] = {}
    neighbours: dict[str, Decimal] = {}
    cities: tuple[Annotated[str, Meta(pattern=r"\S", description="the name of a city")], ...] = ()


def _spec(raw: Mapping[str, Any], place: int, known: Sequence[TagKey], where: str) -> SliceSpec:
    here = f"{where}: slice {raw.get('id', f'number {place}')}"
    entry = shaped(raw, _SliceEntry, here)
    if not is_slice(entry.id) or not entry.id.partition(":")[2][0].isalnum():
        raise Misconfigured(f"{here}: not a slice: write surface:group, the group in [a-z0-9_-]")
    policy = SlicePolicy(
        reach=entry.reach,
        prior_mean=_mean(entry.prior_mean, f"{here}: prior_mean"),
        horizon=1,  # until `slice_policies` knows
        own_variance=_variance(entry.prior_variance, f"{here}: prior_variance"),
        noise_variance=_variance(entry.noise_variance, f"{here}: noise_variance"),
        price=_mean(entry.price, f"{here}: price"),
    )
    return SliceSpec(
        id=entry.id,
        label=entry.label or entry.id,
        tags=MappingProxyType(tag_weights(entry.tags, known, f"{here}: tags")),
        cities=tuple(_city_name(city) for city in entry.cities),
        neighbours={
            # a bare group is one of the same surface
            SliceId(name if ":" in name else f"{surface_of(entry.id)}:{name}"): ratio_micros(
                weight, f"{here}: neighbour {name}"
            )
            for name, weight in entry.neighbours.items()
        },
        policy=policy,
        own=MappingProxyType(_own(entry, here)),
    )


def _own(entry: _SliceEntry, where: str) -> dict[str, int]:
    """Return what a slice does not leave to the policy file."""
    buttons, delay_s = entry.button_mean, entry.delay_s
    own = {
        "horizon": entry.horizon,
        "button_mean": None if buttons is None else _mean(buttons, f"{where}: button_mean"),
        "delay_ms": None if delay_s is None else delay_s * _SECOND_MS,
    }
    return {name: number for name, number in own.items() if number is not None}


def _with_loadings(policy: SlicePolicy, loadings: Sequence[float]) -> SlicePolicy:
    """Return a slice's numbers with its variance parted into loadings and what stays its own."""
    variance = policy.own_variance
    spread = isqrt(variance * MICROS)
    first, second, third = (round(spread * each) for each in loadings)
    common = (first * first + second * second + third * third) // MICROS
    return replace(
        policy,
        loadings=(first, second, third),
        own_variance=max(variance - common, 1),
    )


def _both_ways(specs: Iterable[SliceSpec]) -> dict[tuple[str, str], float]:
    """Return how alike slices are, by pair: the larger of what both say of each other."""
    alike: dict[tuple[str, str], float] = {}
    for spec in specs:
        for other, weight in spec.neighbours.items():
            pair, back = (spec.id, other), (other, spec.id)
            alike[pair] = alike[back] = max(weight / MICROS, alike.get(pair, 0.0))
    return alike


def _mean(value: Decimal, where: str) -> int:
    """Return a value per view in micro-units; beyond 100 it was surely written in micro-units."""
    if value.is_finite() and abs(value) <= 100:
        return micros(value, where)
    raise Misconfigured(f"{where}: {value} is out of range: use value per view, -100 to 100")


def _variance(value: Decimal, where: str) -> int:
    if value.is_finite() and 0 < value <= 100:
        return micros(value, where)
    raise Misconfigured(
        f"{where}: {value} is out of range: use value squared, above 0, at most 100"
    )


def _city_name(city: str) -> str:
    """Return one spelling of a city: 沈阳市 is 沈阳, Xi'an is xian."""
    folded = unicodedata.normalize("NFKC", city).casefold().strip().removesuffix(" city")
    letters = "".join(letter for letter in folded if letter.isalnum())
    return letters.removesuffix("市") or letters


def _check_ids(specs: Sequence[SliceSpec], default: str, where: str) -> None:
    seen: set[str] = set()
    for spec in specs:
        if spec.id in seen:
            raise Misconfigured(f"{where}: slice {spec.id}: declared twice: remove one")
        seen.add(spec.id)
    if default not in seen or surface_of(default) != "discover":
        raise Misconfigured(
            f"{where}: default {default}: not a discover slice of this file: name one"
        )
    if not any(spec.surface == "following" for spec in specs):
        raise Misconfigured(
            f"{where}: no following slice: followers see every video, add following:fans"
        )


def _check_neighbours(spec: SliceSpec, known: set[SliceId], where: str) -> None:
    for name in spec.neighbours:
        if name == spec.id:
            raise Misconfigured(f"{where}: neighbour of itself: remove it")
        if name not in known:
            raise Misconfigured(
                f"{where}: unknown neighbour {name}: add that slice or remove it here"
            )


def _check_kinds(specs: Sequence[SliceSpec], default: str, where: str) -> None:
    """Refuse what would have no effect: tags outside `discover`, cities outside `nearby`."""
    cities: dict[str, SliceId] = {}
    for spec in specs:
        here = f"{where}: slice {spec.id}"
        if spec.tags and spec.surface != "discover":
            raise Misconfigured(f"{here}: only discover slices are matched by tags: remove them")
        if not spec.tags and spec.surface == "discover" and spec.id != default:
            raise Misconfigured(f"{here}: without tags no video comes here: add some")
        if bool(spec.cities) != (spec.surface == "nearby"):
            raise Misconfigured(
                f"{here}: cities belong to every nearby slice and to no other: correct it"
            )
        for city in spec.cities:
            if cities.setdefault(city, spec.id) != spec.id:
                raise Misconfigured(f"{here}: city {city} is also in {cities[city]}: remove one")
