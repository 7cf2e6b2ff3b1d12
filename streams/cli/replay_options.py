"""What `streams replay RECORDING` can be asked for: its options, and what they mean together."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

import click

from streams.cli.when import DURATION, RATE, moment_ms
from streams.recording.pacing import Pace
from streams.recording.reader import Recording
from streams.recording.routing import Options, Partitions, Timestamps
from streams.recording.selection import Selection, parse_where
from streams.recording.target import KINDS

Command = TypeVar("Command", bound=Callable[..., Any])
Output = Literal["table", "json", "ndjson"]


@dataclass(frozen=True)
class ReplayOptions:
    """One call of the command, word for word; durations in milliseconds."""

    target: Literal["kafka", "fold"]
    topics: tuple[str, ...]
    speed: float | None
    rate: float | None
    max_gap: int | None
    start: str | None
    end: str | None
    where: Mapping[str, str]
    limit: int | None
    partitions: Partitions
    timestamps: Timestamps
    trace: bool | None
    run_id: str | None
    checkpoint: Path | None
    resume: bool
    allow_same_topic: bool
    accept: tuple[str, ...]
    resign: Path | None
    dry_run: bool
    yes: bool
    redis_url: str | None
    output: Output

    def pairs(self) -> list[tuple[str, str]]:
        """Return recorded topics and the topics they go to, "" where that is not said."""
        return [(name, to) for name, _, to in (text.partition("=") for text in self.topics)]

    def selection(self, recording: Recording, began_ms: int) -> Selection:
        """Return which records are meant; `-1h` counts from `began_ms`."""
        start = _moment("--from", self.start, recording, began_ms)
        end = _moment("--to", self.end, recording, began_ms)
        return Selection(start, end, self.where)

    def options(self, recording: Recording, began_ms: int) -> Options:
        """Return how to replay into Kafka."""
        # in the recorded topic itself, replayed records must be told from the recorded ones
        trace = bool(self.run_id or self.allow_same_topic) if self.trace is None else self.trace
        return Options(
            pace=Pace(self.speed, self.rate, self.max_gap),
            selection=self.selection(recording, began_ms),
            partitions=self.partitions,
            timestamps=self.timestamps,
            limit=self.limit,
            trace=trace,
        )


def _moment(option: str, text: str | None, recording: Recording, began_ms: int) -> int | None:
    if text is None:
        return None
    first_ms = recording.manifest.first_timestamp or 0
    try:
        return moment_ms(text, first_ms if text.startswith("+") else began_ms)
    except click.BadParameter as error:
        raise click.BadParameter(error.message, param_hint=option) from None


def _speed(_context: click.Context, _parameter: click.Parameter, text: str) -> float | None:
    if text == "max":
        return None
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise click.BadParameter(f"{text!r}: write a number above 0, or max")
    return number


def _where(
    _context: click.Context, _parameter: click.Parameter, texts: tuple[str, ...]
) -> Mapping[str, str]:
    try:
        return parse_where(texts)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


_OPTIONS: Final = (
    click.option("--target", type=click.Choice(["kafka", "fold"]), required=True),
    click.option(
        "--topic",
        "topics",
        multiple=True,
        metavar="NAME[=TARGET]",
        help="Recorded topic, and the topic it goes to; repeatable; all under their names without "
        "it.",
    ),
    click.option(
        "--speed",
        default="1",
        callback=_speed,
        show_default=True,
        help="Times the original pace, or max.",
    ),
    click.option("--rate", type=RATE, help="At most this many records a second: 500/s."),
    click.option(
        "--max-gap", type=DURATION, help="Wait out no longer gap than this (original time): 30s."
    ),
    click.option(
        "--from",
        "start",
        metavar="TIME",
        help="A time (UTC where no zone stands), -1h, or +30s into the recording.",
    ),
    click.option(
        "--to",
        "end",
        metavar="TIME",
        help="A time, -1h, or +90s into the recording; left out itself.",
    ),
    click.option(
        "--where",
        multiple=True,
        callback=_where,
        metavar="NAME=TEXT",
        help="Only records whose topic, partition, key or field of the value is TEXT; all must "
        "hold. An array goes whole if one of its events matches.",
    ),
    click.option("--limit", type=click.IntRange(min=0), help="At most this many records."),
    click.option(
        "--partitions",
        type=click.Choice(["keep", "rekey"]),
        default="keep",
        show_default=True,
        help="rekey: by murmur2 of the key, for another partition count (arrays must fit it).",
    ),
    click.option(
        "--timestamps",
        type=click.Choice(["keep", "shift", "now"]),
        default="keep",
        show_default=True,
        help="shift: the first is now, the others keep their distance.",
    ),
    click.option(
        "--trace/--no-trace",
        default=None,
        help="Add x-original-* and x-replay-run-id behind a record's own headers.  "
        "[default: with --run-id or --allow-same-topic, else records are byte-equal]",
    ),
    click.option("--run-id", help="Name of this run, sent with --trace; a fresh one without it."),
    click.option(
        "--checkpoint", type=click.Path(path_type=Path), help="File to keep the place in."
    ),
    click.option(
        "--resume",
        is_flag=True,
        help="Go on where --checkpoint says: nothing is lost, and nothing repeated as long as "
        "nobody else writes to the target.",
    ),
    click.option("--allow-same-topic", is_flag=True, help="Replay into the very topic recorded."),
    click.option(
        "--accept",
        multiple=True,
        type=click.Choice(KINDS),
        help="Replay although the target would change or refuse records in this way, as the plan "
        "says; repeatable.",
    ),
    click.option(
        "--resign",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Sign control records anew with this private key: they count in no other installation "
        "than their own.",
    ),
    click.option("--dry-run", is_flag=True, help="Check and count everything, send nothing."),
    click.option("--yes", is_flag=True, help="Do it; without it only the plan is printed."),
    click.option(
        "--redis", "redis_url", help="fold: store the counters in this Redis (its own database)."
    ),
)


def replay_options(command: Command) -> Command:
    """Add the options of a replay; the command gets them by the names of `ReplayOptions`."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command
