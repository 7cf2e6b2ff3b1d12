"""Letters as they are kept: each read once, those that are wanted."""

import pytest
from kit.events import view
from kit.letters import HOME, LATER, Post

from streams.core.receipts import Refusal
from streams.errors import Halt, Misconfigured
from streams.ops.dead_letters import LetterFilter, LetterName, one_letter, read_letters
from streams.ops.settled import marks
from streams.runtime.codec import ARRAY_MAX
from streams.runtime.ports import Outgoing
from streams.runtime.signing import encode
from streams.settings import TOPICS


@pytest.fixture
def post() -> Post:
    return Post()


async def test_a_letter_is_named_by_the_place_of_its_record(post: Post) -> None:
    post.refuse(b"{", headers=[("x-producer", b"android"), ("x-redrive-count", b"2")])
    [kept] = await post.letters()
    assert str(kept.name) == f"interactions:{HOME}:0"
    assert (kept.producer, kept.rounds) == ("android", 2)
    assert kept.held is not None
    assert (kept.held.value, kept.held.key) == (b"{", b"v1")
    assert kept.held.headers == (("x-producer", b"android"), ("x-redrive-count", b"2"))


async def test_a_record_keeps_its_own_headers_whatever_they_are_called(post: Post) -> None:
    """A replay, another pipeline or a stranger may have used our names before."""
    headers = [("x-original-topic", b"a"), ("__streams.errors.topic", b"b"), ("t", None)]
    post.refuse(b"{", headers=headers)
    [kept] = await post.letters()
    assert kept.held is not None
    assert list(kept.held.headers) == headers
    assert kept.letter.topic == "interactions"


async def test_without_a_producer_it_is_the_partition(post: Post) -> None:
    post.refuse(b"{")
    [kept] = await post.letters()
    assert kept.producer == f"partition {HOME}"


async def test_a_letter_that_a_worker_wrote_twice_is_read_once(post: Post) -> None:
    twice = post.refuse(b"{")
    post.log.append(Outgoing(twice.topic, twice.value, twice.key, twice.headers, 0))
    post.log.append(Outgoing(twice.topic, b"no letter"))
    assert len(await post.letters()) == 1


async def test_letters_of_all_topics_are_read(post: Post) -> None:
    for topic in TOPICS:
        post.refuse(b"{", topic=topic)
    assert [kept.name.topic for kept in await post.letters()] == [*TOPICS]
    assert len(await post.letters(topics=("reviews",))) == 1


async def test_filters_choose(post: Post) -> None:
    post.refuse(b"{", headers=[("x-producer", b"ios")])
    post.refuse(b"[1," + encode(view("a", slice_id="mars:x")) + b"]", partition=1)
    assert [kept.name.partition for kept in await post.letters(producers={"ios"})] == [HOME]
    assert [kept.name.partition for kept in await post.letters(partitions={1})] == [1]
    name = LetterName("interactions", 1, 0)
    assert [kept.name for kept in await post.letters(names={name})] == [name]
    assert len(await post.letters(until=LATER + 1)) == 2
    assert not await post.letters(until=LATER)
    assert not await post.letters(start=LATER + 1)


async def test_of_an_array_the_refusals_of_the_reason_are_chosen(post: Post) -> None:
    post.refuse(b"[1," + encode(view("a", slice_id="mars:x")) + b"]")
    [kept] = await post.letters(reasons={"slice"})
    assert [(one.element, one.reason) for one in kept.refusals] == [(1, "slice")]
    assert not await post.letters(reasons={"json"})


async def test_what_was_settled_is_read_only_where_it_is_wanted(post: Post) -> None:
    letter = post.refuse(b"[1,2,3]")
    for mark in marks(letter.topic, "discarded", [(letter.partition, (HOME, 0, 1))]):
        post.log.append(mark)
    [kept] = await post.letters()
    assert [one.element for one in kept.refusals] == [0, 2]
    [kept] = await post.letters(settled=True)
    assert kept.states == ("open", "discarded", "open")


async def test_refusals_for_which_a_letter_had_no_room_are_found_again(post: Post) -> None:
    good = encode(view("e1"))
    away = encode(view("e2", video="v2"))
    elements = [b"1"] * (ARRAY_MAX - 3) + [good, away, b"1"]
    listed = [Refusal(0, n, "not_object", "m") for n in range(ARRAY_MAX - 3)]
    rest = [
        Refusal(0, ARRAY_MAX - 2, "misrouted", "m"),
        Refusal(0, ARRAY_MAX - 1, "not_object", "m"),
    ]
    post.refuse(b"[" + b",".join(elements) + b"]", [*listed, *rest])
    [kept] = await post.letters()
    assert len(kept.letter.refusals) < kept.letter.refused
    assert [one.element for one in kept.refusals] == [one.element for one in (*listed, *rest)]
    assert kept.refusals[-2].reason == "misrouted"


async def test_a_letter_that_holds_less_than_its_record_holds_none(post: Post) -> None:
    post.refuse(encode(view()), [Refusal(0, 0, "misrouted", "m")], by=True)
    post.refuse(b"1" * ((1 << 20) + 40_000))
    assert [kept.held for kept in await post.letters()] == [None, None]


async def test_a_letter_that_is_not_there_is_said(post: Post) -> None:
    name = LetterName("interactions", 0, 9)
    letters = read_letters(post.reader, post.cluster, post.settings, LetterFilter(names=(name,)))
    with pytest.raises(Halt, match="there is no letter interactions:0:9"):
        await one_letter(letters, name)


@pytest.mark.parametrize("text", ["", "interactions", "interactions:1", "x:1:2", "reviews:1:-2"])
def test_what_names_no_letter_is_refused(text: str) -> None:
    with pytest.raises(Misconfigured, match="names no letter"):
        LetterName.parse(text)
