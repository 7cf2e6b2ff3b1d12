"""Redis as companies run it: nodes with data of their own, a cluster, a master with sentinels.

Each node may be killed, frozen and started again; its port stays the same.
"""

import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest
import redis
from redis.backoff import NoBackoff
from redis.exceptions import NoPermissionError
from redis.retry import Retry

from kit.patience import PATIENCE_S
from kit.patience import wait_until as until
from kit.servers import lasting_ports
from streams.addresses import RedisAddress
from streams.embedded.child import Child, TemporaryFolder
from streams.runtime.redis.shards import slot_of

NODE_TIMEOUT_MS: Final = 1_000
_USUAL: Final = (
    *("--bind", "127.0.0.1", "--save", "", "--maxmemory-policy", "noeviction"),
    *("--hash-max-listpack-value", "256", "--appendfsync", "always"),
)
_CLUSTER: Final = (
    *("--cluster-enabled", "yes", "--cluster-node-timeout", str(NODE_TIMEOUT_MS)),
    *("--cluster-require-full-coverage", "no", "--repl-diskless-sync-delay", "0"),
)


class RedisNode:
    """One redis-server, or one sentinel, in a folder of its own; `settings` are its arguments.

    `starter` is the command that starts it, if it is not started as it is.
    """

    def __init__(
        self, settings: Sequence[str] = (), port: int | None = None, starter: Sequence[str] = ()
    ) -> None:
        self.starter = list(starter)
        self.port = port or lasting_ports(1)[0]
        self.settings = list(settings)
        self.child: Child | None = None
        self._folder = TemporaryFolder("streams-redis-node-")
        self.tls = tls_of(self.settings)

    @property
    def folder(self) -> Path:
        """Where its files are."""
        return self._folder.path

    def start(self) -> None:
        """Start the node on its data and return when it answers."""
        self.launch()
        assert self.child is not None
        self.child.wait_until(self.answers, what="redis-server", timeout_s=PATIENCE_S)

    def launch(self) -> None:
        """Start the node on its data."""
        server = shutil.which("redis-server")
        assert server is not None
        port = ("--port", "0", "--tls-port") if self.tls else ("--port",)
        command = [*self.starter, server, *port, str(self.port), *_USUAL, *self.settings]
        self.child = Child(command, folder=self.folder)

    def kill(self) -> None:
        """Kill the node as a fault (SIGKILL); its data stays."""
        if self.child is not None:
            self.child.kill()
            self.child = None

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Freeze the node for the time of the block: it keeps connections and says nothing."""
        assert self.child is not None
        self.child.pause()
        try:
            yield
        finally:
            self.child.resume()

    def remove(self) -> None:
        """End the node for good and remove its data."""
        self.kill()
        self._folder.remove()

    def admin(self, **login: Any) -> redis.Redis:
        """Return a client of this node alone."""
        ways = {"socket_timeout": 5, "protocol": 2, "retry": Retry(NoBackoff(), 0), **self.tls}
        return redis.Redis("127.0.0.1", self.port, **ways, **login)

    def answers(self) -> bool:
        """Tell whether it takes connections and says something, if only that it wants a login."""
        try:
            with self.admin() as client:
                client.ping()
        except (redis.AuthenticationError, NoPermissionError):
            return True
        except (redis.ConnectionError, redis.TimeoutError):
            return False
        return True

    def info(self, section: str, name: str) -> Any:
        """Return one line of INFO; "" if the node does not say."""
        try:
            with self.admin() as client:
                return client.info(section).get(name, "")
        except (redis.ConnectionError, redis.TimeoutError):
            return ""


def tls_of(settings: Sequence[str]) -> dict[str, Any]:
    """Return how a client of a node with these arguments does TLS; {} without."""
    named = dict(zip(settings[::2], settings[1::2], strict=True))
    if "--tls-ca-cert-file" not in named:
        return {}
    own = named["--tls-cert-file"]
    files = {"ssl_ca_certs": named["--tls-ca-cert-file"], "ssl_certfile": own, "ssl_keyfile": own}
    return {"ssl": True, **files}


class RedisNodes:
    """A Redis Cluster: as many masters as replicas, one replica each."""

    def __init__(self, masters: int = 3, replicas: int = 1, settings: Sequence[str] = ()) -> None:
        ports = lasting_ports(2 * masters * (1 + replicas))
        self.nodes = {
            port: RedisNode((*_CLUSTER, "--cluster-port", str(bus), *settings), port)
            for port, bus in zip(ports[::2], ports[1::2], strict=True)
        }
        self._replicas = replicas

    @property
    def url(self) -> str:
        """The address for our settings: two of the nodes."""
        return f"redis+cluster://{','.join(f'127.0.0.1:{port}' for port in [*self.nodes][:2])}"

    def start(self) -> None:
        """Start every node that does not run, and return when all hold together."""
        for node in self.nodes.values():
            if node.child is None:
                node.start()

    def create(self) -> None:
        """Make a cluster of the nodes."""
        cli = shutil.which("redis-cli")
        assert cli is not None
        addresses = [f"127.0.0.1:{port}" for port in self.nodes]
        command = [cli, "--cluster", "create", *addresses, "--cluster-yes"]
        if tls := next(iter(self.nodes.values())).tls:
            command += ["--tls", "--cacert", tls["ssl_ca_certs"]]
        command += ["--cluster-replicas", str(self._replicas)]
        subprocess.run(command, check=True, capture_output=True, timeout=PATIENCE_S)
        until(self.whole, "the cluster never came together")

    def whole(self) -> bool:
        """Tell whether every node sees all slots served and every replica follows its master."""
        return all(self._settled(node) for node in self.nodes.values())

    def _settled(self, node: RedisNode) -> bool:
        try:
            with node.admin() as client:
                known = client.execute_command("CLUSTER INFO")
                mine = client.info("replication")
        except (redis.ConnectionError, redis.TimeoutError):
            return False
        ok = known["cluster_state"] == "ok" and known["cluster_slots_ok"] == "16384"
        ok = ok and known["cluster_known_nodes"] == str(len(self.nodes))
        if mine["role"] == "master":
            return bool(ok)
        return bool(ok and mine["master_link_status"] == "up")

    def master_of(self, key: str) -> RedisNode:
        """Return the node that has the slot of a key now, as the nodes that answer tell."""
        slot = slot_of(key)
        for node in self.nodes.values():
            if node.child is None or not node.answers():
                continue
            with node.admin() as client:
                for first, last, (_, port, *_), *_ in client.execute_command("CLUSTER", "SLOTS"):
                    if first <= slot <= last and port in self.nodes:
                        return self.nodes[port]
        raise AssertionError(f"nobody serves slot {slot}")

    def shard_of(self, master: RedisNode) -> list[RedisNode]:
        """Return a master and its replicas."""
        others = self.nodes.values()
        return [master, *(n for n in others if n.info("replication", "master_port") == master.port)]

    def masters(self) -> list[RedisNode]:
        """Return the nodes that say that they are masters."""
        return [n for n in self.nodes.values() if n.info("replication", "role") == "master"]

    def empty(self) -> None:
        """Delete everything, scripts too."""
        for node in self.masters():
            with node.admin() as client:
                client.flushall()
                client.script_flush()

    def remove(self) -> None:
        """End every node for good."""
        for node in self.nodes.values():
            node.remove()


def migrate(cluster: RedisNodes, key: str, there: RedisNode, pause_s: float = 0.01) -> int:
    """Move the slot of a key to another master, a few keys at a time; return how many."""
    slot, here, moved = slot_of(key), cluster.master_of(key), 0
    with here.admin() as source, there.admin() as target:
        ids = [client.execute_command("CLUSTER MYID").decode() for client in (source, target)]
        target.execute_command("CLUSTER SETSLOT", slot, "IMPORTING", ids[0])
        source.execute_command("CLUSTER SETSLOT", slot, "MIGRATING", ids[1])
        while keys := source.execute_command("CLUSTER GETKEYSINSLOT", slot, 3):
            source.execute_command("MIGRATE", "127.0.0.1", there.port, "", 0, 5_000, "KEYS", *keys)
            moved += len(keys)
            time.sleep(pause_s)
        for client in (target, source):
            client.execute_command("CLUSTER SETSLOT", slot, "NODE", ids[1])
    return moved


@contextmanager
def redis_cluster(
    masters: int = 3, replicas: int = 1, settings: Sequence[str] = ()
) -> Iterator[RedisNodes]:
    """Run a cluster of one's own for the time of the block."""
    cluster = RedisNodes(masters, replicas, settings)
    try:
        cluster.start()
        cluster.create()
        yield cluster
    finally:
        cluster.remove()


