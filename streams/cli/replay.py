"""`streams replay`: a recording back into Kafka, or through the fold without it."""

import asyncio
import time
import uuid
from collections import Counter
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import click
import orjson

from streams.cli import Interrupted
from streams.cli.interrupts import Stop, orderly_stop
from streams.cli.options import Settings, connection_options, emit, output_option
from streams.cli.progress import Meter
from streams.cli.replay_fold import fold
from streams.cli.replay_inspect import diff, inspect, require_whole, verify
from streams.cli.when import duration_ms, moment_ms
from streams.errors import Halt
from streams.recording.checkpoint import Checkpoint, load_checkpoint
from streams.recording.foreign import opened
from streams.recording.pacing import Pace
from streams.recording.reader import Damaged, Recording
from streams.recording.replayer import (
    Options,
    Progress,
    Replayer,
    Target,
    Time,
    require_target,
)
from streams.recording.selection import Selection, parse_where
from streams.runtime.collector import quiet_collector
from streams.runtime.kafka import KafkaCluster, KafkaProducer
from streams.runtime.ports import BatchSink, Outgoing

EPILOG: Final = """\b
Examples:
  streams replay incident --target kafka --topic interactions=again --speed max --yes
  streams replay incident --target kafka --speed 10 --max-gap 30s --checkpoint at.json --yes
  streams replay incident --target fold --output ndjson > receipts.ndjson
  streams replay inspect incident
"""


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
@click.argument("recording", type=click.Path(path_type=Path))
@click.option("--target", type=click.Choice(["kafka", "fold"]), required=True)
@click.option(
    "--topic",
    "topics",
    multiple=True,
    metavar="NAME[=TARGET]",
    help="Recorded topic, and the topic it goes to; repeatable; all under their names without it.",
)
@click.option("--speed", default="1", show_default=True, help="Times the original pace, or max.")
@click.option("--rate", help="At most this many records a second: 500/s.")
@click.option("--max-gap", help="Wait out no longer gap than this (original time): 30s.")
@click.option("--from", "start", help="A time, -1h, or +30s into the recording.")
@click.option("--to", "end", help="A time, -1h, or +90s into the recording; left out itself.")
@click.option(
    "--where",
    multiple=True,
    metavar="NAME=TEXT",
    help="Only records whose topic, partition, key or field of the value is TEXT; all must hold. "
    "An array goes whole if one of its events matches.",
)
@click.option("--limit", type=click.IntRange(min=0), help="At most this many records.")
@click.option(
    "--partitions",
    type=click.Choice(["keep", "rekey"]),
    default="keep",
    show_default=True,
    help="rekey: by murmur2 of the key, for another partition count (arrays must fit it).",
)
@click.option(
    "--timestamps",
    type=click.Choice(["keep", "shift", "now"]),
    default="keep",
    show_default=True,
    help="shift: the first is now, the others keep their distance.",
)
@click.option(
    "--trace/--no-trace",
    default=None,
    help="Add x-original-* and x-replay-run-id behind a record's own headers.  "
    "[default: with --run-id or --allow-same-topic, else records are byte-equal]",
)
@click.option("--run-id", help="Name of this run, sent with --trace; a fresh one without it.")
@click.option("--checkpoint", type=click.Path(path_type=Path), help="File to keep the place in.")
@click.option("--resume", is_flag=True, help="Go on where --checkpoint says.")
@click.option("--allow-same-topic", is_flag=True, help="Replay into the very topic recorded.")
@click.option("--dry-run", is_flag=True, help="Check and count everything, send nothing.")
@click.option("--yes", is_flag=True, help="Do it; without it only the plan is printed.")
@click.option(
    "--redis", "redis_url", help="fold: store the counters in this Redis (its own database)."
)
@output_option
@connection_options("brokers", "topic_prefix")
def run(recording: Path, target: str, *, settings: Settings, **asked: Any) -> None:
    """Replay RECORDING (a folder, a file of kcat -J lines, or an NDJSON file of events).

    --target kafka keeps keys, values, headers, timestamps and partitions; records are merged by
    time over all partitions and never reordered inside one. --target fold prints what the worker
    would have decided, without Kafka: a row a partition, or the receipts with --output ndjson.
    """
    interactions = settings.topic("interactions")
    with (
        opened(recording, topic=interactions, partitions=settings.partitions) as it,
        orderly_stop() as stop,
        quiet_collector(),
    ):
        require_whole(it)
        if not it.manifest.complete:
            _say(
                f"{recording} is not complete: what it holds up to its last whole frame is replayed"
            )
        if target == "fold":
            asyncio.run(fold(it, settings, asked, _selection(it, asked), stop))
        else:
            asyncio.run(_to_kafka(it, settings, asked, stop))


