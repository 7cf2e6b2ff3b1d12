"""Pictures of a bench, as SVG: the same figures give the same bytes."""

from collections.abc import Sequence
from math import nan
from pathlib import Path
from typing import Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from streams.lab.peers.standings import PeerRow
from streams.lab.scale import ScaleRow
from streams.lab.simulator.plots import save

OURS_COLOUR: Final = "#4c72b0"
OTHERS_COLOUR: Final = "#999999"
CPU_COLOUR: Final = "#dd8452"


def draw_peers(rows: Sequence[PeerRow], folder: Path) -> Path:
    """Draw the rates of each peer that ran, with its slowest and fastest round; return the file."""
    folder.mkdir(parents=True, exist_ok=True)
    ran = [row for row in rows if row.events_per_second is not None]
    figure = Figure(figsize=(10, 0.45 * len(ran) + 1.4), layout="constrained")
    clock, cores = figure.subplots(1, 2, sharey=True)
    _bars(clock, ran, [row.events_per_second or 0 for row in ran])
    spread = [(row.slowest or 0, row.fastest or 0) for row in ran]
    clock.hlines(range(len(ran)), *zip(*spread, strict=True), color="black", lw=1)
    _bars(cores, ran, [row.events_per_cpu_second or 0 for row in ran])
    clock.set_title("thousand events a second", fontsize="medium")
    cores.set_title("thousand events a CPU second", fontsize="medium")
    clock.invert_yaxis()
    return save(figure, folder / "bench-peers.svg")


def _bars(panel: Axes, rows: Sequence[PeerRow], rates: Sequence[int]) -> None:
    colours = [OURS_COLOUR if place == 0 else OTHERS_COLOUR for place in range(len(rows))]
    panel.barh([row.peer for row in rows], rates, color=colours)
    panel.xaxis.set_major_formatter(_thousands)
    panel.grid(axis="x", alpha=0.3)
    panel.set_axisbelow(True)


def draw_scale(rows: Sequence[ScaleRow], folder: Path) -> Path:
    """Draw rates over pairs, over workers, and with a hot video; return the file."""
    folder.mkdir(parents=True, exist_ok=True)
    figure = Figure(figsize=(11, 3.4), layout="constrained")
    pairs, workers, hot = figure.subplots(1, 3, sharey=True)
    even = [row for row in rows if row.case == "pairs"]
    _lines(pairs, [f"{row.pairs:,}" for row in even], even)
    pairs.set_title("pairs of a video and a slice", fontsize="medium")
    spread = [row for row in rows if row.case == "workers"]
    _lines(workers, [str(row.workers) for row in spread], spread)
    workers.set_title("workers", fontsize="medium")
    both = [*spread[:1], *(row for row in rows if row.case == "hot video")]
    _lines(hot, ["none", "90 % of a partition"], both)
    hot.margins(x=0.4)
    hot.set_title("a hot video", fontsize="medium")
    pairs.set_ylim(bottom=0)
    pairs.set_ylabel("thousand events")
    pairs.yaxis.set_major_formatter(_thousands)
    pairs.legend(loc="lower left")
    return save(figure, folder / "bench-scale.svg")


def _lines(panel: Axes, places: Sequence[str], rows: Sequence[ScaleRow]) -> None:
    clock = [row.events_per_second or nan for row in rows]
    cores = [row.events_per_cpu_second or nan for row in rows]
    panel.plot(places, clock, marker="o", color=OURS_COLOUR, label="a second")
    panel.plot(places, cores, marker="o", ls="--", color=CPU_COLOUR, label="a CPU second")
    panel.grid(alpha=0.3)


def _thousands(rate: float, _place: float) -> str:
    return f"{rate / 1_000:g}"
