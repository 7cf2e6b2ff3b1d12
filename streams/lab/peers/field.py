"""Who runs against us: how each is started, what it needs here, and what it leaves out."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Final, NamedTuple

from streams.errors import Unreachable

OURS: Final = "streams"
EXTRA: Final = "pip install 'streams[bench]'"
JAVA: Final = "apt-get install default-jdk-headless maven"
KAFKA_STREAMS: Final = "4.1.0"
"""The version in `kafka_streams/pom.xml`."""
_SOURCE: Final = Path(__file__).with_name("kafka_streams")
_FETCH_S: Final = 900


class Peer(NamedTuple):
    """One program: `command` makes ready what starts it; `missing` names what to install, or "".

    `without` is what it does not do and we do.
    """

    name: str
    command: Callable[[], Sequence[str]]
    missing: Callable[[], str]
    without: str


def _python(module: str) -> Callable[[], Sequence[str]]:
    return lambda: [sys.executable, "-m", f"streams.lab.peers.{module}"]


def _needs(*modules: str) -> Callable[[], str]:
    return lambda: "" if all(find_spec(module) for module in modules) else EXTRA


def _bytewax_missing() -> str:
    lacking = _needs("bytewax", "confluent_kafka")()
    return (
        f"Python below 3.13, and {lacking}"
        if lacking and sys.version_info[:2] > (3, 12)
        else lacking
    )


def _java_missing() -> str:
    tools = ("java", "javac") if _jars().is_dir() else ("java", "javac", "mvn")
    return "" if all(shutil.which(tool) for tool in tools) else JAVA


def _jars() -> Path:
    """Return where Kafka Streams' jars are kept between runs."""
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(home) / "streams-bench" / f"kafka-streams-{KAFKA_STREAMS}"


def _kafka_streams() -> Sequence[str]:
    """Return the command of the Java peer, its jars fetched with Maven the first time."""
    jars = _jars()
    if not jars.is_dir():
        _fetch(jars)
    return ["java", "-cp", f"{jars}/*", str(_SOURCE / "CountFeedback.java")]


def _fetch(jars: Path) -> None:
    """Let the folder appear whole or not at all."""
    jars.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=jars.parent) as folder:
        fetched = Path(folder) / "jars"
        pom = shutil.copy(_SOURCE / "pom.xml", folder)
        goal = ["dependency:copy-dependencies", f"-DoutputDirectory={fetched}"]
        done = subprocess.run(  # noqa: S603 - our own command
            ["mvn", "-q", "-B", "-f", str(pom), *goal],  # noqa: S607 - found on the PATH
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_FETCH_S,
            check=False,
        )
        if done.returncode:
            raise Unreachable(f"Maven cannot fetch Kafka Streams: {done.stdout.strip()[-300:]}")
        fetched.rename(jars)


FIELD: Final = (
    Peer(
        "Faust, plain",
        _python("faust_plain"),
        _needs(),
        "a repeat or a crash counts twice; one command to Redis an event",
    ),
    Peer(
        "Faust, best",
        _python("faust_best"),
        _needs(),
        "a repeat or a crash counts twice",
    ),
    Peer(
        "Quix Streams, exactly once",
        _python("quix_app"),
        _needs("quixstreams"),
        "a producer's repeat counts twice; no Redis",
    ),
    Peer(
        "Bytewax",
        _python("bytewax_flow"),
        _bytewax_missing,
        "a producer's repeat counts twice; no Redis",
    ),
    Peer(
        "Kafka Streams, exactly once",
        _kafka_streams,
        _java_missing,
        "a producer's repeat counts twice; no Redis; one thread",
    ),
)
"""None validates a field, writes a dead letter, takes a decision or keeps an index."""
