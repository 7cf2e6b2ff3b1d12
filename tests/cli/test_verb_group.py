"""How the command line lists a verb's commands, and what it says of one that it does not know."""

import pytest
from click.testing import CliRunner

from streams.cli import VERBS, cli


@pytest.mark.parametrize("verb", VERBS)
def test_help_cuts_no_command_short(verb: str) -> None:
    shown = CliRunner().invoke(cli, [verb, "--help"], terminal_width=80)
    assert shown.exit_code == 0
    listed = shown.output.partition("Commands:")[2]
    assert "..." not in listed


@pytest.mark.parametrize(
    ("words", "near"), [(("topics", "aply"), "'apply'"), (("repaly",), "'replay'")]
)
def test_a_typo_is_told_with_the_command_that_is_like_it(words: tuple[str, ...], near: str) -> None:
    done = CliRunner().invoke(cli, words)
    assert (done.exit_code, f"Did you mean {near}?" in done.output) == (2, True)
    assert "Did you mean" not in CliRunner().invoke(cli, ["xyzzy"]).output
