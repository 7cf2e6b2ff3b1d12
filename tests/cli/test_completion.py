"""Completion: the script for a shell, and what it offers."""

import os
import subprocess
import sys

import pytest
from kit.command import streams

from streams.cli import VERBS


def offered(line: str) -> list[str]:
    """Return what bash would be offered behind a line."""
    words = line.split(" ")
    asking = {"_STREAMS_COMPLETE": "bash_complete", "COMP_WORDS": line}
    code = "import sys; sys.argv[0] = 'streams'; from streams.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | asking | {"COMP_CWORD": str(len(words) - 1)},
        capture_output=True,
        text=True,
        check=True,
    )
    return [one.partition(",")[2] for one in done.stdout.splitlines()]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_script_for_each_shell_is_printed(shell: str) -> None:
    done = streams("completion", shell)
    assert done.returncode == 0
    assert "_STREAMS_COMPLETE" in done.stdout


def test_verbs_their_verbs_and_values_of_options_are_offered() -> None:
    assert set(offered("streams ")) >= VERBS.keys()
    assert offered("streams la") == ["lag"]
    assert offered("streams lag ") == ["list", "status", "watch"]
    assert offered("streams lag list --output ") == ["table", "json", "ndjson"]
