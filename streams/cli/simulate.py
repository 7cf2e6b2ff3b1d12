"""`streams simulate`: how good the decisions are, in a closed loop, beside what others do."""

import math
import os
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from itertools import groupby, product
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from streams.cli.options import config_option, emit, output_option
from streams.errors import Halt

if TYPE_CHECKING:
    from streams.lab.simulator.comparing import Cell, CellResult, Summary

WORLDS: Final = (
    "independent", "correlated", "hidden", "wrong-priors", "rare-hits", "drift", "late", "fake",
    "mixture",
)  # fmt: skip
REGIMES: Final = ("rich", "middle", "scarce", "crowded")
CONTENDERS: Final = (
    "oracle", "ladder", "peeking-z", "always-widen", "thompson", "rule", "rule-all-started",
    "joint-learned", "joint-true",
)  # fmt: skip
COLUMNS: Final = {
    "value_share": "value %",
    "regret_ratio": "regret/ladder",
    "good_tried": "good tried %",
    "wasted": "wasted %",
    "idle_slots": "idle %",
    "false_stops": "false stops %",
    "good_stopped": "good stopped %",
    "bad_stop_impressions": "bad stopped at",
    "decisions": "decisions",
    "gini": "gini",
}
"""Measures that fit a terminal, with their heads; the others are in the JSON."""
NEEDED: Final = ("numpy", "matplotlib")

_MANY: Final = "May be given several times."


def _one_of(names: Sequence[str]) -> click.Choice[str]:
    return click.Choice(names)


@click.command(short_help="Compare the rule with what others do.")
@config_option
@click.option("--compare", is_flag=True, help="Every regime, 5 seeds: means and 95 % intervals.")
@click.option("--full", is_flag=True, help="Compare every world at full size: a night.")
@click.option("--attack", is_flag=True, help="What an attacker pays for widenings and a stop.")
@click.option("--world", "worlds", multiple=True, type=_one_of((*WORLDS, "all")), help=_MANY)
@click.option("--regime", "regimes", multiple=True, type=_one_of(REGIMES), help=_MANY)
@click.option("--contender", "contenders", multiple=True, type=_one_of(CONTENDERS), help=_MANY)
@click.option("--seeds", type=click.IntRange(1, 100), help="Runs with seeds 1, 2, ...")
@click.option("--size", type=click.FloatRange(0.005, 1), help="Share of the full size's videos.")
@click.option(
    "--servers",
    type=_one_of(("knowing", "lagging")),
    default="knowing",
    show_default=True,
    help="Feed servers: one that knows every counter, or 1,000 with counters 2 s old.",
)
@click.option("--processes", type=click.IntRange(1, 256), help="Runs at a time: one a core.")
@click.option("--plots", type=click.Path(path_type=Path, file_okay=False), help="Draw there.")
@output_option
def simulate(config: Path, output: str, **options: Any) -> None:
    """Play worlds of videos and viewers whose truth is known, with the real fold and admission.

    Without --compare: the correlated world in the middle regime, one seed. The same arguments
    give the same output; progress and speed go to stderr.

    \b
    Examples: streams simulate --compare --plots .docs
              streams simulate --world hidden --regime crowded --contender rule
              streams simulate --attack
    """  # noqa: D301 - \b keeps click from filling the lines below it
    _require_extra()
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # matrices are small, cores have runs
    if options["attack"]:
        _attack(config, output)
    else:
        _compare(config, output, options)


def _attack(config: Path, output: str) -> None:
    from streams.lab.simulator.admission import load_platform  # noqa: PLC0415 - needs the extra
    from streams.lab.simulator.attack import STOPPING, WIDENING, cost_of  # noqa: PLC0415

    policy = load_platform(config).policy
    rows = [cost_of(policy, attack)._asdict() for attack in (*WIDENING, *STOPPING)]
    if output == "table":
        rows = [{name: "-" if v is None else v for name, v in row.items()} for row in rows]
    emit(rows, output)


