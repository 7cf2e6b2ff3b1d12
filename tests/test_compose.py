"""The compose file is valid and ships the settings that the counters depend on."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from kit.jars import KAFKA_VERSION

from streams.settings import VARIABLES, load_settings

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


def test_every_variable_is_a_setting_and_its_value_is_valid(compose: dict[str, Any]) -> None:
    ours = [each for each in compose["services"].values() if each["image"] == "streams:local"]
    for service in ours:
        environment = service.get("environment", {})
        assert environment.keys() <= VARIABLES
        load_settings(ROOT / "config", {}, environment)


def test_without_a_profile_nobody_watches_and_with_it_three_workers_have_names_of_their_own(
    compose: dict[str, Any],
) -> None:
    services = compose["services"]
    plain = {name for name, service in services.items() if "profiles" not in service}
    assert plain == {"kafka", "redis", "keys", "topics", "worker"}
    workers = [each for each in services.values() if each.get("command", [""])[0] == "worker"]
    names = [each["environment"]["STREAMS_INSTANCE"] for each in workers]
    assert sorted(names) == ["worker-1", "worker-2", "worker-3"]


def test_prometheus_reads_every_worker_and_the_collector_of_lag(compose: dict[str, Any]) -> None:
    settings = yaml.safe_load((ROOT / "config/watching/prometheus.yml").read_text("utf-8"))
    jobs = {job["job_name"]: job["static_configs"][0] for job in settings["scrape_configs"]}
    services = compose["services"]
    workers = [n for n, one in services.items() if one.get("command", [""])[0] == "worker"]
    assert jobs["workers"]["targets"] == [f"{name}:9464" for name in workers]
    assert jobs["lag"]["targets"] == ["lag:9108"]
    assert "0.0.0.0:9108" in services["lag"]["command"]


def test_rules_and_board_are_written_where_prometheus_and_grafana_read(
    compose: dict[str, Any],
) -> None:
    services, watching = compose["services"], ROOT / "config/watching"
    [written] = services["rules"]["command"]
    assert "alerts export > watching/alerts.yml" in written
    assert "dashboards export > watching/streams.json" in written
    for name in ("prometheus", "grafana"):
        assert "watching:/watching:ro" in services[name]["volumes"]
    rules = yaml.safe_load((watching / "prometheus.yml").read_text("utf-8"))["rule_files"]
    [boards] = yaml.safe_load((watching / "boards.yml").read_text("utf-8"))["providers"]
    [source] = yaml.safe_load((watching / "source.yml").read_text("utf-8"))["datasources"]
    assert rules == ["/watching/alerts.yml"]
    assert boards["options"]["path"] == "/watching"
    assert source["url"] == "http://prometheus:9090"
    assert "install -d -o streams -m 755 /home/streams/watching" in (
        ROOT / "config/Dockerfile"
    ).read_text("utf-8")


def test_every_file_that_is_mounted_exists(compose: dict[str, Any]) -> None:
    mounted = [
        volume.split(":")[0]
        for service in compose["services"].values()
        for volume in service.get("volumes", [])
        if volume.startswith(".")
    ]
    assert mounted
    assert all((ROOT / path).exists() for path in mounted)


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
    holders = [name for name, one in services.items() if f"keys:{folder}" in one.get("volumes", [])]
    assert holders == ["keys", "topics", "worker"]
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
