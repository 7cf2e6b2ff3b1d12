"""`/metrics`, `/health` and `/ready` over HTTP, in threads: they answer while the loop is busy."""

import json
import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Final, NamedTuple

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

IDLE_S: Final = 10.0
"""A client that is silent for so long is let go."""
JSON: Final = "application/json; charset=utf-8"


class Page(NamedTuple):
    """What is answered to a request."""

    status: HTTPStatus
    kind: str
    body: bytes


Pages = Mapping[str, Callable[[], Page]]
"""Path -> what makes its page; called in a thread of the server."""


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens at an address, of IPv4 or IPv6; `::` is both.

    `OSError` if it cannot.
    """
    family, *_, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    both = host == "::" and socket.has_dualstack_ipv6()
    return socket.create_server((address[0], port), family=family, dualstack_ipv6=both)


def serve(listening: socket.socket, pages: Pages) -> "MetricsServer":
    """Serve pages at a listening socket until `stop`."""
    server = MetricsServer(listening, pages)
    Thread(target=server.serve_forever, name="metrics", daemon=True).start()
    return server


def url_of(listening: socket.socket) -> str:
    """Return the address of a listening socket as a browser understands it."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def metrics_page(registry: CollectorRegistry) -> Page:
    """Return what Prometheus reads."""
    return Page(HTTPStatus.OK, CONTENT_TYPE_LATEST, generate_latest(registry))


def verdict_page(reasons: Sequence[str]) -> Page:
    """Return 200 without reasons, 503 with them."""
    status = HTTPStatus.SERVICE_UNAVAILABLE if reasons else HTTPStatus.OK
    body = {"ok": not reasons, "reasons": list(reasons)}
    return Page(status, JSON, json.dumps(body, ensure_ascii=False).encode() + b"\n")


class MetricsServer(ThreadingHTTPServer):
    """Answers requests for pages, each in a thread of its own."""

    daemon_threads = True

    def __init__(self, listening: socket.socket, pages: Pages) -> None:
        super().__init__(listening.getsockname(), _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listening
        self.pages: Final = pages

    def stop(self) -> None:
        """Answer nothing any more."""
        self.shutdown()
        self.server_close()

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of a client that went away."""


class _Handler(BaseHTTPRequestHandler):
    timeout = IDLE_S
    server: MetricsServer

    def do_GET(self) -> None:
        page = self._page()
        with suppress(OSError):
            self._begin(page)
            self.wfile.write(page.body)

    def do_HEAD(self) -> None:
        with suppress(OSError):
            self._begin(self._page())

    def log_message(self, *_: object) -> None:
        pass

    def _page(self) -> Page:
        make = self.server.pages.get(self.path.partition("?")[0])
        if make is not None:
            return make()
        known = f"there are {', '.join(self.server.pages)}\n"
        return Page(HTTPStatus.NOT_FOUND, "text/plain; charset=utf-8", known.encode())

    def _begin(self, page: Page) -> None:
        self.send_response(page.status)
        self.send_header("Content-Type", page.kind)
        self.send_header("Content-Length", str(len(page.body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
