"""`streams redis`: how the shards of a cluster share the partitions, and rights of its users."""

import click

from streams.cli.live import example
from streams.cli.options import connection_options, emit, emit_object, output_option
from streams.cli.verb_group import VerbGroup
from streams.cli.wiring import run
from streams.ops.placement import Placement, plan_moves, plan_new
from streams.runtime.redis import slots_of_masters
from streams.settings import SHIPPED, Settings


@click.group("redis", cls=VerbGroup, short_help="Plan a Redis Cluster; print its users' rights.")
def redis_group() -> None:
    """Redis as it is set up for this: a cluster's slots, users and what they may do."""


@redis_group.command()
@click.option("--partitions", type=click.IntRange(1, 10_000), help="Of the log; else as set.")
@click.option("--shards", type=click.IntRange(1, 1_000), help="Plan a new cluster of so many.")
@connection_options("redis")
@output_option
@example("streams redis plan --partitions 256 --shards 16")
def plan(settings: Settings, partitions: int | None, shards: int | None, output: str) -> None:
    """Print the slot of each partition, which shard has it, and an even placement.

    With --shards for a cluster that is to be made: one range of slots a shard, as CLUSTER
    ADDSLOTSRANGE takes it. Else for the running cluster of --redis: which slots to give to which
    shard, as few as can be. Changes nothing.
    """
    count = partitions or settings.partitions
    if shards is None:
        placement = plan_moves(count, run(slots_of_masters(settings.redis.reveal)))
    else:
        placement = plan_new(count, shards)
    _print(placement, output)


@redis_group.command()
@example("streams redis acl >> /etc/redis/users.acl")
def acl() -> None:
    """Print Redis users and what each part may do, in the form of Redis' own file of users.

    Each is off until it is given a password: ACL SETUSER streams-worker on >PASSWORD.
    """
    click.echo((SHIPPED / "redis.acl").read_text("utf-8"), nl=False)


def _print(placement: Placement, output: str) -> None:
    shards = [shard._asdict() for shard in placement.shards]
    partitions = [partition._asdict() for partition in placement.partitions]
    if output != "table":
        emit_object({"shards": shards, "partitions": partitions}, output)
        return
    emit(shards, output)
    click.echo()
    emit(partitions, output)
