"""`streams slice freeze|open|words`: a person stops all that a slice shows, and opens it again."""

import time
from functools import partial
from typing import Any, Final

import click

from streams.cli.live import example
from streams.cli.options import Settings, connection_options, emit, output_option
from streams.cli.review import opinion_options, person_signer, spoken
from streams.cli.when import now_ms
from streams.cli.wiring import drivers, namespace, producing, run, storing
from streams.control.moderation import SliceOpinion, in_index, say, slice_review
from streams.core.units import is_slice
from streams.ops.dead_letters import printable
from streams.ops.slice_words import words_in_force

PATIENCE_S: Final = 30.0
_EFFECTS: Final = {
    True: "nothing is shown in it any more, and nothing is granted",
    False: "it may be shown in again",
}


def check_slice(name: str) -> str:
    """Return the name; `click.BadParameter` unless a slice can be called so."""
    if not is_slice(name):
        raise click.BadParameter("a slice is surface:group, such as discover:cars")
    return name


@click.command("words")
@connection_options("brokers", "redis", "topic_prefix")
@output_option
@example("streams slice words --output json")
def words_command(settings: Settings, output: str) -> None:
    """Print the slices that a person froze or opened again: who, when, and why."""
    rows = run(_words(settings))
    for_people = [{**row, "note": printable(row["note"].encode())} for row in rows]
    emit(for_people if output == "table" else rows, output, "nobody froze or opened a slice")


def add_words(group: click.Group) -> None:
    """Add the verbs to the group of slices."""
    group.add_command(words_command)
    _speaking(group, "freeze", frozen=True)
    _speaking(group, "open", frozen=False)


def _speaking(group: click.Group, name: str, *, frozen: bool) -> None:
    """Add a verb to the group."""
    signed = "Signed by the key of the file in STREAMS_SIGNING_KEY_FILE, where there is one."
    help_text = f"Say of slice NAME: {_EFFECTS[frozen]}; with --yes it is sent and waited for."

    @group.command(name, help=f"{help_text}\n\n{signed}")
    @click.argument("slice_id", metavar="NAME", callback=lambda _, __, name: check_slice(name))
    @connection_options("brokers", "redis", "topic_prefix")
    @opinion_options
    def command(slice_id: str, settings: Settings, by: str, note: str, yes: bool) -> None:
        opinion = SliceOpinion(slice_id, frozen, by, note)
        seconds = spoken(
            f"{name} {slice_id}: {_EFFECTS[frozen]}",
            by,
            note,
            partial(_say, settings, opinion) if yes else None,
            f"said, and the serving index does not obey after {PATIENCE_S:.0f} s: was it "
            "refused (`streams dlq list`), do a worker and a control plane run (`streams lag "
            "list`)?",
        )
        if seconds is None:
            return
        click.echo(
            f"gone from the serving index after {seconds:.1f} s; what feed servers had leased by "
            "then may be shown for a minute"
            if frozen
            else f"open in the serving index after {seconds:.1f} s"
        )


async def _say(settings: Settings, opinion: SliceOpinion) -> float | None:
    signer = await person_signer(settings)
    async with producing(settings.brokers) as producer, drivers(settings).index() as index:
        await say(producer, settings, slice_review(opinion, now_ms()), signer)
        return await in_index(index, opinion, time.monotonic, PATIENCE_S)


async def _words(settings: Settings) -> list[dict[str, Any]]:
    async with storing(settings) as store:
        return await words_in_force(store, await namespace(settings), settings.partitions)
