"""A server as a child process that never outlives this process, however this one ends."""

import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from streams.errors import Unreachable

_WATCHDOG = 'cat >/dev/null; kill -9 "$1" 2>/dev/null; rm -rf "$2"'
"""Reads a pipe that only the parent holds: end of file means that the parent is gone."""


def free_ports(count: int) -> list[int]:
    """Return `count` different TCP ports that are free on loopback at this moment.

    Another process may take one before its user binds it: start again with fresh ones then.
    """
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports: list[int] = [server.getsockname()[1] for server in sockets]
    for server in sockets:
        server.close()
    return ports


class Child:
    """One running server with a folder of its own and its output in `server.log` there.

    It stands in its own session, so Ctrl-C in the terminal does not reach it: its user decides
    when it stops. If this process dies without stopping it, a watchdog kills it and removes the
    folder.
    """

    def __init__(self, command: Sequence[str], *, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "server.log"
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(  # noqa: S603  the caller's own command, no shell
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=folder,
                start_new_session=True,
            )
        self._watchdog = subprocess.Popen(  # noqa: S603  a fixed script about our own child
            ["/bin/sh", "-c", _WATCHDOG, "watchdog", str(self._process.pid), str(folder)],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        """Process number, for signals."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the process still runs."""
        return self._process.poll() is None

    def wait_until(self, ready: Callable[[], bool], *, what: str, timeout_s: float) -> None:
        """Return when `ready` does; raise `Unreachable` when the process ends or time is up."""
        deadline = time.monotonic() + timeout_s
        while not ready():
            if not self.alive:
                raise Unreachable(f"{what} ended during its start: {self.last_line()}")
            if time.monotonic() > deadline:
                raise Unreachable(f"{what} did not answer in {timeout_s:g} s: {self.last_line()}")
            time.sleep(0.02)

    def last_line(self) -> str:
        """Return the last line of the log that is not blank, for a one-line error."""
        lines = self.log.read_text("utf-8", "replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "no output")

    def stop(self, *, grace_s: float = 10.0) -> None:
        """End the process, by force after `grace_s` seconds. May be called twice."""
        if self.alive:
            self._process.terminate()
            self.resume()  # a frozen process would not hear the request
            try:
                self._process.wait(grace_s)
            except subprocess.TimeoutExpired:
                self._process.kill()
        self._release()

    def kill(self) -> None:
        """End the process at once (SIGKILL), as a fault."""
        if self.alive:
            self._process.kill()
        self._release()

    def pause(self) -> None:
        """Freeze the process (SIGSTOP): connections stay open and nothing answers."""
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Undo `pause`; nothing happens to a process that has ended."""
        self._process.send_signal(signal.SIGCONT)

    def _release(self) -> None:
        """Dismiss the watchdog before the process number can belong to anyone else."""
        self._watchdog.kill()
        self._watchdog.wait()
        if self._watchdog.stdin is not None:
            self._watchdog.stdin.close()
        self._process.wait()


class TemporaryFolder:
    """A folder under the system's temporary one, removed with all it holds by `remove`."""

    def __init__(self, prefix: str) -> None:
        self.path = Path(tempfile.mkdtemp(prefix=prefix))

    def remove(self) -> None:
        """Remove the folder. May be called twice."""
        shutil.rmtree(self.path, ignore_errors=True)
