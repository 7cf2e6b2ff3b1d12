"""Ways to Redis that want certificates, passwords or sentinels, and why one of them fails."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from kit.certificates import Authority
from kit.patience import PATIENCE_S
from kit.redises import RedisNode, Watched, redis_cluster, redis_node, watched_redis

from streams.core.state import FRESH, Changes
from streams.errors import Halt, Retry, StreamsError, Unreachable
from streams.runtime.redis import RedisServingIndex, RedisStore

pytestmark = pytest.mark.real

NS = "cluster/topic/8/1"
ROWS = Changes(0, {"v1": {"video": b"[1]"}}, FRESH)


class Secured(NamedTuple):
    """A Redis that speaks TLS alone, and authorities: the right one, and one it does not know."""

    node: RedisNode
    own: Authority
    alien: Authority

    def url(self, host: str = "127.0.0.1", authority: Authority | None = None) -> str:
        trusted = authority or self.own
        return f"rediss://{host}:{self.node.port}/0?ssl_ca_certs={trusted.ca}"


def tls_with(authority: Authority, *, clients: str) -> tuple[str, ...]:
    pem = str(authority.server("127.0.0.1"))
    files = ("--tls-ca-cert-file", str(authority.ca), "--tls-cert-file", pem)
    return (*files, "--tls-key-file", pem, "--tls-auth-clients", clients)


def secured(folder: Path, clients: str) -> Iterator[Secured]:
    own, alien = Authority(folder / "own"), Authority(folder / "alien")
    with redis_node(*tls_with(own, clients=clients)) as node:
        yield Secured(node, own, alien)


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    yield from secured(tmp_path_factory.mktemp("tls"), "no")


@pytest.fixture(scope="module")
def mutual(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    yield from secured(tmp_path_factory.mktemp("mutual"), "yes")


@pytest.fixture(scope="module")
def plain() -> Iterator[RedisNode]:
    with redis_node("--requirepass", "top") as node:
        with node.admin(password="top") as admin:
            admin.execute_command("ACL SETUSER app on >p@ss ~s:* +@all -info")
        yield node


async def refused(url: str, timeout_s: float = 10.0) -> StreamsError:
    """Return what using an address ends with."""
    store = RedisStore(url, timeout_s=timeout_s)
    try:
        with pytest.raises(StreamsError) as error:
            await store.check()
    finally:
        await store.close()
    assert "\n" not in str(error.value)
    return error.value


async def used(url: str) -> None:
    """Store and read something."""
    store = RedisStore(url)
    await store.erase(0)
    assert await store.flush(0, NS, -1, 9, ROWS) == "ok"
    assert (await store.load(0, ["v1"])).watermark == 9
    await store.close()


async def test_a_ca_of_ones_own_is_trusted_when_named(tls: Secured) -> None:
    await used(tls.url())


async def test_a_client_shows_its_certificate(mutual: Secured) -> None:
    certificate, key = mutual.own.client("worker")
    await used(f"{mutual.url()}&ssl_certfile={certificate}&ssl_keyfile={key}")


@pytest.mark.parametrize(
    ("url", "cause"),
    [
        (lambda tls: tls.url(authority=tls.alien), "the CA of its certificate is not known"),
        (lambda tls: f"rediss://127.0.0.1:{tls.node.port}", "the CA of its certificate is not"),
        (lambda tls: tls.url("localhost"), "its certificate is for another host name"),
        (lambda tls: f"redis://127.0.0.1:{tls.node.port}", "if it speaks TLS, write rediss"),
        (
            lambda tls: f"rediss://127.0.0.1:{tls.node.port}?ssl_ca_certs={__file__}",
            "the file of ssl_ca_certs holds no certificate",
        ),
    ],
)
async def test_why_tls_fails_is_told(
    tls: Secured, url: Callable[[Secured], str], cause: str
) -> None:
    error = await refused(url(tls))
    assert isinstance(error, Unreachable)
    assert cause in str(error)


async def test_a_certificate_for_another_name_may_be_let_through(tls: Secured) -> None:
    await used(f"{tls.url('localhost')}&ssl_check_hostname=false")


async def test_why_a_client_is_not_let_in_is_told(mutual: Secured) -> None:
    # whoever writes before it reads may not see the alert
    assert "a client's certificate, &ssl_certfile=" in str(await refused(mutual.url()))
    certificate, key = mutual.alien.client("worker")
    url = f"{mutual.url()}&ssl_certfile={certificate}&ssl_keyfile={key}"
    assert "client's certificate" in str(await refused(url))
    other, _ = mutual.own.client("other")
    url = f"{mutual.url()}&ssl_certfile={other}&ssl_keyfile={key}"
    assert "ssl_keyfile is not the key of ssl_certfile" in str(await refused(url))


async def test_tls_to_a_redis_without_is_told(plain: RedisNode) -> None:
    error = await refused(f"rediss://127.0.0.1:{plain.port}", timeout_s=0.3)
    assert "to rediss a Redis without TLS gives none" in str(error)


@pytest.mark.parametrize(
    ("login", "cause"),
    [
        ("", "it wants a password: set STREAMS_REDIS_PASSWORD"),
        ("app:wrong@", "the user or the password is wrong"),
        ("nobody:p%40ss@", "the user or the password is wrong"),
        ("app:p%40ss@", "its user lacks a right that config/redis.acl lists"),
    ],
)
async def test_why_a_login_fails_is_told(plain: RedisNode, login: str, cause: str) -> None:
    error = await refused(f"redis://{login}127.0.0.1:{plain.port}")
    assert isinstance(error, Halt)
    assert error.code == "redis_refuses"
    assert cause in str(error)
    assert "p@ss" not in str(error)


async def test_a_file_that_is_not_there_is_named() -> None:
    with pytest.raises(Halt, match="ssl_ca_certs of the address of Redis: /nowhere: No such file"):
        RedisStore("rediss://h?ssl_ca_certs=/nowhere")


async def test_a_cluster_speaks_tls_too(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca")
    settings = (*tls_with(authority, clients="no"), "--tls-cluster", "yes")
    with redis_cluster(3, 0, settings) as nodes:
        url = nodes.url.replace("redis+", "rediss+") + f"?ssl_ca_certs={authority.ca}"
        for _ in range(3):
            await used(url)


# Sentinels


@pytest.fixture(scope="module")
def watched() -> Iterator[Watched]:
    with watched_redis() as made:
        yield made


async def test_sentinels_name_the_master(watched: Watched) -> None:
    await used(watched.url)
    await refused_by(watched.url.replace("/main/", "/other/"), "know no master other: those that")


async def refused_by(url: str, cause: str) -> None:
    error = await refused(url)
    assert isinstance(error, Unreachable)
    assert cause in str(error)


async def test_why_no_master_is_found_is_told(watched: Watched, plain: RedisNode) -> None:
    await refused_by("redis+sentinel://127.0.0.1:1/main", "no sentinel answers")
    error = await refused(watched.url.partition("?")[0])
    assert "want another password: set STREAMS_REDIS_SENTINEL_PASSWORD" in str(error)
    url = f"redis+sentinel://127.0.0.1:{plain.port}/main?sentinel_password=top"
    assert "it is no sentinel: write redis in place of redis+sentinel" in str(await refused(url))


async def test_a_master_that_dies_has_an_heir(watched: Watched) -> None:
    store, index = RedisStore(watched.url), RedisServingIndex(watched.url)
    await used(watched.url)
    dead = watched.master()
    dead.kill()
    with pytest.raises(Unreachable):
        await store.watermark(0)
    async with asyncio.timeout(PATIENCE_S):
        while (result := await flushed(store)) not in {"ok", "noop"}:
            assert isinstance(result, Retry)
            await asyncio.sleep(0.1)
    assert watched.master() is not dead
    assert await index.lease("discover:cars", 1, 1) == []
    await store.close()
    await index.close()


async def flushed(store: RedisStore) -> object:
    try:
        return await store.flush(0, NS, 9, 19, ROWS)
    except Retry as error:
        return error
