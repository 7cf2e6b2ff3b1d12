"""The contract of the port `Dossiers`, for memory and for Redis."""

from collections.abc import AsyncIterator, Iterator

import pytest
import redis

from streams.core.creators import DayStart
from streams.core.partitioner import partition_of
from streams.embedded import EmbeddedRedis
from streams.embedded.redis import bundled_redis_server
from streams.runtime.documents import CLAIM_DAYS, CLAIMS, UNREADABLE
from streams.runtime.memory.dossiers import MemoryDossiers
from streams.runtime.ports import Claim, Document, DossierChange, Dossiers, Move
from streams.runtime.redis.dossiers import RedisDossiers
from streams.runtime.redis.store import RedisStore

BUNDLED = bundled_redis_server()
LOG = "log-1"
UP, DOWN = "my.uploads", "my.reviews"
P = 7
"""The partition that most tests are about."""


class Days:
    """A clock that stands still until a test has days pass."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(scope="module")
def oldest_redis_url() -> Iterator[str]:
    with EmbeddedRedis(executable=BUNDLED) as server:
        yield server.url


@pytest.fixture(params=["memory", "redis 6.2", pytest.param("redis", marks=pytest.mark.real)])
async def dossiers(request: pytest.FixtureRequest) -> AsyncIterator[Dossiers]:
    if request.param == "memory":
        yield MemoryDossiers(Days())
        return
    name = "redis_url" if request.param == "redis" else "oldest_redis_url"
    url: str = request.getfixturevalue(name)
    with redis.Redis.from_url(url) as client:
        client.flushdb()
        client.script_flush()
    driver = RedisDossiers(url)
    yield driver
    await driver.close()


async def documents(dossiers: Dossiers, *videos: str, partition: int = P) -> dict[str, Document]:
    return dict((await dossiers.read(partition, LOG, videos)).documents)


async def positions(dossiers: Dossiers, log: str = LOG, partition: int = P) -> dict[str, int]:
    return dict((await dossiers.read(partition, log, ())).positions)


def new(video: str, text: bytes = b"{}") -> DossierChange:
    return DossierChange(video, 0, Document(1, text))


async def test_at_first_there_is_nothing(dossiers: Dossiers) -> None:
    assert await documents(dossiers, "v1", "v2") == {}
    assert await positions(dossiers) == {}
    assert await dossiers.put(P, LOG, (), {}) == "ok"
    assert await dossiers.forget(P) == 0


async def test_documents_and_positions_are_written_together(dossiers: Dossiers) -> None:
    raw = b'{"title":"\xe5\x90\x8d","revision":9}'
    moves = {UP: Move(0, 7), DOWN: Move(0, 1 << 52)}
    assert await dossiers.put(P, LOG, [new("v1", raw), new("v2")], moves) == "ok"
    known = {"v1": Document(1, raw), "v2": Document(1, b"{}")}
    assert await documents(dossiers, "v2", "v3", "v1") == known
    assert await positions(dossiers) == {UP: 7, DOWN: 1 << 52}


async def test_a_document_is_replaced_only_by_one_made_from_its_revision(
    dossiers: Dossiers,
) -> None:
    await dossiers.put(P, LOG, [new("v1", b"1")], {UP: Move(0, 1)})
    blind = [new("v2", b"new"), new("v1", b"blind")]
    assert await dossiers.put(P, LOG, blind, {UP: Move(1, 2)}) == "conflict"
    for before in (2, 12):
        change = DossierChange("v1", before, Document(before + 1, b"of another"))
        assert await dossiers.put(P, LOG, [change], {}) == "conflict"
    gone = [DossierChange("v3", 1, Document(2, b"of one that is gone"))]
    assert await dossiers.put(P, LOG, gone, {}) == "conflict"
    assert await documents(dossiers, "v1", "v2", "v3") == {"v1": Document(1, b"1")}
    assert await positions(dossiers) == {UP: 1}
    next_one = DossierChange("v1", 1, Document(2, b"2"))
    assert await dossiers.put(P, LOG, [next_one], {UP: Move(1, 2)}) == "ok"
    assert await documents(dossiers, "v1") == {"v1": Document(2, b"2")}


async def test_a_document_that_says_no_more_keeps_its_revision(dossiers: Dossiers) -> None:
    await dossiers.put(P, LOG, [new("v1", b"1")], {})
    assert await dossiers.put(P, LOG, [DossierChange("v1", 1, Document(1, b"said"))], {}) == "ok"
    assert await documents(dossiers, "v1") == {"v1": Document(1, b"said")}


async def test_what_was_lost_comes_back_at_a_greater_revision(dossiers: Dossiers) -> None:
    changes = [DossierChange("v1", 0, Document(1 << 40, b"1"))]
    assert await dossiers.put(P, LOG, changes, {}) == "ok"
    assert await documents(dossiers, "v1") == {"v1": Document(1 << 40, b"1")}


async def test_a_repeat_after_a_lost_reply_is_well(dossiers: Dossiers) -> None:
    moves = {UP: Move(0, 5)}
    assert await dossiers.put(P, LOG, [new("v1", b"1")], moves) == "ok"
    assert await dossiers.put(P, LOG, [new("v1", b"1")], moves) == "ok"
    assert await dossiers.put(P, LOG, [new("v1", b"other")], moves) == "conflict"
    assert await positions(dossiers) == {UP: 5}


async def test_a_position_below_the_one_known_is_a_loss_and_nothing_is_written(
    dossiers: Dossiers,
) -> None:
    await dossiers.put(P, LOG, (), {UP: Move(0, 5)})
    assert await dossiers.put(P, LOG, [new("v1")], {DOWN: Move(0, 3), UP: Move(6, 9)}) == "behind"
    assert await documents(dossiers, "v1") == {}
    assert await positions(dossiers) == {UP: 5}


async def test_a_position_never_goes_back_by_a_late_owner(dossiers: Dossiers) -> None:
    await dossiers.put(P, LOG, (), {UP: Move(0, 9)})
    assert await dossiers.put(P, LOG, (), {UP: Move(3, 5)}) == "ok"
    assert await positions(dossiers) == {UP: 9}


async def test_a_position_of_nothing_is_one_too(dossiers: Dossiers) -> None:
    await dossiers.put(P, LOG, (), {UP: Move(0, 0)})
    assert await positions(dossiers) == {UP: 0}


async def test_what_was_read_again_sets_positions_in_both_directions(dossiers: Dossiers) -> None:
    await dossiers.put(P, LOG, (), {UP: Move(0, 9)})
    await dossiers.hold(P, LOG, {UP: 2, DOWN: 4})
    await dossiers.hold(P, LOG, {})
    assert await positions(dossiers) == {UP: 2, DOWN: 4}


async def test_each_log_has_positions_of_its_own_and_shares_the_documents(
    dossiers: Dossiers,
) -> None:
    await dossiers.put(P, LOG, [new("v1")], {UP: Move(0, 9)})
    await dossiers.hold(P, "log-10", {UP: 3})
    assert await positions(dossiers, "log-10") == {UP: 3}
    assert await positions(dossiers) == {UP: 9}
    assert (await dossiers.read(P, "log-10", ["v1"])).documents == {"v1": Document(1, b"{}")}


async def test_each_partition_has_documents_and_positions_of_its_own(dossiers: Dossiers) -> None:
    await dossiers.put(P, LOG, [new("v1")], {UP: Move(0, 9)})
    assert await documents(dossiers, "v1", partition=70) == {}
    assert await positions(dossiers, partition=70) == {}
    await dossiers.hold(70, LOG, {UP: 3})
    assert await dossiers.forget(70) == 1
    assert await positions(dossiers) == {UP: 9}


async def test_forgotten_are_the_positions_of_every_log_and_no_document(
    dossiers: Dossiers,
) -> None:
    await dossiers.put(P, LOG, [new("v1")], {UP: Move(0, 9)})
    await dossiers.hold(P, "log-10", {UP: 3, DOWN: 4})
    assert await dossiers.forget(P) == 3
    assert await positions(dossiers) == {}
    assert await documents(dossiers, "v1") == {"v1": Document(1, b"{}")}


async def test_many_documents_go_in_one_call(dossiers: Dossiers) -> None:
    names = [f"v{number}" for number in range(2_000)]
    assert await dossiers.put(P, LOG, [new(name, name.encode() * 50) for name in names], {}) == "ok"
    known = {name: Document(1, name.encode() * 50) for name in names}
    assert await documents(dossiers, *names) == known


async def test_every_document_of_every_partition_is_found_and_nothing_else(
    dossiers: Dossiers,
) -> None:
    assert [some async for some in dossiers.scan() if some] == []
    names = {f"v{number}": b"%d" % number for number in range(5_000)}
    for partition in (0, 11):
        own = [new(name, text) for name, text in names.items() if len(name) % 2 == partition % 2]
        await dossiers.put(partition, LOG, own, {UP: Move(0, 7)})
    found: dict[str, Document] = {}
    async for some in dossiers.scan():
        found |= some
    assert found == {name: Document(1, text) for name, text in names.items()}


def claims(*videos: str, day: int = 100, creator: str = "c1") -> list[Claim]:
    return [Claim(P, creator, day, video) for video in videos]


async def taken(dossiers: Dossiers, asked: list[Claim], most: int) -> list[bool]:
    return [count is not None for count in await dossiers.claim(LOG, asked, most)]


async def test_the_first_claims_of_a_creator_and_day_are_granted_and_no_more(
    dossiers: Dossiers,
) -> None:
    assert await taken(dossiers, [], 2) == []
    assert await taken(dossiers, claims("v1", "v2", "v3"), 2) == [True, True, False]
    assert await taken(dossiers, claims("v4", day=101), 2) == [True]
    assert await taken(dossiers, claims("v5", creator="c2"), 2) == [True]


async def test_a_video_that_claims_again_has_what_it_had(dossiers: Dossiers) -> None:
    await dossiers.claim(LOG, claims("v1", "v2"), 1)
    assert await taken(dossiers, claims("v2", "v1"), 1) == [False, True]
    assert await taken(dossiers, claims("v1", day=101), 1) == [True]
    assert await taken(dossiers, claims("v3", day=101), 1) == [True]  # v1 has one of day 100


async def test_claims_are_kept_for_some_days_and_older_days_have_none_any_more(
    dossiers: Dossiers,
) -> None:
    await dossiers.claim(LOG, claims("old", day=100), 1)
    await dossiers.claim(LOG, claims("near", day=100 + CLAIM_DAYS - 1), 1)
    assert await taken(dossiers, claims("more", day=100), 1) == [False]
    assert await taken(dossiers, claims("late", day=101), 1) == [True]
    await dossiers.claim(LOG, claims("new", day=101 + CLAIM_DAYS), 1)
    assert await taken(dossiers, claims("old", "later", day=101), 1) == [False, False]


async def test_nothing_is_kept_of_a_creator_who_had_no_claim_for_days(dossiers: Dossiers) -> None:
    await dossiers.claim(LOG, claims("v1", "v2", "v3"), 2)
    await dossiers.claim(LOG, claims("v4", creator="c2"), 2)
    have_days_pass(dossiers, 1)
    await dossiers.claim(LOG, claims("v5", day=101, creator="c2"), 2)
    have_days_pass(dossiers, CLAIM_DAYS - 1)
    assert await taken(dossiers, claims("v6", creator="c2"), 1) == [False]
    assert creators_kept(dossiers) == {"c2"}
    have_days_pass(dossiers, 1)
    assert await taken(dossiers, claims("v7", day=109, creator="c3"), 2) == [True]
    assert creators_kept(dossiers) == {"c3"}


async def test_claims_are_no_documents(dossiers: Dossiers) -> None:
    await dossiers.claim(LOG, claims("v1"), 1)
    assert [some async for some in dossiers.scan() if some] == []
    assert await documents(dossiers, "v1", "c1") == {}


async def test_how_many_claims_a_partition_took_stands_among_its_positions(
    dossiers: Dossiers,
) -> None:
    assert await dossiers.claim(LOG, claims("v1", "v2", "v3", "v1"), 2) == [1, 2, None, 0]
    assert await dossiers.claim(LOG, claims("v4", day=101, creator="c2"), 2) == [3]
    assert await dossiers.claim(LOG, [Claim(P + 1, "c1", 100, "v5")], 2) == [1]
    assert await positions(dossiers) == {CLAIMS: 3}
    assert await dossiers.claim("another log", claims("v1", "v6", creator="c3"), 2) == [1, 2]
    assert await positions(dossiers) == {CLAIMS: 3}
    await dossiers.forget(P)
    assert await dossiers.claim(LOG, claims("v1"), 2) == [0]


async def test_where_fewer_claims_were_taken_than_are_known_nothing_is_taken(
    dossiers: Dossiers,
) -> None:
    await dossiers.claim(LOG, claims("v1", "v2"), 2)
    [first, behind] = claims("v3", "v4", day=101)
    asked = [first._replace(known=2), behind._replace(known=4)]
    assert await dossiers.claim(LOG, asked, 2) == [3, -4]
    assert await dossiers.claim(LOG, claims("v4", day=101), 2) == [4]
    assert await positions(dossiers) == {CLAIMS: 4}
    elsewhere = Claim(P + 1, "c1", 100, "v5", known=1)
    assert await dossiers.claim(LOG, [elsewhere], 2) == [-1]


async def test_a_days_beginning_is_kept_once(dossiers: Dossiers) -> None:
    assert await dossiers.days([7, 8]) == {}
    many = {f"c{number}": (number, 3 * number) for number in range(2_500)}
    await dossiers.keep_day(7, DayStart(10_081, many))
    await dossiers.keep_day(8, DayStart(11_520, {}))
    await dossiers.keep_day(7, DayStart(10_090, {"c1": (9, 9)}))
    assert await dossiers.days([6, 7, 8]) == {7: DayStart(10_081, many), 8: DayStart(11_520, {})}


async def test_days_are_no_documents(dossiers: Dossiers) -> None:
    await dossiers.keep_day(7, DayStart(10_080, {"c1": (1, 2)}))
    assert [some async for some in dossiers.scan() if some] == []


async def test_bytes_that_say_no_revision_are_read_as_such_and_replaced_knowingly(
    dossiers: Dossiers,
) -> None:
    damage(dossiers, "v1", b'{"dossier":{"revision":3}}')
    damaged = {"v1": Document(UNREADABLE, b'{"dossier":{"revision":3}}')}
    assert await documents(dossiers, "v1") == damaged
    assert await dossiers.put(P, LOG, [new("v1")], {}) == "conflict"
    mend = DossierChange("v1", UNREADABLE, Document(4, b"{}"))
    assert await dossiers.put(P, LOG, [mend], {}) == "ok"
    assert await documents(dossiers, "v1") == {"v1": Document(4, b"{}")}


def damage(dossiers: Dossiers, video: str, raw: bytes) -> None:
    """Put bytes in the place of a document."""
    if isinstance(dossiers, MemoryDossiers):
        dossiers.shelves[P].documents[video] = Document(UNREADABLE, raw)
        return
    assert isinstance(dossiers, RedisDossiers)
    with redis_of(dossiers) as client:
        client.set(f"s:{{{P}}}:d:{video}", raw)


def have_days_pass(dossiers: Dossiers, days: int) -> None:
    """Let a store's clock pass: keys of Redis that end come so much nearer to it."""
    if isinstance(dossiers, MemoryDossiers):
        assert isinstance(dossiers._clock, Days)
        dossiers._clock.now += days * 86_400
        return
    assert isinstance(dossiers, RedisDossiers)
    with redis_of(dossiers) as client:
        for key in client.scan_iter():
            if (left := client.ttl(key)) >= 0:
                client.expire(key, left - days * 86_400)


