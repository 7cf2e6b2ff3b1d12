"""`streams bench` as people call it."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from kit.command import environment

from streams.cli import ConditionNotMet, bench
from streams.errors import Halt
from streams.lab.bench import Bench, BenchFigures
from streams.lab.peers.standings import PeerRow, row_of
from streams.lab.scale import ScaleRow
from streams.lab.timed import Timed

ROUNDS = {"streams": [Timed(100, 1.0, 0.9)], "Faust": [Timed(100, 9.0, 8.0)]}
OURS = row_of("streams", ROUNDS, "")
FAUST = row_of("Faust", ROUNDS, "no decisions")
ABSENT = row_of("Bytewax", ROUNDS, "no Redis", "pip install it")
WRONG = FAUST._replace(differences=2)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(bench.bench, arguments)


def racing(monkeypatch: pytest.MonkeyPatch, *rows: PeerRow) -> None:
    async def race(*_: object) -> Sequence[PeerRow]:
        return rows

    monkeypatch.setattr(bench, "race", race)


def test_peers_are_rows_beside_the_circumstances(monkeypatch: pytest.MonkeyPatch) -> None:
    racing(monkeypatch, OURS, FAUST)
    result = run("--peers", "--output", "json")
    shown = json.loads(result.stdout)
    assert result.exit_code == 0
    assert "cores" in shown["machine"]
    assert [row["ratio"] for row in shown["rows"]] == [1.0, 0.111]


def test_who_cannot_run_is_in_the_table_and_ends_with_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    racing(monkeypatch, OURS, ABSENT)
    result = run("--peers")
    assert "Bytewax" in result.stdout
    assert isinstance(result.exception, ConditionNotMet)
    assert str(result.exception) == "cannot run here: Bytewax (pip install it)"


def test_wrong_counts_of_a_peer_do_not_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    racing(monkeypatch, OURS, WRONG)
    assert str(run("--peers").exception) == "counted wrongly: Faust"


def test_differences_on_the_scale_do_not_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scale(*_: object) -> list[ScaleRow]:
        return [ScaleRow("pairs", 304, 10_000, 1, 1_000_000, 90_000, 95_000, 4, 3)]

    monkeypatch.setattr(bench, "scale", scale)
    result = run("--scale", "--output", "json")
    assert json.loads(result.stdout)["rows"][0]["pairs"] == 10_000
    assert isinstance(result.exception, ConditionNotMet)
    assert str(result.exception) == "3 counters differ from a recount of the log"


def test_peers_are_drawn_where_one_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    racing(monkeypatch, OURS, FAUST)
    assert run("--peers", "--plots", str(tmp_path)).exit_code == 0
    assert [path.name for path in tmp_path.iterdir()] == ["bench-peers.svg"]


def test_plots_without_matplotlib_are_refused_before_anything_is_measured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bench, "find_spec", lambda _: None)
    result = run("--peers", "--plots", ".")
    assert isinstance(result.exception, Halt)
    assert "install streams with its extra bench" in str(result.exception)


def test_peers_refuse_a_kafka_that_they_cannot_enter() -> None:
    secured = environment({"kafka_security_protocol": "SSL"})
    result = CliRunner(env=secured).invoke(bench.bench, ["--peers"])
    assert "without TLS and passwords" in str(result.exception)


WAITS = {"events_per_second": 7, "seconds": 15, "p50": 4.1, "p99": 8.2}
FIGURES = BenchFigures({"crowded": {"events_per_second": 90_000}}, 70_000, {"idle": WAITS}, 88.0)


def test_throughput_is_a_row_a_case_and_latency_a_row_a_load(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def measure(*_: object) -> BenchFigures:
        return FIGURES

    monkeypatch.setattr(Bench, "run", measure)
    lines = [line.split() for line in run().stdout.splitlines()]
    assert ["crowded", "90000"] in lines
    assert ["idle", "7", "15", "4.1", "8.2"] in lines
    shown = json.loads(run("--output", "json").stdout)
    assert shown["crowded"] == {"events_per_second": 90_000}
    assert shown["event_to_counter_ms"] == {"idle": WAITS}
    assert (shown["live_events_per_second"], shown["judgement_micros"]) == (70_000, 88.0)
