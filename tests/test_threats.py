"""The page of threats says of rights, users and retention what the code says."""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from streams.ops.rights import ROLES, rights_of
from streams.ops.topics import wanted_topics
from streams.settings import SHIPPED, load_settings

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / ".docs" / "threats.md").read_text("utf-8")
SETTINGS = load_settings(SHIPPED, {}, {})


def table(head: str) -> Mapping[str, Sequence[str]]:
    """Return the rows of the table whose first column has this head, by their first cells."""
    [body] = re.findall(rf"^\| {head} \|.*\n\|[-|]+\|\n((?:\|.*\n)+)", PAGE, re.MULTILINE)
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in body.splitlines()]
    return {name.strip("`"): rest for first, *rest in rows for name in first.split(", ")}


def test_who_writes_a_topic_is_who_has_the_right() -> None:
    writers: defaultdict[str, list[str]] = defaultdict(list)
    for role in ROLES:
        for right in rights_of(role, SETTINGS):
            if right.resource == "topic" and "Write" in right.operations:
                for name in right.names:
                    writers[name].append(role)
    assert {name: rest[0].split(", ") for name, rest in table("topic").items()} == writers
    assert writers.keys() == {topic.name for topic in wanted_topics(SETTINGS)}


def test_each_user_of_redis_may_change_what_the_page_says() -> None:
    rights = {
        name.removeprefix("user "): line.split()
        for line in (SHIPPED / "redis.acl").read_text("utf-8").splitlines()
        if (name := " ".join(line.split()[:2]))
    }
    users = table("user")
    assert users.keys() == rights.keys()
    keys = {
        "counters": "~s:{*}:v:*",
        "meta": "~s:{*}:meta",
        "halts": "~s:{*}:halt",
        "serving index": "~s:slice:*",
        "dossiers": "~s:{*}:d:*",
        "everything": "~s:*",
    }
    for user, (changes, _) in users.items():
        said = {keys[word.split(" (")[0]] for word in changes.split(", ")}
        assert said == {word for word in rights[user] if word in keys.values()}


def test_the_page_says_how_long_persons_are_kept() -> None:
    kept = {topic.name: topic.retention_hours for topic in wanted_topics(SETTINGS)}
    places = table("where")
    assert f"`retention_hours` ({kept['interactions']})" in places["interactions"][1]
    assert {hours for name, hours in kept.items() if name.endswith(".dlq")} == {14 * 24}
    assert places["*.dlq"][1].startswith("14 days")


@pytest.mark.parametrize("text", ["README.md", ".docs/operators.md"])
def test_the_page_is_found(text: str) -> None:
    assert "threats.md" in (ROOT / text).read_text("utf-8")
