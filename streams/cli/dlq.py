"""`streams dlq`: dead letters, read, counted, sent again or discarded."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from functools import partial, wraps
from typing import Any, Final

import click

from streams.cli import ConditionNotMet, Interrupted
from streams.cli.interrupts import stop_on_signals
from streams.cli.live import example, from_option
from streams.cli.options import (
    Settings,
    connection_options,
    emit,
    emit_object,
    number_option,
    output_option,
)
from streams.cli.progress import Meter
from streams.cli.reveal import kept, reveal_options
from streams.cli.verb_group import VerbGroup
from streams.cli.when import BOUND, MOMENT, now_ms
from streams.cli.wiring import Result, producing, reading, run
from streams.errors import REJECT_REASONS
from streams.ops.dead_letters import KeptLetter, LetterFilter, LetterName, one_letter, read_letters
from streams.ops.letters_shown import as_object, first_rows, in_cells, letter_stats
from streams.ops.mending import Mending, require_own_ids
from streams.ops.merge_patch import parse_patch
from streams.ops.redrive import Outcomes, Redrive, discard
from streams.ops.reveals import Reveal, read_reveals
from streams.ops.tail import Start
from streams.runtime.kafka import KafkaCluster
from streams.settings import TOPICS

REASON: Final = click.Choice(REJECT_REASONS)
TOPIC: Final = click.Choice(TOPICS)
FILTERS: Final = (
    click.option(
        "--topic",
        "topics",
        multiple=True,
        type=TOPIC,
        metavar="NAME",
        help="Letters of this topic.",
    ),
    click.option(
        "--reason",
        "reasons",
        multiple=True,
        type=REASON,
        metavar="REASON",
        help="Refused for this: slice, ...",
    ),
    click.option(
        "--producer",
        "producers",
        multiple=True,
        metavar="NAME",
        help="Whose header x-producer says this.",
    ),
    click.option(
        "--partition", "partitions", multiple=True, type=int, help="Of records in this partition."
    ),
    click.option(
        "--id",
        "names",
        multiple=True,
        metavar="LETTER",
        help="This letter: topic:partition:offset.",
    ),
    click.option("--from", "start", type=BOUND, default="earliest", help="Letters written since."),
    click.option("--to", "until", type=MOMENT, help="Letters written before."),
)
_NONE: Final = "no such letters"
all_option: Final = click.option("--all", "settled", is_flag=True, help="Settled ones too.")
yes_option: Final = click.option("--yes", is_flag=True, help="Do it; without, only say what.")
limit_option: Final = number_option("--limit", 100, "Stop after so many.")
patch_option: Final = click.option("--patch", metavar="JSON", help="Merge this (RFC 7396) first.")
rekey_option: Final = click.option("--rekey", is_flag=True, help="Key and partition by the video.")
FIELDS: Final = ("topics", "reasons", "producers", "partitions", "start", "until", "settled")
Letters = AsyncIterator[KeptLetter]
Command = Callable[..., None]


@click.group(cls=VerbGroup, short_help="Read, count, send again and discard dead letters.")
def dlq() -> None:
    """Dead letters: what could not be used, of every topic.

    A letter is named by the place of its record: topic:partition:offset. What was sent again or
    discarded stays in its topic, marked, and is left out unless --all is given. Options that choose
    letters may be given several times.
    """


def choosing(name: str, *options: Any) -> Callable[[Command], Command]:
    """Make a verb that works on the letters that are chosen; it gets them as one `wanted`."""

    def decorate(command: Command) -> Command:

        @wraps(command)
        def with_filter(*, names: tuple[str, ...], **words: Any) -> None:
            fields = {name: words.pop(name) for name in FIELDS if name in words}
            wanted = LetterFilter(names=tuple(map(LetterName.parse, names)), **fields)
            command(wanted=wanted, **words)

        whole: Any = with_filter
        for option in (output_option, *options[::-1], *FILTERS[::-1]):
            whole = option(whole)
        return dlq.command(name)(connection_options("brokers", "topic_prefix")(whole))

    return decorate


@choosing("list", all_option, limit_option)
@example("streams dlq list --reason misrouted --from -1h")
def list_command(settings: Settings, wanted: LetterFilter, limit: int, output: str) -> None:
    """Print letters, a line each, topic by topic: the first 100, or --limit."""
    emit(run(_read(settings, wanted, lambda letters: first_rows(letters, limit))), output, _NONE)


@choosing("stats", all_option)
@example("streams dlq stats --from -1d --output json")
def stats_command(settings: Settings, wanted: LetterFilter, output: str) -> None:
    """Count refusals by topic, reason and producer.

    A producer is what its records' header x-producer says; without one it is their partition.
    """
    emit(run(_read(settings, wanted, letter_stats)), output, _NONE)


@dlq.command("show")
@click.argument("letter")
@connection_options("brokers", "topic_prefix")
@reveal_options
@output_option
@example("streams dlq show interactions:3:821122")
def show_command(letter: str, settings: Settings, reveal: Reveal | None, output: str) -> None:
    """Print one letter in full; viewers, and what is no JSON, are masked."""
    name = LetterName.parse(letter)
    wanted = LetterFilter(names=(name,), settled=True)

    async def work() -> dict[str, Any]:
        found = await _read(settings, wanted, lambda letters: one_letter(letters, name))
        return as_object(found, reveal=await kept(settings, reveal, f"dlq show {name}"))

    fields = run(work())
    emit_object(fields if output != "table" else in_cells(fields), output)


@dlq.command("reveals")
@connection_options("brokers", "topic_prefix")
@from_option("earliest")
@output_option
@example("streams dlq reveals --from -7d")
def reveals_command(settings: Settings, start: Start, output: str) -> None:
    """Print who had viewers shown (--reveal), what, when and why.

    Kept in the topic of the interactions' letters, as long as those.
    """

    async def work() -> Sequence[Mapping[str, Any]]:
        async with reading(settings.brokers) as reader:
            return await read_reveals(reader, KafkaCluster(settings.brokers), settings, start)

    emit(run(work()), output, "nobody had viewers shown")


@choosing("redrive", patch_option, rekey_option, yes_option)
@example(
    "streams dlq redrive --reason misrouted --rekey",
    """streams dlq redrive --reason slice --patch '{"slice":"discover:cars"}' --yes""",
)
def redrive_command(
    *,
    settings: Settings,
    wanted: LetterFilter,
    patch: str | None,
    rekey: bool,
    yes: bool,
    output: str,
) -> None:
    """Send what was refused to its own topic again, with --yes; else say what would be sent.

    Of an array the refused elements alone are sent. Each event is checked first as the pipeline
    will check it; what it would refuse again is counted with the reason and stays a letter, and so
    is what was sent three times. The same command goes on where it was stopped: what was sent is
    marked, a run of letters at a time. If the process is killed between, up to one run is sent
    twice; its ids make that duplicates.
    """
    changes = None if patch is None else parse_patch(patch)
    require_own_ids(changes, wanted)
    outcomes = Outcomes("sent", acting=yes)
    whole = run(_redrive(settings, wanted, outcomes, patch=changes, rekey=rekey))
    _tell(outcomes, output)
    if not whole:
        raise Interrupted("stopped in order; the same command goes on")


@choosing("discard", yes_option)
@example("streams dlq discard --reason json --producer old-app --yes")
def discard_command(settings: Settings, wanted: LetterFilter, yes: bool, output: str) -> None:
    """Mark letters as discarded, with --yes: they are listed, counted and sent no more.

    Nothing is deleted: --all shows them until their topic's retention ends.
    """
    outcomes = Outcomes("discarded", acting=yes)

    async def work(letters: Letters) -> None:
        async with producing(settings.brokers) as producer:
            await discard(letters, settings, producer, outcomes)

    run(_read(settings, wanted, work))
    _tell(outcomes, output)


async def _read(
    settings: Settings, wanted: LetterFilter, work: Callable[[Letters], Awaitable[Result]]
) -> Result:
    cluster = KafkaCluster(settings.brokers)
    async with (
        reading(settings.brokers) as reader,
        aclosing(read_letters(reader, cluster, settings, wanted)) as letters,
    ):
        return await work(letters)


async def _redrive(
    settings: Settings, wanted: LetterFilter, outcomes: Outcomes, **how: Any
) -> bool:
    stop = asyncio.Event()
    stop_on_signals(stop.set)
    identity = await KafkaCluster(settings.brokers).identity(settings.topic("interactions"))
    mending = Mending(identity.partitions, settings.record_bytes, **how)
    async with reading(settings.brokers) as log, producing(settings.brokers) as producer:
        redrive = Redrive(settings, mending, log, producer, now_ms)
        with Meter("redriving", noun="events") as meter:
            work = partial(redrive.run, outcomes=outcomes, stop=stop.is_set, tell=meter.show)
            return await _read(settings, wanted, work)


def _tell(outcomes: Outcomes, output: str) -> None:
    emit(outcomes.rows(), output)
    if not outcomes.total():
        raise ConditionNotMet("no open letter is chosen")
    click.echo(outcomes.summary(), err=True)
