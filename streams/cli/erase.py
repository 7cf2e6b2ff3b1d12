"""`streams erase`: what still holds a person, and until when."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import click

from streams.cli import ConditionNotMet
from streams.cli.live import example
from streams.cli.options import Settings, connection_options, emit, output_option
from streams.cli.progress import Meter
from streams.cli.verb_group import VerbGroup
from streams.cli.wiring import reading, run
from streams.ops.erasing import places_apart, traces_in_recording, traces_in_topics
from streams.recording.foreign import opened
from streams.recording.lines import Recorded
from streams.recording.reader import Recording
from streams.runtime.kafka import KafkaCluster

PATH: Final = click.Path(path_type=Path, exists=True)


@click.group(cls=VerbGroup, short_help="Tell what still holds a person, and until when.")
def erase() -> None:
    """Persons: what still holds them, and until when."""


@erase.command("viewer")
@click.argument("viewer", metavar="ID")
@click.option("--recording", "recordings", type=PATH, multiple=True, help="Search this one too.")
@connection_options("brokers", "topic_prefix")
@output_option
@example("streams erase viewer u-7 --recording incident --output json")
def viewer_command(
    viewer: str, recordings: Sequence[Path], settings: Settings, output: str
) -> None:
    """Tell where a viewer's name still stands, and by when it is gone.

    Reads the log of the interactions, all letters, and each --recording. `gone_by` follows from how
    long the topic keeps records and from the time of the newest one; it holds if no new one comes,
    and if none with a later time shares its segment.

    Nothing is deleted, as nothing can be: Kafka lets records go by age only, and a tombstone takes
    nothing out of these topics. Stop the viewer's events where they come from, delete recordings,
    wait, and ask again. Exit code 3 while something holds the viewer, 0 once nothing does that was
    looked at.
    """
    if not viewer:
        raise click.BadParameter("name a viewer", param_hint="ID")
    with Meter("searching") as meter:
        rows = run(_in_topics(settings, viewer, meter.show))
        for path in recordings:
            with opened(
                path, full_name=settings.full_name, partitions=settings.partitions
            ) as recording:
                rows.append(traces_in_recording(str(path), _chunks(recording), viewer))
    emit([*rows, *places_apart()], output)
    holding = [row["place"] for row in rows if row["records"]]
    if holding:
        raise ConditionNotMet(f"nothing was deleted; still there: {', '.join(holding)}")
    click.echo("nothing that was searched holds the viewer", err=True)


async def _in_topics(
    settings: Settings, viewer: str, tell: Callable[[int], None]
) -> list[dict[str, Any]]:
    async with reading(settings.brokers) as reader:
        return await traces_in_topics(
            reader, KafkaCluster(settings.brokers), settings, viewer, tell
        )


def _chunks(recording: Recording) -> Iterator[list[Recorded]]:
    for place in recording.places():
        yield from recording.chunks(place)
