"""`streams review` and `streams video takedown`: what waits for people, and what they say."""

import time
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any, Final

import click

from streams.cli import ConditionNotMet
from streams.cli.live import check_video, example
from streams.cli.options import (
    Command,
    Settings,
    connection_options,
    emit,
    emit_object,
    output_option,
)
from streams.cli.verb_group import VerbGroup
from streams.cli.when import now_ms
from streams.cli.wiring import (
    Result,
    drivers,
    made_installation,
    producing,
    reading,
    run,
    storing,
)
from streams.control.moderation import (
    EFFECTS,
    Opinion,
    case_of,
    counted,
    in_force,
    rejected_cases,
    say,
)
from streams.core.fields import VerdictWord
from streams.ops.dead_letters import printable
from streams.ops.explain import moment
from streams.ops.letters_shown import in_cells
from streams.ops.waiting import waiting_rows
from streams.runtime.key_files import given_signing_key
from streams.runtime.ports import Dossiers
from streams.runtime.signing import Signer

PATIENCE_S: Final = 30.0
UNHEARD: Final = (
    f"said, and not in force after {PATIENCE_S:.0f} s: is the video's upload known (`streams "
    "review show`), was the word refused (`streams dlq list`), do a worker and a control plane run "
    "(`streams lag list`)?"
)


@click.group(cls=VerbGroup, short_help="See what waits for a moderator, and decide.")
def review() -> None:
    """Videos that wait for a person, and what people say of them."""


@review.command("list")
@connection_options("brokers", "redis", "topic_prefix")
@click.option("--rejected", is_flag=True, help="Also those that a rule keeps back.")
@output_option
@example("streams review list --output json")
def list_command(settings: Settings, rejected: bool, output: str) -> None:
    """Print what waits for a person, since when, and why.

    Its cause is the gate, which did not decide, or reports: viewers who were shown the video report
    it more often than the policy bears. `approve` and `limit` settle what was reported and double
    what it takes to be asked again; `reject` takes the video down.
    """
    rows = run(_listed(settings))
    if rejected:
        rows += run(_known(settings, lambda dossiers: rejected_cases(dossiers, now_ms())))
        rows.sort(key=lambda row: (row["since"], row["video"]))
    emit(map(_for_people, rows) if output == "table" else rows, output, "no video waits")


@review.command("show")
@click.argument("video", callback=check_video)
@connection_options("redis")
@output_option
@example("streams review show v-42")
def show_command(video: str, settings: Settings, output: str) -> None:
    """Print all that is known of a video: its upload, what recognisers saw, verdicts."""
    about = (settings.partitions, video, now_ms())
    row = run(_known(settings, lambda dossiers: case_of(dossiers, *about)))
    emit_object(in_cells(_for_people(row)) if output == "table" else row, output)


def opinion_options(command: Command) -> Command:
    """Add the options of a verb by which a person says something."""
    for option in (
        click.option("--yes", is_flag=True, help="Do it; without, only say what."),
        click.option("--note", required=True, metavar="TEXT", help="Why."),
        click.option(
            "--by", required=True, callback=check_video, metavar="NAME", help="Who says so."
        ),
    ):
        command = option(command)
    return command


def spoken(
    effect: str,
    by: str,
    note: str,
    send: Callable[[], Coroutine[Any, Any, Result | None]] | None,
    why: str,
) -> Result | None:
    """Say a word and wait; return what came of it, None without `send`.

    `ConditionNotMet` with `why` if it is not obeyed in time.
    """
    click.echo(f"{effect}; by {by}: {printable(note.encode())}")
    if send is None:
        click.echo("nothing was said: act with --yes", err=True)
        return None
    if (result := run(send())) is None:
        raise ConditionNotMet(why)
    return result


def speaking(group: click.Group, name: str, word: VerdictWord) -> None:
    """Add the verb of a verdict to a group."""
    signed = "Signed by the key of the file in STREAMS_SIGNING_KEY_FILE, where there is one."
    help_text = f"Say that {EFFECTS[word][1]}; with --yes it is sent and waited for.\n\n{signed}"

    @group.command(name, help=help_text)
    @click.argument("video", callback=check_video)
    @connection_options("brokers", "redis", "topic_prefix")
    @opinion_options
    def command(video: str, settings: Settings, by: str, note: str, yes: bool) -> None:
        opinion = Opinion(video, word, by, note)
        effect = f"{word} {video}: {EFFECTS[word][1]}"
        send = partial(_say, settings, opinion) if yes else None
        seconds = spoken(effect, by, note, send, UNHEARD)
        if seconds is not None:
            click.echo(f"in force after {seconds:.1f} s")


speaking(review, "approve", "approve")
speaking(review, "limit", "limit")
speaking(review, "reject", "reject")


async def _say(settings: Settings, opinion: Opinion) -> float | None:
    signer = await person_signer(settings)
    async with producing(settings.brokers) as producer, storing(settings) as store:
        before = await counted(store, opinion.video, settings.partitions)
        await say(producer, settings, opinion.review(now_ms()), signer)
        return await in_force(store, opinion, before, time.monotonic, PATIENCE_S)


async def _listed(settings: Settings) -> list[dict[str, Any]]:
    async with reading(settings.brokers, settings.client("review")) as reader:
        return await waiting_rows(reader, settings, now_ms())


async def person_signer(settings: Settings) -> Signer | None:
    """Return what signs for the person at this terminal; None if they have no key."""
    key = given_signing_key()
    return None if key is None else Signer((await made_installation(settings)).id, key)


async def _known(settings: Settings, work: Callable[[Dossiers], Awaitable[Result]]) -> Result:
    async with drivers(settings).dossiers() as dossiers:
        return await work(dossiers)


def _for_people(row: dict[str, Any]) -> dict[str, Any]:
    since, title = row["since"], row["title"] or ""
    return {**row, "since": since and moment(since), "title": printable(title.encode())}
