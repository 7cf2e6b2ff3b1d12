"""`streams completion`: what a shell needs to complete our commands."""

import click
from click.shell_completion import get_completion_class

from streams.cli import cli
from streams.cli.live import example


@click.command(short_help="Print what makes a shell complete our commands.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@example(
    "streams completion bash > ~/.local/share/bash-completion/completions/streams",
    "streams completion fish > ~/.config/fish/completions/streams.fish",
    'streams completion zsh > "${fpath[1]}/_streams"',
)
def completion(shell: str) -> None:
    """Print the script with which a shell completes verbs, options and their values."""
    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(cli, {}, "streams", "_STREAMS_COMPLETE").source())
