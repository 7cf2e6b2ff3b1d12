"""Rows of a published log: numbered, checked, and turned into events one at a time."""

import csv
import gzip
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import blake2b
from itertools import count
from pathlib import Path
from typing import IO, Final, Protocol, TextIO

from streams.core.events import InteractionRecord, Upload
from streams.errors import Halt, StreamsError
from streams.runtime.signing import encode

Event = Upload | InteractionRecord
_DIGITS_MAX: Final = 20


class BadRow(StreamsError):
    """One row cannot be read; `row` counts the rows below the header from 1."""

    def __init__(self, row: int, message: str) -> None:
        super().__init__(f"row {row} (line {row + 1}): {message}")
        self.row: Final = row


class Row:
    """One row by the names of its columns; `number` counts from 1 below the header."""

    __slots__ = ("_places", "_texts", "number")

    def __init__(self, number: int, places: dict[str, int], texts: Sequence[str]) -> None:
        self.number: Final = number
        self._places = places
        self._texts = texts

    def text(self, column: str) -> str:
        """Return a column's text as it stands."""
        return self._texts[self._places[column]]

    def integer(self, column: str, low: int, high: int) -> int:
        """Return a column as an integer from `low` to `high`, both inclusive; else `BadRow`.

        A fraction of zero is allowed: pandas writes the integers of a column with gaps as 7.0.
        """
        text = self.text(column).removesuffix(".0")
        digits = text.removeprefix("-")
        if not (digits.isascii() and digits.isdigit() and len(digits) <= _DIGITS_MAX):
            raise self.bad(f"{column} is not an integer")
        value = int(text)
        if not low <= value <= high:
            raise self.bad(f"{column} is {value}, outside {low} to {high}")
        return value

    def flag(self, column: str) -> bool:
        """Return a column of 0 or 1; else `BadRow`."""
        return self.integer(column, 0, 1) == 1

    def digest(self, columns: Sequence[str]) -> str:
        """Return 80 bits (20 hexadecimal digits) over the row's number and these columns.

        It depends on the content alone, so that reading a log again, or a longer piece of it,
        gives the same ids, and a repeated publish is dropped as duplicates.
        """
        return digest(str(self.number), *(self.text(column) for column in columns))

    def bad(self, message: str) -> BadRow:
        """Return the error that says what is wrong with this row."""
        return BadRow(self.number, message)


def read_rows(
    lines: Iterable[str], columns: Sequence[str], skip: Callable[[BadRow], None] | None = None
) -> Iterator[Row]:
    """Yield the rows of CSV `lines`, in constant memory; columns beyond `columns` are read over.

    A row that is not CSV or has another number of fields than the header is given to `skip`, or
    raises `BadRow` without one. `Halt` if a column is missing.
    """
    reader = csv.reader(lines)
    header = next(reader, [])
    missing = [name for name in columns if name not in header]
    if missing:
        raise Halt(f"the header has no column {', '.join(missing)}: is this the right --format?")
    places = {name: header.index(name) for name in columns}
    for number in count(1):
        try:
            texts = next(reader)
            if len(texts) != len(header):
                raise BadRow(number, f"{len(texts)} fields, the header has {len(header)}")
        except StopIteration:
            return
        except csv.Error as error:
            _refuse(BadRow(number, f"not CSV: {error}"), skip)
        except BadRow as bad:
            _refuse(bad, skip)
        else:
            yield Row(number, places, texts)


class Converter(Protocol):
    """Turns rows of one kind of log into events."""

    @property
    def columns(self) -> Sequence[str]:
        """Columns that are read."""

    def __call__(self, row: Row) -> Sequence[Event]:
        """Return the events of a row; `BadRow` if it cannot be read."""


def import_log(
    path: Path,
    convert: Converter,
    sink: IO[bytes],
    skip: Callable[[BadRow], None] | None,
    tell: Callable[[int], None],
) -> None:
    """Write a log's events to `sink`, one a line; `tell` hears how many there are so far.

    A bad row goes to `skip`, or is raised.
    """
    with open_log(path) as file:
        rows = read_rows(file, convert.columns, skip)
        for number, event in enumerate(convert_rows(rows, convert, skip), start=1):
            sink.write(encode(event) + b"\n")
            tell(number)


def convert_rows(
    rows: Iterable[Row],
    convert: Callable[[Row], Sequence[Event]],
    skip: Callable[[BadRow], None] | None = None,
) -> Iterator[Event]:
    """Yield the events of each row; a bad row yields none and goes to `skip`, or is raised."""
    for row in rows:
        try:
            events = convert(row)
        except BadRow as bad:
            _refuse(bad, skip)
        else:
            yield from events


@contextmanager
def open_log(path: Path) -> Iterator[TextIO]:
    """Open a CSV log, gzipped if its name ends in `.gz`; `Halt` if that fails.

    Bytes that are not UTF-8 stay readable one by one, as they may stand in columns nobody reads.
    """
    try:
        with _opener(path)(path, "rt", encoding="utf-8", errors="surrogateescape") as file:
            yield file
    except BrokenPipeError:
        raise  # of whoever the rows are written to
    except OSError as error:
        raise Halt(f"cannot read {path}: {error.strerror or error}") from None
    except EOFError:
        raise Halt(f"cannot read {path}: the gzip file is cut off") from None


def _opener(path: Path) -> Callable[..., TextIO]:  # gzip's and ours differ in what they take
    return gzip.open if path.suffix == ".gz" else open


def digest(*texts: str) -> str:
    """Return 80 bits over texts as 20 hexadecimal digits.

    >>> digest("1", "a"), digest("1a")
    ('3abdf62597946ba6add8', '6ac9ab2228412b96225c')
    """
    raw = "\0".join(texts).encode("utf-8", "surrogateescape")
    return blake2b(raw, digest_size=10).hexdigest()


def _refuse(bad: BadRow, skip: Callable[[BadRow], None] | None) -> None:
    if skip is None:
        raise bad
    skip(bad)
