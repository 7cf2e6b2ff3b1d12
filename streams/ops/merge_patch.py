"""JSON merge patch (RFC 7396) on bytes: what the patch does not name keeps its own spelling."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import Raw

from streams.errors import Misconfigured

Patch = Mapping[str, Any]
"""Names and what becomes of them, as JSON: null removes, an object is a patch of its own."""

_decode_fields: Final = msgspec.json.Decoder(dict[str, Raw]).decode
_decode_patch: Final = msgspec.json.Decoder(dict[str, Any]).decode
_encode: Final = msgspec.json.encode


def parse_patch(text: str) -> Patch:
    """Return a patch as a person writes it; `Misconfigured` if it is no JSON object."""
    try:
        return _decode_patch(text)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        raise Misconfigured(
            '--patch is no JSON object: write {"slice":"discover:cars"}, null removes a field'
        ) from None


def merge(value: bytes, patch: Patch) -> bytes:
    """Return JSON patched; what is no object is as good as an empty one.

    Raises what the parser raises if `value` is an object that is no JSON.

    >>> merge(b'{"a": 1.50, "b": {"c": 1, "d": 2}}', {"b": {"d": None, "e": [1]}, "f": "x"})
    b'{"a":1.50,"b":{"c":1,"e":[1]},"f":"x"}'
    """
    fields = _decode_fields(value) if is_object(value) else {}
    for name, change in patch.items():
        if change is None:
            fields.pop(name, None)
        elif isinstance(change, dict):
            fields[name] = Raw(merge(bytes(fields.get(name, b"{}")), change))
        else:
            fields[name] = Raw(_encode(change))
    return _encode(fields)


def is_object(value: bytes) -> bool:
    """Tell whether JSON is an object, by its first character."""
    return value.lstrip(b" \t\r\n")[:1] == b"{"
