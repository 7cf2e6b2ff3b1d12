"""Rounds come to medians, and to ratios to ours."""

import sys
from pathlib import Path

import pytest

from streams.lab.peers import field
from streams.lab.peers.field import EXTRA, FIELD, JAVA, KAFKA_STREAMS, OURS
from streams.lab.peers.standings import row_of
from streams.lab.timed import Timed

# One run of three rounds over 100,000 events on two busy cores.
ROUNDS = {
    OURS: [Timed(97_104, 0.93, 0.72), Timed(96_840, 1.61, 0.75), Timed(97_311, 1.02, 0.70)],
    "Bytewax": [Timed(100_000, 4.16, 1.50), Timed(100_000, 3.05, 1.38), Timed(100_000, 7.4, 1.61)],
}


def test_a_row_has_medians_and_the_spread_of_the_rounds() -> None:
    row = row_of("Bytewax", ROUNDS, "no Redis")
    assert (row.slowest, row.events_per_second, row.fastest) == (13_514, 24_038, 32_787)
    assert row.events_per_cpu_second == 66_667
    assert row.ratio == pytest.approx(24_038 / 95_403, abs=0.001)
    assert row.cpu_ratio == pytest.approx(66_667 / 134_867, abs=0.001)
    assert (row.differences, row.without, row.missing) == (0, "no Redis", "")


def test_ours_is_what_others_are_compared_with() -> None:
    row = row_of(OURS, ROUNDS, "")
    assert (row.ratio, row.cpu_ratio) == (1.0, 1.0)


def test_differences_of_all_rounds_are_added() -> None:
    rounds = {OURS: [Timed(10, 1.0, 1.0, 2), Timed(10, 1.0, 1.0), Timed(10, 1.0, 1.0, 3)]}
    assert row_of(OURS, rounds, "").differences == 5


def test_who_cannot_run_has_a_row_that_says_what_to_install() -> None:
    row = row_of("Quix", ROUNDS, "no Redis", EXTRA)
    assert (row.peer, row.missing) == ("Quix", EXTRA)
    assert row.events_per_second is row.ratio is row.differences is None


def test_each_peer_says_what_it_leaves_out() -> None:
    assert len({peer.name for peer in FIELD}) == len(FIELD) == 5
    assert all(peer.without for peer in FIELD)


def test_what_is_missing_is_named_with_its_command(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("empty")))
    monkeypatch.setattr(field, "find_spec", lambda _: None)
    assert [peer.missing() for peer in FIELD] == ["", "", EXTRA, EXTRA, JAVA]


def test_the_jars_are_kept_under_the_version_that_is_fetched() -> None:
    pom = Path(field.__file__).with_name("kafka_streams") / "pom.xml"
    assert f"<version>{KAFKA_STREAMS}</version>" in pom.read_text("utf-8")


def test_a_python_peer_is_run_by_this_python() -> None:
    assert list(FIELD[0].command()) == [sys.executable, "-m", "streams.lab.peers.faust_plain"]
