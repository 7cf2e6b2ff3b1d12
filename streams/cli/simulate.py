"""`streams simulate`: how good the decisions are, in a closed loop, beside what others do."""

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from streams.cli.options import config_option, emit, output_option
from streams.lab.simulator.names import (
    CONTENDER_NAMES,
    REGIME_NAMES,
    SERVER_NAMES,
    WORLD_NAMES,
    Choice,
    cells_of,
    require_extra,
)

if TYPE_CHECKING:
    from streams.lab.simulator.comparing import CellResult

_MANY: Final = "May be given several times."
_WORLDS: Final = click.Choice((*WORLD_NAMES, "all"))
_REGIMES: Final = click.Choice(REGIME_NAMES)
_CONTENDERS: Final = click.Choice(CONTENDER_NAMES)


@click.command(short_help="Compare the rule with what others do.")
@config_option
@click.option("--compare", is_flag=True, help="Every regime, 5 seeds: means and 95 % intervals.")
@click.option("--full", is_flag=True, help="Compare every world at full size: a night.")
@click.option(
    "--curves", "task", flag_value="curves", help="The rule's value over each number of the policy."
)
@click.option(
    "--prices", "task", flag_value="prices", help="What prices that move gain over frozen ones."
)
@click.option(
    "--attack", "task", flag_value="attack", help="What an attacker pays for widenings and a stop."
)
@click.option(
    "--explore",
    "task",
    flag_value="explore",
    help="What is drawn by chance says of all crowds, beside the truth.",
)
@click.option(
    "--shares",
    "task",
    flag_value="shares",
    help="Whether the promised shares hold: the goals, and what was measured; 3 seeds.",
)
@click.option("--world", "worlds", multiple=True, type=_WORLDS, help=_MANY)
@click.option("--regime", "regimes", multiple=True, type=_REGIMES, help=_MANY)
@click.option("--contender", "contenders", multiple=True, type=_CONTENDERS, help=_MANY)
@click.option("--seeds", type=click.IntRange(1, 100), help="Runs with seeds 1, 2, ...")
@click.option("--size", type=click.FloatRange(0.005, 1), help="Share of the full size's videos.")
@click.option(
    "--servers",
    type=click.Choice(SERVER_NAMES),
    default="knowing",
    show_default=True,
    help="Feed servers: one that knows all, or 1,000 with scores 2 s old, with leases or without.",
)
@click.option("--processes", type=click.IntRange(1, 256), help="Runs at a time: one a core.")
@click.option("--plots", type=click.Path(path_type=Path, file_okay=False), help="Draw there.")
@output_option
def simulate(
    config: Path,
    output: str,
    *,
    compare: bool,
    task: str | None,
    plots: Path | None,
    **choice: Any,
) -> None:
    """Play worlds of videos and viewers whose truth is known, with the real fold and admission.

    Without --compare: the correlated world in the middle regime, one seed. The same arguments
    give the same output; progress and speed go to stderr.

    \b
    Examples: streams simulate --compare --plots .docs
              streams simulate --world hidden --regime crowded --contender rule
              streams simulate --attack
              streams simulate --explore --seeds 100
              streams simulate --shares --seeds 5 --plots .docs
    """  # noqa: D301 - \b keeps click from filling the lines below it
    require_extra()
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # matrices are small, cores have runs
    if task == "attack":
        _attack(config, output)
    elif task == "curves":
        _curves(config, output, Choice(**choice), plots)
    elif task == "prices":
        _prices(config, output, Choice(**choice), plots)
    elif task == "explore":
        _explore(config, output, Choice(**choice))
    elif task == "shares":
        _shares(config, output, Choice(**choice), plots)
    else:
        _compare(config, output, Choice(many=compare, **choice), plots)


def _attack(config: Path, output: str) -> None:
    from streams.lab.simulator.admission import load_platform  # noqa: PLC0415 - needs the extra
    from streams.lab.simulator.attack import STOPPING, WIDENING, cost_of  # noqa: PLC0415

    policy = load_platform(config).policy
    rows = [
        cost_of(policy, attack, alone=alone)._asdict()
        for alone in (False, True)
        for attack in (*WIDENING, *STOPPING)
    ]
    if output == "table":
        rows = [{name: "-" if v is None else v for name, v in row.items()} for row in rows]
    emit(rows, output)


