"""Options of every verb that runs for long: how it writes its log lines."""

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import click

from streams.runtime.logs import LogOptions

Command = TypeVar("Command", bound=Callable[..., Any])


def log_options_from(level: str) -> Callable[[Command], Command]:
    """Add `--log-format`, and `--log-level` with this default; the command gets one `logs`."""

    def decorate(command: Command) -> Command:

        @functools.wraps(command)
        def with_logs(*args: Any, log_format: Any, log_level: str, **kwargs: Any) -> Any:
            return command(*args, logs=LogOptions(log_format, log_level), **kwargs)

        wrapped: Any = with_logs
        for option in (_level_option(level), _FORMAT):
            wrapped = option(wrapped)
        return wrapped  # type: ignore[no-any-return]

    return decorate


_FORMAT = click.option(
    "--log-format",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="Log lines on stderr as text, or one JSON object each.",
)


def _level_option(default: str) -> Callable[[Command], Command]:
    return click.option(
        "--log-level",
        type=click.Choice(["debug", "info", "warning", "error"]),
        default=default,
        show_default=True,
        help="Least level of log lines; debug adds tracebacks and all that client libraries say.",
    )


log_options = log_options_from("info")
