"""A second look at what producers write loosely: null for absent, anything as metadata.

Many languages write an absent field as null (Go's nil slice, Java's null string). The typed decode
refuses that; only what it refused comes here, so nothing is paid for it elsewhere.
"""

from functools import cache
from typing import Any, Final

import msgspec
from msgspec import Raw

from streams.core.events import Music

_decode_fields: Final = msgspec.json.Decoder(dict[str, Raw]).decode
_decode_any: Final = msgspec.json.Decoder().decode
_encode: Final = msgspec.json.encode


def decode_leniently(decoder: msgspec.json.Decoder[Any], value: bytes) -> Any:
    """Decode as `decoder` does, null in an optional field as absent and any JSON as metadata.

    Raises what `decoder` raises where that does not help.
    """
    try:
        return decoder.decode(value)
    except msgspec.ValidationError:
        fields = _present(decoder.type, value)
        if "music" in fields:
            fields["music"] = _music(fields["music"])
        if "metadata" in fields:
            fields["metadata"] = _metadata(fields["metadata"])
        return decoder.decode(_encode(fields))


def _present(kind: type, value: bytes | Raw) -> dict[str, Any]:
    """Return the fields of an object without those that are optional and null."""
    optional = _optional(kind)
    return {
        name: raw
        for name, raw in _decode_fields(value).items()
        if name not in optional or bytes(raw) != b"null"
    }


@cache
def _optional(kind: type) -> frozenset[str]:
    return frozenset(field.name for field in msgspec.structs.fields(kind) if not field.required)


def _music(raw: Raw) -> Any:
    return _present(Music, raw) if bytes(raw).startswith(b"{") else raw


def _metadata(raw: Raw) -> dict[str, Any]:
    """Return metadata as an object: what is none stands under `value`."""
    entries = _decode_fields(raw) if bytes(raw).startswith(b"{") else {"value": raw}
    return {name: _readable(entry) for name, entry in entries.items()}


def _readable(raw: Raw) -> Any:
    """Return an entry, as its text where a number in it is out of every range."""
    try:
        return _decode_any(raw)
    except msgspec.ValidationError:
        return bytes(raw).decode()
