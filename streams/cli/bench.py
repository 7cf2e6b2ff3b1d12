"""`streams bench`: what one worker process does on this machine, beside a bare read loop."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click

from streams.cli import ConditionNotMet
from streams.cli.options import connection_options, emit, emit_object, output_option
from streams.cli.wiring import drivers, run
from streams.control.rules import load_rules
from streams.errors import Halt
from streams.lab.bench import Bench, BenchFigures, Sizes, circumstances, measure_recording
from streams.lab.peers.race import race
from streams.lab.scale import scale
from streams.settings import Settings


@dataclass(frozen=True)
class Showing:
    """How results are shown: the format on stdout, and the folder for pictures."""

    output: str
    plots: Path | None


@click.command(short_help="Measure this machine.")
@connection_options("brokers", "redis")
@click.option("--events", default=1_000_000, show_default=True, help="Events per throughput run.")
@click.option("--videos", default=20_000, show_default=True, help="Videos they are about.")
@click.option("--seconds", default=15, show_default=True, help="Length of each latency run.")
@click.option(
    "--recording", "task", flag_value="recording", help="Measure record, replay and fold instead."
)
@click.option("--peers", "task", flag_value="peers", help="Run others on the same topic instead.")
@click.option("--scale", "task", flag_value="scale", help="Measure ever more pairs instead.")
@click.option(
    "--rounds",
    type=click.IntRange(1, 100),
    default=3,
    show_default=True,
    help="How often each peer runs.",
)
@click.option(
    "--plots",
    type=click.Path(path_type=Path, file_okay=False),
    help="Draw --peers or --scale there.",
)
@output_option
def bench(
    settings: Settings, task: str | None, rounds: int, plots: Path | None, output: str, **sizes: int
) -> None:
    """Measure one worker process end to end, exactly counted, on this broker and Redis.

    Throughput with one event a record, with arrays of 50, with 200,000 videos, and crowded (few
    videos, about 5,000 impressions each, in every crowd), each beside a bare aiokafka loop that
    only reads and decodes the same topic in the same run: videos_per_second while they are brought
    in, feedback_events_per_second behind them, and events_per_second over the time of both (the
    figure of 0.1.0); the worker's peak memory. Then live_events_per_second, what is counted while
    as many come as can, and the time from an event to its counter, p50 and p99 in ms: idle, with 7
    events a second, and at 50, 70 and 90 % of that. Uses topics of its own, deleted afterwards, and
    needs an empty Redis database.

    With --recording: how fast a log is recorded, replayed and folded from its recording, by one
    process without Kafka or Redis, and how fast a crowded one is folded. Admissions are told apart
    from the feedback behind them: their signatures cost more than many events.

    Both also tell what a judgement of a crowded video costs, in microseconds.

    With --peers (extra `bench`; Java and Maven for Kafka Streams): Faust as its guide shows it and
    at its best, Quix Streams, Bytewax, Kafka Streams and ours count one topic, in turn, in rounds;
    medians, and ratios to ours. Exit code 3 if one cannot run here: it has a row that says what to
    install.

    With --scale: even loads of 10,000 to 10,000,000 pairs of a video and a slice (no more than
    --events), 1 to 4 workers, and a video with 90 % of its partition's events, all recounted. A run
    has a million events, more where it has more pairs.

    \b
    Examples: streams bench --redis redis://localhost:6379/9 --output json
              streams bench --peers --redis redis://localhost:6379/9 --plots .docs
              streams bench --scale --events 10000000 --redis redis://localhost:6379/9
    """  # noqa: D301 - \b keeps click from filling the lines below it
    folder: Path = click.get_current_context().params["config"]
    policy = load_rules(folder).policy.record(1, int(time.time() * 1000))
    if plots and find_spec("matplotlib") is None:
        raise Halt("--plots needs matplotlib: install streams with its extra bench")
    measured, showing = Sizes(**sizes), Showing(output, plots)
    if task == "recording":
        emit_object(circumstances() | measure_recording(settings, policy, measured), output)
        return
    machine = Bench(drivers(settings), settings, folder, policy, _tell)
    if task == "peers":
        _peers(machine, measured, rounds, showing)
    elif task == "scale":
        _scale(machine, measured, showing)
    else:
        _emit_measured(run(machine.run(measured)), output)


def _peers(machine: Bench, sizes: Sizes, rounds: int, showing: Showing) -> None:
    rows = run(race(machine, sizes, rounds))
    _emit([row._asdict() for row in rows], showing.output)
    if showing.plots:
        from streams.lab.bench_plots import draw_peers  # noqa: PLC0415 - needs the extra

        _tell(f"drew {draw_peers(rows, showing.plots)}")
    absent = [f"{row.peer} ({row.missing})" for row in rows if row.missing]
    wrong = [row.peer for row in rows if row.differences]
    if absent or wrong:
        counts = f"counted wrongly: {', '.join(wrong)}" if wrong else ""
        left_out = f"cannot run here: {', '.join(absent)}" if absent else ""
        raise ConditionNotMet("; ".join(filter(None, (counts, left_out))))


def _scale(machine: Bench, sizes: Sizes, showing: Showing) -> None:
    rows = run(scale(machine, sizes))
    _emit([row._asdict() for row in rows], showing.output)
    if showing.plots:
        from streams.lab.bench_plots import draw_scale  # noqa: PLC0415 - needs the extra

        _tell(f"drew {draw_scale(rows, showing.plots)}")
    differences = sum(row.differences for row in rows)
    if differences:
        raise ConditionNotMet(f"{differences} counters differ from a recount of the log")


def _emit_measured(measured: BenchFigures, output: str) -> None:
    """Print what a worker does: as a table a row a case, and then a row a load."""
    if output != "table":
        emit_object(circumstances() | measured.fields(), output)
        return
    emit_object(circumstances() | measured.beside(), output)
    emit([{"case": name} | dict(rates) for name, rates in measured.cases.items()], output)
    emit(
        [{"event_to_counter_ms": name} | dict(waits) for name, waits in measured.waits.items()],
        output,
    )


def _emit(rows: Sequence[Mapping[str, Any]], output: str) -> None:
    """Print rows, with the circumstances that they are worth nothing without."""
    if output == "table":
        emit_object(circumstances(), output)
        emit(rows, output)
    else:
        emit_object(circumstances() | {"rows": rows}, output)


def _tell(text: str) -> None:
    click.echo(text, err=True)
