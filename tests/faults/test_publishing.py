"""Applications that publish while their broker is restarted: nothing lost, nothing twice."""

import asyncio
import json
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from itertools import count
from typing import Any

import msgspec
import pytest
from kit.servers import KafkaServer, create_topic, kafka_server

from streams.client import BlockingPublisher, Impression, Like, Limits, Publisher, View
from streams.client.publish import EventPace
from streams.core.partitioner import partition_of
from streams.runtime.kafka import KafkaReader

pytestmark = pytest.mark.real
PARTITIONS = 4
THREADS = 8
RATE = 22_000
REQUEST_EVENTS = 20
LIMITS = Limits(memory_bytes=128 << 20)
decode = msgspec.json.Decoder(list[Like | View | Impression]).decode


@pytest.fixture
def server() -> Iterator[KafkaServer]:
    with kafka_server() as made:
        create_topic(made.bootstrap, "interactions", PARTITIONS)
        yield made


def view(number: int) -> View:
    now_ms = time.time_ns() // 1_000_000
    video, viewer = f"v{number % 997}", f"u{number % 9_973}"
    return View(f"e{number}", video, viewer, "discover:football", now_ms, 11_800, 15_000)


class Restart:
    """A broker that is stopped (or killed) and started again, in a thread of its own."""

    def __init__(self, server: KafkaServer, *, kill: bool) -> None:
        self._server = server
        self._kill = kill
        self.done = threading.Event()
        self.away_s = 0.0

    def begin(self) -> None:
        threading.Thread(target=self._run).start()

    def _run(self) -> None:
        began = time.monotonic()
        self._server.kill() if self._kill else self._server.stop()
        self._server.start()
        self.away_s = time.monotonic() - began
        self.done.set()


async def published(brokers: str) -> list[tuple[int, dict[str, Any]]]:
    """Return all events of the log with their partitions, in order; each record names us."""
    reader = KafkaReader(brokers)
    await reader.start()
    found: list[tuple[int, dict[str, Any]]] = []
    try:
        bounds = await reader.offsets("interactions", range(PARTITIONS))
        reader.assign({("interactions", partition): 0 for partition in bounds})
        left = sum(bound.end for bound in bounds.values())
        while left:
            for (_, partition), records in (await reader.fetch(1_000, 5_000)).items():
                left -= len(records)
                for record in records:
                    assert list(record.headers) == [("x-producer", b"tests")]
                    value = json.loads(record.value or b"")
                    events = value if isinstance(value, list) else [value]
                    found += [(partition, event) for event in events]
    finally:
        await reader.stop()
    return found


async def require_all_once(brokers: str, numbers: Iterable[int]) -> None:
    """Require these events in the log once each, in their videos' partitions, and no others."""
    events = await published(brokers)
    ids = Counter(event["id"] for _, event in events)
    assert not [name for name, times in ids.items() if times > 1][:5]
    assert ids.keys() == {f"e{number}" for number in numbers}
    places = {(event["video"], partition) for partition, event in events}
    assert all(partition == partition_of(v.encode(), PARTITIONS) for v, partition in places)


async def serve(server: KafkaServer, restart: Restart, least: int) -> tuple[range, float]:
    """Publish from one event loop until the broker is back; return the events and seconds."""
    pace, began, numbers = EventPace(RATE, time.monotonic), time.monotonic(), count()
    async with Publisher(server.bootstrap, "tests", limits=LIMITS) as publisher:
        for number in numbers:
            if number == least // 2:
                restart.begin()
            if number >= least and restart.done.is_set():
                break
            await pace.wait()
            await publisher.put(view(number))
            pace.add(1)
            if number % 1_000 == 0:
                await asyncio.sleep(0)  # a service does other things too
    return range(number), time.monotonic() - began


@pytest.mark.parametrize("kill", [False, True], ids=["restarted", "killed"])
async def test_a_service_loses_and_repeats_nothing_when_its_broker_is(
    server: KafkaServer, kill: bool
) -> None:
    numbers, _ = await serve(server, Restart(server, kill=kill), 20_000)
    await require_all_once(server.bootstrap, numbers)
    # Of one loop the order is kept too.
    videos: dict[str, list[int]] = {}
    for _, event in await published(server.bootstrap):
        videos.setdefault(event["video"], []).append(int(event["id"][1:]))
    assert all(ids == sorted(ids) for ids in videos.values())


class Web:
    """A sync web application: one WSGI callable that any thread of its server calls."""

    def __init__(self, publisher: BlockingPublisher) -> None:
        self._publisher = publisher

    def __call__(self, environ: dict[str, Any]) -> str:
        events = decode(environ["wsgi.input"].read())
        self._publisher.put(*events)
        return "202 Accepted"


def answer(server: KafkaServer, restart: Restart, least: int) -> tuple[list[int], float]:
    """Publish from a web server's threads until the broker is back; return events and seconds."""
    began, numbers = time.monotonic(), count()

    def request(web: Web, first: int) -> str:
        body = msgspec.json.encode([view(first + one) for one in range(REQUEST_EVENTS)])
        due = began + first / RATE
        time.sleep(max(0.0, due - time.monotonic()))
        return web({"wsgi.input": BytesIO(body)})

    def work(web: Web) -> list[int]:
        answered: list[int] = []
        while True:
            first = next(numbers) * REQUEST_EVENTS
            if first == least // 2:
                restart.begin()
            if first >= least and restart.done.is_set():
                return answered
            assert request(web, first) == "202 Accepted"
            answered += range(first, first + REQUEST_EVENTS)

    with BlockingPublisher(server.bootstrap, "tests", limits=LIMITS) as publisher:
        web = Web(publisher)
        with ThreadPoolExecutor(THREADS) as threads:
            answered = [one for each in threads.map(work, [web] * THREADS) for one in each]
    return answered, time.monotonic() - began


@pytest.mark.parametrize("kill", [False, True], ids=["restarted", "killed"])
async def test_a_web_server_loses_and_repeats_nothing_when_its_broker_is(
    server: KafkaServer, kill: bool
) -> None:
    numbers, _ = await asyncio.to_thread(answer, server, Restart(server, kill=kill), 20_000)
    await require_all_once(server.bootstrap, numbers)


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.timeout(900)
@pytest.mark.parametrize("threads", [False, True], ids=["service", "web"])
async def test_a_minute_of_20000_events_a_second_through_a_restart(
    server: KafkaServer, threads: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    restart, least = Restart(server, kill=False), 60 * RATE
    if threads:
        numbers, seconds = await asyncio.to_thread(answer, server, restart, least)
    else:
        numbers, seconds = await serve(server, restart, least)
    with capsys.disabled():
        rate = f"{len(numbers) / seconds:,.0f} events/s over {seconds:.0f} s"
        print(f"\n{rate}, broker away {restart.away_s:.1f} s")  # noqa: T201 - what is shown
    await require_all_once(server.bootstrap, numbers)
