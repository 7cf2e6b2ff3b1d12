"""The compose file is valid and ships the settings that the counters depend on."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from kit.jars import KAFKA_VERSION

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))


def test_the_compose_file_follows_the_compose_specification(compose: dict[str, Any]) -> None:
    schema = json.loads((ROOT / "tests/data/compose-spec.json").read_text("utf-8"))
    jsonschema.Draft7Validator(schema).validate(compose)


def test_the_schema_refuses_what_the_specification_does_not_know(compose: dict[str, Any]) -> None:
    schema = json.loads((ROOT / "tests/data/compose-spec.json").read_text("utf-8"))
    broken = compose | {"services": compose["services"] | {"kafka": {"imagine": "kafka"}}}
    with pytest.raises(jsonschema.ValidationError, match="imagine"):
        jsonschema.Draft7Validator(schema).validate(broken)


def test_every_dependency_and_every_named_volume_is_declared(compose: dict[str, Any]) -> None:
    services = compose["services"]
    for service in services.values():
        assert set(service.get("depends_on", {})) <= set(services)
    named = {
        volume.split(":")[0]
        for service in services.values()
        for volume in service.get("volumes", [])
        if not volume.startswith(".")
    }
    assert named == set(compose["volumes"])


def test_a_service_is_waited_for_in_a_way_that_it_can_fulfil(compose: dict[str, Any]) -> None:
    for service in compose["services"].values():
        for name, wait in service.get("depends_on", {}).items():
            awaited = compose["services"][name]
            if wait["condition"] == "service_healthy":
                assert "healthcheck" in awaited
            else:
                assert awaited["restart"] == "no"


def test_redis_never_evicts_keeps_an_append_only_file_and_compact_hashes(
    compose: dict[str, Any],
) -> None:
    command = compose["services"]["redis"]["command"]
    settings = dict(zip(command[1::2], command[2::2], strict=True))
    assert settings == {
        "--appendonly": "yes",
        "--maxmemory-policy": "noeviction",
        "--hash-max-listpack-value": "256",
    }


def test_the_broker_is_the_version_that_the_tests_run_against(compose: dict[str, Any]) -> None:
    assert compose["services"]["kafka"]["image"] == f"apache/kafka:{KAFKA_VERSION}"


def test_no_port_is_open_beyond_this_machine(compose: dict[str, Any]) -> None:
    for service in compose["services"].values():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))


def test_the_private_key_is_made_once_in_a_volume_of_its_own(compose: dict[str, Any]) -> None:
    services = compose["services"]
    new, file, once = services["keys"]["command"][1:]
    assert (new, once) == ("new", "--if-missing")
    folder = str(Path(file).parent)
    for name in ("keys", "topics", "worker"):
        assert services[name]["environment"]["STREAMS_SIGNING_KEY_FILE"] == file
        assert f"keys:{folder}" in services[name]["volumes"]
    dockerfile = (ROOT / "config/Dockerfile").read_text("utf-8")
    assert f"install -d -o streams -m 700 {folder}" in dockerfile
    assert "STREAMS_SECRET" not in (ROOT / "docker-compose.yml").read_text("utf-8")


def test_the_image_is_built_from_files_that_exist_and_does_not_run_as_root(
    compose: dict[str, Any],
) -> None:
    build = compose["services"]["worker"]["build"]
    lines = (ROOT / build["context"] / build["dockerfile"]).read_text("utf-8").splitlines()
    copied = [
        source
        for line in lines
        if line.startswith("COPY ") and "--from" not in line
        for source in line.split()[1:-1]
    ]
    assert copied
    assert all((ROOT / source).exists() for source in copied)
    assert "USER streams" in lines
