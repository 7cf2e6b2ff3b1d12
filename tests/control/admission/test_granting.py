"""Full guarantees of a creator and day: so many, whoever admits."""

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from functools import partial
from itertools import count, islice
from typing import Literal

import pytest
import redis
from kit.control import NOW, RULES, Office, Process, review, upload
from kit.twins import LOG

from streams.control.admission.acknowledged import FellBack
from streams.control.admission.dossier import Grant
from streams.control.policy.file import GuaranteeBound
from streams.core.events import Admit, Upload
from streams.core.partitioner import partition_of
from streams.core.quiet import DAY_MS
from streams.errors import Retry
from streams.runtime.memory import MemoryDossiers
from streams.runtime.ports import DossierChange, Dossiers, Move, Outgoing
from streams.runtime.redis.dossiers import RedisDossiers
from streams.runtime.signing import encode

FULL, LESS = RULES.tools.guarantee, RULES.tools.bound.beyond
DAY = NOW // DAY_MS


@pytest.fixture
def office() -> Office:
    return Office()


def uploads(count: int, creator: str = "c1", first: int = 0) -> list[Upload]:
    numbers = range(first, first + count)
    return [upload(f"{creator}-{n}", creator=creator, ts=NOW - 9 * DAY_MS) for n in numbers]


async def take(process: Process, events: list[Upload], ts: int = NOW) -> None:
    """Bring events at a time of the log's, and handle them."""
    for event in events:
        key, value = event.video.encode(), encode(event)
        process.office.world.log.append(Outgoing("uploads", value, key, timestamp=ts))
    await process.work()


def promised(office: Office) -> list[int]:
    """Return what each admission in the log bears, the greatest first."""
    admits = {one.video: one.guarantee for one in office.controls() if isinstance(one, Admit)}
    return sorted(admits.values(), reverse=True)


def test_three_a_day_are_full_and_twenty_are_owed_beyond() -> None:
    assert RULES.tools.bound == RULES.policy.bound == GuaranteeBound(3, 20)
    assert FULL == 60


async def test_a_creator_has_three_full_guarantees_a_day_and_less_beyond(office: Office) -> None:
    process = await Process(office).start()
    await take(process, uploads(3))
    await take(process, uploads(4, first=3))
    assert promised(office) == [FULL] * 3 + [LESS] * 4
    await office.count()
    assert sorted(office.row(f"c1-{n}").guarantee for n in range(7)) == [LESS] * 4 + [FULL] * 3


async def test_every_creator_has_their_own_and_every_day_anew(office: Office) -> None:
    process = await Process(office).start()
    await take(process, [*uploads(4), *uploads(1, "c2")], NOW - DAY_MS)
    await take(process, uploads(4, first=4))
    assert promised(office) == [FULL] * 7 + [LESS] * 2


async def test_the_day_is_the_logs_not_the_uploads(office: Office) -> None:
    process = await Process(office).start()
    spread = [upload(f"v{n}", ts=NOW - n * DAY_MS) for n in range(6)]
    await take(process, spread)
    assert promised(office) == [FULL] * 3 + [LESS] * 3


async def test_two_control_planes_give_no_more_than_one(office: Office) -> None:
    one, other = await Process(office).start(), await Process(office).start()
    await take(one, uploads(2))
    await take(other, uploads(2, first=2))
    await take(one, uploads(2, first=4))
    assert promised(office) == [FULL] * 3 + [LESS] * 3


class FailingOnce(MemoryDossiers):
    """Loses a call after the claims were taken, as a process that dies there does."""

    fails = False

    async def put(
        self,
        partition: int,
        log: str,
        changes: Sequence[DossierChange],
        moves: Mapping[str, Move],
    ) -> Literal["ok", "conflict", "behind"]:
        if self.fails:
            self.fails = False
            raise Retry("died")
        return await super().put(partition, log, changes, moves)