def _compare(config: Path, output: str, choice: Choice, plots: Path | None) -> None:
    from streams.lab.simulator import comparing, tables  # noqa: PLC0415 - needs the extra

    cells = cells_of(choice, config)
    at_once = choice.processes or min(os.cpu_count() or 1, len(cells))
    results = comparing.play_all(cells, at_once, _tell)
    summaries = comparing.summarise(results)
    for name, rate in comparing.speeds(results).items():
        click.echo(f"{name}: {rate:,.0f} impressions a CPU second", err=True)
    if output == "table":
        for name, rows in tables.tables(summaries):
            click.echo(name)
            emit(rows, output)
            click.echo()
    else:
        emit([tables.as_fields(summary) for summary in summaries], output)
    if plots:
        from streams.lab.simulator.plots import draw_all  # noqa: PLC0415

        for path in draw_all(summaries, plots):
            click.echo(f"drew {path}", err=True)


def _curves(config: Path, output: str, choice: Choice, plots: Path | None) -> None:
    from streams.lab.simulator import admission, comparing, curves, tables  # noqa: PLC0415

    cells = cells_of(choice, config)
    at_once = choice.processes or min(os.cpu_count() or 1, len(cells))
    samples = [one for each in comparing.on_cores(curves.sample, cells, at_once) for one in each]
    points = curves.points(samples, admission.load_platform(config).policy)
    emit([tables.point_fields(point) for point in points], output)
    if plots:
        from streams.lab.simulator.plots import draw_curves  # noqa: PLC0415

        click.echo(f"drew {draw_curves(points, plots)}", err=True)


def _prices(config: Path, output: str, choice: Choice, plots: Path | None) -> None:
    from streams.lab.simulator import comparing, price_steps  # noqa: PLC0415 - needs the extra

    cells = cells_of(replace(choice, worlds=choice.worlds or price_steps.WORLDS), config)
    at_once = choice.processes or min(os.cpu_count() or 1, len(cells))
    runs = [one for each in comparing.on_cores(price_steps.sample, cells, at_once) for one in each]
    points = price_steps.points(runs)
    emit([price_steps.as_fields(point) for point in points], output)
    if plots:
        from streams.lab.simulator.plots import draw_prices  # noqa: PLC0415

        click.echo(f"drew {draw_prices(points, plots)}", err=True)


def _explore(config: Path, output: str, choice: Choice) -> None:
    from streams.lab.simulator import comparing, exploring  # noqa: PLC0415 - needs the extra

    small = replace(choice, regimes=("scarce",), size=choice.size or exploring.SIZE)
    cells = cells_of(small, config)
    at_once = choice.processes or min(os.cpu_count() or 1, len(cells))
    runs = list(comparing.on_cores(exploring.explore, cells, at_once))
    emit([exploring.as_fields(run) for run in runs], output)
    click.echo(exploring.in_words(runs), err=True)


def _shares(config: Path, output: str, choice: Choice, plots: Path | None) -> None:
    from streams.control.rules import load_rules  # noqa: PLC0415 - needs the extra
    from streams.lab.shares import (  # noqa: PLC0415
        advert_goals,
        adverts,
        course,
        creators,
        goals,
        mobs,
        worlds,
    )
    from streams.lab.simulator.admission import load_platform  # noqa: PLC0415

    rules = load_rules(config).policy.shares
    seeds = range(1, (choice.seeds or 3) + 1)
    courses = []
    for world in worlds.SHARE_WORLDS.values():
        courses += [course.play(world, rules, seed) for seed in seeds]
        click.echo(f"played {world.name}", err=True)
    platform, commercial = load_platform(config), []
    draft = platform.policy
    for advert_world in adverts.ADVERT_WORLDS:
        commercial += [adverts.play_adverts(advert_world, draft, rules, seed) for seed in seeds]
        click.echo(f"played {advert_world.name}", err=True)
    told = [*goals.verdicts(courses), *advert_goals.advert_verdicts(commercial)]
    told += mobs.verdicts(draft, seeds)
    click.echo(f"played {mobs.WORLD}", err=True)
    told += creators.verdicts(platform, seeds)
    click.echo(f"played {creators.WORLD}", err=True)
    rows = [goals.as_fields(each) for each in told]
    if output == "table":
        rows = [{name: "" if v is None else v for name, v in row.items()} for row in rows]
    emit(rows, output)
    if plots:
        from streams.lab.shares.drawing import draw_courses  # noqa: PLC0415

        for path in draw_courses(courses[:: len(seeds)], plots):
            click.echo(f"drew {path}", err=True)


def _tell(result: "CellResult") -> None:
    cell = result.cell
    seconds = sum(spent for _, spent in result.speed.values())
    click.echo(f"{cell.world}, {cell.regime}, seed {cell.seed}: {seconds:.0f} CPU s", err=True)
