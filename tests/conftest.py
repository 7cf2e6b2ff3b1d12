"""Fixtures for every test, and the rule that a test of a real server never goes missing."""

import gc
import os
import uuid
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import pytest
import redis
from hypothesis import HealthCheck, settings
from kit.browser import missing_for_browser
from kit.jars import missing_for_kafka
from kit.redises import RedisNodes, redis_cluster
from kit.secured import USERS, SecuredKafka, secured_kafka
from kit.servers import (
    SHARED,
    delete_topics,
    kafka_server,
    missing_for_redis,
    process_number,
    redis_server,
)

BROKERS = "STREAMS_TEST_BROKERS"
REDIS = "STREAMS_TEST_REDIS"
REAL_FIXTURES = {"brokers", "secured", "redis_url", "fresh_redis_url", "redis_nodes"}

_skipped: dict[str, None] = {}
"""An ordered set."""

# A busy machine is no failure. In CI hypothesis has a profile of its own that says the same.
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
if "CI" not in os.environ:
    settings.load_profile("unhurried")


@pytest.fixture(scope="session")
def brokers() -> Iterator[str]:
    """Bootstrap address of a real Kafka 4.1, shared by the session: use topics of your own."""
    if given := os.environ.get(BROKERS):
        yield given
        return
    with kafka_server(SHARED) as server:
        yield server.bootstrap


@pytest.fixture(scope="session")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecuredKafka]:
    """A real Kafka that asks for certificates, passwords and rights, shared by the session."""
    with secured_kafka(tmp_path_factory.mktemp("secured"), USERS) as kafka:
        yield kafka


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """Address of a real Redis, shared by the session; it may hold what other tests wrote."""
    if given := os.environ.get(REDIS):
        yield _own_database(given)
        return
    with redis_server() as server:
        yield server.url


@pytest.fixture(scope="session")
def redis_nodes() -> Iterator[RedisNodes]:
    """A Redis Cluster of three masters and three replicas, of the session: leave it whole."""
    with redis_cluster() as nodes:
        yield nodes


@pytest.fixture
def fresh_redis_url(redis_url: str) -> str:
    """Address of the session's Redis, with its database emptied for this test."""
    with redis.Redis.from_url(redis_url) as client:
        client.flushdb()
    return redis_url


@pytest.fixture
def unique(request: pytest.FixtureRequest) -> Iterator[str]:
    """A prefix for topics, groups and keys that no other test uses; its topics go with it."""
    prefix = f"t{uuid.uuid4().hex[:12]}"
    shared = request.getfixturevalue("brokers") if "brokers" in request.fixturenames else None
    yield prefix
    if shared is not None:
        delete_topics(shared, prefix)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuse a test that uses a real server and is not marked `real`."""
    for item in items:
        asks = REAL_FIXTURES.intersection(getattr(item, "fixturenames", ()))
        if asks and not item.get_closest_marker("real"):
            raise pytest.UsageError(f"{item.nodeid} uses {', '.join(asks)}: mark it `real`")


def pytest_collection_finish() -> None:
    """Spare the collector what stays for the session: thousands of tests and their modules."""
    gc.collect()
    gc.freeze()


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test whose server or browser cannot run, saying what to install; in CI, fail it."""
    missing = _missing() if item.get_closest_marker("real") else None
    if item.get_closest_marker("browser"):
        missing = missing_for_browser()
    if missing:
        if _in_ci():
            pytest.fail(f"CI must run every test: {missing}", pytrace=False)
        pytest.skip(missing)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Remember each `real` or `browser` test that was skipped for whatever reason."""
    if (
        report.skipped
        and {"real", "browser"} & set(report.keywords)
        and not hasattr(report, "wasxfail")
    ):
        _skipped[report.nodeid] = None


def pytest_collectreport(report: pytest.CollectReport) -> None:
    """Count a whole module that skips itself like a skipped `real` test: it may hold some."""
    if report.skipped:
        _skipped[report.nodeid] = None


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take over what one of several processes skipped; that is all it says of whole modules."""
    _skipped.update(dict.fromkeys(getattr(node, "workeroutput", {}).get("skipped", ())))


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a CI session in which one of them was skipped; one of several processes tells it."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["skipped"] = list(_skipped)
    elif _skipped and _in_ci():
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name those that did not run."""
    if _skipped:
        terminalreporter.section(
            "tests of servers and the browser that were skipped", red=_in_ci(), yellow=True
        )
        for nodeid in _skipped:
            terminalreporter.line(nodeid)
        terminalreporter.line(_missing() or missing_for_browser() or "they skipped themselves")


def _own_database(address: str) -> str:
    """Return the address of the database that is this process's own, of those that share it."""
    url = urlsplit(address)
    number = int(url.path.strip("/") or 0) + process_number()
    return urlunsplit(url._replace(path=f"/{number}"))


def _missing() -> str | None:
    wants = [
        missing_for_kafka() if BROKERS not in os.environ else None,
        missing_for_redis() if REDIS not in os.environ else None,
    ]
    return "; ".join(want for want in wants if want) or None


def _in_ci() -> bool:
    return os.environ.get("CI", "").lower() not in ("", "0", "false")
