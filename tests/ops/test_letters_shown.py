"""Letters for people: nothing of a viewer, and nothing that moves a terminal."""

import pytest
from kit.events import view
from kit.letters import HOME, Post

from streams.ops.dead_letters import KeptLetter, LetterFilter, read_letters
from streams.ops.letters_shown import as_object, as_row, first_rows, letter_stats
from streams.runtime.signing import encode


@pytest.fixture
def post() -> Post:
    return Post()


async def only(post: Post) -> KeptLetter:
    [kept] = await post.letters()
    return kept


async def test_a_line_says_what_and_whose(post: Post) -> None:
    post.refuse(b"[1,2]", headers=[("x-producer", b"\x1b[2Jios")])
    row = as_row(await only(post))
    assert (row["letter"], row["state"]) == (f"interactions:{HOME}:0", "open")
    assert (row["reason"], row["refused"]) == ("not_object", 2)
    assert row["producer"] == "\\u001b[2Jios"


async def test_viewers_are_masked_unless_they_are_to_be_seen(post: Post) -> None:
    post.refuse(b"[" + encode(view("e1", viewer="alice")) + b',{"type":"view","viewer":["bob"]}]')
    kept = await only(post)
    masked, whole = as_object(kept, reveal=False), as_object(kept, reveal=True)
    assert "alice" not in str(masked)
    assert "bob" not in str(masked)
    assert [one["viewer"] for one in masked["value"]] == ["***", "***"]
    assert whole["value"][0]["viewer"] == "alice"


async def test_what_is_no_json_may_name_a_viewer_anywhere(post: Post) -> None:
    post.refuse(b'{"viewer":"alice",\x1b')
    kept = await only(post)
    assert as_object(kept, reveal=False)["value"] == "19 bytes, no JSON: see --reveal"
    assert as_object(kept, reveal=True)["value"] == '{"viewer":"alice",\\u001b'.replace('"', '\\"')


async def test_a_viewer_in_the_key_or_a_header_is_masked_too(post: Post) -> None:
    headers = [("user", b"alice"), ("x-producer", b"ios")]
    post.refuse(b'{"viewer":"alice"}', key=b"alice", headers=headers)
    kept = await only(post)
    assert "alice" not in str(as_object(kept, reveal=False))
    whole = as_object(kept, reveal=True)
    assert (whole["key"], whole["headers"][0]) == ("alice", ["user", "alice"])


async def test_what_nests_too_deeply_to_be_printed_is_no_json(post: Post) -> None:
    post.refuse(b"[" * 900 + b"]" * 900)
    kept = await only(post)
    assert as_object(kept, reveal=False)["value"] == "1,800 bytes, no JSON: see --reveal"
    assert as_object(kept, reveal=True)["value"] == "[" * 900 + "]" * 900


async def test_one_letter_says_all_that_is_known(post: Post) -> None:
    post.refuse(b"[1]", headers=[("trace", b"7"), ("none", None)])
    shown = as_object(await only(post), reveal=False)
    assert (shown["stage"], shown["group"], shown["key"]) == ("decode", "g", "v1")
    assert shown["headers"] == [["trace", "7"], ["none", ""]]
    assert shown["refusals"][0]["reason"] == "not_object"
    assert shown["timestamp"] < shown["written"]


async def test_counts_go_by_topic_reason_and_producer(post: Post) -> None:
    post.refuse(b"[1,2]", headers=[("x-producer", b"ios")])
    post.refuse(b"[1]", headers=[("x-producer", b"ios")])
    post.refuse(b"{")
    post.refuse(b"{", topic="uploads")
    letters = read_letters(post.reader, post.cluster, post.settings, LetterFilter())
    rows = await letter_stats(letters)
    counted = [
        [row[name] for name in ("topic", "reason", "producer", "refusals", "letters")]
        for row in rows
    ]
    assert counted[0] == ["interactions", "not_object", "ios", 3, 2]
    assert ["interactions", "json", f"partition {HOME}", 1, 1] in counted
    assert ["uploads", "json", f"partition {HOME}", 1, 1] in counted


async def test_a_list_ends_where_it_is_told_to(post: Post) -> None:
    for _ in range(5):
        post.refuse(b"{")
    letters = read_letters(post.reader, post.cluster, post.settings, LetterFilter())
    assert len(await first_rows(letters, 3)) == 3
