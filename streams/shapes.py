"""Data that people write, checked against a type; what is wrong is told in words.

A problem names the key, the value and what to write instead. The words come from the type itself:
from its bounds, or from the `description` of its `Meta` where a pattern speaks to machines only.
"""

import difflib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Annotated, Any, NamedTuple, TypeVar, get_args, get_origin, get_type_hints

import msgspec
from msgspec import NODEFAULT, Struct
from msgspec import inspect as types

from streams.addresses import shown
from streams.errors import Misconfigured

T = TypeVar("T")
Hook = Callable[[type, Any], Any]
"""Makes what msgspec does not know out of what was written; ValueError if it cannot."""
LONGEST_VALUE = 60
"""Longer values are cut where a problem shows them."""


class Problem(NamedTuple):
    """One thing to mend: the path of its key ("" for all of the data), and what is wrong."""

    key: str
    what: str

    def __str__(self) -> str:
        return f"{self.key} {self.what}".strip()


def shaped(data: Mapping[str, object], shape: type[T], where: str) -> T:
    """Return `data` as `shape`; raises Misconfigured with a line for each problem, after `where`.

    >>> class Growth(Struct):
    ...     tranche: Annotated[int, msgspec.Meta(ge=1)]
    >>> shaped({"tranche": 0}, Growth, "policy.toml")
    Traceback (most recent call last):
    streams.errors.Misconfigured: policy.toml: tranche is 0: write a whole number from 1 on
    """
    try:
        return msgspec.convert(data, shape)
    except msgspec.ValidationError:
        found = [f"{where}: {problem}" for problem in problems(data, shape)]
        raise Misconfigured(*found) from None


def problems(value: object, shape: Any, hook: Hook | None = None, key: str = "") -> list[Problem]:
    """Return everything in `value` that `shape` does not allow, in the order of the shape."""
    bare = get_args(shape)[0] if get_origin(shape) is Annotated else shape
    within = list(_within(value, bare, hook, key))
    return within or _refusal(value, shape, hook, key)


def nearest(word: str, known: Iterable[str]) -> str:
    """Return the question after the known word that is most like `word`, "" if none is.

    >>> nearest("flush_rowz", ["brokers", "flush_rows"]), nearest("x", ["brokers"])
    ('did you mean flush_rows?', '')
    """
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.75)
    return f"did you mean {close[0]}?" if close else ""


def _within(value: object, shape: Any, hook: Hook | None, key: str) -> Iterator[Problem]:
    """Find the problems of what a container holds."""
    origin = get_origin(shape)
    if isinstance(value, Mapping) and isinstance(shape, type) and issubclass(shape, Struct):
        yield from _in_table(value, shape, hook, key)
    elif isinstance(value, Mapping) and origin is dict:
        names, values = get_args(shape)
        for name, held in value.items():
            yield from _wrong_name(name, names, key)
            yield from problems(held, values, hook, _path(key, name))
    elif isinstance(value, list | tuple) and origin in (tuple, frozenset):
        for place, held in enumerate(value, start=1):
            yield from problems(held, get_args(shape)[0], hook, f"{key}[{place}]")


def _in_table(
    table: Mapping[str, object], shape: type[Struct], hook: Hook | None, key: str
) -> Iterator[Problem]:
    hints = get_type_hints(shape, include_extras=True)
    fields = msgspec.structs.fields(shape)
    known = [field.encode_name for field in fields]
    unknown = [name for name in table if name not in known]
    for name in unknown if shape.__struct_config__.forbid_unknown_fields else ():
        instead = nearest(name, known) or f"known are {', '.join(known)}"
        yield Problem(_path(key, name), f"is not known: {instead}")
    for field in fields:
        path, hint = _path(key, field.encode_name), hints[field.name]
        if field.encode_name in table:
            yield from problems(table[field.encode_name], hint, hook, path)
        elif field.default is NODEFAULT and field.default_factory is NODEFAULT:
            yield Problem(path, f"is missing: write {_words(types.type_info(hint))}")


def _wrong_name(name: str, names: Any, key: str) -> Iterator[Problem]:
    if _refusal(name, names, None, ""):
        wanted = types.type_info(names)
        known = map(str, wanted.values) if isinstance(wanted, types.LiteralType) else ()
        instead = nearest(name, known) or f"write {_words(wanted)}"
        yield Problem(_path(key, name), f"is no name for this: {instead}")


def _refusal(value: object, shape: Any, hook: Hook | None, key: str) -> list[Problem]:
    """Return the one problem of a value as a whole, if it has one."""
    try:
        msgspec.convert(value, shape, dec_hook=hook)
    except msgspec.ValidationError:
        return [Problem(key, f"is {_spelled(value)}: write {_words(types.type_info(shape))}")]
    return []


def _path(key: str, name: str) -> str:
    return f"{key}.{name}" if key else name


def _spelled(value: object) -> str:
    """Return a value as it may be printed; what was meant as an address may hold a password."""
    if isinstance(value, str) and "@" in value and shown(value) == value:
        value = f"***@{value.rpartition('@')[2]}"
    text = shown(json.dumps(value, ensure_ascii=False, default=str))
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}..."


def _words(kind: types.Type) -> str:
    """Return what to write for a type."""
    match kind:
        case types.Metadata(type=inner, extra_json_schema=schema):
            return str((schema or {}).get("description") or _words(inner))
        case types.IntType(ge=least, le=most, lt=below):
            return f"a whole number{_bounds(least, most if below is None else below - 1)}"
        case types.UnionType(types=kinds):
            names = [_words(each) for each in kinds if not isinstance(each, types.NoneType)]
            return " or ".join(names)
        case types.LiteralType(values=values):
            return f"one of {', '.join(map(str, values))}"
        case types.VarTupleType() | types.FrozenSetType():
            some = "a non-empty list" if kind.min_length else "a list"
            size = "" if kind.max_length is None else f", at most {kind.max_length}"
            return f"{some} of {_plural(kind.item_type)}{size}"
        case _:
            return _PLAIN.get(type(kind), "what the comments of this file say")


def _bounds(least: int | None, most: int | None) -> str:
    if most is not None:
        return f" from {least or 0} to {most}"
    return "" if least is None else f" from {least} on"


def _plural(kind: types.Type) -> str:
    return "tables" if isinstance(kind, types.DictType | types.StructType) else "values"


_PLAIN: Mapping[type, str] = {
    types.StrType: "text",
    types.BoolType: "true or false",
    types.FloatType: "a number",
    types.DecimalType: "a number",
    types.DictType: "a table",
    types.StructType: "a table",
    types.TupleType: "a list of two: least and most",
}