def creators_kept(dossiers: Dossiers) -> set[str]:
    """Return the creators of whom claims are kept."""
    if isinstance(dossiers, MemoryDossiers):
        return set(dossiers.shelves[P].claims)
    assert isinstance(dossiers, RedisDossiers)
    with redis_of(dossiers) as client:
        return {key.decode().rpartition(":")[2] for key in client.scan_iter("s:{7}:dclaims:*")}


def redis_of(dossiers: RedisDossiers) -> redis.Redis:
    known = dossiers._client.connection_pool.connection_kwargs
    return redis.Redis(
        **{name: known[name] for name in ("host", "port", "db", "path") if name in known}
    )


# ------------------------------------------------------------------ Redis alone


@pytest.mark.real
async def test_all_keys_of_a_partition_have_one_hash_tag_and_counters_leave_them(
    redis_url: str,
) -> None:
    with redis.Redis.from_url(redis_url) as client:
        client.flushdb()
        dossiers, store = RedisDossiers(redis_url), RedisStore(redis_url)
        await dossiers.put(P, LOG, [new("v1")], {UP: Move(0, 7)})
        await dossiers.claim(LOG, claims("v1"), 3)
        client.hset("s:{7}:meta", "watermark", 1)
        client.hset("s:{7}:v:d", "video", "[]")
        assert await store.erase(P) == 2
        assert sorted(client.scan_iter()) == [
            b"s:{7}:d:v1",
            b"s:{7}:dclaims:c1",
            b"s:{7}:dmeta",
        ]
        assert client.get("s:{7}:d:v1") == b'{"revision":1,"dossier":{}}'
        await dossiers.close()
        await store.close()


