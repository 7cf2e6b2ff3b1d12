"""`--reveal`: viewers are shown to whoever says who they are and why, and that is kept."""

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import click

from streams.cli.live import check_video
from streams.cli.wiring import producing
from streams.ops.reveals import Reveal, keep_reveal
from streams.settings import Settings

Command = TypeVar("Command", bound=Callable[..., Any])
_OPTIONS = (
    click.option("--reveal", is_flag=True, help="Show viewers; needs --by and --note, is kept."),
    click.option("--by", callback=check_video, metavar="NAME", help="Who wants to see them."),
    click.option("--note", metavar="TEXT", help="Why."),
)


def reveal_options(command: Command) -> Command:
    """Add `--reveal`, `--by` and `--note`; the command gets one `reveal`, None without them."""

    @functools.wraps(command)
    def with_reveal(*, reveal: bool, by: str | None, note: str | None, **words: Any) -> Any:
        if reveal and not (by and note):
            raise click.UsageError(
                "--reveal shows persons: say who wants it and why (--by, --note)"
            )
        if not reveal and (by or note):
            raise click.UsageError("--by and --note go with --reveal")
        return command(reveal=Reveal(by, note, "") if reveal and by and note else None, **words)

    whole: Any = with_reveal
    for option in reversed(_OPTIONS):
        whole = option(whole)
    return whole  # type: ignore[no-any-return]


async def kept(settings: Settings, reveal: Reveal | None, what: str) -> bool:
    """Keep who is shown viewers, where that is wanted; tell whether they may be shown."""
    if reveal is None:
        return False
    async with producing(settings.brokers) as producer:
        await keep_reveal(producer, settings, Reveal(reveal.by, reveal.note, what))
    return True
