"""`streams video`: everything about one video, in numbers and in words."""

import json
import time
from contextlib import aclosing
from functools import partial
from typing import Any

import click

from streams.cli.live import check_video, example, read_records, say_passed_over
from streams.cli.options import (
    Settings,
    connection_options,
    emit,
    emit_object,
    output_option,
)
from streams.cli.review import (
    PATIENCE_S,
    UNHEARD,
    opinion_options,
    person_signer,
    speaking,
    spoken,
)
from streams.cli.slice_words import check_slice
from streams.cli.table import folded, print_table
from streams.cli.verb_group import VerbGroup
from streams.cli.when import now_ms
from streams.cli.wiring import drivers, namespace, producing, run, storing
from streams.control.moderation import Looked, Plea, counted, looked_at, say, verdict_on
from streams.core.events import Policy
from streams.core.partitioner import partition_of
from streams.core.receipts import Receipt, encode
from streams.errors import StreamsError
from streams.ops.decisions import receipts_about
from streams.ops.explain import explain
from streams.ops.lessons import lessons
from streams.ops.tail import Tail
from streams.ops.video import counted_video, in_short, open_table, outlook_in_force, slice_tables


@click.group(cls=VerbGroup, short_help="Show and explain a video, reconsider it, take it down.")
def video() -> None:
    """Show and explain one video, have it looked at again, take it down."""


@video.command("show")
@click.argument("video_id", metavar="VIDEO", callback=check_video)
@connection_options("brokers", "redis", "topic_prefix")
@output_option
@example(
    "streams video show obd-men-12",
)
def show_command(video_id: str, settings: Settings, output: str) -> None:
    """Print the crowds that are open to a video, by score, and its counters in each slice.

    An open crowd needs no counters: nobody may have been shown the video there. Net is the score
    over the price; left and owed are impressions: of the allowance, and of the guarantee or of
    what chance drew. Views left are those that still weigh: of a live room half as many every five
    minutes. Values of the table are decimals per view; JSON has micro-units.
    """
    counted = run(_load(settings, video_id))
    if output == "table":
        emit_object(in_short(counted), output)
        click.echo()
        emit(open_table(counted["open"]), output)
        for heads, rows in slice_tables(counted["slices"]):
            click.echo()
            print_table(heads, rows)
    else:
        emit_object(counted, output)


@video.command("explain")
@click.argument("video_id", metavar="VIDEO", callback=check_video)
@connection_options("brokers", "redis", "topic_prefix")
@output_option
@example(
    "streams video explain obd-men-12",
)
def explain_command(video_id: str, settings: Settings, output: str) -> None:
    """Print the decisions about a video in words, with every number that led to them.

    Read from the video's partition of the decisions topic, repeats dropped. What one crowd taught
    about another is said of decisions under the policy in force, which Redis holds. JSON has the
    receipts as they are, in micro-units.
    """
    receipts = run(_receipts(settings, video_id))
    if output == "ndjson":
        click.echo("\n".join(encode(receipt).decode() for receipt in receipts))
    elif output == "json":
        listed = [json.loads(encode(receipt)) for receipt in receipts]
        click.echo(json.dumps(listed, ensure_ascii=False, indent=2))
    else:
        policies = run(_policies(settings, video_id))
        for receipt, lesson in zip(receipts, lessons(receipts, policies), strict=True):
            click.echo(folded(explain(receipt, lesson)))


speaking(video, "takedown", "reject")


def _check_slices(_: click.Context, __: click.Parameter, names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(check_slice(name) for name in names)


@video.command("reconsider")
@click.argument("video_id", metavar="VIDEO", callback=check_video)
@click.option(
    "--slice",
    "slices",
    multiple=True,
    callback=_check_slices,
    metavar="NAME",
    help="Only this slice; may be given again.",
)
@connection_options("brokers", "redis", "topic_prefix")
@opinion_options
@example("streams video reconsider v-42 --by alice --note 'shown to the wrong crowd' --yes")
def reconsider_command(
    video_id: str, slices: tuple[str, ...], settings: Settings, by: str, note: str, yes: bool
) -> None:
    """Look again at what evidence stopped; with --yes it is sent and waited for.

    A slice comes back if the video is by now worth its price and a margin there: evidence decides,
    not the person. Signed by the key of the file in STREAMS_SIGNING_KEY_FILE, where there is one.
    """
    plea = Plea(video_id, slices, by, note)
    where = ", ".join(slices) or "every slice"
    effect = f"reconsider {video_id}: what evidence stopped in {where} is looked at again"
    send = partial(_look_again, settings, plea) if yes else None
    looked = spoken(effect, by, note, send, UNHEARD)
    if looked is not None:
        click.echo(f"looked at after {looked.seconds:.1f} s; {_became(looked)}")


def _became(looked: Looked) -> str:
    """Return what became of the slices that evidence had stopped.

    >>> _became(Looked(0.5, ["discover:cars"], [])), _became(Looked(0.5, [], []))
    ('open again: discover:cars', 'evidence had stopped nothing there')
    """
    words = [("open again", looked.back), ("evidence still speaks against", looked.left)]
    told = [f"{how}: {', '.join(names)}" for how, names in words if names]
    return "; ".join(told) or "evidence had stopped nothing there"


async def _look_again(settings: Settings, plea: Plea) -> Looked | None:
    signer = await person_signer(settings)
    async with producing(settings.brokers) as producer, storing(settings) as store:
        before = await counted(store, plea.video, settings.partitions)
        await say(producer, settings, plea.second_look(now_ms()), signer)
        return await looked_at(store, plea, before, time.monotonic, PATIENCE_S)


async def _load(settings: Settings, video_id: str) -> dict[str, Any]:
    async with storing(settings) as store:
        where = (await namespace(settings), video_id, settings.partitions)
        counted = await counted_video(store, *where)
    async with drivers(settings).dossiers() as dossiers:
        verdict = await verdict_on(dossiers, settings.partitions, video_id)
        return counted | {"verdict": verdict}


async def _receipts(settings: Settings, video_id: str) -> list[Receipt]:
    tail = Tail(settings.topic("decisions"), "earliest", video_id, follow=False)
    async with aclosing(read_records(settings, tail)) as records:
        return await receipts_about(video_id, records, say_passed_over)


async def _policies(settings: Settings, video_id: str) -> list[Policy]:
    """Return the policy in force, or none and say why on stderr."""
    partition = partition_of(video_id.encode(), settings.partitions)
    try:
        async with storing(settings) as store:
            where = (await namespace(settings), partition, settings.partitions)
            outlook = await outlook_in_force(store, *where)
    except StreamsError as error:
        click.echo(f"what crowds taught each other is left out: {error}", err=True)
        return []
    return [] if outlook is None else [outlook.policy]
