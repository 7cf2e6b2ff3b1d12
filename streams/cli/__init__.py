"""Command line and composition root: the one place where real drivers are wired to ports.

One file per family of verbs, loaded when its verb is called.
"""

import codecs
import errno
import importlib
import io
import logging
import os
import sys
from typing import Any, Final

import click
from click.shell_completion import CompletionItem

from streams.cli.verb_group import VerbGroup
from streams.errors import Halt, Misconfigured, StreamsError, Unreachable
from streams.settings import exposed_key_file, unknown_variables

VERBS: Final[dict[str, str]] = {
    "demo": "streams.cli.demo:demo",
    "doctor": "streams.cli.doctor:doctor",
    "config": "streams.cli.config:config",
    "worker": "streams.cli.worker:worker",
    "publish": "streams.cli.publish:publish",
    "keys": "streams.cli.keys:keys",
    "intake": "streams.cli.intake:intake",
    "topics": "streams.cli.topics:topics",
    "events": "streams.cli.events:events",
    "schema": "streams.cli.schema:schema",
    "decisions": "streams.cli.decisions:decisions",
    "video": "streams.cli.video:video",
    "slice": "streams.cli.slice:slice_group",
    "review": "streams.cli.review:review",
    "policy": "streams.cli.policy:policy",
    "guarantee": "streams.cli.guarantee:guarantee",
    "creator": "streams.cli.creator:creator",
    "shares": "streams.cli.shares:shares",
    "ads": "streams.cli.ads:ads",
    "dlq": "streams.cli.dlq:dlq",
    "erase": "streams.cli.erase:erase",
    "status": "streams.cli.status:status",
    "page": "streams.cli.page:page",
    "lag": "streams.cli.lag:lag",
    "group": "streams.cli.group:group",
    "alerts": "streams.cli.alerts:alerts",
    "dashboards": "streams.cli.dashboards:dashboards",
    "redis": "streams.cli.redis:redis_group",
    "counters": "streams.cli.counters:counters",
    "partition": "streams.cli.partition:partition",
    "record": "streams.cli.record:record",
    "replay": "streams.cli.replay:replay",
    "simulate": "streams.cli.simulate:simulate",
    "bench": "streams.cli.bench:bench",
    "completion": "streams.cli.completion:completion",
}
"""Verb -> module:command."""
_FULL: Final = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO))


class ConditionNotMet(StreamsError):
    """What the command checks does not hold (differences, invalid events): exit code 3."""


class Interrupted(StreamsError):
    """Ended by Ctrl-C after an orderly stop; the message says how to go on: exit code 130."""


class Verbs(VerbGroup):
    """A group whose commands are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the verbs in the order of their table."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Return a verb's command, None if there is no such verb."""
        if cmd_name not in VERBS:
            return None
        module, _, name = VERBS[cmd_name].partition(":")
        command = getattr(importlib.import_module(module), name)
        assert isinstance(command, click.Command)
        return command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete verbs by their table: a key press imports none of them."""
        verbs = [CompletionItem(verb) for verb in VERBS if verb.startswith(incomplete)]
        return [*verbs, *click.Command.shell_complete(self, ctx, incomplete)]

    def invoke(self, ctx: click.Context) -> Any:
        """Run a verb, after a word on variables that look misspelt and on an exposed key.

        A reader of its output that has left (`| head`) ends it in peace: here and not in `main`,
        because click makes an exit code 1 of a closed pipe before.
        """
        for line in (*unknown_variables(), *exposed_key_file()):
            click.echo(f"streams: {line}", err=True)
        try:
            done = super().invoke(ctx)
            sys.stdout.flush()
        except BrokenPipeError:
            _drop_stdout()
            raise click.exceptions.Exit(0) from None
        return done


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--debug", is_flag=True, help="Show tracebacks.")
@click.version_option(package_name="streams")
def cli(debug: bool) -> None:
    """Decide who sees a short video next: exact counters, explained decisions, one log."""


def main() -> None:
    """Run the command line; exit codes as in the README, errors in one line."""
    _spell_everything()
    # What keeps a client library from its work is in our own error; `set_up_logs` lets more out.
    logging.getLogger("aiokafka").addHandler(logging.NullHandler())
    try:
        cli.main(standalone_mode=False)
    except click.exceptions.Exit as done:
        sys.exit(done.exit_code)
    except click.ClickException as usage:
        usage.show()
        sys.exit(usage.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    except StreamsError as error:
        if "--debug" in sys.argv:
            raise
        click.echo(f"streams: {error}", err=True)
        sys.exit(_exit_code(error))
    except OSError as error:
        if "--debug" in sys.argv:
            raise
        _drop_stdout()
        place = error.filename or ("the output" if error.errno in _FULL else None)
        click.echo(f"streams: {f'{place}: {error.strerror}' if place else error}", err=True)
        sys.exit(1)


def _spell_everything() -> None:
    """Let a console that lacks a character show its JSON escape, in place of a traceback."""
    codecs.register_error("streams.escape", _escape)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="streams.escape")


def _escape(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    lacking = error.object[error.start : error.end]
    units = lacking.encode("utf-16-be", "surrogatepass")
    return "".join(
        f"\\u{high:02x}{low:02x}" for high, low in zip(units[::2], units[1::2], strict=True)
    ), error.end


def _drop_stdout() -> None:
    """Let what stdout still holds go nowhere: it could not be written."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _exit_code(error: StreamsError) -> int:
    if isinstance(error, Unreachable) or (isinstance(error, Halt) and error.code == "unreachable"):
        return 4
    if isinstance(error, Interrupted):
        return 130
    if isinstance(error, Misconfigured):
        return click.UsageError.exit_code
    return 3 if isinstance(error, ConditionNotMet) else 1
