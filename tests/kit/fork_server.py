"""The process that `kit.forks` forks: it has imported the libraries, and nothing of ours."""

import importlib
import json
import os
import runpy
import select
import shutil
import socket
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

LIBRARIES: Final = (
    *("aiohttp.web", "aiokafka", "aiokafka.admin", "click", "confluent_kafka.admin"),
    *("cryptography.hazmat.primitives.serialization", "faust", "faust.transport.drivers.aiokafka"),
    *("hypothesis", "msgspec", "numpy", "orjson", "prometheus_client", "pytest", "pytest_asyncio"),
    *("redis.asyncio", "rich.console", "rich.progress", "rich.table", "uvloop", "zstandard"),
)
"""What takes long to import; whoever needs more imports it."""
STANDARD_FILES: Final = 3
CLOCK: Final = "STREAMS_TEST_CLOCK_S"
"""Variable of a process whose host's clock is so many seconds ahead."""
OUR_STDIN: Final = 0
"""A pipe that only the tests hold: end of file means that they are gone."""


def serve(listener: socket.socket) -> dict[str, Any]:
    """Answer requests until the tests are gone; return only in a process that is to run one."""
    while OUR_STDIN not in select.select([listener, OUR_STDIN], [], [])[0]:
        connection, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            return answer(connection)
        connection.close()
        with suppress(ChildProcessError):
            os.waitpid(-1, os.WNOHANG)  # one that answered before
    shutil.rmtree(Path(listener.getsockname()).parent)
    os._exit(0)


def answer(connection: socket.socket) -> dict[str, Any]:
    """Fork the process that is asked for, tell its number and then its exit code."""
    _, files, _, _ = socket.recv_fds(connection, 1, STANDARD_FILES)
    lines = connection.makefile("rw")
    request: dict[str, Any] = json.loads(lines.readline())
    if (pid := os.fork()) == 0:
        for number, file in enumerate(files):
            os.dup2(file, number)
            os.close(file)
        lines.close()
        connection.close()
        return request
    for file in files:
        os.close(file)
    lines.write(f"{pid}\n")
    lines.flush()
    _, status = os.waitpid(pid, 0)
    with suppress(BrokenPipeError):  # nobody waits for it
        lines.write(f"{os.waitstatus_to_exitcode(status)}\n")
        lines.flush()
    os._exit(0)


def set_clock(ahead_s: int) -> None:
    """Have this process believe that it is later."""
    seconds, nanoseconds = time.time, time.time_ns
    time.time = lambda: seconds() + ahead_s
    time.time_ns = lambda: nanoseconds() + ahead_s * 1_000_000_000


def main() -> None:
    """Import, serve, and run what a request asks for as `python -m` does."""
    sys.path.pop(0)  # our own folder
    for name in LIBRARIES:
        importlib.import_module(name)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(sys.argv[1])
        listener.listen()
        sys.stdout.write("listening\n")
        sys.stdout.flush()
        request = serve(listener)
    os.environ.clear()
    os.environ.update(request["env"])
    os.chdir(request["cwd"])
    set_clock(int(os.environ.get(CLOCK, "0")))
    sys.dont_write_bytecode = bool(os.environ.get("PYTHONDONTWRITEBYTECODE"))
    theirs = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    sys.path[:0] = [request["cwd"], *filter(None, theirs)]
    module, *arguments = request["command"]
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
