"""What is sent again of a letter, byte by byte, and what is not."""

import json
from typing import Any

import msgspec
import pytest
from kit.events import FIXED, NOW, like, takedown, view
from kit.keys import SIGNER
from kit.letters import HOME, LATER, LIMIT, Post

from streams.core.events import (
    InteractionRecord,
)
from streams.core.partitioner import partition_of
from streams.core.receipts import Refusal
from streams.core.words import Review
from streams.errors import Misconfigured
from streams.ops.dead_letters import LetterFilter, LetterName
from streams.ops.mending import MOST_ROUNDS, MendedLetter, Mending, require_own_ids
from streams.runtime.signing import control_record, encode

STRAY = "v2"
AWAY = partition_of(STRAY.encode(), 4)
VERDICT = Review("r1", "v1", NOW, "approve", "mod")


@pytest.fixture
def post() -> Post:
    return Post()


def spelled(event: InteractionRecord | Review, **changes: Any) -> bytes:
    fields: dict[str, Any] = {**msgspec.json.decode(encode(event)), **changes}
    return json.dumps(fields).encode()


async def mend(post: Post, **how: Any) -> MendedLetter:
    [kept] = await post.letters()
    return Mending(4, LIMIT, **how)(kept, kept.held, LATER)


def spared(mended: MendedLetter) -> list[tuple[int, str]]:
    return [(one.refusal.element, one.outcome) for one in mended.spared]


async def test_a_patched_record_goes_to_its_own_place_with_its_own_headers(post: Post) -> None:
    bad = spelled(view("e1"), watch_ms="5000")
    post.refuse(bad, headers=[("trace", b"\xff"), ("x-producer", b"ios")])
    mended = await mend(post, patch={"watch_ms": 5_000})
    [job] = mended.sent
    assert not mended.spared
    assert msgspec.json.decode(job.record.value or b"") == msgspec.json.decode(encode(view("e1")))
    assert (job.record.topic, job.record.key, job.record.partition) == ("interactions", b"v1", HOME)
    assert job.record.timestamp is None  # now: its own may be older than the topic keeps records
    headers = list(job.record.headers)
    assert headers[:2] == [("trace", b"\xff"), ("x-producer", b"ios")]
    assert dict(headers[2:]) == {
        "x-original-topic": b"interactions",
        "x-original-partition": str(HOME).encode(),
        "x-original-offset": b"0",
        "x-original-timestamp": str(NOW).encode(),
        "x-redrive-count": b"1",
    }


async def test_without_a_patch_the_bytes_stay_as_they_are(post: Post) -> None:
    early = spelled(view("e1", ts=NOW + 330_000), spare=1.50)
    post.refuse(early)
    [job] = (await mend(post)).sent
    assert job.record.value == early


async def test_what_would_be_refused_again_is_not_sent(post: Post) -> None:
    post.refuse(spelled(view("e1"), watch_ms="5000"))
    mended = await mend(post, patch={"watch_ms": -1})
    assert not mended.sent
    assert spared(mended) == [(0, "range")]


async def test_of_an_array_the_refused_elements_alone_are_sent(post: Post) -> None:
    elements = [
        encode(view("good")),
        spelled(view("b1"), slice="mars:x"),
        spelled(view("b2"), slice="mars:x"),
        b"1",
        spelled(view("b3"), slice="mars:x", watch_ms=-1),
    ]
    post.refuse(b"[" + b",".join(elements) + b"]")
    mended = await mend(post, patch={"slice": "discover:cars"})
    [job] = mended.sent
    sent = msgspec.json.decode(job.record.value or b"")
    assert [one["id"] for one in sent] == ["b1", "b2"]
    assert [one.element for one in job.refusals] == [1, 2]
    assert spared(mended) == [(3, "not_object"), (4, "range")]


async def test_a_video_of_another_partition_needs_a_new_key(post: Post) -> None:
    post.refuse(encode(view("e1", video=STRAY)), [Refusal(0, 0, "misrouted", "m")])
    assert spared(await mend(post)) == [(0, "misrouted")]
    [job] = (await mend(post, rekey=True)).sent
    assert (job.record.key, job.record.partition) == (STRAY.encode(), AWAY)
    assert AWAY != HOME


async def test_the_stray_elements_of_one_array_part_ways(post: Post) -> None:
    videos = ["v2", "v3", "v2", "v5"]
    homes = {partition_of(video.encode(), 4) for video in videos}
    events = [view(f"e{n}", video=video) for n, video in enumerate(videos)]
    refusals = [Refusal(0, n, "misrouted", "m") for n in range(4)]
    post.refuse(encode(events), refusals)
    jobs = (await mend(post, rekey=True)).sent
    assert {job.record.partition for job in jobs} == homes
    assert sorted(one.element for job in jobs for one in job.refusals) == [0, 1, 2, 3]
    for job in jobs:
        assert partition_of(job.record.key or b"", 4) == job.record.partition


