"""`streams simulate` as people call it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from streams.cli import cli
from streams.errors import Halt
from streams.lab.shares import adverts, creators, mobs, worlds
from streams.lab.simulator import names
from streams.lab.simulator.lineup import CONTENDERS, SERVERS
from streams.lab.simulator.measures import Measures
from streams.lab.simulator.tables import COLUMNS
from streams.lab.simulator.tastes import WORLDS
from streams.lab.simulator.world import SLOTS

SMALL = ("--size", "0.005", "--regime", "scarce", "--processes", "1")


def run(*arguments: str) -> str:
    result = CliRunner().invoke(cli, ["simulate", *arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_names_on_the_command_line_are_those_of_the_simulator() -> None:
    assert set(names.WORLD_NAMES) == set(WORLDS)
    assert set(names.REGIME_NAMES) == set(SLOTS)
    assert list(names.CONTENDER_NAMES) == list(CONTENDERS)
    assert set(names.SERVER_NAMES) == set(SERVERS)
    assert set(COLUMNS) <= set(Measures._fields)


def test_json_has_every_measure_with_its_interval() -> None:
    rows = json.loads(run(*SMALL, "--seeds", "2", "--contender", "thompson", "--output", "json"))
    (row,) = rows
    assert (row["world"], row["regime"], row["contender"]) == ("correlated", "scarce", "thompson")
    assert set(Measures._fields) < set(row)
    assert 0 < row["value_share"]["mean"] < 1
    assert row["value_share"]["half_width_95"] > 0
    assert row["false_stops"] == {"mean": None, "half_width_95": None}


def test_the_table_has_a_row_a_contender() -> None:
    shown = run(*SMALL, "--contender", "oracle", "--contender", "rule")
    assert "oracle" in shown
    assert "100.0" in shown


def test_plots_are_drawn_where_one_says(tmp_path: Path) -> None:
    run(*SMALL, "--contender", "oracle", "--plots", str(tmp_path / "plots"))
    assert {path.name for path in (tmp_path / "plots").iterdir()} == {
        "simulate-value-correlated.svg",
        "simulate-behaviour-correlated.svg",
    }


def test_an_attack_has_its_price() -> None:
    rows = json.loads(run("--attack", "--output", "json"))
    assert rows[0]["attack"] == "order"
    assert rows[0]["first_widening"] is None  # one viewer cannot buy it
    assert rows[0]["stop"] is None


def test_what_chance_says_stands_beside_the_truth() -> None:
    arguments = ["simulate", "--explore", "--size", "0.01", "--processes", "1", "--output", "json"]
    result = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    (row,) = json.loads(result.stdout)
    assert row["probability"] == 0.5
    assert row["estimate"] == pytest.approx(row["truth"], abs=2 * row["half_width_95"])
    assert "the truth was covered in" in result.stderr


def test_goals_of_the_shares_are_told_and_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = {"step": worlds.ShareWorld("step", 170, after=0.4)}
    monkeypatch.setattr(worlds, "SHARE_WORLDS", short)
    monkeypatch.setattr(adverts, "ADVERT_WORLDS", (adverts.AdvertWorld("few", 1.0, 20, grown=0),))
    monkeypatch.setattr(mobs, "VIDEOS", 100)
    monkeypatch.setattr(mobs, "SIEGES", 1)
    monkeypatch.setattr(creators, "SIZE", 0.005)
    plots = tmp_path / "plots"
    options = ("--shares", "--seeds", "1", "--output", "json", "--plots", str(plots))
    rows = json.loads(run(*options))
    assert [row["world"] for row in rows] == (
        ["step"] * 3 + ["few"] * 4 + ["mobs"] * 4 + ["mixture"] * 3
    )
    assert rows[0]["limit"] == "<= 20"
    assert rows[0]["passed"] == "yes"
    assert [path.name for path in plots.iterdir()] == ["shares-step.svg"]


def test_two_hash_seeds_give_the_same_bytes() -> None:
    named = ("--contender", "ladder", "--contender", "rule", "--contender", "joint-learned")
    outputs = [
        subprocess.run(
            [sys.executable, "-m", "streams", "simulate", *SMALL, *named, "--output", "json"],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert outputs[0] == outputs[1]
    assert len(json.loads(outputs[0])) == 3


def test_without_the_extra_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names, "find_spec", lambda _: None)
    with pytest.raises(Halt, match="needs matplotlib: install streams with its extra"):
        CliRunner().invoke(cli, ["simulate"], catch_exceptions=False, standalone_mode=False)


def test_the_command_line_needs_no_extra_to_start() -> None:
    script = "import sys, streams.cli.simulate as s; sys.exit('numpy' in sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True)