def _compare(config: Path, output: str, options: Mapping[str, Any]) -> None:
    from streams.lab.simulator.comparing import play_all, speeds, summarise  # noqa: PLC0415

    cells = _cells(config, options)
    processes = options["processes"] or min(os.cpu_count() or 1, len(cells))
    results = play_all(cells, processes, _tell)
    summaries = summarise(results)
    for name, rate in speeds(results).items():
        click.echo(f"{name}: {rate:,.0f} impressions a CPU second", err=True)
    if output == "table":
        _print_tables(summaries)
    else:
        emit([_fields(summary) for summary in summaries], output)
    if options["plots"]:
        from streams.lab.simulator.plots import draw_all  # noqa: PLC0415

        for path in draw_all(summaries, options["plots"]):
            click.echo(f"drew {path}", err=True)


def _cells(config: Path, options: Mapping[str, Any]) -> "list[Cell]":
    from streams.lab.simulator.comparing import Cell  # noqa: PLC0415

    full, many = options["full"], options["full"] or options["compare"]
    worlds = options["worlds"] or (("all",) if full else ("correlated",))
    worlds = WORLDS if "all" in worlds else worlds
    regimes = options["regimes"] or (REGIMES if many else ("middle",))
    seeds = range(1, (options["seeds"] or (5 if many else 1)) + 1)
    size = options["size"] or (1.0 if full else 0.1)
    contenders = options["contenders"] or CONTENDERS
    return [
        Cell(config, world, regime, seed, size, options["servers"], tuple(contenders))
        for world, regime, seed in product(worlds, regimes, seeds)
    ]


def _print_tables(summaries: "Sequence[Summary]") -> None:
    """Print a table for each world and regime, never folded: numbers are read in columns."""
    for (world, regime), own in groupby(summaries, key=lambda each: (each.world, each.regime)):
        rows = [_row(summary) for summary in own]
        lines = [list(rows[0]), *(list(row.values()) for row in rows)]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        click.echo(f"{world}, {regime}")
        for line in lines:
            cells = (cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True))
            click.echo("  ".join((line[0].ljust(widths[0]), *cells)))
        click.echo()


def _row(summary: "Summary") -> dict[str, str]:
    row = {"contender": summary.contender}
    for field, head in COLUMNS.items():
        mean, half = summary.intervals[field]
        row[head] = _spell(mean, half, percent=head.endswith("%"))
    return row


def _spell(mean: float, half: float, *, percent: bool) -> str:
    """Return a mean and its half width as people read them.

    >>> _spell(0.5864, 0.0123, percent=True), _spell(math.nan, math.nan, percent=False)
    ('58.6 ±1.2', '-')
    """
    if math.isnan(mean):
        return "-"
    if percent:
        mean, half = 100 * mean, 100 * half
    places = 0 if abs(mean) >= 1000 else 1 if percent or abs(mean) >= 10 else 2
    around = "" if math.isnan(half) else f" ±{half:,.{places}f}"
    return f"{mean:,.{places}f}{around}"


def _fields(summary: "Summary") -> dict[str, Any]:
    known = {
        field: [None if math.isnan(number) else round(number, 6) for number in around]
        for field, around in summary.intervals.items()
    }
    named = {"world": summary.world, "regime": summary.regime, "contender": summary.contender}
    return named | {
        field: {"mean": mean, "half_width_95": half} for field, (mean, half) in known.items()
    }


def _tell(result: "CellResult") -> None:
    cell = result.cell
    seconds = sum(spent for _, spent in result.speed.values())
    click.echo(f"{cell.world}, {cell.regime}, seed {cell.seed}: {seconds:.0f} CPU s", err=True)


def _require_extra() -> None:
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        names: Sequence[str] = missing
        raise Halt(f"simulate needs {' and '.join(names)}: pip install 'streams[simulate]'")