class Watched:
    """A master and its replica, and three sentinels that watch them under the name `main`.

    The sentinels want a password.
    """

    PASSWORD: Final = "guard"

    def __init__(self) -> None:
        ports = lasting_ports(5)
        # A dead master that comes back empty is still the master to a sentinel that has not heard
        # of the heir: workers would be sent to it and find their data gone.
        kept = ("--appendonly", "yes")
        self.redises = [
            RedisNode(kept, ports[0]),
            RedisNode((*kept, "--replicaof", f"127.0.0.1 {ports[0]}"), ports[1]),
        ]
        self.sentinels = [RedisNode((), port) for port in ports[2:]]

    @property
    def url(self) -> str:
        """The address for our settings."""
        hosts = ",".join(f"127.0.0.1:{node.port}" for node in self.sentinels)
        return f"redis+sentinel://{hosts}/main/0?sentinel_password={self.PASSWORD}"

    def start(self) -> None:
        """Start all that does not run, and return when the sentinels know of each other."""
        for node in self.redises:
            node.start()
        until(self._follows, "the replica never followed")  # sentinels ask for replicas seldom
        for sentinel in self.sentinels:
            self._start_sentinel(sentinel)
        until(self.whole, "the sentinels never found each other")

    def _start_sentinel(self, node: RedisNode) -> None:
        lines = (
            f"port {node.port}",
            "bind 127.0.0.1",
            f"requirepass {self.PASSWORD}",
            f"sentinel sentinel-pass {self.PASSWORD}",
            f"sentinel monitor main 127.0.0.1 {self.redises[0].port} 2",
            f"sentinel down-after-milliseconds main {NODE_TIMEOUT_MS}",
            "sentinel failover-timeout main 5000",
        )
        file = node.folder / "sentinel.conf"
        file.write_text("\n".join(lines), "utf-8")
        server = shutil.which("redis-server")
        assert server is not None
        node.child = Child([server, str(file), "--sentinel"], folder=node.folder)
        node.child.wait_until(node.answers, what="sentinel", timeout_s=PATIENCE_S)

    def whole(self) -> bool:
        """Tell whether every sentinel sees the others and the replica, which follows."""
        for node in self.sentinels:
            with node.admin(password=self.PASSWORD) as client:
                state = client.sentinel_masters()["main"]
            if (state["num-other-sentinels"], state["num-slaves"]) != (2, 1):
                return False
        return self._follows()

    def _follows(self) -> bool:
        return "up" in [node.info("replication", "master_link_status") for node in self.redises]

    def master(self) -> RedisNode:
        """Return the master that the sentinels name."""
        with self.sentinels[0].admin(password=self.PASSWORD) as client:
            _, port = client.sentinel_get_master_addr_by_name("main")
        return next(node for node in self.redises if node.port == port)

    def remove(self) -> None:
        """End all for good."""
        for node in (*self.sentinels, *self.redises):
            node.remove()


