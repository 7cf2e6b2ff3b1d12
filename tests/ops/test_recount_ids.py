"""What a recount remembers of ids: answers of a set, in a fifth of its bytes."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from streams.core.packed import digest_of
from streams.ops.recount_ids import MetIds

KEYS = [f"e{number}" for number in range(3_000)]
DIGESTS = [digest_of(key) for key in KEYS]


def met(digests: list[bytes]) -> MetIds:
    ids = MetIds()
    for digest in digests:
        ids.meet(digest)
    return ids


def joined(digests: list[bytes]) -> bytes:
    return b"".join(sorted(digests))


@given(st.lists(st.integers(0, 30), max_size=60))
def test_it_answers_as_a_set_of_the_keys_would(numbers: list[int]) -> None:
    ids, known = MetIds(), set()
    for number in numbers:
        assert (DIGESTS[number] in ids) == (number in known)
        assert ids.meet(DIGESTS[number]) == (number in known)
        known.add(number)


def test_bytes_across_two_digests_were_not_met() -> None:
    class Fixed(bytes):
        """All on one shelf."""

        def __hash__(self) -> int:
            return 7

    ids = MetIds()
    for digest in (b"x" * 8 + b"a" * 8, b"a" * 8 + b"y" * 8):
        ids.meet(Fixed(digest))
    assert Fixed(b"a" * 16) not in ids
    ids.meet(Fixed(b"a" * 16))
    assert Fixed(b"a" * 16) in ids


def test_it_agrees_with_the_same_digests_and_ids_alone() -> None:
    ids = met(Random(1).sample(DIGESTS, len(DIGESTS)))
    assert ids.agrees(KEYS, b"")
    assert ids.agrees((), joined(DIGESTS))
    assert ids.agrees(KEYS[:100], joined(DIGESTS[50:]))
    assert not ids.agrees(KEYS[1:], b"")
    assert not ids.agrees(KEYS[:100], joined(DIGESTS[101:]))
    assert not ids.agrees(["e", *KEYS], b"")
    assert not ids.agrees((), joined([*DIGESTS, digest_of("e")]))


def test_a_repeated_digest_stands_for_no_other() -> None:
    assert not met(DIGESTS[:2]).agrees((), DIGESTS[0] * 2)
