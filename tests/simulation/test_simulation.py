"""Lives of a whole installation on the twins: whatever befalls them, everything settles."""

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Collection
from pathlib import Path

import pytest
from simulation.census import never
from simulation.judges import is_meant
from simulation.plan import FAULTS, WORDS, plan_of
from simulation.shrinking import fate_of, report, shrunk

ROOT = Path(__file__).parents[2]
LIVES = 2_000
NIGHTLY = 20_000
CHUNK = 50
COUNTED = 200
"""The first of them, in which it is counted what occurs."""
ALIKE = 40
BACKWARDS = f"""
from simulation.shrinking import fate_of
for seed in reversed(range({ALIKE})):
    print(fate_of(seed).trace)
"""
MEANT = 25
"""One in so many records is refused at most: whatever is refused beyond was not meant to be."""


def live_all(seeds: range, counted: Counter[str] | None = None) -> None:
    for seed in seeds:
        if flaw := fate_of(seed, counted=counted).flaw:
            pytest.fail(report(seed, flaw), pytrace=False)


def test_all_that_can_happen_occurs_in_lives_and_hardly_anything_is_refused() -> None:
    """If not: PYTHONPATH=.:tests python -m simulation 0 --lives 200 --count."""
    counted = Counter[str]()
    live_all(range(COUNTED), counted)
    assert not never(counted)
    assert counted["something is invalid"] * MEANT < counted["record in interactions"]


@pytest.mark.parametrize("first", range(COUNTED, LIVES, CHUNK))
def test_every_life_settles_and_all_is_right(first: int) -> None:
    live_all(range(first, first + CHUNK))


@pytest.mark.slow
@pytest.mark.timeout(3_600)
@pytest.mark.parametrize("first", range(LIVES, NIGHTLY, 10 * CHUNK))
def test_every_life_of_a_night_settles_and_all_is_right(first: int) -> None:
    live_all(range(first, first + 10 * CHUNK))


def test_every_kind_of_step_is_drawn_and_has_words() -> None:
    drawn = {step.kind for seed in range(200) for step in plan_of(seed)}
    assert drawn == set(WORDS)
    assert set(FAULTS) < drawn
    assert all(step.words() for seed in range(20) for step in plan_of(seed))


def test_a_seed_is_one_life_in_any_process_whatever_its_hashes_and_addresses() -> None:
    """Another process lives them from the last to the first: its objects lie elsewhere."""
    here = [fate_of(seed).trace for seed in range(ALIKE)]
    there = subprocess.run(
        [sys.executable, "-c", BACKWARDS],
        env={**os.environ, "PYTHONHASHSEED": "1", "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert list(map(int, there.stdout.split()))[::-1] == here


@pytest.mark.parametrize(
    ("reason", "befell", "meant"),
    [
        ("id", {"crowd", "astray", "clock", "over"}, False),
        ("id", {"bad"}, True),
        ("misrouted", {"crowd"}, False),
        ("misrouted", {"astray"}, True),
        ("stale", (), True),
    ],
)
def test_what_is_refused_was_brought_by_something_that_befell_the_life(
    reason: str, befell: Collection[str], meant: bool
) -> None:
    assert is_meant(reason, befell) is meant


def test_in_a_life_that_nothing_bad_befalls_nothing_is_refused() -> None:
    """Feeds, crowds and people all write what can be counted."""
    counted = Counter[str]()
    life = [step for step in plan_of(1) if step.kind in {"upload", "crowd", "verdict", "look"}]
    assert not fate_of(1, life, counted).flaw
    assert counted["shown via rank"] + counted["shown via fresh"] > 20
    assert not counted["something is invalid"]


def test_what_a_flaw_does_not_take_is_dropped() -> None:
    """A life that goes wrong when two things befall it, and only then."""
    plan = plan_of(1)
    needed = {plan[1], plan[-1]}
    assert set(shrunk(1, lambda steps: needed <= set(steps))) == needed
