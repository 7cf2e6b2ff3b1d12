"""Options that mean the same for every verb, and the output formats of read commands."""

import functools
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import click
from rich.cells import cell_len
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from streams.settings import Settings, default_folder, load_settings

Command = TypeVar("Command", bound=Callable[..., Any])

_NUMBER: Final = re.compile(r"\A-?[0-9][0-9,]*(\.[0-9]+)?\Z")
_UNBOUNDED: Final = 1_000_000  # columns of a terminal

_OPTIONS: Final = {
    "brokers": click.option("--brokers", help="Kafka bootstrap servers.  [env: STREAMS_BROKERS]"),
    "redis": click.option("--redis", help="Redis URL.  [env: STREAMS_REDIS]"),
    "group": click.option("--group", help="Consumer group.  [env: STREAMS_GROUP]"),
    "instance": click.option(
        "--instance",
        help="This worker's own name in its group: it keeps its partitions while it restarts.  "
        "[env: STREAMS_INSTANCE]",
    ),
    "topic_prefix": click.option(
        "--topic-prefix", help="Put before every topic's name.  [env: STREAMS_TOPIC_PREFIX]"
    ),
}


def connection_options(*names: str) -> Callable[[Command], Command]:
    """Add `--config` and the named connection options; the command gets one `settings`."""

    def decorate(command: Command) -> Command:

        @functools.wraps(command)
        def with_settings(*args: Any, config: Path, **kwargs: Any) -> Any:
            overrides = {name: kwargs.pop(name) for name in names}
            return command(*args, settings=load_settings(config, overrides), **kwargs)

        wrapped: Any = with_settings
        for name in reversed(names):
            wrapped = _OPTIONS[name](wrapped)
        whole: Command = config_option(wrapped)
        return whole

    return decorate


config_option: Final = click.option(
    "--config",
    type=click.Path(path_type=Path, file_okay=False),
    envvar="STREAMS_CONFIG",
    default=default_folder,
    show_default="./config if it has settings, else as shipped",
    show_envvar=True,
    help="Folder of the settings, policy, catalogue and taxonomy.",
)

output_option: Final = click.option(
    "--output",
    type=click.Choice(["table", "json", "ndjson"]),
    default="table",
    show_default=True,
    help="Format of the data on stdout.",
)


def one_line(row: Mapping[str, Any]) -> str:
    """Return a row as JSON without blanks: a receipt is spelled as on its topic."""
    return json.dumps(row, ensure_ascii=False, separators=(",", ":"))


def emit(rows: Iterable[Mapping[str, Any]], output: str) -> None:
    """Print rows as a table, one JSON array, or a JSON object a line; keys are the fields."""
    if output == "ndjson":
        for row in rows:
            click.echo(one_line(row))
        return
    listed = list(rows)
    if output == "json":
        click.echo(json.dumps(listed, ensure_ascii=False, indent=2))
        return
    if listed:
        heads = [field.replace("_", " ") for field in listed[0]]
        print_table(heads, [row.values() for row in listed])


def emit_object(fields: Mapping[str, Any], output: str) -> None:
    """Print one object: a two-column table, or JSON."""
    if output != "table":
        indent = 2 if output == "json" else None
        click.echo(json.dumps(fields, ensure_ascii=False, indent=indent))
        return
    print_table((), [(name.replace("_", " "), value) for name, value in fields.items()])


def print_table(heads: Sequence[str], rows: Sequence[Iterable[object]]) -> None:
    """Print rows under their heads, or pairs without any; None is a dash.

    Names are never folded: only cells of several words are, between words, on a terminal. What
    is piped is as wide as it is.
    """
    cells = [[_cell(value) for value in row] for row in rows]
    table = Table(box=None, pad_edge=False, header_style="bold", show_header=bool(heads))
    for head, *column in zip(heads or [""] * 2, *cells, strict=True):
        names = not any(" " in cell for cell in column)
        table.add_column(
            head,
            no_wrap=names,
            min_width=max(map(cell_len, [head, *column])) if names else None,
            justify="right" if heads and _are_numbers(column) else "left",
        )
    for row in cells:
        table.add_row(*map(Text, row))
    console = Console(highlight=False)
    wide = Measurement.get(console, console.options.update(max_width=_UNBOUNDED), table)
    console.width = max(console.width, wide.minimum) if console.is_terminal else wide.maximum
    console.print(table, crop=False)


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


def _are_numbers(column: Sequence[str]) -> bool:
    """Tell whether most cells with something in them are numbers: there may be a word too."""
    filled = [cell for cell in column if cell != "-"]
    return sum(_NUMBER.match(cell) is not None for cell in filled) * 2 > len(filled)


__all__ = [
    "Settings",
    "config_option",
    "connection_options",
    "emit",
    "emit_object",
    "one_line",
    "output_option",
    "print_table",
]