async def test_a_claim_whose_admission_was_not_stored_is_that_videos_still() -> None:
    office = Office()
    office.dossiers = dossiers = FailingOnce()
    process = await Process(office).start()
    dossiers.fails = True
    with pytest.raises(Retry):
        await take(process, uploads(1))
    await (await Process(office).start()).work()
    await take(process, uploads(3, first=1))
    assert promised(office) == [FULL] * 3 + [LESS]


async def test_an_admission_that_is_said_again_says_what_was_decided(office: Office) -> None:
    process = await Process(office).start()
    home = partition_of(b"c1-0", 2)
    office.world.log.leaderless.add((LOG, home))
    with pytest.raises(Retry):
        await take(process, uploads(1))
    office.world.log.leaderless.clear()
    known = office.known("c1-0")
    assert known is not None
    assert (known.grant, len(known.unsent)) == (Grant(FULL, DAY), 1)
    tools = replace(RULES.tools, guarantee=7, bound=GuaranteeBound(1, 5))
    later = await Process(office, rules=replace(RULES, tools=tools)).start()
    await take(later, uploads(1, first=1))
    assert promised(office) == [FULL, 5]


async def test_without_more_to_be_had_than_the_bounds_own_all_have_the_same(office: Office) -> None:
    tools = replace(RULES.tools, guarantee=15)
    process = await Process(office, rules=replace(RULES, tools=tools)).start()
    await take(process, uploads(5))
    assert promised(office) == [15] * 5


async def test_what_redis_lost_of_the_count_comes_back_with_the_dossiers(office: Office) -> None:
    process = await Process(office).start()
    await take(process, uploads(2))
    await office.count()
    office.flush()
    again = await Process(office).start()
    await take(again, uploads(3, first=2))
    assert promised(office) == [FULL] * 3 + [LESS] * 2


async def test_what_one_shard_lost_of_the_count_comes_back_from_all_dossiers(
    office: Office,
) -> None:
    """The count is where its creator is, the dossiers are where their videos are."""
    home = partition_of(b"c1", 2)
    process = await Process(office).start()
    videos = [f"v{n}" for n in range(9)]
    others = [name for name in videos if partition_of(name.encode(), 2) != home]
    await take(process, [upload(name, creator="c1", ts=NOW) for name in others[:3]])
    here = next(name for name in videos if name not in others)
    await take(process, [upload(here, creator="c2", ts=NOW)])
    del office.dossiers.shelves[home]
    other = await Process(office).start()
    await take(other, uploads(2))
    assert promised(office) == [FULL] * 4 + [LESS] * 2


class Shard:
    """The store of dossiers, of which one partition is restored from a dump of before."""

    def __init__(self, dossiers: Dossiers, client: redis.Redis | None = None) -> None:
        self.dossiers = dossiers
        self._client = client

    def dump(self, partition: int) -> Callable[[], None]:
        """Return what brings a partition back to how it is now."""
        if self._client is None:
            assert isinstance(self.dossiers, MemoryDossiers)
            return partial(
                self.dossiers.shelves.__setitem__,
                partition,
                deepcopy(self.dossiers.shelves[partition]),
            )
        return partial(self._restore, partition, self._held(partition))

    def _held(self, partition: int) -> dict[bytes, bytes]:
        assert self._client is not None
        keys: list[bytes] = list(self._client.scan_iter(f"s:{{{partition}}}:*"))
        return {key: self._client.dump(key) for key in keys}

    def _restore(self, partition: int, dump: dict[bytes, bytes]) -> None:
        assert self._client is not None
        if now := self._held(partition):
            self._client.delete(*now)
        for key, raw in dump.items():
            self._client.restore(key, 0, raw)


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.real)])
async def shard(request: pytest.FixtureRequest) -> AsyncIterator[Shard]:
    if request.param == "memory":
        yield Shard(MemoryDossiers())
        return
    url: str = request.getfixturevalue("redis_url")
    with redis.Redis.from_url(url) as client:
        client.flushdb()
        driver = RedisDossiers(url)
        yield Shard(driver, client)
        await driver.close()


