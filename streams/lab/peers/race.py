"""All peers and ours on one topic, one after the other, in rounds."""

import asyncio
import json
import secrets
import tempfile
import time
from asyncio.subprocess import PIPE, Process
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import IO, Final, NamedTuple

from streams.errors import Halt, StreamsError
from streams.lab.bench import Bench, BenchTrial, Sizes
from streams.lab.counted import count_once
from streams.lab.load import Shape
from streams.lab.peers.field import FIELD, OURS
from streams.lab.peers.lap import Task
from streams.lab.peers.standings import PeerRow, row_of
from streams.lab.timed import Timed, cpu_seconds
from streams.runtime.ports import Cluster
from streams.security import KafkaSecurity
from streams.settings import Settings

PATIENCE_S: Final = 120.0
SLOWEST: Final = 100
"""Records a second below which a peer is taken to hang."""


class Entrant(NamedTuple):
    """A peer that can run here, and what starts it."""

    name: str
    command: Sequence[str]


async def race(bench: Bench, sizes: Sizes, rounds: int) -> Sequence[PeerRow]:
    """Return a row a peer, ours first; whoever cannot run here has a row that says why."""
    _require_plain(bench.settings)
    missing = {peer.name: peer.missing() for peer in FIELD}
    for name, command in missing.items():
        if command:
            bench.tell(f"{name} cannot run here: {command}")
    entrants = [Entrant(peer.name, peer.command()) for peer in FIELD if not missing[peer.name]]
    laps: defaultdict[str, list[Timed]] = defaultdict(list)
    async with BenchTrial(bench, Shape(sizes.videos)) as trial:
        bench.tell(f"sending {sizes.events:,} events about {sizes.videos:,} videos")
        await trial.send(sizes.events, 1)
        for number in range(1, rounds + 1):
            async for name, lap in _round(trial, entrants, bench, sizes.events):
                laps[name].append(lap)
                bench.tell(f"round {number}, {name}: {lap}")
    rows = [row_of(peer.name, laps, peer.without, missing[peer.name]) for peer in FIELD]
    return [row_of(OURS, laps, ""), *rows]


async def _round(
    trial: BenchTrial, entrants: Sequence[Entrant], bench: Bench, events: int
) -> AsyncIterator[tuple[str, Timed]]:
    ours, _ = await count_once(trial)
    if not ours.events:
        raise Halt("so few events are counted before they can be timed: give more by --events")
    yield OURS, ours
    for entrant in entrants:
        yield entrant.name, await _lap(entrant, trial, bench, events)


def _require_plain(settings: Settings) -> None:
    if settings.brokers.security != KafkaSecurity() or "+" in settings.redis.reveal.split(":")[0]:
        raise Halt("the peers take a Kafka without TLS and passwords, and a single Redis")


async def _lap(entrant: Entrant, trial: BenchTrial, bench: Bench, events: int) -> Timed:
    """Run a peer over the whole topic, in a group and a folder of its own."""
    records = sum(trial.admitted.values()) + events
    brokers, redis = str(bench.settings.brokers), bench.settings.redis.reveal
    group = f"{trial.prefix}{secrets.token_hex(4)}"
    try:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            task = Task(brokers, trial.topic, group, records, folder, redis)
            return await run_peer(entrant, task, events)
    finally:
        await delete_topics(bench.drivers.cluster, group)


async def delete_topics(cluster: Cluster, group: str) -> None:
    """Delete what a peer has made: the changelogs of its state bear its group's name."""
    with suppress(StreamsError):
        for topic in await cluster.describe():
            if group in topic:
                await cluster.delete(topic)


async def run_peer(entrant: Entrant, task: Task, events: int) -> Timed:
    """Run a peer's program over its task; `Halt` with its last words if it does not get to the end.

    `events` of the records are feedback.
    """
    with tempfile.TemporaryFile() as errors:
        async with _running(entrant.command, task, errors) as process:
            try:
                async with asyncio.timeout(PATIENCE_S + task.records / SLOWEST):
                    return await _timed(process, events)
            except (TimeoutError, EOFError) as failed:
                why = "hangs" if isinstance(failed, TimeoutError) else "ended"
                raise Halt(f"{entrant.name} {why} before the end: {_last_words(errors)}") from None


@asynccontextmanager
async def _running(command: Sequence[str], task: Task, errors: IO[bytes]) -> AsyncIterator[Process]:
    process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE, stderr=errors)
    assert process.stdin is not None
    try:
        with suppress(ConnectionError):  # one that ended says why elsewhere
            process.stdin.write(json.dumps(task._asdict()).encode() + b"\n")
            await process.stdin.drain()
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.kill()  # what it had to store is stored
        await process.wait()


async def _timed(process: Process, events: int) -> Timed:
    """Return what lies between a peer's first record and its last."""
    await _line(process, b"first")
    began, cpu = time.perf_counter(), cpu_seconds(process.pid)
    counted = int((await _line(process, b"last")).split()[1])
    ended, cpu_end = time.perf_counter(), cpu_seconds(process.pid)
    return Timed(events, ended - began, cpu_end - cpu, abs(events - counted))


async def _line(process: Process, word: bytes) -> bytes:
    """Return the next line that begins with a word; EOFError if none comes."""
    assert process.stdout is not None
    async for line in process.stdout:
        if line.startswith(word):
            return line
    raise EOFError


def _last_words(errors: IO[bytes]) -> str:
    errors.seek(0)
    lines = errors.read().decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else "it said nothing"
