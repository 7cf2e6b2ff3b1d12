"""Pictures of a bench show every row, and the same figures give the same bytes."""

from pathlib import Path

from streams.lab.bench_plots import draw_peers, draw_scale
from streams.lab.peers.standings import row_of
from streams.lab.scale import ScaleRow
from streams.lab.timed import Timed

ROUNDS = {"streams": [Timed(100, 1.0, 0.9)], "Faust, plain": [Timed(100, 9.0, 8.0)]}
PEERS = [
    row_of("streams", ROUNDS, ""),
    row_of("Faust, plain", ROUNDS, "no decisions"),
    row_of("Bytewax", ROUNDS, "no Redis", "pip install it"),
]
SCALE = [
    ScaleRow("pairs", 304, 10_000, 1, 1_000_000, 90_000, 95_000, 4, 0),
    ScaleRow("pairs", 3_031, 100_000, 1, 1_000_000, 70_000, 75_000, 4, 0),
    ScaleRow("workers", 20_000, None, 1, 1_000_000, 88_000, 99_000, 4, 0),
    ScaleRow("workers", 20_000, None, 2, 1_000_000, 120_000, 92_000, 4, 0),
    ScaleRow("hot video", 20_000, None, 1, 1_000_000, 101_000, 110_000, 4, 0),
]


def test_peers_that_ran_are_drawn(tmp_path: Path) -> None:
    drawn = draw_peers(PEERS, tmp_path / "plots").read_text("utf-8")
    assert "Faust, plain" in drawn
    assert "Bytewax" not in drawn
    assert draw_peers(PEERS, tmp_path).read_text("utf-8") == drawn


def test_pairs_workers_and_the_hot_video_are_drawn(tmp_path: Path) -> None:
    path = draw_scale(SCALE, tmp_path / "plots")
    drawn = path.read_text("utf-8")
    assert path.name == "bench-scale.svg"
    for title in ("10,000", "100,000", "workers", "90 % of a partition"):
        assert title in drawn
    assert draw_scale(SCALE, tmp_path).read_text("utf-8") == drawn


def test_a_scale_of_few_events_is_drawn_without_pairs(tmp_path: Path) -> None:
    assert draw_scale(SCALE[2:], tmp_path).is_file()
