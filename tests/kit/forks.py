"""Python processes that begin with the libraries imported: one process imports, then forks.

Importing them takes a command three quarters of its time. Each process is one of its own for all
that: its own arguments, environment, folder and files, and it imports `streams` and its tests anew.
"""

import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import IO, Any

SERVER = Path(__file__).with_name("fork_server.py")


class Forked:
    """A running `python -m MODULE ARGUMENTS…`; its standard files are those given."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: Path,
        files: Sequence[IO[Any] | int],
    ) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(_server()[0])
        socket.send_fds(self._socket, [b"."], [_number(file) for file in files])
        self._lines = self._socket.makefile("rw")
        self._lines.write(json.dumps({"command": command, "env": dict(env), "cwd": str(cwd)}))
        self._lines.write("\n")
        self._lines.flush()
        self.pid = int(self._lines.readline())
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Return its exit code, None while it runs."""
        if self.returncode is None and select.select([self._socket], [], [], 0)[0]:
            return self.wait()
        return self.returncode

    def wait(self, timeout_s: float | None = None) -> int:
        """Return its exit code once it has ended; a signal's number is negative."""
        if self.returncode is None:
            if not select.select([self._socket], [], [], timeout_s)[0]:
                raise TimeoutError
            self.returncode = int(self._lines.readline())
            self._lines.close()
            self._socket.close()
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)


def run(
    command: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: Path | None = None,
    stdin: str = "",
    timeout_s: float,
) -> "subprocess.CompletedProcess[str]":
    """Run `python -m MODULE ARGUMENTS…` to its end, as `subprocess.run` does."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        read, write = os.pipe()
        writing = threading.Thread(target=_feed, args=(write, stdin.encode()))
        writing.start()
        forked = Forked(command, env=env, cwd=cwd or Path.cwd(), files=(read, out, err))
        os.close(read)
        try:
            code = forked.wait(timeout_s)
        except TimeoutError:
            forked.kill()
            forked.wait()
            raise subprocess.TimeoutExpired(list(command), timeout_s) from None
        finally:
            writing.join()
        texts = [(file.seek(0), file.read().decode())[1] for file in (out, err)]
    return subprocess.CompletedProcess(list(command), code, *texts)


def _feed(pipe: int, data: bytes) -> None:
    with suppress(BrokenPipeError), open(pipe, "wb") as file:
        file.write(data)


def _number(file: IO[Any] | int) -> int:
    return file if isinstance(file, int) else file.fileno()


@cache
def _server() -> "tuple[str, subprocess.Popen[bytes]]":
    """Start the server of this process and return its address; it ends, and tidies, with us."""
    address = str(Path(tempfile.mkdtemp(prefix="streams-forks-")) / "socket")
    # libraries that start threads of their own would not survive a fork
    env = os.environ | {"OPENBLAS_NUM_THREADS": "1"}
    server = subprocess.Popen(
        [sys.executable, str(SERVER), address],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=env,
    )
    assert server.stdout is not None
    server.stdout.readline()  # it listens
    return address, server
