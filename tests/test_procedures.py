"""The page of procedures names tests that exist and commands that we have."""

import re
import shlex
from pathlib import Path

import pytest
from kit.command import require_verb
from test_fault_table import nights_of

PAGE = (Path(__file__).parents[1] / ".docs/procedures.md").read_text("utf-8")
BLOCKS = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
COMMANDS = [line for line in "".join(BLOCKS).splitlines() if line.startswith("streams ")]
PUBLIC = "0" * 64


@pytest.mark.parametrize(("file", "name"), re.findall(r"`([\w/]+\.py)::(\w+)`", PAGE))
def test_each_test_that_is_named_exists(file: str, name: str) -> None:
    assert name in nights_of(file)


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_is_one_of_ours(command: str) -> None:
    _, *words = shlex.split(command.replace("$(streams keys new next.key)", PUBLIC), comments=True)
    require_verb(words)


def test_each_procedure_has_its_tests() -> None:
    for section in re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:-1]:
        assert "\nTests: `" in section, section.splitlines()[0]
