"""Every rule of the mutation gates names lines that are there, and the page names its test."""

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import pytest
from kit.gates import page, rules_of_gates
from kit.mutations import PAGE, ROOT, Mutation, rows
from simulation.test_simulation_mutations import MUTATIONS

SOURCE = ROOT / "streams"
GATES = rules_of_gates()
RULES: Mapping[str, Mutation] = {
    f"{rule.file}: {rule.rule}": rule for rules in GATES.values() for rule in rules
}
EVERY: Mapping[str, Mutation] = {
    **RULES,
    **{f"lives: {rule.file}: {rule.rule}": rule for rule in MUTATIONS},
}


@cache
def names_in(file: str) -> frozenset[str]:
    text = (Path(__file__).parents[1] / file).read_text("utf-8")
    return frozenset(re.findall(r"^(?:async )?def (test_\w+)", text, re.MULTILINE))


@pytest.mark.parametrize("name", sorted(EVERY))
def test_the_lines_of_a_rule_are_there(name: str) -> None:
    rule = EVERY[name]
    assert rule.old in (SOURCE / rule.file).read_text(encoding="utf-8")
    assert rule.old != rule.new


def test_each_test_that_the_page_names_is_there() -> None:
    for rule in RULES.values():
        file, _, test = rows().get((rule.file, rule.rule), "").partition("::")
        if file:
            assert f"tests/{file}" == rule.tests, rule.rule
            assert test in names_in(file), rule.rule


def test_no_two_rules_are_called_the_same() -> None:
    assert len(RULES) == sum(map(len, GATES.values()))


@pytest.mark.slow
def test_the_page_has_a_row_of_each_rule_and_no_other() -> None:
    """If not: PYTHONPATH=.:tests python -m kit.gates."""
    assert PAGE.read_text("utf-8") == page(rows())
    assert rows().keys() == {(rule.file, rule.rule) for rule in RULES.values()}
