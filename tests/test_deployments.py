"""What a platform team copies: manifests, units and the image say what this program understands."""

import asyncio
import re
import shlex
import shutil
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
import yaml
from kit.command import require_verb
from kit.events import synthetic_log
from kit.twins import World, counted

from streams.core.state import PartitionState
from streams.runtime.metrics_server import listen, serve, verdict_page
from streams.settings import VARIABLES, load_settings

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "config/kubernetes"
KUSTOMIZATION = FOLDER / "kustomization.yml"
UNITS = sorted((ROOT / "config/systemd").glob("*.service"))
DOCKERFILE = (ROOT / "config/Dockerfile").read_text("utf-8")
Manifest = dict[str, Any]
SAMPLE = 2_000
MEASURED_BYTES = 264 << 20
"""Peak of a worker in `streams bench`, with 20,000 videos."""
WINDOW_BYTES = 34_000_000
"""The ids of a partition's window of repeats."""


def manifests() -> list[Manifest]:
    named = yaml.safe_load(KUSTOMIZATION.read_text("utf-8"))["resources"]
    return [each for name in named for each in yaml.safe_load_all((FOLDER / name).read_text())]


MANIFESTS = manifests()
WORKLOADS = [each for each in MANIFESTS if "template" in each.get("spec", {})]
PODS = {each["metadata"]["name"]: each["spec"]["template"]["spec"] for each in WORKLOADS}


def name_of(manifest: Manifest) -> str:
    return f"{manifest['kind']}/{manifest['metadata']['name']}"


def containers() -> Iterator[tuple[str, Manifest]]:
    for name, pod in PODS.items():
        for each in [*pod.get("initContainers", []), *pod["containers"]]:
            yield name, each


def variables() -> Iterator[tuple[str, str]]:
    """Yield each variable that a manifest sets, with its value, or "" if that is no text."""
    for each in MANIFESTS:
        if each["kind"] == "ConfigMap":
            yield from each["data"].items()
    for _, container in containers():
        for each in container.get("env", []):
            yield each["name"], each.get("value", "")


@pytest.fixture(scope="module")
def schema() -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(
        msgspec.json.decode((ROOT / "tests/data/kubernetes.json").read_bytes())
    )


@pytest.mark.parametrize("manifest", MANIFESTS, ids=name_of)
def test_kubernetes_knows_every_word_of_a_manifest(
    manifest: Manifest, schema: jsonschema.Draft202012Validator
) -> None:
    schema.validate(manifest)


@pytest.mark.parametrize(
    "wrong", [{"imagine": 1}, {"replicas": "four"}, {"template": {"spec": {"containers": 1}}}]
)
def test_the_schema_refuses_what_kubernetes_does_not_know(
    wrong: Manifest, schema: jsonschema.Draft202012Validator
) -> None:
    [workers] = [each for each in MANIFESTS if each["kind"] == "StatefulSet"]
    assert not schema.is_valid(workers | {"spec": workers["spec"] | wrong})


def test_every_file_of_the_folder_is_applied() -> None:
    named = set(yaml.safe_load(KUSTOMIZATION.read_text("utf-8"))["resources"])
    assert named == {path.name for path in FOLDER.glob("*.yml")} - {KUSTOMIZATION.name}


def test_every_variable_of_a_manifest_is_a_setting_and_its_value_is_valid() -> None:
    set_here = dict(variables())
    assert set_here
    assert set_here.keys() <= VARIABLES
    load_settings(ROOT / "config", {}, {name: text for name, text in set_here.items() if text})


def test_every_secret_is_made_by_a_command_that_the_folder_tells() -> None:
    told = KUSTOMIZATION.read_text("utf-8")
    used = set(re.findall(r"secretName: (\S+)", yaml.safe_dump_all(MANIFESTS)))
    values = [one.get("valueFrom", {}) for _, each in containers() for one in each.get("env", [])]
    used |= {value["secretKeyRef"]["name"] for value in values if "secretKeyRef" in value}
    assert used == set(re.findall(r"create secret generic (\S+)", told))
    assert not [each for each in MANIFESTS if each["kind"] == "Secret"], "files get copied"


def test_every_command_of_a_manifest_is_one_of_ours() -> None:
    lines = [each["args"] for _, each in containers() if "args" in each]
    assert len(lines) == len(WORKLOADS)
    for words in lines:
        require_verb(words)


