"""The command line as people call it: a process of its own, judged by output and exit code."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from kit.forks import run
from kit.keys import key_file
from kit.patience import PATIENCE_S
from streams.cli import cli

CONFIG = Path(__file__).parents[2] / "config"
Where = dict[str, object]
"""Settings by name, for one run of a command."""
Done = subprocess.CompletedProcess[str]


def environment(settings: Mapping[str, object] | None = None) -> dict[str, str]:
    """Return a command's environment: ours is set by `settings` alone."""
    theirs = {name: text for name, text in os.environ.items() if not name.startswith("STREAMS_")}
    ours = {"config": CONFIG, "signing_key_file": key_file()} | dict(settings or {})
    named = {f"STREAMS_{name.upper()}": str(value) for name, value in ours.items()}
    return theirs | {"COLUMNS": "200"} | named


def streams(*arguments: object, stdin: str = "", **settings: object) -> Done:
    """Run `streams` with arguments and standard input; settings by name."""
    command = ["streams", *map(str, arguments)]
    return run(command, stdin=stdin, timeout_s=PATIENCE_S, env=environment(settings))


def require_verb(words: Sequence[str]) -> None:
    """Fail unless these words are a verb of ours with options and values that it takes."""
    command: click.Command | None = cli
    rest = list(words)
    while isinstance(command, click.Group):
        command = command.get_command(click.Context(command), rest.pop(0))
    assert command is not None, words
    command.make_context(command.name, rest)