async def test_a_patched_video_is_rerouted(post: Post) -> None:
    post.refuse(spelled(view("e1"), video="bad id"))
    assert spared(await mend(post, patch={"video": STRAY})) == [(0, "misrouted")]
    [job] = (await mend(post, patch={"video": STRAY}, rekey=True)).sent
    assert job.record.partition == AWAY


async def test_a_verdict_is_sent_again_under_the_key_of_its_video(post: Post) -> None:
    post.refuse(
        spelled(VERDICT, verdict="yes"), [Refusal(0, 0, "range", "m")], topic="reviews", key=b"x"
    )
    patch = {"verdict": "approve"}
    assert spared(await mend(post, patch=patch)) == [(0, "misrouted")]
    [job] = (await mend(post, patch=patch, rekey=True)).sent
    assert (job.record.topic, job.record.key, job.record.partition) == ("reviews", b"v1", HOME)
    assert spared(await mend(post, patch={"verdict": "no"}, rekey=True)) == [(0, "range")]
    future = {"verdict": "limit", "ts": LATER + 400_000}
    assert spared(await mend(post, patch=future, rekey=True)) == [(0, "future")]


async def test_a_verdict_that_a_person_signed_is_sent_again_as_it_was(post: Post) -> None:
    value = encode(VERDICT)
    signed = [SIGNER.header(b"v1", value)]
    refusal = Refusal(0, 0, "signature", "by: nobody")  # before anybody wrote them into review.toml
    post.refuse(value, [refusal], topic="reviews", key=b"v1", headers=signed)
    [job] = (await mend(post)).sent
    assert (job.record.value, next(iter(job.record.headers))) == (value, signed[0])


async def test_a_bad_header_is_mended_by_the_letter_and_its_whole_array_is_sent(post: Post) -> None:
    both = encode([view("e1"), view("e2")])
    post.refuse(both, [Refusal(0, 0, "header", "m")], headers=[("caf\udce9", b"1")])
    [job] = (await mend(post)).sent
    assert job.record.value == both
    assert job.record.headers[0] == ("caf\\xe9", b"1")


async def test_control_records_and_receipts_are_never_sent_again(post: Post) -> None:
    signed = control_record("interactions", FIXED, SIGNER, 0)
    post.refuse(signed.value, [Refusal(0, 0, "stale", "m")], headers=signed.headers)
    assert spared(await mend(post)) == [(0, "control")]
    post = Post()
    post.refuse(encode(takedown()))
    assert spared(await mend(post, patch={"note": "x"})) == [(0, "signature")]
    post = Post()
    post.refuse(b"{", topic="decisions")
    assert spared(await mend(post)) == [(0, "receipt")]


async def test_after_three_rounds_it_needs_another_cure(post: Post) -> None:
    rounds = [("x-redrive-count", str(MOST_ROUNDS).encode())]
    post.refuse(spelled(view("e1"), watch_ms="1"), headers=rounds)
    assert spared(await mend(post, patch={"watch_ms": 1})) == [(0, "rounds")]


async def test_the_rounds_are_counted(post: Post) -> None:
    post.refuse(spelled(view("e1"), watch_ms="1"), headers=[("x-redrive-count", b"2")])
    [job] = (await mend(post, patch={"watch_ms": 1})).sent
    assert [text for name, text in job.record.headers if name == "x-redrive-count"] == [b"3"]


async def test_an_id_that_the_log_remembers_would_count_nothing(post: Post) -> None:
    """The fold notes an id before it looks for the slice, so a repeat is a duplicate."""
    post.refuse(encode(like("e1")), [Refusal(0, 0, "slice_limit", "m")])
    assert spared(await mend(post, patch={"slice": "discover:cars"})) == [(0, "slice_limit")]
    assert len((await mend(post, patch={"id": "e2"})).sent) == 1


@pytest.mark.parametrize("value", [None, b"", b"{", b"[]", b"1", b"\xff"])
async def test_what_no_patch_can_mend_stays_a_letter(post: Post, value: bytes | None) -> None:
    post.refuse(value)
    whole = msgspec.json.decode(encode(view("e1")))
    mended = await mend(post, patch=whole, rekey=True)
    assert not mended.sent
    assert len(mended.spared) == 1


async def test_one_patch_gives_no_two_events_the_same_id(post: Post) -> None:
    one = LetterFilter(names=(LetterName("interactions", 0, 0),))
    require_own_ids({"id": "x"}, one)
    require_own_ids({"slice": "x"}, LetterFilter())
    with pytest.raises(Misconfigured, match="name one letter"):
        require_own_ids({"id": "x"}, LetterFilter())
    post.refuse(b'[{"type":"view"},{"type":"view"}]')
    assert spared(await mend(post, patch={"id": "x"})) == [(0, "id"), (1, "id")]


async def test_elements_that_no_longer_fit_one_record_go_singly(post: Post) -> None:
    post.refuse(b"[" + b",".join(spelled(view(f"e{n}"), slice="x") for n in range(3)) + b"]")
    [kept] = await post.letters()
    patch = {"slice": "discover:cars", "note": "x" * 300}
    mended = Mending(4, 1_000, patch)(kept, kept.held, LATER)
    assert len(mended.sent) == 3
