"""Tables and lines as terminals and pipes get them: piped as wide as they are, names whole.

A terminal that is too narrow gets heads and cells of several words on several lines, and where
that is not enough the last columns under their row, each with its name.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from textwrap import wrap
from typing import Final

import click
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

_NUMBER: Final = re.compile(r"\A-?[0-9][0-9,]*(\.[0-9]+)?( ±[0-9.]+)?\Z")
_READABLE: Final = 24
"""A column of words is not made narrower than this."""
_GAP: Final = 2
_INDENT: Final = 4


def print_table(heads: Sequence[str], rows: Sequence[Iterable[object]]) -> None:
    """Print rows under their heads, or pairs without any; None is a dash."""
    cells = [[_cell(value) for value in row] for row in rows]
    columns = list(zip(heads or [""] * 2, *cells, strict=True))
    console = Console(highlight=False)
    wide = [max(map(cell_len, column)) for column in columns]
    narrow = [_narrowest(column) for column in columns] if console.is_terminal else wide
    if heads and console.is_terminal and _width(narrow) > console.width:
        _print_in_two(console, columns)
        return
    widths = _spread(narrow, wide, console.width)
    console.width = _width(widths)
    console.print(_table(columns, widths), crop=False)


def folded(text: str) -> str:
    """Return lines, on a terminal that is too narrow folded between words, the rest indented."""
    console = Console(highlight=False)
    if not console.is_terminal:
        return text
    return "\n".join(part for line in text.split("\n") for part in _fold(line, console.width))


def _fold(line: str, width: int) -> Iterator[str]:
    first, *more = _wrapped(line, width, 0)
    yield first
    under = len(line) - len(line.lstrip()) + _INDENT
    for part in _wrapped(line[len(first) :].lstrip(), width, under) if more else ():
        yield " " * under + part


def _wrapped(line: str, width: int, indent: int) -> list[str]:
    """Return a line in parts that fit beside an indent, none of its words folded."""
    room = max(1, width - indent)
    return wrap(line, room, break_long_words=False, break_on_hyphens=False) or [""]


def _table(columns: Sequence[Sequence[str]], widths: Sequence[int]) -> Table:
    headed = any(head for head, *_ in columns)
    table = Table(
        box=None,
        pad_edge=False,
        padding=(0, _GAP, 0, 0),
        header_style="bold",
        show_header=headed,
    )
    for (head, *column), width in zip(columns, widths, strict=True):
        right = headed and _are_numbers(column)
        table.add_column(head, width=width, justify="right" if right else "left")
    for row in zip(*(column for _, *column in columns), strict=True):
        table.add_row(*map(Text, row))
    return table


def _print_in_two(console: Console, columns: Sequence[Sequence[str]]) -> None:
    """Print the columns that have room, their cells unfolded, and the others under each row."""
    whole = [max(_longest_word(head), *map(cell_len, column)) for head, *column in columns]
    width = console.width
    room = sum(_width(whole[: count + 1]) <= width for count in range(len(whole)))
    first, rest = columns[: max(1, room)], columns[max(1, room) :]
    widths = _spread(whole[: len(first)], [max(map(cell_len, each)) for each in first], width)
    console.width = _width(widths)
    with console.capture() as captured:
        console.print(_table(first, widths))
    lines = captured.get().splitlines()
    rows = len(columns[0]) - 1  # a line each; the heads may take several
    for line in lines[:-rows]:
        click.echo(line.rstrip())
    for number, line in enumerate(lines[-rows:], start=1):
        click.echo(line.rstrip())
        pairs = [(column[0], column[number]) for column in rest]
        said = ", ".join(f"{head} {cell}" for head, cell in pairs if cell not in ("", "-"))
        for part in _wrapped(said, width, _INDENT) if said else ():
            click.echo(" " * _INDENT + part)


def _spread(narrow: Sequence[int], wide: Sequence[int], width: int) -> list[int]:
    """Return widths between the narrow and the wide ones; what lacks most gets room first."""
    widths = list(narrow)
    for _ in range(width - _width(narrow)):
        most = max(range(len(widths)), key=lambda number: wide[number] - widths[number])
        widths[most] = min(wide[most], widths[most] + 1)
    return widths


def _narrowest(column: Sequence[str]) -> int:
    head, *cells = column
    words = max([_longest_word(head), *map(_longest_word, cells)])
    if _are_numbers(cells):
        return max(_longest_word(head), *map(cell_len, cells))
    if not any(" " in cell for cell in cells):
        return words
    return max(words, min(_READABLE, max(map(cell_len, column))))


def _longest_word(text: str) -> int:
    return max(map(cell_len, text.split(" ")))


def _width(widths: Sequence[int]) -> int:
    return sum(widths) + _GAP * (len(widths) - 1)


def _cell(value: object) -> str:
    if value is None or value in ([], {}):
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


def _are_numbers(column: Sequence[str]) -> bool:
    """Tell whether most cells with something in them are numbers: there may be a word too."""
    filled = [cell for cell in column if cell != "-"]
    return sum(_NUMBER.match(cell) is not None for cell in filled) * 2 > len(filled)
