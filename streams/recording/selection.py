"""Which records of a recording are meant: by time, by what they say, by count."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from streams.runtime.ports import Record

RECORD_FIELDS: Final = ("topic", "partition", "key")
"""Names in a condition that mean the record; any other means a field of its JSON value."""


@dataclass(frozen=True)
class Selection:
    """Conditions on records; a record is selected if it meets all of them.

    `start_ms` and `end_ms` bound its timestamp (the end is left out). `where` maps names to
    texts; an array of events is selected as a whole if one of its events meets all.
    """

    start_ms: int | None = None
    end_ms: int | None = None
    where: Mapping[str, str] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return self.start_ms is not None or self.end_ms is not None or bool(self.where)

    def takes(self, record: Record) -> bool:
        """Tell whether the record is selected."""
        if self.start_ms is not None and record.timestamp < self.start_ms:
            return False
        if self.end_ms is not None and record.timestamp >= self.end_ms:
            return False
        return not self.where or self._says(record)

    def _says(self, record: Record) -> bool:
        fields = {}
        for name, text in self.where.items():
            if name == "key":
                if record.key != text.encode():
                    return False
            elif name in RECORD_FIELDS:
                if str(getattr(record, name)) != text:
                    return False
            else:
                fields[name] = text
        return not fields or any(_meets(event, fields) for event in _events(record.value))


def parse_where(conditions: tuple[str, ...]) -> dict[str, str]:
    """Return conditions `name=text` by name; `ValueError` if one is none.

    >>> parse_where(("type=view", "video=v1"))
    {'type': 'view', 'video': 'v1'}
    """
    where: dict[str, str] = {}
    for condition in conditions:
        name, equals, text = condition.partition("=")
        if not equals or not name or name in where:
            raise ValueError(f"{condition!r} is no condition: write NAME=TEXT, each name once")
        where[name] = text
    return where


def _events(value: bytes | None) -> list[Any]:
    try:
        decoded = orjson.loads(value or b"")
    except orjson.JSONDecodeError:
        return []
    return decoded if isinstance(decoded, list) else [decoded]


def _meets(event: object, fields: Mapping[str, str]) -> bool:
    if not isinstance(event, dict):
        return False
    return all(name in event and _text(event[name]) == text for name, text in fields.items())


def _text(value: object) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()
