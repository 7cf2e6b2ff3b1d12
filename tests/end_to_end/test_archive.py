"""Videos that rest leave a real Redis for a real Kafka, and return: every counter stays exact."""

from collections.abc import Iterator

import pytest
from kit.events import FIXED, NOW, Logged, admit, policy, records_of, view
from kit.redises import client_of
from kit.rig import Feed, Rig

from streams.core.events import LogRecord
from streams.core.quiet import DAY_MS

pytestmark = [pytest.mark.real, pytest.mark.slow]


@pytest.fixture
def rig(brokers: str, fresh_redis_url: str, unique: str) -> Iterator[Rig]:
    made = Rig(brokers, fresh_redis_url, unique, partitions=1, archive_days=3)
    made.create_topics()
    yield made
    made.stop()


def timely(*events: LogRecord) -> list[Logged]:
    return [one._replace(timestamp=NOW + 9 * DAY_MS) for one in records_of(events)]


def seen(name: str, video: str, day: int) -> LogRecord:
    return view(name, video=video, viewer=name, ts=NOW + day * DAY_MS)


def pointers(rig: Rig) -> int:
    with client_of(rig.redis_url) as client:
        return sum(client.hlen(key) for key in client.scan_iter("s:{0}:a:*"))


def stored(rig: Rig) -> set[str]:
    with client_of(rig.redis_url) as client:
        return {key.decode().removeprefix("s:{0}:v:") for key in client.scan_iter("s:{0}:v:*")}


async def test_a_video_leaves_is_told_of_as_before_and_returns_with_its_next_event(
    rig: Rig,
) -> None:
    async with Feed(rig) as feed:
        old = [
            admit(f"admit-{n}", video=f"old{n}", fits=dict.fromkeys(FIXED.slices, 0))
            for n in (1, 2)
        ]
        views = [seen("e1", "old1", 0), seen("e2", "old2", 0), seen("e3", "new", 8)]
        await feed.send(timely(policy(), *old, *views))
        counting = rig.worker()
        await rig.caught_up()
        before = rig.run("video", "show", "old1", "--output", "json").stdout
        assert await counting.terminate() == 0
        rig.worker()
        number = 10
        while pointers(rig) < 2:  # with the flush that comes behind the sweep
            await feed.send(timely(seen(f"e{number}", "new", 8)))
            await rig.caught_up()
            number += 1
            assert number < 40, rig.logs()
        assert stored(rig) == {"new"}
        assert rig.run("video", "show", "old1", "--output", "json").stdout == before
        rig.assert_exact()
        await feed.send(timely(seen("e99", "old1", 8)))
        await rig.caught_up()
        assert stored(rig) == {"new", "old1"}
        assert pointers(rig) == 1
        rig.assert_exact()
        await feed.send(timely(seen("e100", "new", 8)))
        await rig.caught_up()
        [first, second, gone] = await rig.read(f"{rig.prefix}archive")
        assert (gone.value, gone.key in {first.key, second.key}) == (None, True)
