"""`streams worker`: feedback worker and control plane, in one process or apart."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

import click

from streams.cli.crew import Posting, posting_options, run_crew
from streams.cli.interrupts import stop_on_signals
from streams.cli.logs import log_options
from streams.cli.options import connection_options
from streams.cli.pulse import Instruments, beating, instruments
from streams.cli.wiring import (
    consuming,
    electing,
    found_ledger,
    made_installation,
    namespace,
    producing,
    reading,
    run,
    storing,
    watching,
)
from streams.control.app import ControlPlane
from streams.control.log import Ports
from streams.control.metrics import ControlMetrics
from streams.errors import Halt
from streams.ops.checks import require_session_timeout, require_topics
from streams.runtime.archiving import archiving_of
from streams.runtime.collector import tame_gc
from streams.runtime.kafka import KafkaCluster, KafkaProducer, background
from streams.runtime.key_files import load_signing_key
from streams.runtime.logs import LogOptions, set_up_logs
from streams.runtime.pulse import Pulse
from streams.runtime.redis.dossiers import RedisDossiers
from streams.runtime.redis.serving import RedisServingIndex
from streams.runtime.rows import StoredRows
from streams.runtime.serving import Indexing
from streams.runtime.signing import SigningKey
from streams.runtime.surroundings import Surroundings
from streams.runtime.worker import Worker
from streams.settings import Settings, given_secret

Half = Callable[[], Awaitable[None]]
"""Ends what was started."""


@click.command(short_help="Count feedback, decide, and admit videos.")
@connection_options("brokers", "redis", "group", "instance", "topic_prefix")
@click.option(
    "--only",
    type=click.Choice(["feedback", "control"]),
    help="Run one half: feedback (counters, decisions, serving index) or control (admission).",
)
@posting_options
@log_options
def worker(settings: Settings, only: str | None, posting: Posting, logs: LogOptions) -> None:
    """Count feedback, decide, and admit videos, until Ctrl-C or SIGTERM.

    Start as many as there is work for, here with --processes: they share the partitions. The
    first Ctrl-C stores everything and leaves the group, the second ends the process at once. The
    control plane signs with the private key in STREAMS_SIGNING_KEY_FILE; --only feedback needs
    none. /ready answers 503 while no partition is counted here, one is halted, or Kafka or Redis
    is away; /health when only a new process helps: one that stands still for stuck_after_ms ends
    by itself, with 1.

    Example: STREAMS_SIGNING_KEY_FILE=signing.key streams worker --brokers localhost:9092
    """
    folder: Path = click.get_current_context().params["config"]
    key = None if only == "feedback" else load_signing_key()
    set_up_logs(replace(logs, name=posting.name))
    if posting.is_crew:
        run(run_crew(posting, settings))
        return
    shown = instruments(settings)
    posting.serve(settings, shown.pages())
    run(_work(settings, key, folder, only, shown, posting))


async def _work(
    settings: Settings,
    key: SigningKey | None,
    folder: Path,
    only: str | None,
    shown: Instruments,
    posting: Posting,
) -> None:
    secret, stopping = given_secret(), asyncio.Event()
    stop_on_signals(stopping.set)
    posting.stop_alone(stopping.set)
    cluster = KafkaCluster(settings.brokers)
    await require_topics(cluster, settings)
    await require_session_timeout(cluster, settings)
    installation = await made_installation(settings)
    metrics, pulse = shown.metrics, shown.pulse
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(beating(pulse, settings))
        producer = await stack.enter_async_context(
            producing(settings.brokers, settings.client("worker"))
        )
        halves: list[Half] = []
        try:
            if only != "control":
                store = await stack.enter_async_context(storing(settings))
                index = RedisServingIndex(settings.redis.reveal)
                stack.push_async_callback(index.close)
                rows = StoredRows(store, await namespace(settings), settings.partitions)
                indexing = Indexing(index, metrics, rows.tell)
                around = Surroundings(
                    *(producer, store, settings, installation, secret, metrics),
                    indexing=indexing,
                    read_ledger=partial(found_ledger, settings, installation),
                    archiving=archiving_of(store, producer, settings),
                )
                halves.append(await _start_feedback(around, stopping, pulse))
            if key is not None:
                halves.append(await _start_control(stack, settings, key, folder, producer, shown))
            tame_gc()
            pulse.phase = "running"
            click.echo(f"streams: {only or 'feedback and control'} running; Ctrl-C ends", err=True)
            async with watching(settings):
                await stopping.wait()
        finally:
            pulse.phase = "stopping"
            # Side by side: both may have to wait for brokers that do not answer any more.
            ended = await asyncio.gather(*(stop() for stop in halves), return_exceptions=True)
        for error in ended:
            if isinstance(error, BaseException):
                raise error


async def _start_feedback(around: Surroundings, stopping: asyncio.Event, pulse: Pulse) -> Half:
    """Start the feedback worker; return what ends it, and raises what it ended with."""
    feedback = Worker(consuming(around.settings), around)
    await feedback.start()
    pulse.vitals.append(feedback.watchdog)
    task = asyncio.create_task(feedback.run(), name="feedback")
    task.add_done_callback(lambda _: stopping.set())

    async def stop() -> None:
        feedback.stop()
        await task
        if feedback.halted:
            lines = "; ".join(str(halt) for halt in feedback.halted.values())
            raise Halt(f"stopped with halted partitions: {lines}", code="halted")

    return stop


async def _start_control(
    stack: AsyncExitStack,
    settings: Settings,
    key: SigningKey,
    folder: Path,
    producer: KafkaProducer,
    shown: Instruments,
) -> Half:
    """Start the control plane; return what ends it."""
    dossiers = RedisDossiers(settings.redis.reveal)
    stack.push_async_callback(dossiers.close)
    store = await stack.enter_async_context(storing(settings))
    index = RedisServingIndex(settings.redis.reveal)
    stack.push_async_callback(index.close)
    reader = await stack.enter_async_context(reading(settings.brokers))
    cluster = KafkaCluster(settings.brokers)
    member = partial(electing, settings)
    ports = Ports(producer, dossiers, store, index, reader, cluster, background, member)
    control_metrics = ControlMetrics(shown.metrics.registry)
    control = ControlPlane(settings, key, ports, folder, metrics=control_metrics)
    await control.start()
    shown.pulse.vitals.append(control)
    return control.stop
