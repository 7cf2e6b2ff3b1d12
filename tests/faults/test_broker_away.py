"""A worker whose broker goes away: what it says meanwhile, and how it ends."""

import asyncio
import signal
from collections.abc import Iterator

import pytest
from kit.events import Logged, records_of, videos_of, view
from kit.rig import Feed, Rig
from kit.servers import KafkaServer, kafka_server

pytestmark = pytest.mark.real


@pytest.fixture
def server() -> Iterator[KafkaServer]:
    with kafka_server() as made:
        yield made


@pytest.fixture
def rig(server: KafkaServer, fresh_redis_url: str, unique: str) -> Iterator[Rig]:
    made = Rig(server.bootstrap, fresh_redis_url, unique, partitions=2)
    made.create_topics()
    yield made
    made.stop()


def views(first: int) -> list[Logged]:
    """Return feedback alone: other control records than the worker's own would lead."""
    names = videos_of(0, 2, 4)
    numbers = range(first, first + 200)
    return records_of([view(f"e{number}", video=names[number % 4]) for number in numbers])


async def running(rig: Rig, **changes: object) -> None:
    """Start both halves of a worker and let them count something."""
    worker = rig.worker(only=None, **changes)
    async with Feed(rig) as feed:
        await feed.send(views(0))
    await rig.caught_up()
    await worker.says("feedback and control running")


async def test_a_broker_that_is_away_for_a_while_is_two_lines(
    rig: Rig, server: KafkaServer
) -> None:
    await running(rig)
    (worker,) = rig.workers
    before = len(worker.said().splitlines())
    server.kill()
    await worker.says("Kafka does not answer")
    await asyncio.sleep(15)  # what the libraries say in this time is what is counted
    during = [one for one in worker.said().splitlines()[before:] if " INFO " not in one]
    await asyncio.to_thread(server.start)
    await worker.says("Kafka answers again, after")
    assert len(during) == 1, during
    async with Feed(rig) as feed:
        await feed.send(views(200))
    await rig.caught_up()
    assert "Traceback" not in worker.said()
    assert await worker.terminate() == 0


@pytest.mark.parametrize("only", ["feedback", "control", None])
async def test_sigterm_while_the_broker_is_away_ends_in_one_line(
    rig: Rig, server: KafkaServer, only: str | None
) -> None:
    worker = rig.worker(only=only)
    await worker.says("running; Ctrl-C ends")
    server.kill()
    await worker.says("Kafka does not answer")
    before = len(worker.said().splitlines())
    worker.send(signal.SIGTERM)
    code = await worker.stopped()
    after = worker.said().splitlines()[before:]
    assert code == 0, "\n".join(after)
    assert len(after) <= 1, after