@dataclass(frozen=True)
class _Plan:
    """A replay into Kafka, checked."""

    target: Target
    options: Options
    cluster_id: str

    def digest(self, it: Recording) -> str:
        """Return what must be equal for a checkpoint to be this replay's."""
        options = self.options
        parts = [
            it.manifest.recording_id,
            self.cluster_id,
            dict(self.target.topics),
            [options.partitions, options.timestamps, options.trace, options.limit],
            [options.selection.start_ms, options.selection.end_ms, dict(options.selection.where)],
        ]
        return sha256(orjson.dumps(parts, option=orjson.OPT_SORT_KEYS)).hexdigest()


async def _to_kafka(it: Recording, settings: Settings, asked: dict[str, Any], stop: Stop) -> None:
    options = _options(it, asked)
    admin = KafkaCluster(settings.brokers)
    plan = await _plan(it, admin, options, asked)
    checkpoint = _checkpoint(it, plan, asked)
    _print_plan(it, plan, settings, checkpoint)
    await _warn_of_expiry(it, plan, admin)
    if asked["dry_run"]:
        await _dry_run(it, plan, checkpoint, asked["output"])
        return
    if not asked["yes"]:
        _say("nothing was sent: add --yes to replay, --dry-run to count")
        return
    producer = KafkaProducer(settings.brokers)
    try:
        await producer.start()
        await _send(it, plan, checkpoint, producer, asked["checkpoint"], stop)
    finally:
        await producer.stop()


async def _plan(
    it: Recording, admin: KafkaCluster, options: Options, asked: dict[str, Any]
) -> _Plan:
    mapping = _topics(it, asked["topics"])
    counts = await admin.describe()
    recorded = {name: it.manifest.topics[name].partitions for name in mapping}
    target = Target(mapping, counts, recorded)
    require_target(target, options.partitions)
    cluster_id = (await admin.identity(next(iter(mapping.values())))).cluster_id
    source = it.manifest.cluster_id
    same = [name for name, topic in mapping.items() if name == topic]
    if same and source in ("", cluster_id) and not asked["allow_same_topic"]:
        where = "cluster" if source else "cluster, for all the file says"
        raise Halt(
            f"{same[0]} is the recorded topic of this very {where}: name another with "
            f"--topic {same[0]}=TARGET, or say --allow-same-topic"
        )
    return _Plan(target, options, cluster_id)


def _topics(it: Recording, asked: Sequence[str]) -> dict[str, str]:
    """Return recorded topics and where they go."""
    pairs = [text.partition("=") for text in asked]
    mapping = {name: to or name for name, _, to in pairs} or {n: n for n in it.manifest.topics}
    for name in mapping:
        if name not in it.manifest.topics:
            known = ", ".join(sorted(it.manifest.topics)) or "none"
            raise Halt(f"the recording has no topic {name}; it has: {known}")
    if not mapping:
        raise Halt("the recording has no topic")
    return mapping


def _options(it: Recording, asked: dict[str, Any]) -> Options:
    return Options(
        pace=_pace(asked),
        selection=_selection(it, asked),
        partitions=asked["partitions"],
        timestamps=asked["timestamps"],
        limit=asked["limit"],
        trace=_trace(asked),
    )


def _trace(asked: dict[str, Any]) -> bool:
    """Return whether to add headers: in the recorded topic itself, replays must be told apart."""
    said: bool | None = asked["trace"]
    return bool(asked["run_id"] or asked["allow_same_topic"]) if said is None else said


def _pace(asked: dict[str, Any]) -> Pace:
    speed, gap = asked["speed"], asked["max_gap"]
    rate = (asked["rate"] or "").removesuffix("/s")
    return Pace(
        None if speed == "max" else _positive("--speed", speed),
        _positive("--rate", rate) if rate else None,
        duration_ms(gap) if gap else None,
    )