@pytest.mark.real
async def test_a_beginning_that_was_cut_short_is_none_and_days_end_by_themselves(
    redis_url: str,
) -> None:
    with redis.Redis.from_url(redis_url) as client:
        client.flushdb()
        dossiers = RedisDossiers(redis_url)
        client.hset("s:creators:7", "c1", "9 9")
        assert await dossiers.days([7]) == {}
        whole = DayStart(10_080, {"c1": (1, 2), "c2": (3, 4)})
        await dossiers.keep_day(7, whole)
        assert await dossiers.days([7]) == {7: whole}
        assert client.ttl("s:creators:7") > 3 * 86_400
        await dossiers.close()


@pytest.mark.real
async def test_documents_of_0_1_0_are_taken_over_once(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        client.flushdb()
        dossiers = RedisDossiers(redis_url)
        home = partition_of(b"v2", 4)
        await dossiers.put(home, LOG, [new("v2", b"newer")], {})
        client.mset({"s:dossier:v1": b"first", "s:dossier:v2": b"old"})
        client.hset("s:dossiers:held", "log 0 uploads", 3)
        assert await dossiers.take_first(4) == 1
        assert await dossiers.take_first(4) == 0
        found: dict[str, Document] = {}
        async for some in dossiers.scan():
            found |= some
        assert found == {"v1": Document(1, b"first"), "v2": Document(1, b"newer")}
        assert not client.exists("s:dossier:v1", "s:dossier:v2", "s:dossiers:held")
        await dossiers.close()