@contextmanager
def watched_redis() -> Iterator[Watched]:
    """Run a master, a replica and three sentinels for the time of the block."""
    made = Watched()
    try:
        made.start()
        yield made
    finally:
        made.remove()


@contextmanager
def redis_node(*settings: str, starter: Sequence[str] = ()) -> Iterator[RedisNode]:
    """Run a node of one's own for the time of the block."""
    node = RedisNode(settings, starter=starter)
    try:
        node.start()
        yield node
    finally:
        node.remove()


def client_of(url: str, **options: Any) -> redis.Redis | redis.RedisCluster:
    """Return the library's own client of an address of ours, one Redis or a cluster."""
    parts = RedisAddress(url).parts
    if parts.kind != "cluster":
        return redis.Redis.from_url(url, **options)
    nodes = [redis.cluster.ClusterNode(*host) for host in parts.hosts]
    return redis.RedisCluster(startup_nodes=nodes, **options)


def url_of(request: pytest.FixtureRequest, driver: str) -> str:
    """Return the address of a Redis by the name that tests of all drivers give it."""
    if driver == "redis cluster":
        nodes: RedisNodes = request.getfixturevalue("redis_nodes")
        return nodes.url
    url: str = request.getfixturevalue("redis_url" if driver == "redis" else "oldest_redis_url")
    return url