def _positive(option: str, text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise Halt(f"{option} {text}: write a number above 0")
    return number


def _selection(it: Recording, asked: dict[str, Any]) -> Selection:
    def moment(text: str | None) -> int | None:
        if text is None:
            return None
        first = it.manifest.first_timestamp or 0
        return moment_ms(text, first if text.startswith("+") else _now_ms())

    return Selection(moment(asked["start"]), moment(asked["end"]), parse_where(asked["where"]))


def _checkpoint(it: Recording, plan: _Plan, asked: dict[str, Any]) -> Checkpoint:
    file, run_id = asked["checkpoint"], asked["run_id"]
    if asked["resume"]:
        if file is None:
            raise click.UsageError("--resume needs the --checkpoint to go on from")
        checkpoint = load_checkpoint(file, plan.digest(it))
        if run_id is not None and run_id != checkpoint.run_id:
            raise Halt(f"{file} belongs to the run {checkpoint.run_id}")
        return checkpoint
    if file is not None and file.exists() and not asked["dry_run"]:
        raise Halt(f"{file} holds the place of a replay: go on with --resume, or remove it")
    fresh = Checkpoint(plan.digest(it), run_id or uuid.uuid4().hex, {}, 0, None)
    for topic, number in it.places():
        if topic in plan.target.topics:
            fresh.positions.setdefault(topic, {})[number] = 0
    return fresh


def _print_plan(it: Recording, plan: _Plan, settings: Settings, checkpoint: Checkpoint) -> None:
    records = _records(it, plan)
    goes = ", ".join(
        name if name == to else f"{name} as {to}" for name, to in plan.target.topics.items()
    )
    pace = plan.options.pace
    how = "as fast as it goes" if pace.speed is None else f"at {pace.speed:g} times the pace"
    if pace.rate is not None:
        how += f", at most {pace.rate:g}/s"
    _say(f"{records:,} records to {settings.brokers}: {goes}, {how}; run {checkpoint.run_id}")
    if checkpoint.sent:
        _say(f"going on behind {checkpoint.sent:,} records")


async def _warn_of_expiry(it: Recording, plan: _Plan, admin: KafkaCluster) -> None:
    """Say so if a topic keeps records for less time than the recording is old."""
    first = it.manifest.first_timestamp
    if first is None or plan.options.timestamps != "keep":
        return
    for to in plan.target.topics.values():
        kept_ms = int((await admin.configs(to)).get("retention.ms", "-1"))
        if 0 <= kept_ms < _now_ms() - first:
            _say(
                f"{to} keeps records for {kept_ms // 3_600_000} h and these are older: the broker "
                "may delete them; raise its retention.ms, or use --timestamps shift"
            )


def _records(it: Recording, plan: _Plan) -> int:
    return sum(s.records for s in it.manifest.segments if s.topic in plan.target.topics)


class _Counting:
    """A sink that counts instead of sending."""

    def __init__(self) -> None:
        self.records: Counter[tuple[str, int]] = Counter()

    async def send_batch(
        self, topic: str, partition: int, records: Sequence[Outgoing]
    ) -> Awaitable[None]:
        """Count the records."""
        self.records[topic, partition] += len(records)
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done


async def _dry_run(it: Recording, plan: _Plan, checkpoint: Checkpoint, output: str) -> None:
    sink = _Counting()
    options = plan.options
    fast = Options(
        Pace(None), options.selection, options.partitions, options.timestamps, options.limit
    )
    await Replayer(it, sink, plan.target, fast, _real_time(), checkpoint).run(None, lambda: False)
    rows = [
        {"topic": topic, "partition": partition, "records": count}
        for (topic, partition), count in sorted(sink.records.items())
    ]
    emit(rows, output)
    _say(f"dry run: {sum(sink.records.values()):,} records would be sent, nothing was")


async def _send(
    it: Recording,
    plan: _Plan,
    checkpoint: Checkpoint,
    sink: BatchSink,
    file: Path | None,
    stop: Stop,
) -> None:
    already = checkpoint.sent
    replayer = Replayer(it, sink, plan.target, plan.options, _real_time(), checkpoint)
    with Meter("replaying", _records(it, plan) - already) as meter:

        def tell(progress: Progress) -> None:
            meter.show(progress.sent - already, done=progress.read)

        try:
            whole = await replayer.run(file, stop, tell)
        except (KeyboardInterrupt, asyncio.CancelledError):
            whole = False
        except Damaged as damaged:
            raise Damaged(f"{damaged}; {checkpoint.sent:,} records were sent before") from None
        rate = meter.rate()
    said = f"{checkpoint.sent - already:,} records sent, {rate:,.0f}/s"
    if not whole:
        how = f"the same command with --resume goes on from {file}" if file else "no --checkpoint"
        raise Interrupted(f"stopped early: {said}; {how}")
    _say(f"{said}; run {checkpoint.run_id}")


def _real_time() -> Time:
    return Time(time.monotonic, asyncio.sleep, _now_ms)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _say(line: str) -> None:
    click.echo(line, err=True)
