"""Mobs of reporters, played by the pipeline's own code."""

from pathlib import Path
from random import Random

import pytest
from msgspec.structs import replace

from streams.core.counters import Slice
from streams.core.events import Policy
from streams.lab.shares import mobs
from streams.lab.shares.mobs import MobWorld
from streams.lab.simulator.admission import load_platform


@pytest.fixture(scope="module")
def policy() -> Policy:
    return load_platform(Path("config")).policy


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mobs, "VIDEOS", 3_000)
    monkeypatch.setattr(mobs, "SIEGES", 5)


@pytest.mark.usefixtures("few")
def test_a_mob_has_a_person_asked_and_removes_nothing(policy: Policy) -> None:
    world = mobs.play(policy, 1)
    assert (world.removed, world.asked) == (0, 100)
    assert world.in_vain <= 0.1
    assert mobs.play(policy, 1) == world


@pytest.mark.usefixtures("few")
def test_a_bar_of_one_report_asks_in_vain(policy: Policy) -> None:
    touchy = replace(policy, report_bar=1_000_000)
    told = {each.goal: each for each in mobs.verdicts(touchy, [1])}
    assert told["videos that a person looks at in vain"].passed is False
    assert told["good videos that 20 reporters remove"].passed is True


def test_the_worst_seed_is_judged(monkeypatch: pytest.MonkeyPatch, policy: Policy) -> None:
    monkeypatch.setattr(mobs, "play", lambda _, seed: MobWorld(0.2 * (seed == 2), 0.0, 90.0, 3.0))
    told = {each.goal: each for each in mobs.verdicts(policy, [1, 2])}
    in_vain = told["videos that a person looks at in vain"]
    assert (in_vain.worst, in_vain.mean, in_vain.passed) == (0.2, 0.1, False)
    assert told["and that evidence stops by them"].passed is None


def test_a_video_without_its_mob_has_nobody_asked(policy: Policy) -> None:
    state = mobs._besieged(policy, Random(1), 100, 0)
    assert state.row.reported is None
    row = state.slices.get(mobs.SLICE, Slice())
    assert (row.impressions, row.reporters) == (100, 0)