async def with_three_claims(
    office: Office, shard: Shard, dumped_at: int
) -> tuple[Process, Callable[[], None]]:
    """Let a creator have three full guarantees, all of videos of another partition; return dumps.

    So nothing but the count changes in the partition that it is kept in.
    """
    process = await Process(office, dossiers=shard.dossiers).start()
    for number, name in enumerate(islice(elsewhere("v"), 3)):
        if number == dumped_at:
            restore = shard.dump(partition_of(b"c1", 2))
        await take(process, [upload(name, creator="c1", ts=NOW)])
    return process, restore


def elsewhere(prefix: str) -> Iterator[str]:
    """Yield names of videos that are in another partition than their creator."""
    names = (f"{prefix}{n}" for n in count())
    return (name for name in names if partition_of(name.encode(), 2) != partition_of(b"c1", 2))


async def mend(process: Process) -> None:
    assert await process.recovery.look()
    await process.leader.repeat()
    await process.office.count()
    await process.recovery.run()


@pytest.mark.parametrize("dumped_at", [0, 1, 2])
async def test_a_shard_whose_count_alone_fell_back_is_noticed_and_has_it_again(
    office: Office, shard: Shard, dumped_at: int
) -> None:
    process, restore = await with_three_claims(office, shard, dumped_at)
    other = await Process(office, dossiers=shard.dossiers).start()
    restore()
    for each in (other, process):
        with pytest.raises(FellBack, match=r"Redis holds claims\["):
            await each.register.positions()
    await mend(process)
    await process.register.positions()
    await take(process, uploads(2))
    assert promised(office) == [FULL] * 3 + [LESS] * 2


@pytest.mark.parametrize("lost", [1, 2])
async def test_a_claim_that_finds_a_loss_takes_nothing_of_it(
    office: Office, shard: Shard, lost: int
) -> None:
    process, restore = await with_three_claims(office, shard, 3 - lost)
    restore()
    for name in islice(elsewhere("w"), lost):
        office.bring(upload(name, creator="c1", ts=NOW))
    records = office.world.log.records("uploads", 1 - partition_of(b"c1", 2))[-lost:]
    with pytest.raises(FellBack, match=r"Redis holds claims\["):
        await process.register.handle("uploads", records)
    await mend(process)
    await process.register.handle("uploads", records)
    assert promised(office) == [FULL] * 3 + [LESS] * lost


async def test_what_followers_alone_may_see_takes_no_guarantee(office: Office) -> None:
    process = await Process(office).start()
    for number in range(4):
        await process.take(review("limit", f"c1-{number}", name=f"m{number}"))
    await take(process, uploads(4))
    await take(process, uploads(3, first=4))
    known = [office.known(f"c1-{n}") for n in range(4)]
    assert [each.grant for each in known if each] == [None] * 4
    assert all(office.known(f"c1-{n}").grant == Grant(FULL, DAY) for n in (4, 5, 6))


async def test_what_the_public_may_see_later_has_its_guarantee_from_then_on(office: Office) -> None:
    process = await Process(office).start()
    await process.take(review("limit", "c1-0", ts=NOW - 5))
    await take(process, uploads(1), NOW - 3)
    await office.count()
    assert (office.row("c1-0").stage, office.row("c1-0").guarantee) == ("limited", 0)
    await process.take(review("approve", "c1-0", name="m2", ts=NOW - 1))
    await office.count()
    row = office.row("c1-0")
    assert (row.stage, row.guarantee, row.admitted) == ("public", FULL, NOW - 3)
    assert row.owed_since == NOW
    await process.take(review("limit", "c1-0", name="m3", ts=NOW))
    await process.take(review("approve", "c1-0", name="m4", ts=NOW + 1))
    await take(process, uploads(3, first=1))
    await office.count()
    assert office.row("c1-0").owed_since == NOW
    assert [office.row(f"c1-{n}").guarantee for n in range(4)].count(FULL) == 3
