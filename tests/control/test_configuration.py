"""A configuration folder is checked by what a worker reads it with, and copied, never over."""

import shutil
from pathlib import Path

import pytest

from streams.control.configuration import RULES, copy_shipped, file_problems, findings, in_force
from streams.control.rules import load_rules
from streams.errors import Halt, Misconfigured
from streams.runtime.key_files import new_key_file
from streams.settings import SHIPPED, load_settings, written_settings

CONFIG = Path(__file__).parents[2] / "config"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copytree(CONFIG, tmp_path, dirs_exist_ok=True)
    return tmp_path


def change(folder: Path, name: str, old: str, new: str) -> None:
    text = (folder / name).read_text("utf-8")
    assert old in text
    (folder / name).write_text(text.replace(old, new, 1), "utf-8")


def failing(folder: Path) -> list[str]:
    return [name for name, problems in file_problems(folder).items() if problems]


def test_what_is_shipped_is_what_the_checkout_edits() -> None:
    assert SHIPPED.resolve() == CONFIG.resolve()
    assert failing(SHIPPED) == []


@pytest.mark.parametrize(
    ("name", "old", "new", "waiting"),
    [
        ("taxonomy.toml", "hashtag = 0.75", "hashtag = 7", list(RULES)),
        ("slices.toml", "reach = 500_000", "reach = 0", ["slices.toml", "policy.toml"]),
        ("policy.toml", "factor = 3", "factor = 1", ["policy.toml"]),
        ("review.toml", 'verdict = "reject"', 'verdict = "maybe"', ["review.toml"]),
    ],
)
def test_a_mistake_is_found_that_would_stop_a_worker(
    folder: Path, name: str, old: str, new: str, waiting: list[str]
) -> None:
    change(folder, name, old, new)
    assert failing(folder) == waiting
    with pytest.raises(Misconfigured) as refused:
        load_rules(folder)
    assert file_problems(folder)[name] == tuple(refused.value.problems)


def test_what_hides_behind_another_mistake_says_what_to_mend_first(folder: Path) -> None:
    (folder / "taxonomy.toml").unlink()
    problems = file_problems(folder)
    assert problems["policy.toml"] == (
        f"{folder / 'policy.toml'}: cannot be checked before taxonomy.toml is mended",
    )


def test_every_mistake_of_a_file_is_told_at_once(folder: Path) -> None:
    change(folder, "slices.toml", "reach = 500_000", "reach = 0")
    change(folder, "slices.toml", "reach = 2_400_000", 'reach = "all"')
    problems = file_problems(folder)["slices.toml"]
    assert len(problems) == 2
    assert "slice discover:football: reach is" in problems[1]


def test_the_findings_cover_files_keys_and_strange_variables(folder: Path) -> None:
    change(folder, "streams.toml", "flush_rows = 4_000", 'flush_rows = "many"')
    environment = {"STREAMS_SIGNING_KEY_FILE": "/nowhere", "STREAMS_BROKER": "b:1"}
    lines = list(findings(folder, environment))
    assert {line.subject for line in lines} == {
        *("streams.toml", *RULES),
        *("signing key", "environment"),
    }
    failed = [line.subject for line in lines if line.status == "fail"]
    assert failed == ["streams.toml", "signing key"]
    assert [line.subject for line in lines if line.status == "warn"] == ["environment"]


def test_a_secret_of_old_is_judged_where_one_is_set(folder: Path) -> None:
    [line] = [one for one in findings(folder, {"STREAMS_SECRET": "a"}) if one.subject == "secret"]
    assert line.status == "fail"
    assert not [one for one in findings(folder, {}) if one.subject == "secret"]


def test_a_key_that_others_may_read_is_a_warning(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "signing.key"
    new_key_file(path)
    path.chmod(0o644)
    lines = list(findings(folder, {"STREAMS_SIGNING_KEY_FILE": str(path)}))
    assert [one.status for one in lines if one.subject == "signing key"] == ["ok", "warn"]


def test_what_is_in_force_hides_secrets_and_names_their_places(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("hunter2", "utf-8")
    environment = {
        "STREAMS_REDIS_PASSWORD_FILE": str(tmp_path / "password"),
        "STREAMS_SECRET": "0123456789abcdef",
        "STREAMS_TOPIC_PREFIX": "a.",
    }
    settings = load_settings(CONFIG, {}, environment)
    written = written_settings(CONFIG, {}, environment)
    rows = {row.key: row for row in in_force(settings, written, environment)}
    assert rows["redis"].value == "redis://:***@127.0.0.1:6379/0"
    assert rows["group"][1:] == ("a.streams", "default", "shipped")
    assert rows["topic_prefix"][1:] == ("a.", "environment", "STREAMS_TOPIC_PREFIX")
    assert rows["secret"][1:] == ("***", "environment", "STREAMS_SECRET")
    assert rows["redis password"].place == "STREAMS_REDIS_PASSWORD_FILE"
    assert not any("hunter2" in str(row) or "0123456789" in str(row) for row in rows.values())


def test_a_copy_is_whole_and_never_overwrites(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "config"
    written = copy_shipped(folder)
    assert {path.name for path in written} == {"streams.toml", *RULES}
    assert failing(folder) == []
    (folder / "policy.toml").write_text("mine", "utf-8")
    (folder / "review.toml").unlink()
    with pytest.raises(Halt, match="exists and is left alone"):
        copy_shipped(folder)
    assert (folder / "policy.toml").read_text("utf-8") == "mine"
    assert not (folder / "review.toml").exists()


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Halt, match=r"cannot write into .*: Not a directory"):
        copy_shipped(tmp_path / "file" / "config")
