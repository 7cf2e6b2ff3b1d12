"""`streams keys`: make a pair of keys, and say whose control records count."""

from pathlib import Path
from typing import Any, Final

import click

from streams.cli.live import example
from streams.cli.options import connection_options, emit, output_option
from streams.cli.verb_group import VerbGroup
from streams.cli.when import now_ms
from streams.cli.wiring import made_installation, producing, run
from streams.errors import Halt
from streams.ops.installation import KeyChanger, key_rows, with_key, without_key
from streams.runtime.installation import Installation, signer_of
from streams.runtime.kafka import KafkaCluster
from streams.runtime.key_files import (
    given_signing_key,
    load_signing_key,
    new_key_file,
    read_key_file,
)
from streams.runtime.signing import SigningKey, key_id
from streams.settings import Settings

CONNECTIONS: Final = ("brokers", "topic_prefix")
yes_option: Final = click.option("--yes", is_flag=True, help="Do it; without, only say so.")


class PublicKey(click.ParamType):
    """A public key as `keys new` prints it."""

    name = "PUBLIC"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the key; 64 hexadecimal digits."""
        text = str(value).strip().lower()
        if len(text) != 64 or set(text) - set("0123456789abcdef"):
            self.fail("a public key has 64 hexadecimal digits, as `keys new` prints it", param, ctx)
        return text


@click.group(cls=VerbGroup, short_help="Make keys; say whose control records count.")
def keys() -> None:
    """Make a pair of keys, and bring keys into force or out of it.

    Control records are signed by a private key; workers, recorders and analysts need public ones
    only, and find them in the topic `policies`.
    """


@keys.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--if-missing", is_flag=True, help="Leave a key that is there, and print its public.")
@example("streams keys new signing.key")
def new(file: Path, if_missing: bool) -> None:
    """Write a new private key to FILE (mode 0600) and print the public one, a line.

    Name FILE in STREAMS_SIGNING_KEY_FILE where the control plane runs, and nowhere else.
    """
    made = not (if_missing and file.exists())
    key = new_key_file(file) if made else read_key_file(file, "keys new")
    if made:
        click.echo(f"{file} holds the private key {key_id(key.public)}: keep it secret", err=True)
    click.echo(key.public)


@keys.command()
@connection_options(*CONNECTIONS)
@output_option
@example("streams keys show --output json")
def show(settings: Settings, output: str) -> None:
    """Show the installation and every key that counts in it, or counted from its beginning."""
    installation = run(made_installation(settings))
    emit(key_rows(installation, given_signing_key()), output)
    click.echo(f"installation {installation.id}", err=True)
    if installation.pending is not None:
        click.echo("a change was cut short: the same `keys add` or `keys retire` ends it", err=True)


@keys.command()
@click.argument("public", type=PublicKey())
@connection_options(*CONNECTIONS)
@yes_option
@example("streams keys add $(streams keys new next.key) --yes")
def add(public: str, settings: Settings, yes: bool) -> None:
    """Bring the key PUBLIC into force in every partition, beside those that are.

    Signed by the key in STREAMS_SIGNING_KEY_FILE. To rotate: add the new key, let control planes
    take it, then retire the old one. No worker has to be told.
    """
    installation, key = run(made_installation(settings)), load_signing_key()
    _change(settings, installation, key, with_key(installation, public), yes=yes)


@keys.command()
@click.argument("key_id_or_public", metavar="KEY")
@connection_options(*CONNECTIONS)
@yes_option
@example("streams keys retire 3f2a81d09c4e77b1 --yes")
def retire(key_id_or_public: str, settings: Settings, yes: bool) -> None:
    """Take KEY (its id, or all of it) out of force: what it signs from then on is refused."""
    installation, key = run(made_installation(settings)), load_signing_key()
    left = without_key(installation, key_id_or_public, key.public)
    _change(settings, installation, key, left, yes=yes)


def _change(
    settings: Settings,
    installation: Installation,
    key: SigningKey,
    wanted: tuple[str, ...],
    *,
    yes: bool,
) -> None:
    signer = signer_of(installation, key)
    names = ", ".join(map(key_id, wanted))
    if installation.pending is None and wanted == installation.keys:
        raise Halt(f"nothing to do: in force in installation {installation.id} are {names}")
    click.echo(f"in force in installation {installation.id} from now on: {names}", err=True)
    if not yes:
        click.echo("nothing was done: act with --yes", err=True)
        return

    async def change() -> None:
        identity = await KafkaCluster(settings.brokers).identity(settings.topic("interactions"))
        async with producing(settings.brokers) as producer:
            changer = KeyChanger(producer, settings, identity.partitions, signer)
            await changer.put(installation, wanted, now_ms())

    run(change())
    click.echo("done", err=True)
