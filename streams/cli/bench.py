"""`streams bench`: what one worker process does on this machine, beside a bare read loop."""

import time
from pathlib import Path

import click

from streams.cli.options import connection_options, emit_object, output_option
from streams.cli.wiring import drivers, run
from streams.control.rules import load_rules
from streams.lab.bench import Bench, Sizes, circumstances, measure_recording
from streams.settings import Settings


@click.command(short_help="Measure this machine.")
@connection_options("brokers", "redis")
@click.option("--events", default=1_000_000, show_default=True, help="Events per throughput run.")
@click.option("--videos", default=20_000, show_default=True, help="Videos they are about.")
@click.option("--seconds", default=15, show_default=True, help="Length of the latency run.")
@click.option("--recording", is_flag=True, help="Measure record, replay and fold instead.")
@output_option
def bench(
    settings: Settings, events: int, videos: int, seconds: int, recording: bool, output: str
) -> None:
    """Measure one worker process end to end, exactly counted, on this broker and Redis.

    Throughput with one event a record, with arrays of 50, with 200,000 videos, and crowded (few
    videos, about 5,000 impressions each, in every crowd), each beside a bare aiokafka loop that
    only reads and decodes the same topic in the same run: videos_per_second while they are brought
    in, feedback_events_per_second behind them, and events_per_second over the time of both (the
    figure of 0.1.0); the worker's peak memory; and the time from an event to its counter at 70 % of
    feedback_events_per_second. Uses topics of its own, deleted afterwards, and needs an empty Redis
    database.

    With --recording: how fast a log is recorded, replayed and folded from its recording, by one
    process without Kafka or Redis, and how fast a crowded one is folded. Admissions are told apart
    from the feedback behind them: their signatures cost more than many events.

    Either way also what a judgement of a crowded video costs, in microseconds.

    Example: streams bench --redis redis://localhost:6379/9 --output json
    """
    folder: Path = click.get_current_context().params["config"]
    policy = load_rules(folder).policy.record(1, int(time.time() * 1000))
    sizes = Sizes(events, videos, seconds)
    if recording:
        emit_object(circumstances() | measure_recording(settings, policy, sizes), output)
        return
    machine = Bench(drivers(settings), settings, folder, policy, _tell)
    emit_object(circumstances() | run(machine.run(sizes)), output)


def _tell(text: str) -> None:
    click.echo(text, err=True)
