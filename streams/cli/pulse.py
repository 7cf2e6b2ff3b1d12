"""Where a process that runs for long says how it stands: its options, and its HTTP server."""

import errno
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import click

from streams.errors import Halt
from streams.runtime.dependencies import DEPENDENCIES
from streams.runtime.ending import beside
from streams.runtime.metrics import Metrics
from streams.runtime.metrics_server import (
    Pages,
    listen,
    metrics_page,
    serve,
    url_of,
    verdict_page,
)
from streams.runtime.pulse import Pulse, watch_the_loop
from streams.settings import Settings

PORTS: Final = 100
"""So many ports are tried, one after the other."""


class ListenAddress(click.ParamType):
    """HOST:PORT as two values; [::1]:9464 for IPv6, :9464 for every address of this machine."""

    name = "host:port"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, int]:
        """Return host and port."""
        if isinstance(value, tuple):
            return value
        host, colon, port = str(value).rpartition(":")
        bare = host.removeprefix("[").removesuffix("]")
        if not colon or not port.isascii() or not port.isdigit() or int(port) > 65_535:
            self.fail(f"{value} is not HOST:PORT, as 0.0.0.0:9464 or [::]:9464", param, ctx)
        if ":" in host and bare == host:
            self.fail(f"{value}: write an IPv6 address in brackets, as [::1]:9464", param, ctx)
        return bare or "::", int(port)


LISTEN_ADDRESS: Final = ListenAddress()


@dataclass(frozen=True)
class Instruments:
    """What tells others about one process."""

    metrics: Metrics
    pulse: Pulse

    def pages(self) -> Pages:
        """Return what is served over HTTP."""
        return {
            "/metrics": partial(metrics_page, self.metrics.registry),
            "/health": lambda: verdict_page(self.pulse.stuck()),
            "/ready": lambda: verdict_page(self.pulse.unready()),
        }


def instruments(settings: Settings) -> Instruments:
    """Return the instruments of this process, which observe its dependencies and itself."""
    metrics = Metrics()
    for dependency in DEPENDENCIES:
        dependency.observers.append(metrics.show_dependency)
        metrics.show_dependency(dependency.name, up=True)
    metrics.show_process()
    return Instruments(metrics, Pulse(settings.stuck_after_ms / 1000))


def serve_pages(host: str, port: int, pages: Pages) -> None:
    """Serve at this port, or at the next one that is free: a host may run many workers; 0: not."""
    if not port:
        return
    for free in range(port, min(port + PORTS, 65_536)):
        try:
            listening = listen(host, free)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                where = f"{host}, port {free}"
                raise Halt(f"cannot serve /metrics at {where}: {error.strerror}") from None
            continue
        serve(listening, pages)
        if free != port:
            text = f"streams: port {port} is taken; /metrics is at {url_of(listening)}/metrics"
            click.echo(text, err=True)
        return
    raise Halt(f"ports {port} to {free} are taken: see --metrics-address; port 0 is none")


@asynccontextmanager
async def beating(pulse: Pulse, settings: Settings) -> AsyncIterator[None]:
    """Have the running loop leave behind how it stands, and end the process if it hangs."""
    if settings.stuck_after_ms:
        watch_the_loop(pulse, settings.stuck_after_ms / 1000)
    async with beside(pulse.beat()):
        yield
