"""`streams policy`: the policy in force, those before it, and what operators want of the next."""

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import click
from msgspec.structs import replace

from streams.cli.live import example
from streams.cli.options import connection_options, emit, emit_object, number_option, output_option
from streams.cli.verb_group import VerbGroup
from streams.cli.when import DURATION, now_ms
from streams.cli.wiring import made_installation, namespace, producing, reading, run, storing
from streams.core.events import Policy
from streams.errors import Halt
from streams.ops.explain import moment
from streams.ops.exploration import Explored, as_row, lesson, read_explored
from streams.ops.learned import learned_last, learned_lines
from streams.ops.policy import (
    PartitionPolicy,
    PolicyHistory,
    history_rows,
    latest_of,
    place_row,
    read_history,
    read_in_force,
    summary,
    with_frozen,
    with_pin,
    without_frozen,
)
from streams.ops.policy_figures import differences, figures, slice_row
from streams.runtime.installation import signer_of
from streams.runtime.key_files import load_signing_key
from streams.runtime.policies import Orders, orders_record
from streams.runtime.signing import key_id
from streams.settings import Settings

CONNECTIONS: Final = ("brokers", "redis", "topic_prefix")
yes_option: Final = click.option("--yes", is_flag=True, help="Do it; without, only say so.")
off_option: Final = click.option("--off", is_flag=True, help="Take it back.")
why_option: Final = click.option("--why", default="", metavar="TEXT", help="Kept with it.")


class _Known(NamedTuple):
    """What the verbs go by: the policy in force and the ones that are kept."""

    in_force: Policy
    partitions: list[PartitionPolicy]
    history: PolicyHistory


@click.group(cls=VerbGroup, short_help="Show the policy, its history, and hold what it learns.")
def policy() -> None:
    """Show which policy is in force and why, and pin or freeze what is learned in it.

    A policy has a number, TERM.N. One half of it is the operators', from the files of the leading
    control plane; the other one is learned.
    """


@policy.command()
@connection_options(*CONNECTIONS)
@click.option(
    "--since",
    type=DURATION,
    default="1h",
    show_default=True,
    help="Of how long the traffic is that tells what chance showed.",
)
@output_option
@example("streams policy show --since 24h", "streams policy show --output json")
def show(settings: Settings, since: int, output: str) -> None:
    """Show the policy in force, both halves, who wrote it and why, and where it is in force.

    Then what the keeper learned last: what moved, on how much evidence, and by how much that
    predicts better what it did not learn from. Below it the budget of exploration: of each public
    crowd the impressions that chance gave, and of the tranches that it drew the value per view that
    was expected and the one that was found.
    """
    known = run(_known(settings))
    chance = run(_explored(settings, now_ms() - since))
    shown, learned = summary(known.in_force, known.partitions), learned_last(known.history)
    slices = [slice_row(name, spec) for name, spec in known.in_force.slices.items()]
    operators = {
        name: str(figure)
        for name, figure in figures(known.in_force).items()
        if figure.half == "operators" and not name.endswith(" reach")
    }
    if output == "table":
        emit_object(shown, output)
        click.echo("\nThe operators' half, from the files:")
        emit_object(operators, output)
        click.echo(f"\nThe learned half; noise cross is {known.in_force.noise_cross / 1e6:g}:")
        emit(slices, output)
        click.echo(
            "\nvalue per view: mean, price, tastes; squared: spread, noise; impressions: horizon"
        )
        click.echo()
        click.echo("\n".join(learned_lines(learned)))
        click.echo(
            f"\nExploration, in the traffic since {moment(now_ms() - since)}: {_taught(chance)}"
        )
        emit([as_row(each) for each in chance], output)
        return
    places = [place_row(each) for each in known.partitions]
    shown["learned_last"] = None if learned is None else learned.as_object()
    numbers = {name: figure._asdict() for name, figure in figures(known.in_force).items()}
    shown |= {"numbers": numbers, "by_partition": places}
    emit_object({**shown, "exploration": [as_row(each) for each in chance]}, output)


@policy.command()
@connection_options("brokers", "topic_prefix")
@output_option
@number_option("--limit", 20, "List so many policies.")
@example("streams policy history --limit 100 --output ndjson")
def history(settings: Settings, output: str, limit: int) -> None:
    """List the latest policies that are kept (those of 90 days), what each moved, and why."""
    emit(history_rows(run(_history(settings)), limit), output)


