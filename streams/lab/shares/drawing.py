"""Pictures of worlds of shares, as SVG: the same courses give the same bytes."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from streams.core.shares import PromiseName
from streams.core.units import MICROS
from streams.lab.shares.course import FIRST, SharesCourse
from streams.lab.shares.goals import share_of
from streams.lab.shares.worlds import STEP_AT
from streams.lab.simulator.plots import save

COLOURS: Final[Mapping[PromiseName, str]] = {
    "private": "#55a868",
    "ordinary": "#4c72b0",
    "commercial": "#c44e52",
}


def draw_courses(courses: Sequence[SharesCourse], folder: Path) -> Iterator[Path]:
    """Draw shares, what was owed and tilts over time, a file a world; yield the files."""
    folder.mkdir(parents=True, exist_ok=True)
    for course in courses:
        yield save(_course(course), folder / f"shares-{course.world.name}.svg")


def _course(course: SharesCourse) -> Figure:
    figure = Figure(figsize=(8, 6.5), layout="constrained")
    shares, owed, tilts = figure.subplots(3, 1, sharex=True)
    minutes = np.arange(FIRST, len(course.minutes) + FIRST)
    for bar in course.rules.bars:
        colour = COLOURS[bar.name]
        shares.plot(minutes, 100 * share_of(bar, course), color=colour, lw=1, label=bar.name)
        free = 100 * share_of(bar, course, forced=False)
        shares.plot(minutes, free, color=colour, lw=0.8, alpha=0.35)
        shares.axhline(100 * bar.bound / MICROS, color=colour, linestyle=":", lw=1)
        stands = [each.promises[bar.name] for each in course.minutes]
        owed.plot(minutes, [each.owed for each in stands], color=colour, lw=1)
        tilts.plot(minutes, [each.tilt / MICROS for each in stands], color=colour, lw=1)
        slow = [each.slow / MICROS for each in stands]
        tilts.plot(minutes, slow, color=colour, lw=0.8, alpha=0.5, linestyle="--")
    _name(shares, "share, % (pale: without tilts; dotted: promised)", course)
    _name(owed, "impressions owed", course)
    _name(tilts, "tilt, value per view (dashed: slow mean)", course)
    owed.yaxis.set_major_formatter("{x:,.0f}")
    tilts.set_xlabel("minutes")
    figure.suptitle(f"{course.world.name}: {course.world.about}")
    figure.legend(loc="outside lower center", ncols=len(course.rules.bars))
    return figure


def _name(panel: Axes, title: str, course: SharesCourse) -> None:
    """Name a panel, and shade the minutes in which nobody led."""
    panel.set_title(title, fontsize="medium")
    panel.grid(alpha=0.3)
    panel.margins(x=0.01)
    if course.world.dead:
        panel.axvspan(STEP_AT, STEP_AT + course.world.dead, color="#999999", alpha=0.25)
