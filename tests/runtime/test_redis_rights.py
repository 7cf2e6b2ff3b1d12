"""The users of `config/redis.acl`: each may do all that its part does, and nothing beside it."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec
import pytest
import redis
from kit.redises import RedisNode, redis_node
from kit.serving import CARS, FAR, entry
from redis.exceptions import NoPermissionError

from streams.core.creators import DayStart
from streams.core.state import FRESH, Archived, Changes
from streams.core.units import MICROS
from streams.errors import Halt
from streams.runtime.leases import IndexBounds, Lease
from streams.runtime.part_store import PartGuard, PartsChange, StoredPart
from streams.runtime.ports import Claim, Document, DossierChange, HaltNote, Move
from streams.runtime.redis import RedisDossiers, RedisServingIndex, RedisStore
from streams.runtime.redis.serving import keys_of

pytestmark = pytest.mark.real

RIGHTS: Final = Path(__file__).parents[2] / "config" / "redis.acl"
NS: Final = "cluster/topic/8/1"
ROWS: Final = Changes(0, {"v1": {"video": b"[1]"}}, FRESH)
RESTS: Final = Changes(0, {"v0": {"video": b"[1]"}}, FRESH, returned={"v0": Archived(b"v0@1", {})})
LEFT: Final = Changes(0, {}, FRESH, departed={"v0": 7})


class Part:
    """The drivers of one part of the pipeline, logged in as its user."""

    def __init__(self, url: str) -> None:
        self.store = RedisStore(url)
        self.index = RedisServingIndex(url, bounds=IndexBounds(ranked=1))
        self.dossiers = RedisDossiers(url)

    async def close(self) -> None:
        for driver in (self.store, self.index, self.dossiers):
            await driver.close()


async def tell_of_all(index: RedisServingIndex) -> None:
    newcomers = [entry(f"n{number}", deadline=FAR, due=20) for number in range(3)]
    await index.apply(CARS, {0: 9}, [entry("a"), entry("b"), *newcomers])


def let_run_out(client: redis.Redis, lease: Lease) -> None:
    """Have a lease end in a time that is none: whoever comes next takes it back."""
    entries, leases, *_ = keys_of(CARS)
    pair = msgspec.msgpack.decode(client.hget(entries, lease.video))
    pair[pair.index(lease.until)] += 600
    client.hset(entries, lease.video, msgspec.msgpack.encode(pair))
    client.zadd(leases, {lease.video: lease.until + 600})


async def meet_an_orphan(store: RedisStore) -> None:
    with pytest.raises(Halt, match="no watermark"):
        await store.meta(9, NS)


async def read_what_left(store: RedisStore) -> None:
    assert (await store.load(0, ["v0", "v1"])).pointers == {"v0": 7}
    assert await store.pointers(0) == {"v0": 7}


async def count(part: Part) -> None:
    """Do what the feedback worker does."""
    store, index = part.store, part.index
    await store.check()
    await meet_an_orphan(store)
    assert await store.meta(1, NS) is None
    assert await store.flush(1, NS, -1, 9, ROWS) == "ok"
    assert await store.watermark(1) == 9
    await read_what_left(store)
    assert await store.flush(0, NS, 9, 19, RESTS) == "ok"
    assert await store.flush(0, NS, 19, 29, LEFT) == "ok"
    guard = PartGuard(NS, 9, FRESH.digest)
    change = PartsChange({0: StoredPart(b"entry", b"ids")}, dropped=[1])
    assert await store.change_parts(1, guard, change)
    assert await store.parts(1) == [0]
    assert await store.load_part(1, 0) == (b"entry", b"ids")
    await store.load(0, ["v1"])
    await store.scan(0)
    await store.note_halt(0, HaltNote("code", "text", 1))
    await store.note_halt(0, None)
    await tell_of_all(index)
    await index.set_prices(CARS, (1, 1), {"0": 1})
    assert [video async for page in index.pairs(CARS) for video, _ in page]
    await index.clear(CARS)


async def control(part: Part) -> None:
    """Do what the control plane does."""
    store, index, dossiers = part.store, part.index, part.dossiers
    await store.check()
    await meet_an_orphan(store)
    await read_what_left(store)
    await store.scan(0)
    await index.slots(CARS, 5)
    await index.is_frozen(CARS)
    change = DossierChange("v1", 0, Document(1, b"1"))
    assert await dossiers.put(0, "log", [change], {"t": Move(0, 1)}) == "ok"
    await dossiers.read(0, "log", ["v1"])
    await dossiers.hold(0, "log", {"t": 2})
    asked = [Claim(0, "c1", day, f"v{day}") for day in (1, 99)]
    assert await dossiers.claim("log", asked, 3) == [1, 2]
    await dossiers.keep_day(1, DayStart(1_440, {"c1": (1, 2)}))
    assert 1 in await dossiers.days([1])
    assert [page async for page in dossiers.scan()]


async def feed(part: Part) -> None:
    """Do what a feed server does."""
    index = part.index
    leases = await index.lease(CARS, 20, 5, MICROS // 2)
    assert leases
    await index.top(CARS, 5)
    assert await index.give_back(CARS, leases) > 0


async def read(part: Part) -> None:
    """Do what tools do that change nothing."""
    store, index, dossiers = part.store, part.index, part.dossiers
    await store.check()
    await store.warnings()
    await meet_an_orphan(store)
    await store.watermark(0)
    await read_what_left(store)
    await store.scan(0)
    await store.halts([0])
    await index.top(CARS, 5)
    await index.positions(CARS)
    await index.slots(CARS, 5)
    await index.is_frozen(CARS)
    await dossiers.read(0, "log", ["v1"])
    await dossiers.days([1])
    assert [page async for page in dossiers.scan()]


async def operate(part: Part) -> None:
    """Do what verbs that change counters do."""
    store, index, dossiers = part.store, part.index, part.dossiers
    await read(part)
    labelled = await store.labelled(0)
    assert labelled is not None
    assert await store.relabel(0, labelled, labelled)
    await index.forget_first()
    assert await store.erase(0)
    await store.begin(0, NS)
    await dossiers.forget(0)
    assert await dossiers.take_first(1) == 1
    await carry(part)


async def carry(part: Part) -> None:
    """Do what brings an installation to another number of partitions."""
    store, index, dossiers = part.store, part.index, part.dossiers
    assert await store.flush(0, NS, -1, 9, ROWS) == "ok"
    change = DossierChange("v9", 0, Document(1, b"1"))
    assert await dossiers.put(0, "log", [change], {}) == "ok"
    assert await dossiers.claim("log", [Claim(0, "c9", day, f"v{day}") for day in (1, 99)], 3)
    await dossiers.keep_day(2, DayStart(2_880, {"c1": (1, 2)}))
    await index.clear(CARS)


PLUMBING: Final = {
    "select",
    "cluster|slots",
    "cluster|nodes",
    "asking",
    "exists",
    "eval",
    "evalsha",
}
"""For another database, a cluster, and a Redis that has forgotten a script."""
OURS: Final = {"auth", "acl|setuser", "config|resetstat"}
PARTS: Final[Mapping[str, Callable[[Part], Awaitable[None]]]] = {
    "worker": count,
    "control": control,
    "feed": feed,
    "reader": read,
    "operator": operate,
}


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisNode]:
    path = tmp_path_factory.mktemp("acl") / "redis.acl"
    path.write_text(RIGHTS.read_text("utf-8"), "utf-8")
    with redis_node("--aclfile", str(path)) as started:
        yield started


@pytest.fixture
async def admin(node: RedisNode) -> AsyncIterator[redis.Redis]:
    """A client that may do all, on a Redis that holds a bit of everything."""
    with node.admin() as client:
        client.flushall()
        client.script_flush()
        whole = Part(f"redis://127.0.0.1:{node.port}/0")
        await whole.store.flush(0, NS, -1, 8, Changes(0, {**ROWS.rows, **RESTS.rows}, FRESH))
        assert await whole.store.flush(0, NS, 8, 9, LEFT) == "ok"
        await tell_of_all(whole.index)
        (lease,) = await whole.index.lease(CARS, 60, 60)
        await whole.index.apply(CARS, {}, [entry("c")])  # the list has room for one
        let_run_out(client, lease)
        client.hset("s:{9}:v:v1", "video", "[1]")  # a row without a watermark
        await whole.dossiers.put(0, "log", [DossierChange("v2", 0, Document(1, b"1"))], {})
        client.set("s:dossier:v3", "{}")  # by 0.1.0
        await whole.close()
        yield client


def url_of_user(node: RedisNode, admin: redis.Redis, role: str) -> str:
    admin.execute_command("ACL SETUSER", f"streams-{role}", "on", ">secret")
    return f"redis://streams-{role}:secret@127.0.0.1:{node.port}/0"


@pytest.mark.parametrize("role", PARTS)
async def test_a_user_has_the_rights_of_its_part_and_no_other(
    node: RedisNode, admin: redis.Redis, role: str
) -> None:
    admin.config_resetstat()
    part = Part(url_of_user(node, admin, role))
    await PARTS[role](part)
    await part.close()
    called = {name.removeprefix("cmdstat_") for name in admin.info("commandstats")}
    assert called - PLUMBING - OURS == commands_of(role) - PLUMBING


def commands_of(role: str) -> set[str]:
    """Return the commands that the file gives to a user."""
    (line,) = (
        line for line in RIGHTS.read_text("utf-8").splitlines() if f" streams-{role} " in line
    )
    return {word[1:] for word in line.split() if word.startswith("+")}


async def write_a_row(part: Part) -> None:
    await part.store.flush(0, NS, 9, 19, ROWS)


async def tell_the_index(part: Part) -> None:
    await part.index.apply(CARS, {0: 10}, [entry("z")])


async def set_prices(part: Part) -> None:
    await part.index.set_prices(CARS, (9, 9), {"0": 1})


async def lease(part: Part) -> None:
    await part.index.lease(CARS, 1, 1)


async def read_a_row(part: Part) -> None:
    await part.store.load(0, ["v1"])


async def read_a_dossier(part: Part) -> None:
    await part.dossiers.read(0, "log", ["v2"])


async def write_a_dossier(part: Part) -> None:
    await part.dossiers.put(0, "log", [DossierChange("v2", 1, Document(2, b"2"))], {})


async def erase(part: Part) -> None:
    await part.store.erase(0)


REFUSED: Final[Mapping[str, Sequence[Callable[[Part], Awaitable[None]]]]] = {
    "worker": (read_a_dossier, write_a_dossier),
    "control": (write_a_row, tell_the_index, set_prices, lease, erase),
    "feed": (read_a_row, read_a_dossier, write_a_row, set_prices, erase),
    "reader": (write_a_row, write_a_dossier, tell_the_index, set_prices, lease, erase),
    "operator": (),  # it brings an installation over, and so does what every part does
}


@pytest.mark.parametrize("role", PARTS)
async def test_a_user_is_refused_what_other_parts_do(
    node: RedisNode, admin: redis.Redis, role: str
) -> None:
    url = url_of_user(node, admin, role)
    part = Part(url)
    for deed in REFUSED[role]:
        with pytest.raises(Halt, match=r"a right that config/redis\.acl lists"):
            await deed(part)
    await part.close()
    with redis.Redis.from_url(url) as client:
        for command in ("FLUSHALL", "KEYS *", "CONFIG SET maxmemory 1", "ACL LIST", "SHUTDOWN"):
            with pytest.raises(NoPermissionError):
                client.execute_command(command)


@pytest.mark.parametrize("role", PARTS)
async def test_a_user_nobody_gave_a_password_cannot_log_in(node: RedisNode, role: str) -> None:
    with node.admin() as admin:
        admin.execute_command("ACL LOAD")
    store = RedisStore(f"redis://streams-{role}:@127.0.0.1:{node.port}/0")
    with pytest.raises(Halt, match="the user or the password is wrong"):
        await store.watermark(0)
    await store.close()
