"""Promises that hold by themselves change nothing: the receipts are those of no promise at all."""

import asyncio
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pytest
from kit.control import NOW
from kit.folding import Folding, decoded, placed
from kit.town import Town
from kit.twins import CONFIG, LOG
from msgspec.structs import replace

from streams.control.policy.file import versioned
from streams.control.rules import RulesInForce, load_rules
from streams.control.shares import steering
from streams.core.events import LogRecord, Policy
from streams.core.traffic import Tick

SHIPPED = ("private = 0.3 ", "ordinary = 0.7 ", "commercial = 0.15 ")
NONE = ("private = 0 ", "ordinary = 0 ", "commercial = 1 ")
LOW = ("private = 0.1 ", "ordinary = 0.5 ", "commercial = 0.6 ")
HIGH = ("private = 0 ", "ordinary = 0.97 ", "commercial = 1 ")
MINUTES = 6
AN_HOUR = 60
"""Each minute of the log stands for so many: what binds for hours moves prices."""


class Outcome(NamedTuple):
    """What came of a log under some promises: receipts and traffic as bytes, tilts and leans."""

    receipts: Sequence[bytes]
    ticks: Sequence[bytes]
    tilts: Sequence[dict[str, int]]
    leans: dict[str, int]


def rules_with(folder: Path, shares: Sequence[str]) -> RulesInForce:
    shutil.copytree(CONFIG, folder)
    file = folder / "policy.toml"
    text = file.read_text(encoding="utf-8")
    for before, after in zip(SHIPPED, shares, strict=True):
        assert text.count(f"\n{before}") == 1
        text = text.replace(f"\n{before}", f"\n{after}")
    file.write_text(text, encoding="utf-8")
    return load_rules(folder)


async def a_life() -> Sequence[LogRecord]:
    """Return what stood in the log of a town after some minutes."""
    town = await Town(rate=1_000, partitions=1).start()

    async def look() -> None:
        pass

    await town.skip(MINUTES, look)
    await town.stop()
    records = town.office.world.log.records(LOG, 0)
    return [place.event for place in decoded(records)]  # type: ignore[arg-type]


def steered(log: Sequence[LogRecord], rules: RulesInForce) -> Outcome:
    """Fold a log under the policy of some files, each minute steered as the leader would."""
    shares, folding = rules.policy.shares, Folding()
    policy = replace(rules.policy.record(1, NOW), term=1)
    promises, tilts = steering.begin(shares, ()), []
    offset = 0

    def put(event: LogRecord) -> Sequence[Tick]:
        nonlocal offset
        before = len(folding.ticks)
        folding.fold(placed([event], offset))
        offset += 1
        return folding.ticks[before:]

    put(policy)
    for event in log:
        for tick in () if isinstance(event, Policy) else put(event):
            sums = {(each.slice, each.kind): each for each in tick.sums}
            for _ in range(AN_HOUR):
                promises = steering.take_tick(shares, promises, sums)
                promises = steering.judged(shares, promises, {}, measured=True)
            tilts.append(steering.tilts_of(promises, policy.leans))
            leans = steering.leans_of(promises, policy.leans)
            if leans != policy.leans:
                policy = versioned(replace(policy, seq=policy.seq + 1, leans=leans))
                put(policy)
    receipts, ticks, *_ = folding.flush().bytes()
    return Outcome(receipts, ticks, tilts, policy.leans)


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outcome]:
    folder = tmp_path_factory.mktemp("files")
    promised = {"none": NONE, "low": LOW, "high": HIGH}
    rules = {name: rules_with(folder / name, shares) for name, shares in promised.items()}
    log = asyncio.run(a_life())
    return {name: steered(log, each) for name, each in rules.items()}


def test_floors_that_do_not_bind_leave_every_receipt_as_it_is(outcomes: dict[str, Outcome]) -> None:
    none, low = outcomes["none"], outcomes["low"]
    assert len(none.receipts) > 50
    assert low.receipts == none.receipts
    assert low.ticks == none.ticks


def test_floors_that_do_not_bind_tilt_nothing(outcomes: dict[str, Outcome]) -> None:
    for name in ("none", "low"):
        assert outcomes[name].tilts == [{}] * len(outcomes[name].ticks)
        assert outcomes[name].leans == {}


def test_a_floor_that_binds_for_hours_is_told_in_the_receipts(outcomes: dict[str, Outcome]) -> None:
    assert outcomes["high"].leans
    assert outcomes["high"].receipts != outcomes["none"].receipts