@pytest.mark.parametrize("manifest", WORKLOADS, ids=name_of)
def test_a_pod_runs_as_nobody_writes_nowhere_and_has_its_measure(manifest: Manifest) -> None:
    pod = PODS[manifest["metadata"]["name"]]
    uid = re.search(r"useradd --uid (\d+)", DOCKERFILE)
    assert uid is not None
    assert pod["securityContext"]["runAsUser"] == int(uid[1])
    assert pod["securityContext"]["runAsNonRoot"]
    assert not pod["automountServiceAccountToken"]
    assert not pod["enableServiceLinks"]
    for each in [*pod.get("initContainers", []), *pod["containers"]]:
        assert each["securityContext"]["readOnlyRootFilesystem"]
        assert each["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert each["resources"]["requests"].keys() == {"cpu", "memory"}
        assert each["resources"]["limits"].keys() == {"memory"}
        assert each["image"] == "streams"


def test_the_private_key_is_where_control_records_are_signed_and_nowhere_else() -> None:
    holders = {name for name, pod in PODS.items() if "streams-signing" in yaml.safe_dump(pod)}
    assert holders == {"streams-control", "streams-topics"}
    for name in holders:
        [key] = PODS[name]["initContainers"]
        assert key["command"][:3] == ["install", "-m", "600"], "for its owner alone"


def test_a_selector_selects_exactly_its_own_pods() -> None:
    labels = {name_of(e): e["spec"]["template"]["metadata"]["labels"] for e in WORKLOADS}
    for each in MANIFESTS:
        selector = each.get("spec", {}).get("selector")
        if selector is None:
            continue
        wanted = selector.get("matchLabels", selector).items()
        [own] = [name for name, has in labels.items() if wanted <= has.items()]
        assert own.split("/")[1] == each["metadata"]["name"]


def test_workers_are_named_as_their_pods_and_replaced_one_by_one_within_their_session() -> None:
    [workers] = [each for each in MANIFESTS if each["kind"] == "StatefulSet"]
    [worker] = workers["spec"]["template"]["spec"]["containers"]
    [instance] = [each for each in worker["env"] if each["name"] == "STREAMS_INSTANCE"]
    assert instance["valueFrom"]["fieldRef"]["fieldPath"] == "metadata.name"
    settings = dict(variables())
    session_s = int(settings["STREAMS_SESSION_TIMEOUT_MS"]) / 1_000
    assert session_s >= 30, "a start takes long"
    assert workers["spec"]["updateStrategy"]["type"] == "RollingUpdate"
    budgets = [each["spec"] for each in MANIFESTS if each["kind"] == "PodDisruptionBudget"]
    assert [each["maxUnavailable"] for each in budgets] == [1, 1]
    assert int(settings["STREAMS_PARTITIONS"]) % workers["spec"]["replicas"] == 0


def bytes_of_a_video() -> float:
    """Return what a video with its crowds takes in a worker's memory, in the mean."""
    world = World()
    world.put(synthetic_log(events=600))
    asyncio.run(counted(world))
    stored = world.store.partitions[0]
    rows = list(stored.rows.values())
    state = PartitionState(0, 1, 100_000, stored.meta)
    tracemalloc.start()
    for number in range(SAMPLE):
        state.load(f"v-{number}", rows[number % len(rows)])
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return size / SAMPLE


def test_a_worker_fits_into_its_memory_with_all_videos_and_the_partitions_of_another() -> None:
    [workers] = [each for each in MANIFESTS if each["kind"] == "StatefulSet"]
    [worker] = workers["spec"]["template"]["spec"]["containers"]
    limit = int(worker["resources"]["limits"]["memory"].removesuffix("Gi")) << 30
    settings = dict(variables())
    partitions = 2 * int(settings["STREAMS_PARTITIONS"]) // workers["spec"]["replicas"]
    videos = int(settings["STREAMS_VIDEOS_IN_MEMORY"])
    each = bytes_of_a_video()
    sys.stdout.write(f"a video in memory takes {each:,.0f} bytes\n")
    assert MEASURED_BYTES + videos * each + partitions * WINDOW_BYTES < 0.8 * limit


def test_probes_ask_pages_that_there_are_at_the_port_of_the_service() -> None:
    ports = {e["metadata"]["name"]: e["spec"]["ports"] for e in MANIFESTS if e["kind"] == "Service"}
    for name, container in containers():
        probes = [container[each] for each in container if each.endswith("Probe")]
        paths = {each["httpGet"]["path"] for each in probes}
        assert paths <= {"/health", "/ready", "/metrics"}
        for each in probes:
            assert each["httpGet"]["port"] == "metrics"
        if probes:
            [service], [open_] = ports[name], container["ports"]
            assert service["port"] == open_["containerPort"]


def healthcheck() -> list[str]:
    """Return the command by which the image tells whether it is well."""
    [command] = re.findall(r"HEALTHCHECK (?:.*\\\n)*\s+CMD (\[.*\])", DOCKERFILE)
    words: list[str] = msgspec.json.decode(command)
    return [sys.executable, *words[1:]]


@pytest.mark.parametrize(("reasons", "code"), [([], 0), (["partition 3 stands still"], 1)])
def test_the_image_is_well_as_long_as_its_worker_says_so(reasons: list[str], code: int) -> None:
    listening = listen("127.0.0.1", 0)
    serve(listening, {"/health": partial(verdict_page, reasons)})
    port = str(listening.getsockname()[1])
    done = subprocess.run(
        healthcheck(), env={"STREAMS_METRICS_PORT": port}, capture_output=True, check=False
    )
    assert done.returncode == code, done.stderr


def test_the_image_is_built_on_one_base_by_its_digest() -> None:
    bases = re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)
    assert re.fullmatch(r"python:\d+\.\d+\.\d+-slim-\w+@sha256:[0-9a-f]{64}", bases[0])
    assert set(bases[1:]) == {"base"}


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_a_unit_starts_a_verb_of_ours_again_and_again(unit: Path) -> None:
    lines = [line.partition("=") for line in unit.read_text("utf-8").splitlines() if "=" in line]
    settings = {name: value for name, _, value in lines if not name.startswith("#")}
    program, *words = shlex.split(settings["ExecStart"].replace("%H", "host").replace("%i", "2"))
    assert program.endswith("/bin/streams")
    require_verb(words)
    assert (settings["Restart"], settings["RestartPreventExitStatus"]) == ("always", "2")
    assert "WatchdogSec" not in settings, "a worker tells systemd nothing"
    own = {line.split("=")[0] for name, _, line in lines if name == "Environment"}
    assert own <= VARIABLES


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not there")
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_systemd_takes_a_unit(unit: Path, tmp_path: Path) -> None:
    here = tmp_path / unit.name.replace("@.", "@1.")
    text = unit.read_text("utf-8").replace("/opt/streams/bin/streams", sys.executable)
    here.write_text(text, "utf-8")
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(here)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
