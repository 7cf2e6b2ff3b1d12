"""A worker's process among others: its name, where it answers, and `--processes N`, a crew of them.

A crew is this very command in N processes, looked after by one more.
"""

import asyncio
import functools
import os
import signal
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import click

from streams.cli.pulse import LISTEN_ADDRESS, serve_pages
from streams.ops.crew import Crew, Recruit
from streams.ops.crew_pages import CrewPages
from streams.runtime.metrics_server import Pages, listen, serve
from streams.settings import Settings

Command = TypeVar("Command", bound=Callable[..., Any])
STDIN: Final = 0
MOST: Final = 256


@dataclass(frozen=True)
class Posting:
    """What a process is called, how many it stands for, and where it answers.

    `member` is the socket that its crew gave it.
    """

    name: str | None
    metrics_address: tuple[str, int] | None
    metrics_port: int | None
    processes: int
    member: int | None

    @property
    def is_crew(self) -> bool:
        """Whether this process looks after others and does no work itself."""
        return self.processes > 1 and self.member is None

    def serve(self, settings: Settings, pages: Pages) -> None:
        """Serve pages where this process is to be asked."""
        if self.member is not None:
            serve(socket.socket(fileno=self.member), pages)
            return
        host, port = self.metrics_address or (settings.metrics_host, settings.metrics_port)
        serve_pages(host, port if self.metrics_port is None else self.metrics_port, pages)

    def stop_alone(self, then: Callable[[], object]) -> None:
        """Call `then` in the running loop when the crew that this process is of is gone."""
        if self.member is None:
            return
        loop = asyncio.get_running_loop()

        def read() -> None:
            if not os.read(STDIN, 1):
                loop.remove_reader(STDIN)
                then()

        loop.add_reader(STDIN, read)


_OPTIONS: Final = (
    click.option("--name", help="What log lines call it, in place of host and process id."),
    click.option(
        "--metrics-address",
        type=LISTEN_ADDRESS,
        help="Where to serve /metrics, /health and /ready: metrics_host and metrics_port at once.",
    ),
    click.option(
        "--metrics-port", type=click.IntRange(0, 65_535), help="The port alone; 0 for none."
    ),
    click.option(
        "--processes",
        type=click.IntRange(1, MOST),
        default=1,
        show_default=True,
        help="Run so many; one that ends is started again, and one address answers for all.",
    ),
    click.option("--member", type=int, hidden=True),
)


def posting_options(command: Command) -> Command:
    """Add the options of a `Posting`; the command gets one `posting`."""

    @functools.wraps(command)
    def with_posting(*args: Any, **kwargs: Any) -> Any:
        fields = {name: kwargs.pop(name) for name in Posting.__dataclass_fields__}
        return command(*args, posting=Posting(**fields), **kwargs)

    wrapped: Any = with_posting
    for option in reversed(_OPTIONS):
        wrapped = option(wrapped)
    whole: Command = wrapped
    return whole


async def run_crew(posting: Posting, settings: Settings) -> None:
    """Run this very command in so many processes until a signal; each has a name of its own."""
    name = posting.name or socket.gethostname()
    recruits = [
        _recruit(f"{name}.{number}", settings.instance and f"{settings.instance}.{number}")
        for number in range(posting.processes)
    ]
    crew = Crew(recruits, lambda line: click.echo(line, err=True))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, crew.pass_on, signal.SIGTERM)
    posting.serve(settings, CrewPages(crew).pages())
    await crew.run()


def _recruit(name: str, instance: str) -> Recruit:
    """Return a process of this command that answers at a port of loopback."""
    listening = listen("127.0.0.1", 0)
    own = ["--member", str(listening.fileno()), "--name", name]
    if instance:
        own += ["--instance", instance]
    return Recruit(name, [sys.executable, "-m", "streams", *sys.argv[1:], *own], listening)
