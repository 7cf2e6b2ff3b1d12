"""What still holds a viewer: found wherever it is searched, with the time by which it is gone."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from kit.events import NOW, view
from kit.letters import LATER, Post
from kit.recordings import cluster_of, record

from streams.ops.erasing import places_apart, traces_in_recording, traces_in_topics
from streams.ops.explain import moment
from streams.runtime.ports import Outgoing
from streams.runtime.signing import encode

DAY_MS = 86_400_000


async def rows_of(post: Post, viewer: str = "alice") -> Mapping[str, Mapping[str, Any]]:
    seen: list[int] = []
    rows = await traces_in_topics(post.reader, post.cluster, post.settings, viewer, seen.append)
    assert seen == list(range(1, len(seen) + 1))
    return {row["place"]: row for row in rows}


@pytest.fixture
def post() -> Post:
    """Alice in two records of the log and one letter, bob in one more."""
    post = Post()
    both = b"[" + b",".join(encode(view(f"e{n}", viewer="alice")) for n in range(2)) + b"]"
    values = [both, encode(view("e3", viewer="alice")), encode(view("e4", viewer="bob"))]
    for late, value in enumerate(values):
        post.log.append(Outgoing("interactions", value, b"v1", partition=0, timestamp=NOW + late))
    post.refuse(b'{"viewer":"alice"', topic="uploads")
    kept = {"cleanup.policy": "delete", "segment.ms": str(DAY_MS)}
    post.log.configs("interactions").update(kept, **{"retention.ms": str(7 * DAY_MS)})
    post.log.configs("uploads.dlq").update(kept, **{"retention.ms": str(14 * DAY_MS)})
    return post


async def test_each_place_says_how_much_it_holds_and_by_when_it_is_gone(post: Post) -> None:
    rows = await rows_of(post)
    log, letters = rows["interactions"], rows["uploads.dlq"]
    assert (log["records"], log["events"]) == (2, 3)
    assert (log["oldest"], log["newest"]) == (moment(NOW), moment(NOW + 1))
    assert log["gone_by"] == moment(NOW + 1 + 8 * DAY_MS)
    assert log["why"] == "goes after 168 h, and up to 24 h more for its segment"
    assert (letters["records"], letters["gone_by"]) == (1, moment(LATER + 15 * DAY_MS))
    assert [row["records"] for name, row in rows.items() if row not in (log, letters)] == [0] * 5


async def test_whoever_is_nowhere_leaves_no_time(post: Post) -> None:
    rows = await rows_of(post, "carol")
    assert {(row["records"], row["gone_by"]) for row in rows.values()} == {(0, None)}


@pytest.mark.parametrize("configs", [{"retention.ms": "-1"}, {"cleanup.policy": "compact"}])
async def test_a_topic_that_keeps_all_says_so(post: Post, configs: Mapping[str, str]) -> None:
    post.log.configs("interactions").update(configs)
    row = (await rows_of(post))["interactions"]
    assert (row["gone_by"], row["why"]) == (
        None,
        "the topic keeps records for ever: set retention.ms",
    )


async def test_so_does_one_whose_broker_tells_nothing(post: Post) -> None:
    post.log.configs("interactions").clear()
    row = (await rows_of(post))["interactions"]
    assert (row["records"], row["gone_by"]) == (2, None)


async def test_a_recording_holds_what_was_recorded(post: Post, tmp_path: Path) -> None:
    recording = await record(cluster_of(post.log), tmp_path / "r")
    chunks = (chunk for place in recording.places() for chunk in recording.chunks(place))
    row = traces_in_recording("r", chunks, "alice")
    assert (row["records"], row["events"], row["gone_by"]) == (2, 3, None)
    assert "until you delete them" in row["why"]


def test_what_is_not_searched_is_named_too() -> None:
    told = {row["place"]: row["records"] for row in places_apart()}
    assert told["Redis"] == 0
    assert told["producers, feed servers, their logs"] is None
