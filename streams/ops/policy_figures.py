"""A policy in numbers that people read: each with its half, its unit, and no micro-units."""

from collections.abc import Iterator, Mapping
from typing import Final, Literal, NamedTuple

from streams.core.events import Policy, SlicePolicy
from streams.core.halves import FAMILIES, WHOLE
from streams.core.units import MICROS

Half = Literal["operators", "learned"]
_HOUR_MS: Final = 3_600_000
_VALUE: Final = "value per view"
_SQUARED: Final = "value squared"


class Figure(NamedTuple):
    """One number of a policy."""

    half: Half
    value: float
    unit: str

    def __str__(self) -> str:
        number = f"{self.value:,}" if isinstance(self.value, int) else f"{self.value:g}"
        return f"{number} {self.unit}"


class Difference(NamedTuple):
    """One number that two policies do not agree on; None where a policy has none of it."""

    name: str
    half: Half
    before: float | None
    after: float | None
    change: str
    unit: str


_OPERATORS: Final[Mapping[str, tuple[int, str]]] = {
    "first": (1, "impressions"),
    "tranche": (1, "impressions"),
    "growth": (1, "times, from stage to stage"),
    "top_stage": (1, "widenings"),
    "budget": (1, "impressions"),
    "widen_z": (MICROS, "standard deviations above the price"),
    "widen_used": (MICROS, "share of a tranche"),
    "nearly_used": (MICROS, "share of a tranche"),
    "return_margin": (MICROS, _VALUE),
    "stop_viewers": (1, "different viewers"),
    "annoyed_share": (MICROS, "share of views"),
    "report_drain": (MICROS, "reports, taken off by an impression"),
    "report_bar": (MICROS, "reports"),
    "noise_views": (1, "views"),
    "noise_floor": (MICROS, _SQUARED),
    "fit_value": (MICROS, _VALUE),
    "open_max": (1, "slices"),
    "guarantee_slices": (1, "slices"),
    "guarantee_ms": (_HOUR_MS, "hours"),
    "fresh_share": (MICROS, "share of slots"),
    "late_after_ms": (_HOUR_MS, "hours"),
    "explore_probability": (MICROS, "of a draw, at each opening and widening"),
}
_NAMES: Final = {"guarantee_ms": "guarantee", "late_after_ms": "late_after"}
_SLICE: Final[Mapping[str, tuple[str, int, str]]] = {
    "prior_mean": ("mean", MICROS, _VALUE),
    "own_variance": ("spread", MICROS, _SQUARED),
    "noise_variance": ("noise", MICROS, _SQUARED),
    "horizon": ("horizon", 1, "impressions"),
    "price": ("price", MICROS, _VALUE),
    "button_mean": ("buttons", MICROS, _VALUE),
    "delay_ms": ("delay", 1_000, "seconds"),
}
"""Learned numbers of a slice: what people call each, its scale and unit."""


def figures(policy: Policy) -> dict[str, Figure]:
    """Return every number of a policy by its name, the operators' half first."""
    return {**dict(_operators(policy)), **dict(_learned(policy))}


def slice_row(name: str, spec: SlicePolicy) -> dict[str, str | float]:
    """Return a slice's numbers as a row; tastes are its loadings on the three."""
    row: dict[str, str | float] = {"slice": name}
    for field, (called, scale, _) in _SLICE.items():
        row[called] = _scaled(getattr(spec, field), scale)
    return row | {"tastes": " ".join(f"{each / MICROS:g}" for each in spec.loadings)}


def differences(before: Policy, after: Policy) -> list[Difference]:
    """Return every number on which two policies do not agree."""
    old, new = figures(before), figures(after)
    found = []
    for name in (*old, *(name for name in new if name not in old)):
        was, now = old.get(name), new.get(name)
        if was != now:
            known = now or was
            assert known is not None
            values = (was and was.value, now and now.value)
            found.append(Difference(name, known.half, *values, _change(*values), known.unit))
    return found


def moved_in_words(before: Policy, after: Policy) -> str:
    """Return what changed from one policy to another: learned numbers by family and slices.

    Slices that only one of the two has are counted apart.
    """
    both = [name for name in before.slices if name in after.slices]
    pairs = [(before.slices[name], after.slices[name]) for name in both]
    counts = {
        family: sum(getattr(one, field) != getattr(other, field) for one, other in pairs)
        for family, field in FAMILIES.items()
    }
    words = [f"{family} of {count} slices" for family, count in counts.items() if count]
    words += [
        name for name, field in WHOLE.items() if getattr(before, field) != getattr(after, field)
    ]
    gone, new = len(before.slices) - len(pairs), len(after.slices) - len(pairs)
    words += [f"{gone} slices gone"] if gone else []
    words += [f"{new} slices new"] if new else []
    operators = sum(map(_is_of_operators, differences(before, after)))
    words += [f"{operators} numbers of the operators"] if operators else []
    return ", ".join(words)


def _is_of_operators(each: Difference) -> bool:
    of_a_whole_slice = each.name.endswith(" reach") and None in (each.before, each.after)
    return each.half == "operators" and not of_a_whole_slice


def _operators(policy: Policy) -> Iterator[tuple[str, Figure]]:
    for name in policy.weights.__struct_fields__:
        part = "full watch" if name == "watch" else name
        value = getattr(policy.weights, name) / MICROS
        yield f"weight of {part}", Figure("operators", value, "value")
    for field, (scale, unit) in _OPERATORS.items():
        value = _scaled(getattr(policy, field), scale)
        yield _NAMES.get(field, field).replace("_", " "), Figure("operators", value, unit)
    for number, viewers in enumerate(policy.widen_viewers, start=1):
        yield f"viewers to widen {number}", Figure("operators", viewers, "different viewers")
    for name, term in policy.terms.items():
        yield f"term of {name}", Figure("operators", term / MICROS, _VALUE)
    for name, spec in policy.slices.items():
        yield f"{name} reach", Figure("operators", spec.reach, "impressions")


def _learned(policy: Policy) -> Iterator[tuple[str, Figure]]:
    yield "noise cross", Figure("learned", policy.noise_cross / MICROS, "share")
    for name, lean in policy.leans.items():
        yield f"lean of {name}", Figure("learned", lean / MICROS, _VALUE)
    for name, mean in policy.organic.items():
        yield f"{name} organic", Figure("learned", mean / MICROS, _VALUE)
    for name, spec in policy.slices.items():
        for field, (called, scale, unit) in _SLICE.items():
            value = _scaled(getattr(spec, field), scale)
            yield f"{name} {called}", Figure("learned", value, unit)
        for number, loading in enumerate(spec.loadings, start=1):
            yield f"{name} taste {number}", Figure("learned", loading / MICROS, _VALUE)


def _scaled(value: int, scale: int) -> float:
    return value if scale == 1 else value / scale


def _change(before: float | None, after: float | None) -> str:
    """Return a change in words.

    >>> _change(0.2, 0.25), _change(None, 1), _change(1, None), _change(0, 1)
    ('+25 %', 'new', 'gone', '+1')
    """
    if before is None:
        return "new"
    if after is None:
        return "gone"
    return f"{(after - before) / abs(before) * 100:+.3g} %" if before else f"{after:+g}"
