"""Pictures of a comparison, as SVG: the same summaries give the same bytes."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from streams.core.units import MICROS
from streams.lab.simulator.comparing import Interval, Summary
from streams.lab.simulator.curves import CurvePoint
from streams.lab.simulator.price_steps import PricePoint

COLOURS: Final = {
    "oracle": "#999999",
    "ladder": "#c44e52",
    "peeking-z": "#dd8452",
    "always-widen": "#ccb974",
    "thompson": "#64b5cd",
    "rule-apart": "#8da0cb",
    "rule": "#4c72b0",
    "rule-kept": "#1b3a6b",
    "rule-priced": "#8172b3",
    "rule-capped": "#937860",
    "joint-learned": "#55a868",
    "joint-true": "#2d6a3e",
}
BEHAVIOUR: Final = {
    "good_tried": "good pairs ever shown, %",
    "wasted": "impressions below the price, %",
    "idle_slots": "slots left empty, %",
    "false_stops": "stops of a pair above its price, %",
}
"""Measures of the second picture, with their titles."""


def draw_all(summaries: Sequence[Summary], folder: Path) -> Iterator[Path]:
    """Draw what every world is worth, and what the contenders do; yield the files."""
    folder.mkdir(parents=True, exist_ok=True)
    for world in dict.fromkeys(summary.world for summary in summaries):
        own = [summary for summary in summaries if summary.world == world]
        yield save(_value(world, own), folder / f"simulate-value-{world}.svg")
        yield save(_behaviour(world, own), folder / f"simulate-behaviour-{world}.svg")


def draw_curves(points: Sequence[CurvePoint], folder: Path) -> Path:
    """Draw value over each of the policy's numbers, a panel a number; return the file."""
    folder.mkdir(parents=True, exist_ok=True)
    numbers = list(dict.fromkeys(point.number for point in points))
    figure = Figure(figsize=(13.5, 6), layout="constrained")
    axes = list(figure.subplots(2, -(-len(numbers) // 2), squeeze=False).flat)
    for empty in axes[len(numbers) :]:
        empty.set_axis_off()
    for panel, number in zip(axes, numbers, strict=False):
        own = [point for point in points if point.number == number]
        for regime in dict.fromkeys(point.regime for point in own):
            line = [point for point in own if point.regime == regime]
            shares = [_drawn(point.value_share) for point in line]
            places = [str(point.value) for point in line]
            means, halves = ([share[at] for share in shares] for at in (0, 1))
            panel.errorbar(places, means, yerr=halves, marker="o", capsize=3, label=regime)
        panel.axvline(next(str(p.value) for p in own if p.shipped), color="#999", linestyle=":")
        panel.set_title(number)
        panel.grid(alpha=0.3)
    axes[0].legend()
    figure.suptitle("share of the oracle's value, %, over the policy's numbers (dotted: shipped)")
    return save(figure, folder / "simulate-curves.svg")


def draw_prices(points: Sequence[PricePoint], folder: Path) -> Path:
    """Draw what steps of prices gain over frozen ones, a panel a world; return the file."""
    folder.mkdir(parents=True, exist_ok=True)
    worlds = list(dict.fromkeys(point.world for point in points))
    figure = Figure(figsize=(3.4 * len(worlds), 3.2), layout="constrained")
    axes = figure.subplots(1, len(worlds), sharey=True, squeeze=False)[0]
    for panel, world in zip(axes, worlds, strict=True):
        own = [point for point in points if point.world == world]
        for regime in dict.fromkeys(point.regime for point in own):
            line = [point for point in own if point.regime == regime]
            gains = [_drawn(point.gain) for point in line]
            steps = [f"{point.step / MICROS:g}" if point.step else "frozen" for point in line]
            means, halves = ([gain[at] for gain in gains] for at in (0, 1))
            panel.errorbar(steps, means, yerr=halves, marker="o", capsize=3, label=regime)
        panel.axhline(0, color="#999", linestyle=":")
        panel.set_title(world)
        panel.set_xlabel("most that a price moves at a time")
        panel.grid(alpha=0.3)
    axes[0].legend()
    figure.suptitle("gain over frozen prices, points of the oracle's value")
    return save(figure, folder / "simulate-prices.svg")


def _value(world: str, summaries: Sequence[Summary]) -> Figure:
    """Draw the share of the oracle's value, a panel a regime."""
    regimes = list(dict.fromkeys(summary.regime for summary in summaries))
    figure = Figure(figsize=(3 * len(regimes) + 1.5, 3.2), layout="constrained")
    axes = figure.subplots(1, len(regimes), sharey=True, squeeze=False)[0]
    for panel, regime in zip(axes, regimes, strict=True):
        _bars(panel, [s for s in summaries if s.regime == regime], "value_share")
        panel.set_title(regime)
        panel.set_xlim(0, 105)
    figure.suptitle(f"share of the oracle's value, % ({world})")
    return figure


def _behaviour(world: str, summaries: Sequence[Summary]) -> Figure:
    """Draw what contenders do in the last regime, a panel a measure."""
    regime = summaries[-1].regime
    figure = Figure(figsize=(13.5, 3.2), layout="constrained")
    axes = figure.subplots(1, len(BEHAVIOUR), sharey=True, squeeze=False)[0]
    for panel, (field, title) in zip(axes, BEHAVIOUR.items(), strict=True):
        _bars(panel, [s for s in summaries if s.regime == regime], field)
        panel.set_title(title, fontsize="medium")
    figure.suptitle(f"{world}, {regime}")
    return figure


def _bars(panel: Axes, summaries: Sequence[Summary], field: str) -> None:
    """Draw one bar a contender, the first on top, with its interval."""
    names = [summary.contender for summary in summaries][::-1]
    values = [_drawn(summary.intervals[field]) for summary in summaries][::-1]
    means, halves = ([value[place] for value in values] for place in (0, 1))
    panel.barh(names, means, xerr=halves, color=[COLOURS[name] for name in names])
    panel.set_xlim(left=0)
    panel.grid(axis="x", alpha=0.3)
    panel.set_axisbelow(True)


def _drawn(around: Interval) -> tuple[float, float]:
    mean, half = (0.0 if np.isnan(number) else 100 * number for number in around)
    return mean, half


def save(figure: Figure, path: Path) -> Path:
    """Write a picture, the same bytes for the same figure; return the file."""
    with mpl.rc_context({"svg.hashsalt": "streams", "svg.fonttype": "none"}):
        figure.savefig(path, metadata={"Date": None, "Creator": None})
    return path
