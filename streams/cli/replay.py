"""`streams replay`: a recording back into Kafka, or through the fold without it."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import click

from streams.cli import ConditionNotMet, Interrupted
from streams.cli.interrupts import Stop, orderly_stop
from streams.cli.logs import log_options
from streams.cli.options import Settings, connection_options, emit, output_option
from streams.cli.progress import Meter
from streams.cli.replay_fold import fold
from streams.cli.replay_inspect import diff, inspect, verify
from streams.cli.replay_options import ReplayOptions, replay_options
from streams.cli.when import now_ms
from streams.cli.wiring import producing, reading, watching
from streams.recording.checkpoint import Checkpoint
from streams.recording.damage import require_whole
from streams.recording.foreign import opened
from streams.recording.ledger import Ledger, TargetLog
from streams.recording.reader import Damaged, Recording
from streams.recording.replay_plan import (
    ReplayPlan,
    ReplayRequest,
    count_replay,
    earlier_checkpoint,
    plan_replay,
    starting_point,
    target_topics,
)
from streams.recording.replayer import Replayer, ReplayProgress, Time
from streams.recording.resigning import Signatures, plan_signatures, target_installation
from streams.recording.target import require_accepted
from streams.runtime.codec import spelling_of
from streams.runtime.collector import quiet_collector
from streams.runtime.kafka import KafkaCluster
from streams.runtime.key_files import read_key_file
from streams.runtime.logs import LogOptions, set_up_logs
from streams.settings import KafkaAddress

EPILOG: Final = """\b
Examples:
  streams replay incident --target kafka --topic interactions=again --speed max --yes
  streams replay incident --target kafka --speed 10 --max-gap 30s --checkpoint at.json --yes
  streams replay incident --target fold --output ndjson > receipts.ndjson
  streams replay inspect incident
