"""Every rule of the mutation gates names lines that are there."""

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest
from kit.mutations import Mutation

HERE = Path(__file__).parent
SOURCE = HERE.parents[1] / "streams"


def rules(of: object) -> Iterator[Mutation]:
    if isinstance(of, Mutation):
        yield of
    elif isinstance(of, list | tuple):
        for one in of:
            yield from rules(one)


def mutations() -> dict[str, Mutation]:
    modules = [import_module(f"tests.faults.{p.stem}") for p in HERE.glob("test_*mutations.py")]
    listed = [
        rule for module in modules for value in vars(module).values() for rule in rules(value)
    ]
    return {f"{rule.file}: {rule.rule}": rule for rule in listed}


MUTATIONS = mutations()


@pytest.mark.parametrize("name", sorted(MUTATIONS))
def test_the_lines_of_a_rule_are_there(name: str) -> None:
    rule = MUTATIONS[name]
    assert rule.old in (SOURCE / rule.file).read_text(encoding="utf-8")
    assert rule.old != rule.new
