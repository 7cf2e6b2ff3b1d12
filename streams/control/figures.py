"""Figures of configuration files: decimals, ratios, and errors that name their place."""

from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import TypeVar

from streams.core.units import MICROS
from streams.errors import Misconfigured

T = TypeVar("T")


def every(makers: Iterable[Callable[[], T]]) -> list[T]:
    """Return what all `makers` make; raises one Misconfigured with the problems of all of them."""
    made: list[T] = []
    problems: list[str] = []
    for make in makers:
        try:
            made.append(make())
        except Misconfigured as error:
            problems += error.problems
    if problems:
        raise Misconfigured(*problems)
    return made


def micros(value: Decimal, where: str) -> int:
    """Return a decimal in micro-units, exactly; raises Misconfigured on more than six decimals."""
    if value.is_finite() and (scaled := value * MICROS) == int(scaled):
        return int(scaled)
    raise Misconfigured(f"{where}: {value} is not a number with at most six decimals: round it")


def ratio_micros(value: Decimal, where: str) -> int:
    """Return a decimal from 0 to 1 in micro-units; raises Misconfigured outside of it."""
    if value.is_finite() and 0 <= value <= 1:
        return micros(value, where)
    raise Misconfigured(f"{where}: {value} is out of range: use 0 to 1")