"""
TIME: Final = Time(time.monotonic, asyncio.sleep, now_ms)


class ReplayGroup(click.Group):
    """`replay RECORDING` replays; `replay inspect|verify|diff` look."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Take what names no command as a replay."""
        helps = ctx.help_option_names
        named = bool(args) and (args[0] in self.commands or args[0] in helps)
        return super().parse_args(ctx, args if named or not args else ["run", *args])

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Show the help of a replay, and the other commands below it."""
        run = self.commands["run"]
        with click.Context(run, info_name=ctx.info_name, parent=ctx.parent) as own:
            run.format_help(own, formatter)
        with formatter.section("Commands (streams replay COMMAND --help)"):
            rows = [(n, c.get_short_help_str(70)) for n, c in self.commands.items() if n != "run"]
            formatter.write_dl(rows)


@click.group(cls=ReplayGroup)
def replay() -> None:
    """Replay a recording into Kafka or through the fold."""


replay.add_command(inspect)
replay.add_command(verify)
replay.add_command(diff)


@replay.command(epilog=EPILOG)
@click.argument("path", metavar="RECORDING", type=click.Path(path_type=Path))
@replay_options
@output_option
@connection_options("brokers", "topic_prefix")
@log_options
def run(path: Path, *, settings: Settings, logs: LogOptions, **words: Any) -> None:
    """Replay RECORDING (a folder, a file of kcat -J lines, or an NDJSON file of events).

    --target kafka keeps keys, values, headers, timestamps and partitions; records are merged by
    time over all partitions and never reordered inside one. --target fold prints what the worker
    would have decided, without Kafka: a row a partition, or the receipts with --output ndjson.
    """
    options = ReplayOptions(**words)
    if options.resume and options.checkpoint is None:
        raise click.UsageError("--resume needs the --checkpoint to go on from")
    set_up_logs(logs)
    with (
        opened(path, full_name=settings.full_name, partitions=settings.partitions) as recording,
        orderly_stop() as stop,
        quiet_collector(),
    ):
        if not recording.manifest.complete:
            _say(f"{path} is not complete: what it holds up to its last whole frame is replayed")
        work = fold if options.target == "fold" else _to_kafka
        asyncio.run(work(recording, options, settings, stop))


async def _to_kafka(
    recording: Recording, options: ReplayOptions, settings: Settings, stop: Stop
) -> None:
    topics = target_topics(recording, options.pairs(), settings.full_name)
    for warning in require_whole(recording, topics):
        _say(warning)
    file = None if options.dry_run and not options.resume else options.checkpoint
    earlier = earlier_checkpoint(file, resume=options.resume)
    began_ms = now_ms() if earlier is None else earlier.began_ms
    signatures = await _signatures(recording, options, settings, topics)
    request = ReplayRequest(
        topics,
        replace(options.options(recording, began_ms), resigner=signatures.resigner),
        began_ms,
        options.run_id,
        options.allow_same_topic,
    )
    plan = await plan_replay(recording, KafkaCluster(settings.brokers), request, now_ms())
    checkpoint = starting_point(recording, plan, earlier, file)
    _print_plan(plan, settings, checkpoint)
    if signatures.words:
        _say(signatures.words)
    if options.dry_run:
        await _dry_run(recording, plan, checkpoint, options.output)
    elif not options.yes:
        _say("nothing was sent: add --yes to replay, --dry-run to count")
    else:
        require_accepted(plan.caveats, options.accept)
        async with watching(settings):
            await _send(recording, plan, checkpoint, file, settings.brokers, stop)


async def _signatures(
    recording: Recording, options: ReplayOptions, settings: Settings, topics: Mapping[str, str]
) -> Signatures:
    key = None if options.resign is None else read_key_file(options.resign, "--resign")
    async with reading(settings.brokers) as reader:
        cluster = KafkaCluster(settings.brokers)
        installation = await target_installation(cluster, reader, settings, topics)
    return plan_signatures(recording, topics, installation, key, spelling_of(settings))


def _print_plan(plan: ReplayPlan, settings: Settings, checkpoint: Checkpoint) -> None:
    topics = plan.target.topics.items()
    goes = ", ".join(name if name == to else f"{name} as {to}" for name, to in topics)
    pace = plan.request.options.pace
    how = "as fast as it goes" if pace.speed is None else f"at {pace.speed:g} times the pace"
    if pace.rate is not None:
        how += f", at most {pace.rate:g}/s"
    _say(f"{plan.records:,} records to {settings.brokers}: {goes}, {how}; run {checkpoint.run_id}")
    if checkpoint.sent:
        _say(f"going on behind {checkpoint.sent:,} records")
    for caveat in plan.caveats:
        _say(f"{caveat.words} (--accept {caveat.kind})")


async def _dry_run(
    recording: Recording, plan: ReplayPlan, checkpoint: Checkpoint, output: str
) -> None:
    counts = await count_replay(recording, plan, checkpoint, TIME)
    rows = [
        {"topic": topic, "partition": partition, "records": count}
        for (topic, partition), count in sorted(counts.items())
    ]
    emit(rows, output)
    _say(f"dry run: {sum(counts.values()):,} records would be sent, nothing was")
    _require_any(checkpoint)


async def _send(
    recording: Recording,
    plan: ReplayPlan,
    checkpoint: Checkpoint,
    file: Path | None,
    brokers: KafkaAddress,
    stop: Stop,
) -> None:
    async with producing(brokers) as producer, reading(brokers) as reader:
        ledger = Ledger(checkpoint, file, TargetLog(reader, timestamps=plan.keeps_timestamps))
        replayer = Replayer(recording, producer, plan.target, plan.request.options, TIME, ledger)
        await _run(replayer, plan, checkpoint, file, stop)


async def _run(
    replayer: Replayer, plan: ReplayPlan, checkpoint: Checkpoint, file: Path | None, stop: Stop
) -> None:
    already = checkpoint.sent
    with Meter("replaying", plan.records - already) as meter:

        def tell(progress: ReplayProgress) -> None:
            meter.show(progress.sent - already, done=progress.read)

        try:
            whole = await replayer.run(stop, tell)
        except (KeyboardInterrupt, asyncio.CancelledError):
            whole = False
        except Damaged as damaged:
            raise Damaged(f"{damaged}; {checkpoint.sent:,} records were sent before") from None
        rate = meter.rate()
    line = f"{checkpoint.sent - already:,} records sent, {rate:,.0f}/s"
    if not whole:
        how = f"the same command with --resume goes on from {file}" if file else "no --checkpoint"
        raise Interrupted(f"stopped early: {line}; {how}")
    _say(f"{line}; run {checkpoint.run_id}")
    _require_any(checkpoint)


def _require_any(checkpoint: Checkpoint) -> None:
    if not checkpoint.sent:
        raise ConditionNotMet("no record is selected: the selection is empty")


def _say(line: str) -> None:
    click.echo(line, err=True)
