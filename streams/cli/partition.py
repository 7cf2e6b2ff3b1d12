"""`streams partition`: what an operator decides of one partition of the log."""

import click
from msgspec.structs import replace

from streams.cli.counters_proved import NOTHING_DONE, counted_log
from streams.cli.live import example
from streams.cli.options import Settings, connection_options
from streams.cli.verb_group import VerbGroup
from streams.cli.when import now_ms
from streams.cli.wiring import producing, run
from streams.ops.skip import plan_skip, write_skip
from streams.runtime.installation import signer_of
from streams.runtime.key_files import load_signing_key
from streams.runtime.ledger import Skip


@click.group(cls=VerbGroup, short_help="Skip what nobody can read of a partition.")
def partition() -> None:
    """Decide what a partition that halted cannot decide by itself."""


@partition.command()
@click.argument("number", metavar="PARTITION", type=click.IntRange(0))
@click.option("--offset", type=click.IntRange(0), required=True, help="Where it halted.")
@click.option("--by", required=True, help="Who decides this; stands in the ledger.")
@click.option("--why", required=True, help="Why; stands in the ledger.")
@connection_options("brokers", "redis", "topic_prefix")
@click.option("--yes", is_flag=True, help="Do it; without, only say what would be lost.")
@example('streams partition skip 3 --offset 821122 --by ada --why "disk of broker 2" --yes')
def skip(*, number: int, offset: int, by: str, why: str, settings: Settings, yes: bool) -> None:
    """Lose the records at OFFSET that nobody can read, so that the partition goes on behind them.

    Only for the halt `corrupt`, at the offset that it names, up to the first that can be read
    again. Restore the replica first, if there is one that is whole. The decision is signed
    (STREAMS_SIGNING_KEY_FILE) and stands in the topic `ledger`, which workers, verify, rebuild and
    record read before the log: all skip the same. Workers go on within ten seconds. Done twice
    it is done once.
    """
    run(_skip(settings, Skip(number, offset, 0, by, why, now_ms()), yes))


async def _skip(settings: Settings, wanted: Skip, yes: bool) -> None:
    async with counted_log(settings, wanted.partition, skipping=False) as log:
        plan = await plan_skip(log, wanted.partition, wanted.offset)
        where = f"partition {plan.partition}: offsets {plan.offset} to {plan.following - 1}"
        if plan.done:
            click.echo(f"{where} are skipped already")
            return
        click.echo(f"{where} cannot be read, and are lost for the counters")
        if not yes:
            click.echo(NOTHING_DONE)
            return
        signer = signer_of(log.tools.installation, load_signing_key())
        found = replace(wanted, following=plan.following)
        async with producing(settings.brokers) as producer:
            await write_skip(producer, settings, signer, found)
    click.echo("done: workers go on behind them")
