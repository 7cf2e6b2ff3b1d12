"""What a new schema of events breaks for producers of the last release."""

from collections.abc import Iterator, Mapping
from typing import Any

Schema = Mapping[str, Any]

LEAST = ("minimum", "exclusiveMinimum", "minLength", "minItems")
MOST = ("maximum", "exclusiveMaximum", "maxLength", "maxItems")
SAME = ("type", "pattern", "$ref")


def breaks(old: Schema, new: Schema) -> list[str]:
    """Return one line for each way in which what was valid before is refused or lost now.

    Both are whole documents with `$defs`.
    """
    lines = [f"{name}: gone" for name in sorted(old["$defs"].keys() - new["$defs"].keys())]
    for name in sorted(old["$defs"].keys() & new["$defs"].keys()):
        lines += _breaks(name, old["$defs"][name], new["$defs"][name])
    return lines


def _breaks(place: str, old: Schema, new: Schema) -> Iterator[str]:
    for word in SAME:
        if new.get(word, old.get(word)) != old.get(word):
            yield f"{place}: {word} was {old.get(word)}, is {new.get(word)}"
    for word in (*LEAST, *MOST):
        if word in new and _narrower(word, old.get(word), new[word]):
            yield f"{place}: {word} was {old.get(word)}, is {new[word]}"
    if "enum" in new and (gone := set(old.get("enum", ["anything"])) - set(new["enum"])):
        yield f"{place}: no longer {', '.join(sorted(gone))}"
    for name in set(new.get("required", ())) - set(old.get("required", ())):
        yield f"{place}.{name}: required now"
    yield from _parts(place, old, new)


def _narrower(word: str, before: int | None, now: int) -> bool:
    if before is None:
        return True
    return now > before if word in LEAST else now < before


def _parts(place: str, old: Schema, new: Schema) -> Iterator[str]:
    """Compare what a schema is made of: fields, elements, alternatives."""
    fields, there = old.get("properties", {}), new.get("properties", {})
    for name, field in fields.items():
        if name not in there:
            yield f"{place}.{name}: gone"
        else:
            yield from _breaks(f"{place}.{name}", field, there[name])
    if "items" in old and "items" in new:
        yield from _breaks(f"{place}[]", old["items"], new["items"])
    if isinstance(new.get("additionalProperties"), dict):
        before = old.get("additionalProperties", {})
        yield from _breaks(f"{place}.*", before, new["additionalProperties"])
    if "anyOf" in new:
        for one in old.get("anyOf", [old]):
            if all(list(_breaks(place, one, other)) for other in new["anyOf"]):
                yield f"{place}: no longer {one.get('$ref') or one.get('type')}"
    elif "anyOf" in old:
        for one in old["anyOf"]:
            yield from _breaks(place, one, new)
