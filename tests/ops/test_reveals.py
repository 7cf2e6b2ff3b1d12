"""Who had viewers shown: kept beside the letters, and taken for none of them."""

import pytest
from kit.letters import LATER, Post

from streams.errors import Retry
from streams.ops.explain import moment
from streams.ops.reveals import Reveal, keep_reveal, read_reveals

CAROL = Reveal("carol", "ticket 7", "dlq show interactions:0:7")


async def test_a_reveal_is_read_back_with_its_time() -> None:
    post = Post()
    await keep_reveal(post.producer, post.settings, CAROL)
    [row] = await read_reveals(post.reader, post.cluster, post.settings, "earliest")
    assert row == {
        "at": moment(LATER),
        "by": "carol",
        "note": "ticket 7",
        "what": "dlq show interactions:0:7",
    }


async def test_it_is_no_letter_and_strangers_records_are_no_reveal() -> None:
    post = Post()
    post.refuse(b"[1]", partition=0, headers=[("__streams.revealed", b"x")])
    await keep_reveal(post.producer, post.settings, CAROL)
    assert len(await post.letters()) == 1
    assert len(await read_reveals(post.reader, post.cluster, post.settings, "earliest")) == 1


async def test_whoever_cannot_be_written_down_is_told_so() -> None:
    post = Post()
    post.log.leaderless.add(("interactions.dlq", 0))
    with pytest.raises(Retry):
        await keep_reveal(post.producer, post.settings, CAROL)
