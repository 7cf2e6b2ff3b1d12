"""What happened to my event? Asked of a world in which a worker counted."""

from collections.abc import Sequence
from typing import Any

import pytest
from kit.events import Logged, interaction_record, like, record, view
from kit.letters import Post
from kit.twins import Life, World

from streams.core.receipts import Refusal
from streams.ops.settled import marks
from streams.ops.trace import TraceQuery, trace
from streams.runtime.memory import MemoryCluster, MemoryReader, MemoryStore
from streams.runtime.ports import Outgoing
from streams.runtime.signing import encode


async def traced(world: World, event_id: str, **query: Any) -> list[dict[str, Any]]:
    reader, cluster = MemoryReader(world.log), MemoryCluster(world.log)
    wanted = TraceQuery(event_id, **query)
    return await trace(reader, world.store, cluster, world.settings, wanted)


async def world_of(log: Sequence[Logged]) -> World:
    world = World()
    world.put(log)
    life = await Life(world).start()
    await life.until(world.caught_up)
    await life.stop()
    return world


def told(rows: list[dict[str, Any]]) -> list[tuple[int, int, str]]:
    return [(row["offset"], row["element"], row["outcome"]) for row in rows]


async def test_an_event_is_told_at_each_of_its_places() -> None:
    world = await world_of(
        [
            interaction_record(view("e1"), 0),
            interaction_record([view("e2"), view("e1")], 1),
            interaction_record(view("e3"), 2),
        ]
    )
    rows = await traced(world, "e1")
    assert told(rows) == [(0, 0, "counted"), (1, 1, "duplicate")]
    assert rows[1]["why"] == "of offset 0"
    assert (rows[0]["type"], rows[0]["video"], rows[0]["letter"]) == ("view", "v1", None)
    assert await traced(world, "e9") == []


async def test_a_refused_element_names_its_letter_and_what_became_of_it() -> None:
    bad = encode(view("e2", slice_id="mars:x"))
    world = await world_of([record(b"[" + encode(view("e1")) + b"," + bad + b"]", 0)])
    [row] = await traced(world, "e2")
    assert (row["outcome"], row["why"]) == ("refused", "slice: slice is not surface:group")
    assert (row["letter"], row["letter_state"]) == ("interactions:0:0", "open")
    assert told(await traced(world, "e1")) == [(0, 0, "counted")]
    for mark in marks("interactions.dlq", "redriven", [(0, (0, 0, 1))]):
        world.log.append(mark)
    [row] = await traced(world, "e2")
    assert row["letter_state"] == "redriven"


@pytest.mark.parametrize(
    "value",
    [
        encode(view("e1"))[:-1],
        encode(view("e1")).replace(b'"e1"', b'"\\u0065\\u0031"').replace(b"5000", b"-1"),
        encode(view("e1")) + b"x",
        b'{"id":"e1"}',
    ],
)
async def test_an_event_that_cannot_be_read_is_told_too(value: bytes) -> None:
    world = await world_of([record(value, 0), interaction_record(view("e2"), 1)])
    [row] = await traced(world, "e1")
    assert (row["outcome"], row["letter"]) == ("refused", "interactions:0:0")


async def test_an_array_that_is_refused_whole_refuses_each_of_its_events() -> None:
    headers = [("caf\udce9", b"1")]
    world = await world_of([record(encode([view("e1"), view("e2")]), 0, headers=headers)])
    [row] = await traced(world, "e2")
    assert (row["element"], row["outcome"], row["letter"]) == (1, "refused", "interactions:0:0")


async def test_what_is_not_counted_yet_waits() -> None:
    world = await world_of([interaction_record(view("e1"), 0)])
    world.put([interaction_record(view("e1"), 1), record(b'{"id":"e1"', 2)])
    rows = await traced(world, "e1")
    assert told(rows) == [(0, 0, "counted"), (1, 0, "waiting"), (2, 0, "waiting")]
    assert rows[1]["why"] == "its partition is counted up to offset 0"
    world.store = MemoryStore()
    assert {row["why"] for row in await traced(world, "e1")} == {"its partition is not counted yet"}


async def test_a_letter_outlives_its_record() -> None:
    world = await world_of([record(b'{"id":"e1"}', 0), interaction_record(like("e2"), 1)])
    world.log.forget("interactions", 0, 1)
    [row] = await traced(world, "e1")
    assert (row["offset"], row["outcome"], row["letter"]) == (0, "refused", "interactions:0:0")


async def test_with_the_video_its_partition_alone_is_read() -> None:
    post = Post()
    post.log.append(Outgoing("interactions", encode(view("e1")), b"v1"))
    for partition in (0, 1, 2):
        post.log.leaderless.add(("interactions", partition))
    store = MemoryStore()
    query = TraceQuery("e1", video="v1")
    [row] = await trace(post.reader, store, post.cluster, post.settings, query)
    assert row["outcome"] == "waiting"


async def test_a_stray_event_is_known_by_its_letter_alone() -> None:
    post = Post()
    post.refuse(encode(view("e1", video="v2")), [Refusal(0, 0, "misrouted", "m")])
    query = TraceQuery("e1", video="v2")
    [row] = await trace(post.reader, MemoryStore(), post.cluster, post.settings, query)
    assert (row["outcome"], row["why"]) == ("refused", "misrouted: m")
