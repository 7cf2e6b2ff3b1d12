"""Figures of configuration files: shapes, decimals, ratios, and errors that name their place."""

from collections.abc import Mapping
from decimal import Decimal
from typing import TypeVar

import msgspec

from streams.core.units import MICROS
from streams.errors import Halt

T = TypeVar("T")


def checked(data: Mapping[str, object], shape: type[T], where: str) -> T:
    """Return `data` as `shape`; raises Halt with one line that names the place."""
    try:
        return msgspec.convert(data, shape)
    except msgspec.ValidationError as error:
        raise Halt(f"{where}: {error}: correct or remove this entry") from error


def micros(value: Decimal, where: str) -> int:
    """Return a decimal in micro-units, exactly; raises Halt on more than six decimals."""
    if value.is_finite() and (scaled := value * MICROS) == int(scaled):
        return int(scaled)
    raise Halt(f"{where}: {value} is not a number with at most six decimals: round it")


def ratio_micros(value: Decimal, where: str) -> int:
    """Return a decimal from 0 to 1 in micro-units; raises Halt outside of it."""
    if value.is_finite() and 0 <= value <= 1:
        return micros(value, where)
    raise Halt(f"{where}: {value} is out of range: use 0 to 1")