@policy.command()
@click.argument("before")
@click.argument("after")
@connection_options("brokers", "topic_prefix")
@output_option
@example("streams policy diff 3.1 3.2")
def diff(before: str, after: str, settings: Settings, output: str) -> None:
    """Show what changed from the policy numbered BEFORE to the one numbered AFTER."""
    kept = run(_history(settings))
    one, other = kept.named(before), kept.named(after)
    found = differences(one, other)
    emit([each._asdict() for each in found], output)
    learned = sum(each.half == "learned" for each in found)
    click.echo(
        f"{before} {one.version} -> {after} {other.version}: {learned} learned numbers and "
        f"{len(found) - learned} of the operators differ: {other.why or 'no reason was given'}",
        err=True,
    )


@policy.command()
@click.argument("number", required=False)
@off_option
@why_option
@connection_options(*CONNECTIONS)
@yes_option
@example('streams policy pin 3.14 --why "prices ran away at night" --yes')
def pin(number: str | None, off: bool, why: str, settings: Settings, yes: bool) -> None:
    """Have the learned half of the policy NUMBER in force, and keep it there until --off."""
    if off == (number is not None):
        raise click.UsageError("give the number of a policy, or --off")

    def wanted(known: _Known) -> Orders:
        orders = known.history.orders
        if number is None:
            return replace(orders, pinned="")
        return with_pin(orders, known.history, known.in_force, number)

    _order(settings, wanted, why, yes=yes)


@policy.command()
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@off_option
@why_option
@connection_options(*CONNECTIONS)
@yes_option
@example("streams policy freeze prices means:discover:football --yes")
def freeze(names: tuple[str, ...], off: bool, why: str, settings: Settings, yes: bool) -> None:
    """Let the keeper move numbers no more: NAME is a family, or one number as family:slice.

    Families are means, tastes, spreads, noises, horizons, prices, buttons and delays, each with a
    number a slice, and cross, shares and organic, each as a whole. What is frozen stays as it is;
    for numbers of your own, freeze them in policy.toml.
    """
    change = without_frozen if off else with_frozen
    _order(
        settings, lambda known: change(known.history.orders, known.in_force, names), why, yes=yes
    )


def _order(settings: Settings, wanted: Callable[[_Known], Orders], why: str, *, yes: bool) -> None:
    """Say what operators want from now on, and write it, signed."""
    key = load_signing_key()
    installation, known = run(made_installation(settings)), run(_known(settings))
    signer = signer_of(installation, key)
    orders = wanted(known)
    if orders == known.history.orders:
        raise Halt("nothing to do: it is so already")
    orders = replace(orders, ts=now_ms(), by=key_id(key.public), why=why)
    pinned = f"pinned at {orders.pinned}" if orders.pinned else "nothing pinned"
    frozen = ", ".join(orders.frozen) or "nothing"
    click.echo(f"from now on: {pinned}; frozen beside the files' own: {frozen}", err=True)
    if not yes:
        click.echo("nothing was done: act with --yes", err=True)
        return

    async def write() -> None:
        async with producing(settings.brokers) as producer:
            await (await producer.send(orders_record(settings, orders, signer)))

    run(write())
    click.echo("written: the leader takes it up in seconds, see `streams policy show`", err=True)


async def _known(settings: Settings) -> _Known:
    name = await namespace(settings)
    async with storing(settings) as store:
        partitions = await read_in_force(store, name, settings.partitions)
    latest = latest_of(partitions)
    if latest is None:
        raise Halt("no policy is in force: is a control plane running, and a worker?")
    return _Known(latest, partitions, await _history(settings))


async def _explored(settings: Settings, since_ms: int) -> list[Explored]:
    async with reading(settings.brokers) as reader:
        topic, partitions = settings.topic("traffic"), range(settings.partitions)
        return await read_explored(reader, topic, partitions, since_ms)


def _taught(chance: Sequence[Explored]) -> str:
    return lesson(chance[0]) if chance else "no minute of it was written"


async def _history(settings: Settings) -> PolicyHistory:
    installation = await made_installation(settings)
    async with reading(settings.brokers) as reader:
        return await read_history(reader, settings, installation)
