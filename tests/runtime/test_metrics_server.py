"""What is served over HTTP: the pages that there are, at IPv4 and IPv6, and nothing else."""

import json
import socket
from collections.abc import Iterator
from http.client import HTTPConnection

import pytest
from kit.patience import PATIENCE_S

from streams.runtime.metrics import Metrics
from streams.runtime.metrics_server import (
    MetricsServer,
    Pages,
    listen,
    metrics_page,
    serve,
    url_of,
    verdict_page,
)

HOSTS = ["127.0.0.1", "::1", "0.0.0.0", "::", "localhost"]


@pytest.fixture(params=HOSTS)
def server(request: pytest.FixtureRequest) -> Iterator[MetricsServer]:
    made = serve(listen(request.param, 0), pages())
    yield made
    made.stop()


def pages() -> Pages:
    return {
        "/metrics": lambda: metrics_page(Metrics().registry),
        "/health": lambda: verdict_page([]),
        "/ready": lambda: verdict_page(["partition 3 is halted", "Redis does not answer"]),
    }


def got(server: MetricsServer, path: str, method: str = "GET") -> tuple[int, str, bytes]:
    host = "127.0.0.1" if server.socket.family == socket.AF_INET else "::1"
    client = HTTPConnection(host, server.socket.getsockname()[1], timeout=PATIENCE_S)
    client.request(method, path)
    answer = client.getresponse()
    kind, body = answer.headers["Content-Type"], answer.read()
    client.close()
    return answer.status, kind, body


def test_each_page_is_served_with_its_status(server: MetricsServer) -> None:
    status, kind, body = got(server, "/metrics?name=x")
    assert (status, kind.split(";")[0]) == (200, "text/plain")
    assert b"streams_halted_partitions 0.0" in body
    status, kind, body = got(server, "/health")
    assert (status, json.loads(body)) == (200, {"ok": True, "reasons": []})
    status, _, body = got(server, "/ready")
    reasons = ["partition 3 is halted", "Redis does not answer"]
    assert (status, json.loads(body)) == (503, {"ok": False, "reasons": reasons})
    assert got(server, "/ready", "HEAD") == (503, kind, b"")


def test_another_path_is_not_found(server: MetricsServer) -> None:
    for path in ("/", "/healthz", "/metrics/"):
        status, _, body = got(server, path)
        assert (status, body) == (404, b"there are /metrics, /health, /ready\n")


def test_every_address_includes_both_families() -> None:
    server = serve(listen("::", 0), pages())
    port = server.socket.getsockname()[1]
    for host in ("127.0.0.1", "::1"):
        client = HTTPConnection(host, port, timeout=PATIENCE_S)
        client.request("GET", "/health")
        assert client.getresponse().read()
        client.close()
    server.stop()


def test_a_taken_port_and_a_name_that_is_nobodys_are_errors() -> None:
    with listen("127.0.0.1", 0) as taken, pytest.raises(OSError, match="in use"):
        listen("127.0.0.1", taken.getsockname()[1])
    with pytest.raises(OSError, match=r"\w"):
        listen("nobody.invalid", 0)


def test_an_ipv6_address_stands_in_brackets() -> None:
    with listen("::1", 0) as listening:
        assert url_of(listening) == f"http://[::1]:{listening.getsockname()[1]}"
