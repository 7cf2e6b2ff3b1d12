"""Comparisons: means and intervals over seeds, the same from one process or several."""

import math
from pathlib import Path

import pytest

from streams.lab.simulator.comparing import interval, play, play_all, summarise
from streams.lab.simulator.lineup import CONTENDERS
from streams.lab.simulator.measures import Measures
from streams.lab.simulator.names import Cell
from streams.lab.simulator.plots import COLOURS, draw_all

CONFIG = Path(__file__).parents[3] / "config"


def a_cell(seed: int, *contenders: str, size: float = 0.005) -> Cell:
    return Cell(CONFIG, "correlated", "scarce", seed, size, "knowing", contenders)


def test_only_the_named_contenders_are_told_of() -> None:
    assert set(play(a_cell(1, "thompson")).measures) == {"thompson"}


def test_processes_and_their_order_change_nothing() -> None:
    cells = [a_cell(seed, "oracle") for seed in (1, 2)]
    done: list[int] = []
    alone = play_all(cells, 1, lambda result: done.append(result.cell.seed))
    both = play_all(cells, 2, lambda _: None)
    assert summarise(alone) == summarise(both)
    assert sorted(done) == [1, 2]


def test_a_summary_has_an_interval_of_every_measure() -> None:
    results = play_all([a_cell(1, "oracle"), a_cell(2, "oracle")], 1, lambda _: None)
    (summary,) = summarise(results)
    assert tuple(summary.intervals) == Measures._fields
    assert summary.intervals["value_share"] == (1, 0)
    assert math.isnan(summary.intervals["false_stops"].mean)


def test_one_seed_has_no_interval() -> None:
    assert interval([3.0]).mean == 3
    assert math.isnan(interval([3.0]).half)


def test_seeds_with_nothing_to_measure_are_left_out() -> None:
    assert interval([math.nan, 1.0, 1.0]) == (1, 0)


def test_pictures_of_the_same_numbers_are_the_same_bytes(tmp_path: Path) -> None:
    summaries = summarise([play(a_cell(1, "oracle", "rule")), play(a_cell(2, "oracle", "rule"))])
    one = [path.read_bytes() for path in draw_all(summaries, tmp_path / "one")]
    other = [path.read_bytes() for path in draw_all(summaries, tmp_path / "other")]
    assert one == other
    assert len(one) == 2


def test_every_contender_has_its_colour() -> None:
    assert list(COLOURS) == list(CONTENDERS)


@pytest.mark.slow
@pytest.mark.timeout(1_800)
def test_the_order_of_the_contenders() -> None:
    """At a tenth of the size: the rule is far above what others do, and near what could be had."""
    share: dict[str, dict[str, float]] = {}
    for regime in ("middle", "crowded"):
        cell = Cell(CONFIG, "correlated", regime, 1, 0.1, "knowing", tuple(CONTENDERS))
        share[regime] = {name: one.value_share for name, one in play(cell).measures.items()}
    middle, crowded = share["middle"], share["crowded"]
    assert middle["ladder"] < 0.5
    assert 0.9 < middle["rule"] < middle["oracle"] == 1
    assert crowded["ladder"] < crowded["thompson"] < crowded["rule"] - 0.1
    assert crowded["rule"] > 0.8
