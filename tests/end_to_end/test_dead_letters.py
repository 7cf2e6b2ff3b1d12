"""One record in ten spelled wrongly, a real broker, a worker: refused, mended, and counted."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from random import Random

import pytest
from kit.events import FOOTBALL, Logged, record, videos_of, view
from kit.keys import SPELLING, TRUST
from kit.rig import Feed, Rig

from streams.core.counters import VIDEO_ROW, decode_slice
from streams.ops.recount import COUNTED, Counts, Recount
from streams.runtime.codec import decode_log
from streams.runtime.letters import read_letter
from streams.runtime.redis import RedisStore
from streams.runtime.signing import encode

pytestmark = pytest.mark.real

PARTITIONS = 2
VIDEOS = [videos_of(partition, PARTITIONS, 20) for partition in range(PARTITIONS)]
MISTAKES = (
    (b'"watch_ms":5000', b'"watch_ms":"5 s"'),
    (b'"watch_ms":5000', b'"watch_ms":-1'),
    (b'"watch_ms":5000,', b""),
    (FOOTBALL.encode(), b"discover:FOOTBALL"),
)
CURE = json.dumps({"watch_ms": 5_000, "slice": FOOTBALL})
"""One patch for all four: what every view of this log should have said."""


def views(count: int) -> Iterator[tuple[Logged, Logged]]:
    """Yield each record as it should be and as it is sent, every tenth with a mistake."""
    random = Random(count)
    offsets = [0] * PARTITIONS
    for number in range(count):
        partition = random.randrange(PARTITIONS)
        video = random.choice(VIDEOS[partition])
        event = view(f"e{number}", video=video, viewer=f"u{number % 997}")
        right = record(encode(event), offsets[partition], key=video.encode(), partition=partition)
        offsets[partition] += 1
        mistake = random.choice(MISTAKES) if number % 10 == 0 else (b"", b"")
        yield right, right._replace(value=(right.value or b"").replace(*mistake))


def counted(records: list[Logged]) -> Counts:
    """Return what a log without mistakes counts."""
    counts: Counts = {}
    for partition in range(PARTITIONS):
        recount = Recount(partition, PARTITIONS, 100_000)
        decoded = decode_log([r for r in records if r.partition == partition], TRUST, SPELLING)
        assert not decoded.refusals
        for event, offset in zip(decoded.events, decoded.offsets, strict=True):
            recount.add(event, offset)
        counts |= recount.counts
    return counts


async def stored(rig: Rig) -> Counts:
    """Return every counter in Redis."""
    store = RedisStore(rig.redis_url)
    counts: Counts = {}
    for partition in range(PARTITIONS):
        for video, fields in (await store.scan(partition)).items():
            for slice_id, raw in fields.items():
                if slice_id != VIDEO_ROW:
                    row = decode_slice(raw)
                    counts[video, slice_id] = {name: getattr(row, name) for name in COUNTED}
    await store.close()
    return counts


@pytest.fixture
async def rig(brokers: str, fresh_redis_url: str, unique: str) -> AsyncIterator[Rig]:
    made = Rig(brokers, fresh_redis_url, unique, partitions=PARTITIONS)
    made.create_topics()
    yield made
    made.stop()


@pytest.mark.timeout(1_200)
@pytest.mark.parametrize(
    "count", [20_000, pytest.param(1_000_000, marks=pytest.mark.slow)], ids="{:_}".format
)
async def test_mended_letters_count_as_if_nothing_had_been_wrong(rig: Rig, count: int) -> None:
    pairs = list(views(count))
    async with Feed(rig) as feed:
        for first in range(0, count, 10_000):
            await feed.send([sent for _, sent in pairs[first : first + 10_000]])
    worker = rig.worker(flush_interval_ms=500)
    await rig.caught_up(patience_s=600)

    bad = {(r.partition, r.offset) for r, sent in pairs if r.value != sent.value}
    assert len(bad) == count // 10
    letters = [read_letter(one) for one in await rig.read(rig.letters)]
    places = Counter((one.partition, one.offset) for one in letters if one is not None)
    assert (places.keys(), max(places.values())) == (bad, 1)
    good = [right for right, _ in pairs if (right.partition, right.offset) not in bad]
    assert await stored(rig) == counted(good)

    redrive = ("dlq", "redrive", "--patch", CURE, "--output", "json")
    planned = await asyncio.to_thread(rig.run, *redrive, patience_s=600)
    assert {row["outcome"] for row in json.loads(planned.stdout)} == {"valid"}
    for _ in range(2):  # the second time there is nothing left to send
        done = await asyncio.to_thread(rig.run, *redrive, "--yes", patience_s=600)
    assert done.returncode == 3, done.stderr
    await rig.caught_up(patience_s=600)
    assert await worker.terminate() == 0
    assert sum((await rig.ends(rig.log)).values()) == count + count // 10
    assert await stored(rig) == counted([right for right, _ in pairs])
