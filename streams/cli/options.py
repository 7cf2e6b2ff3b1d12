"""Options that mean the same for every verb, and the output formats of read commands."""

import functools
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from streams.cli.table import print_table
from streams.settings import Settings, default_folder, load_settings

Command = TypeVar("Command", bound=Callable[..., Any])

_OPTIONS: Final = {
    "brokers": click.option(
        "--brokers", help="Kafka bootstrap servers.  [env var: STREAMS_BROKERS]"
    ),
    "redis": click.option("--redis", help="Redis URL.  [env var: STREAMS_REDIS]"),
    "group": click.option("--group", help="Consumer group.  [env var: STREAMS_GROUP]"),
    "instance": click.option(
        "--instance",
        help="This worker's own name in its group: it keeps its partitions while it restarts.  "
        "[env var: STREAMS_INSTANCE]",
    ),
    "topic_prefix": click.option(
        "--topic-prefix", help="Put before every topic's name.  [env var: STREAMS_TOPIC_PREFIX]"
    ),
}


def connection_options(*names: str) -> Callable[[Command], Command]:
    """Add `--config` and the named connection options; the command gets one `settings`."""

    def decorate(command: Command) -> Command:

        @functools.wraps(command)
        def with_settings(*args: Any, config: Path, **kwargs: Any) -> Any:
            overrides = {name: kwargs.pop(name) for name in names}
            return command(*args, settings=load_settings(config, overrides), **kwargs)

        whole: Command = config_option(named_options(*names)(with_settings))
        return whole

    return decorate


def named_options(*names: str) -> Callable[[Any], Any]:
    """Add the named connection options alone, for a command that makes its own settings."""

    def decorate(command: Any) -> Any:
        for name in reversed(names):
            command = _OPTIONS[name](command)
        return command

    return decorate


def number_option(
    name: str, default: int, text: str, least: int = 1, most: int | None = None
) -> Callable[[Command], Command]:
    """Add an option that takes a number N, in these bounds; its help tells the default too."""
    bounds = click.IntRange(least, most)
    return click.option(
        name, type=bounds, default=default, show_default=True, metavar="N", help=text
    )


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


def emit(rows: Iterable[Mapping[str, Any]], output: str, none: str = "") -> None:
    """Print rows as a table, one JSON array, or a JSON object a line; keys are the fields.

    `none` is told to people, on stderr, in place of a table without rows.
    """
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
    elif none:
        click.echo(none, err=True)


def emit_object(fields: Mapping[str, Any], output: str) -> None:
    """Print one object: a two-column table, or JSON."""
    if output != "table":
        indent = 2 if output == "json" else None
        click.echo(json.dumps(fields, ensure_ascii=False, indent=indent))
        return
    print_table((), [(name.replace("_", " "), value) for name, value in fields.items()])


__all__ = [
    "Settings",
    "config_option",
    "connection_options",
    "emit",
    "emit_object",
    "named_options",
    "number_option",
    "one_line",
    "output_option",
]
