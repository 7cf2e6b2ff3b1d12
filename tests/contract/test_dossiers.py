"""The contract of the port `Dossiers`, for memory and for Redis."""

from collections.abc import AsyncIterator, Iterator

import pytest
import redis

from streams.embedded import EmbeddedRedis
from streams.embedded.redis import bundled_redis_server
from streams.runtime.memory.dossiers import MemoryDossiers
from streams.runtime.ports import DossierChange, Dossiers, Move
from streams.runtime.redis.dossiers import RedisDossiers

BUNDLED = bundled_redis_server()
LOG = "log-1"
UP, DOWN = ("my.uploads", 0), ("my.reviews", 11)


@pytest.fixture(scope="module")
def oldest_redis_url() -> Iterator[str]:
    with EmbeddedRedis(executable=BUNDLED) as server:
        yield server.url


@pytest.fixture(params=["memory", "redis 6.2", pytest.param("redis", marks=pytest.mark.real)])
async def dossiers(request: pytest.FixtureRequest) -> AsyncIterator[Dossiers]:
    if request.param == "memory":
        yield MemoryDossiers()
        return
    name = "redis_url" if request.param == "redis" else "oldest_redis_url"
    url: str = request.getfixturevalue(name)
    with redis.Redis.from_url(url) as client:
        client.flushdb()
        client.script_flush()
    driver = RedisDossiers(url)
    yield driver
    await driver.close()


async def documents(dossiers: Dossiers, *videos: str) -> dict[str, bytes]:
    return dict((await dossiers.read(LOG, videos)).documents)


async def positions(dossiers: Dossiers, log: str = LOG) -> dict[tuple[str, int], int]:
    return dict((await dossiers.read(log, ())).positions)


async def test_at_first_there_is_nothing(dossiers: Dossiers) -> None:
    assert await documents(dossiers, "v1", "v2") == {}
    assert await positions(dossiers) == {}
    assert await dossiers.put(LOG, (), {}) == "ok"
    assert await dossiers.forget() == 0


async def test_documents_and_positions_are_written_together(dossiers: Dossiers) -> None:
    raw = b'\x00\xff{"title":"\xe5\x90\x8d"}'
    changes = [DossierChange("v1", None, raw), DossierChange("v2", None, b"{}")]
    moves = {UP: Move(0, 7), DOWN: Move(0, 1 << 52)}
    assert await dossiers.put(LOG, changes, moves) == "ok"
    assert await documents(dossiers, "v2", "v3", "v1") == {"v1": raw, "v2": b"{}"}
    assert await positions(dossiers) == {UP: 7, DOWN: 1 << 52}


async def test_a_document_is_replaced_only_by_one_made_from_it(dossiers: Dossiers) -> None:
    await dossiers.put(LOG, [DossierChange("v1", None, b"1")], {UP: Move(0, 1)})
    blind = [DossierChange("v2", None, b"new"), DossierChange("v1", None, b"blind")]
    assert await dossiers.put(LOG, blind, {UP: Move(1, 2)}) == "conflict"
    older = [DossierChange("v1", b"0", b"older")]
    assert await dossiers.put(LOG, older, {}) == "conflict"
    gone = [DossierChange("v3", b"0", b"of one that is gone")]
    assert await dossiers.put(LOG, gone, {}) == "conflict"
    assert await documents(dossiers, "v1", "v2", "v3") == {"v1": b"1"}
    assert await positions(dossiers) == {UP: 1}
    assert await dossiers.put(LOG, [DossierChange("v1", b"1", b"2")], {UP: Move(1, 2)}) == "ok"
    assert await documents(dossiers, "v1") == {"v1": b"2"}


async def test_a_repeat_after_a_lost_reply_is_well(dossiers: Dossiers) -> None:
    change, moves = [DossierChange("v1", None, b"1")], {UP: Move(0, 5)}
    assert await dossiers.put(LOG, change, moves) == "ok"
    assert await dossiers.put(LOG, change, moves) == "ok"
    assert await positions(dossiers) == {UP: 5}


async def test_a_position_below_the_one_known_is_a_loss_and_nothing_is_written(
    dossiers: Dossiers,
) -> None:
    await dossiers.put(LOG, (), {UP: Move(0, 5)})
    change = [DossierChange("v1", None, b"1")]
    assert await dossiers.put(LOG, change, {DOWN: Move(0, 3), UP: Move(6, 9)}) == "behind"
    assert await documents(dossiers, "v1") == {}
    assert await positions(dossiers) == {UP: 5}


async def test_a_position_never_goes_back_by_a_late_owner(dossiers: Dossiers) -> None:
    await dossiers.put(LOG, (), {UP: Move(0, 9)})
    assert await dossiers.put(LOG, (), {UP: Move(3, 5)}) == "ok"
    assert await positions(dossiers) == {UP: 9}


async def test_a_position_of_nothing_is_one_too(dossiers: Dossiers) -> None:
    await dossiers.put(LOG, (), {UP: Move(0, 0)})
    assert await positions(dossiers) == {UP: 0}


async def test_what_was_read_again_sets_positions_in_both_directions(dossiers: Dossiers) -> None:
    await dossiers.put(LOG, (), {UP: Move(0, 9)})
    await dossiers.hold(LOG, {UP: 2, DOWN: 4})
    await dossiers.hold(LOG, {})
    assert await positions(dossiers) == {UP: 2, DOWN: 4}


async def test_each_log_has_positions_of_its_own_and_shares_the_documents(
    dossiers: Dossiers,
) -> None:
    await dossiers.put(LOG, [DossierChange("v1", None, b"1")], {UP: Move(0, 9)})
    await dossiers.hold("log-10", {UP: 3})
    assert await positions(dossiers, "log-10") == {UP: 3}
    assert await positions(dossiers) == {UP: 9}
    assert (await dossiers.read("log-10", ["v1"])).documents == {"v1": b"1"}


async def test_forgotten_are_the_positions_of_every_log_and_no_document(
    dossiers: Dossiers,
) -> None:
    await dossiers.put(LOG, [DossierChange("v1", None, b"1")], {UP: Move(0, 9)})
    await dossiers.hold("log-10", {UP: 3, DOWN: 4})
    assert await dossiers.forget() == 3
    assert await positions(dossiers) == {}
    assert await documents(dossiers, "v1") == {"v1": b"1"}


async def test_many_documents_go_in_one_call(dossiers: Dossiers) -> None:
    names = [f"v{number}" for number in range(2_000)]
    changes = [DossierChange(name, None, name.encode() * 50) for name in names]
    assert await dossiers.put(LOG, changes, {}) == "ok"
    assert await documents(dossiers, *names) == {name: name.encode() * 50 for name in names}


async def test_every_document_is_found_and_nothing_else(dossiers: Dossiers) -> None:
    assert [some async for some in dossiers.scan() if some] == []
    names = {f"v{number}": b"%d" % number for number in range(5_000)}
    changes = [DossierChange(name, None, text) for name, text in names.items()]
    await dossiers.put(LOG, changes, {UP: Move(0, 7)})
    found: dict[str, bytes] = {}
    async for some in dossiers.scan():
        found |= some
    assert found == names
