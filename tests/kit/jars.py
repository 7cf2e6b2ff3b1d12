"""What a Kafka of the tests is made of: its jars, fetched once, and what its machine must have."""

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from streams.errors import Unreachable

KAFKA_VERSION = "4.1.0"

POM = f"""<project xmlns="http://maven.apache.org/POM/4.0.0">
<modelVersion>4.0.0</modelVersion>
<groupId>streams</groupId><artifactId>test-broker</artifactId><version>1</version>
<dependencies>
<dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId>
<version>{KAFKA_VERSION}</version></dependency>
<dependency><groupId>org.apache.logging.log4j</groupId><artifactId>log4j-core</artifactId>
<version>2.25.1</version></dependency>
<dependency><groupId>org.apache.logging.log4j</groupId><artifactId>log4j-slf4j-impl</artifactId>
<version>2.25.1</version></dependency>
</dependencies>
</project>
"""

LOG4J = """status = error
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d %p %c - %m%n
rootLogger.level = warn
rootLogger.appenderRef.console.ref = console
"""


def missing_for_kafka() -> str | None:
    """Say what to install before Kafka can run here; None when nothing is missing."""
    lacking = [] if shutil.which("java") else ["Java 17 (openjdk-17-jre-headless)"]
    if not cache_folder().is_dir() and not shutil.which("mvn"):
        lacking.append("Maven to fetch Kafka's jars (maven)")
    return f"install {' and '.join(lacking)}" if lacking else None


def cache_folder() -> Path:
    """Return where Kafka's jars are kept between test sessions."""
    root = os.environ.get("STREAMS_TEST_CACHE")
    if root is None:
        home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
        root = str(Path(home) / "streams-tests")
    return Path(root) / f"kafka-{KAFKA_VERSION}"


def kafka_jars() -> Path:
    """Return the folder with Kafka's jars, fetched with Maven the first time.

    The folder appears whole or not at all, so sessions may race for it.
    """
    ready = cache_folder()
    if not ready.is_dir():
        ready.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=ready.parent, prefix=".fetching-") as folder:
            pom, jars = Path(folder) / "pom.xml", Path(folder) / "jars"
            pom.write_text(POM)
            goal = ["dependency:copy-dependencies", f"-DoutputDirectory={jars}"]
            run_tool(["mvn", "-q", "-B", "-f", str(pom), *goal], "fetching Kafka with Maven", 900)
            try:
                jars.rename(ready)
            except OSError:
                if not ready.is_dir():  # nobody else was faster
                    raise
    return ready


def class_archive(make: Callable[[Path], None]) -> Path:
    """Return the file in which this Java keeps Kafka's classes as it has loaded them once.

    A broker that starts from it takes half the time. `make` writes it the first time; sessions
    wait for the one that does. Java ignores a file that is not there or not its own.
    """
    java = Path(shutil.which("java") or "java").resolve()
    which = hashlib.sha256(f"{java} {java.stat().st_mtime_ns}".encode()).hexdigest()[:12]
    ready = kafka_jars().with_name(f"kafka-{KAFKA_VERSION}-{which}.jsa")
    with _alone(ready.with_suffix(".lock")):
        if not ready.exists():
            unfinished = ready.with_suffix(".new")
            make(unfinished)
            unfinished.rename(ready)
    return ready


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Let one process at a time into the block."""
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield


def run_tool(command: list[str], what: str, timeout_s: float) -> None:
    """Run a program to its end; raise `Unreachable` with its last words if it fails."""
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    if done.returncode:
        raise Unreachable(f"{what} failed:\n{done.stdout[-2000:]}")
