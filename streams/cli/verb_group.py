"""A verb with commands of its own, as the command line lists and finds them."""

from difflib import get_close_matches
from typing import Any

import click

_WHOLE = 1_000  # characters: click cuts what it lists of a command otherwise


class VerbGroup(click.Group):
    """Lists each command by its whole first sentence, and names the one that a typo is like."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands."""
        known = {name: self.get_command(ctx, name) for name in self.list_commands(ctx)}
        with formatter.section("Commands"):
            formatter.write_dl(
                [(name, one.get_short_help_str(_WHOLE)) for name, one in known.items() if one]
            )

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """Find the command; of a name that is none the message says which one is like it."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            if near := get_close_matches(args[0], self.list_commands(ctx), 1):
                error.message += f" Did you mean {near[0]!r}?"
            raise
