from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.core.packed import PackedIds, PackedLikes, digest_of, digests_in

KEYS = [f"e{number}" for number in range(3_000)]
PAIRS = st.tuples(st.sampled_from(["a", "b", "ab"]), st.sampled_from(["v1", "v2", "1", "a"]))
STATES = st.none() | st.tuples(st.sampled_from(["", "discover:cars", "nearby:a"]), st.booleans())


def packed(keys: list[str]) -> PackedIds:
    ids = PackedIds()
    ids.add(b"".join(map(digest_of, keys)))
    return ids


def test_every_id_is_there_and_no_other() -> None:
    ids = packed(KEYS)
    assert all(digest_of(key) in ids for key in KEYS)
    assert not any(digest_of(f"{key}-") in ids for key in KEYS)


def test_buckets_stay_small() -> None:
    sizes = [len(bucket) // 16 for bucket in packed(KEYS)._buckets]
    assert sum(sizes) == len(KEYS)
    assert max(sizes) < 100


def test_the_digests_come_in_one_spelling() -> None:
    shuffled = Random(1).sample(KEYS, len(KEYS))
    assert packed([*shuffled, *KEYS[:9]]).digests() == packed(KEYS).digests()
    assert set(digests_in(packed(KEYS).digests())) == set(map(digest_of, KEYS))


@pytest.mark.parametrize("ids", [1, 17, 100, 3_000, 50_000])
def test_room_that_was_made_before_changes_no_answer(ids: int) -> None:
    roomy = PackedIds()
    roomy.reserve(ids)
    for first in range(0, 2_000, 500):
        roomy.add(b"".join(map(digest_of, KEYS[first : first + 500])))
        roomy.reserve(ids)  # too late: it is there
    assert not any(roomy.meet(digest_of(key)) for key in KEYS[2_000:])
    assert roomy.digests() == packed(KEYS).digests()
    assert all(digest_of(key) in roomy for key in KEYS)
    assert not any(digest_of(f"{key}-") in roomy for key in KEYS)


def test_bytes_across_two_digests_are_no_id() -> None:
    ids = PackedIds()
    ids.add(bytes(range(32)))
    assert bytes(range(16, 32)) in ids
    assert bytes(range(8, 24)) not in ids
    assert bytes(8) + bytes(range(8)) not in ids


def test_an_id_that_also_stands_across_two_others_is_found() -> None:
    ids = PackedIds()
    ids.add(b"x" * 8 + b"a" * 8 + b"a" * 8 + b"y" * 8 + b"a" * 16)
    assert b"a" * 16 in ids


@given(st.lists(st.tuples(PAIRS, STATES, st.booleans()), max_size=60))
def test_likes_are_kept_like_in_a_dictionary(
    puts: list[tuple[tuple[str, str], tuple[str, bool] | None, bool]],
) -> None:
    likes, known = PackedLikes(), {}
    for pair, state, met in puts:
        likes.put(pair, state, met=met)
        before, was_met = known.get(pair, (None, False))
        known[pair] = (state or before, met or was_met)
    assert {pair: (state, met) for pair, state, met in likes.items()} == known
    for pair, (state, met) in known.items():
        assert (likes.state(pair), likes.is_met(pair)) == (state, met)


def test_many_likes_are_found_again() -> None:
    likes = PackedLikes()
    for number in range(3_000):
        likes.put((f"u{number}", "v1"), (f"discover:{number}", False), met=False)
    for number in range(3_000):
        assert likes.state((f"u{number}", "v1")) == (f"discover:{number}", False)
    assert likes.state(("u", "v1")) is None
    assert not likes.is_met(("u1", "v1"))
