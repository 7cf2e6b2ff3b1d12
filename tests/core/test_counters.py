import json
from dataclasses import replace
from random import Random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.core.counters import (
    ACTIVE,
    COUNTERS,
    DIGEST_MODULUS,
    DISTRIBUTION,
    EVIDENCE,
    FADING,
    HELD,
    IDLE,
    ROW_VERSION,
    SLICE_STAGES,
    STOPPED,
    VIDEO_FIELDS,
    VIDEO_ROW,
    VIEWERS,
    Slice,
    Video,
    decode_slice,
    decode_video,
    encode_slice,
    encode_video,
    load_video,
    row_digest,
    salt_of,
)
from streams.core.distinct import EVERYONE
from streams.core.units import NEVER

counts = st.integers(0, (1 << 62) - 1)
slices = st.builds(
    Slice,
    **dict.fromkeys((*COUNTERS, *DISTRIBUTION), counts),
    viewers=st.integers(1, EVERYONE),
    likers=counts,
    pressers=counts,
)
FULL = Slice(**{name: at for at, name in enumerate((*COUNTERS, *DISTRIBUTION, *VIEWERS), start=1)})
VIDEO = Video(stage="public", band=3, seq=7, fits={"discover:football": 400_000}, creator="c1")


# ---------------------------------------------------------------- rows of slices


@given(slices)
def test_a_row_comes_back_from_its_bytes(row: Slice) -> None:
    assert decode_slice(encode_slice(row)) == row


def test_a_row_is_its_version_its_counters_and_what_distribution_keeps() -> None:
    version, counters, kept, bits = json.loads(encode_slice(FULL))
    assert version == ROW_VERSION == 2
    assert dict(zip(COUNTERS, counters, strict=True))["spend"] == len(COUNTERS)
    assert dict(zip(DISTRIBUTION, kept, strict=True))["status"] == len(COUNTERS) + 1
    assert bits == [FULL.viewers, 0, 0, FULL.likers, FULL.pressers]


def test_all_that_is_stored_of_viewers_is_below_what_a_double_holds() -> None:
    row = replace(FULL, viewers=EVERYONE)
    *_, bits = json.loads(encode_slice(row))
    assert bits[:3] == [(1 << 43) - 1, (1 << 43) - 1, (1 << 41) - 1]
    assert decode_slice(encode_slice(row)) == row


def test_a_row_without_what_weighs_nothing_is_stored_without_it() -> None:
    row = Slice(impressions=3, buyers=1)
    assert len(json.loads(encode_slice(row))[1]) == len(EVIDENCE)
    row.spend = 7
    assert len(json.loads(encode_slice(row))[1]) == len(COUNTERS)
    assert decode_slice(encode_slice(row)) == row


def test_a_row_that_nobody_granted_anything_keeps_its_viewers() -> None:
    row = Slice(impressions=2, viewers=1 << 100 | 1)
    assert json.loads(encode_slice(row))[2:] == [[], [1, 0, 1 << 14, 0, 0]]
    assert decode_slice(encode_slice(row)) == row


@pytest.mark.parametrize("name", DISTRIBUTION)
def test_a_row_is_cut_to_its_counters_only_if_the_rest_has_its_defaults(name: str) -> None:
    counted = Slice(impressions=30, views=12)
    assert len(json.loads(encode_slice(counted))) == 2
    kept = replace(counted, **{name: getattr(counted, name) + 1})
    assert len(json.loads(encode_slice(kept))) == 3
    assert decode_slice(encode_slice(kept)) == kept
    assert decode_slice(encode_slice(counted)) == counted


@pytest.mark.parametrize("counters", range(len(COUNTERS) + 1))
def test_what_a_shorter_row_lacks_has_its_default(counters: int) -> None:
    row = decode_slice(msgspec.json.encode([2, [*range(1, counters + 1)], [ACTIVE, 2]]))
    assert [getattr(row, name) for name in COUNTERS[:counters]] == [*range(1, counters + 1)]
    assert all(getattr(row, name) == 0 for name in COUNTERS[counters:])
    assert (row.status, row.stage, row.check_views, row.tranche) == (ACTIVE, 2, NEVER, 0)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"null",
        b"{}",
        b"[2]",
        b"[1,[0,0]]",
        b"[3,[0,0]]",
        b'[2,[0,"1"]]',
        b"[2,[0.5]]",
        b"[2,[null]]",
        encode_slice(FULL)[:-1],
        msgspec.json.encode([2, [0] * (len(COUNTERS) + 1)]),
        msgspec.json.encode([2, [0] * len(COUNTERS), [0] * (len(DISTRIBUTION) + 1)]),
        msgspec.json.encode([2, [0], [0], [0] * 6]),
    ],
)
def test_a_row_longer_cut_short_or_of_another_version_is_refused(raw: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        decode_slice(raw)


@pytest.mark.parametrize("viewers", [0, 1 << 100 | 1])
def test_what_weighs_no_more_of_a_live_room_stands_at_the_end(viewers: int) -> None:
    row = Slice(impressions=2, viewers=viewers, faded=[64] * len(FADING))
    assert len(json.loads(encode_slice(row))) == 5
    assert decode_slice(encode_slice(row)) == row


def test_what_a_shorter_list_of_what_fades_lacks_is_nothing() -> None:
    row = decode_slice(b"[2,[3,2],[],[],[64]]")
    assert row.faded == [64] + [0] * (len(FADING) - 1)
    with pytest.raises(ValueError, match="at most"):
        decode_slice(msgspec.json.encode([2, [3], [], [], [1] * (len(FADING) + 1)]))


def test_neither_cache_nor_epoch_is_stored() -> None:
    row = replace(FULL, epoch=9, digest=8, salt=7)
    assert encode_slice(row) == encode_slice(FULL)


def test_the_numbers_of_states_are_their_places() -> None:
    names = [SLICE_STAGES[place] for place in (IDLE, ACTIVE, HELD, STOPPED)]
    assert names == ["idle", "active", "held", "stopped"]


def test_stored_fields_only_ever_grow_at_their_ends() -> None:
    """What is stored is read by place: nothing may move."""
    assert (
        *("impressions", "views", "watch_ms", "completes", "likes", "comments", "shares"),
        *("follows", "hides", "reports", "orders", "ratio_sum", "ratio_sq"),
        *("commenters", "sharers", "reporters", "buyers"),
        *("profiles", "unfollows", "gifts", "stays", "stay_ms", "follower_impressions"),
        *("order_amount", "gift_amount", "spend"),
    ) == COUNTERS
    assert DISTRIBUTION[:5] == ("status", "stage", "allowance", "tranche", "check_views")
    assert DISTRIBUTION[5:10] == (
        *("check_impressions", "granted_views", "turn_ms", "young", "maturing"),
    )
    assert DISTRIBUTION[10:] == ("presses", "late_judgements", "cause", "returns", "estimated")
    assert VIEWERS == ("viewers", "likers", "pressers")
    assert (
        *("impressions", "views", "completes", "likes", "follows", "hides"),
        *("ratio_sum", "ratio_sq", "commenters", "sharers", "reporters", "buyers"),
    ) == FADING
    assert VIDEO_FIELDS[:4] == ("stage", "band", "commercial", "seq")


# ---------------------------------------------------------------- rows of videos


def test_a_videos_row_comes_back_from_its_bytes() -> None:
    assert decode_video(encode_video(VIDEO)) == VIDEO
    assert json.loads(encode_video(VIDEO))[0] == ROW_VERSION


def test_what_a_shorter_row_of_a_video_lacks_has_its_default() -> None:
    assert decode_video(b'[2,"limited",4]') == Video(stage="limited", band=4)


@pytest.mark.parametrize(
    "raw",
    [
        b"[]x",
        b'[1,"public"]',
        b'[3,"public"]',
        b'[2,"asleep"]',
        encode_video(VIDEO)[:-1] + b",0]",
        encode_video(VIDEO)[:-1],
    ],
)
def test_a_videos_row_longer_or_of_another_version_is_refused(raw: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        decode_video(raw)


def test_a_hash_becomes_a_video_and_a_bad_field_is_named() -> None:
    fields = {VIDEO_ROW: encode_video(VIDEO), "discover:football": encode_slice(FULL)}
    state = load_video("v1", fields)
    assert state.row == VIDEO
    assert encode_slice(state.slices["discover:football"]) == fields["discover:football"]
    with pytest.raises(ValueError, match="field discover:cars: "):
        load_video("v1", {**fields, "discover:cars": b"[2]"})


# ---------------------------------------------------------------- the digest


def digest_of(rows: dict[tuple[str, str], bytes], order: list[tuple[str, str]]) -> int:
    return sum(row_digest(salt_of(*place), rows[place]) for place in order) % DIGEST_MODULUS


ROWS = {
    (f"v{number}", field): encode_slice(replace(FULL, views=number))
    for number in range(20)
    for field in ("discover:football", "discover:music")
}


@given(st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(chance: Random) -> None:
    order = list(ROWS)
    chance.shuffle(order)
    assert digest_of(ROWS, order) == digest_of(ROWS, list(ROWS))


@pytest.mark.parametrize("raw", [encode_slice(FULL), encode_video(VIDEO)])
def test_every_byte_counts(raw: bytes) -> None:
    salt = salt_of("v1", "discover:football")
    whole = row_digest(salt, raw)
    changed = {
        row_digest(salt, raw[:place] + bytes([byte]) + raw[place + 1 :])
        for place in range(len(raw))
        for byte in (raw[place] ^ 1, raw[place] ^ 8, 32)
    }
    assert whole not in changed
    assert len(changed) == 3 * len(raw)


def test_bytes_that_changed_places_count() -> None:
    chance = Random(5)
    raw = bytes(chance.randrange(48, 58) for _ in range(300))
    salt = salt_of("v1", "discover:football")
    whole = row_digest(salt, raw)
    for first in range(150):
        for second in range(first + 1, 300):
            if raw[first] != raw[second]:
                swapped = bytearray(raw)
                swapped[first], swapped[second] = raw[second], raw[first]
                assert row_digest(salt, bytes(swapped)) != whole, (first, second)


def test_no_two_rows_share_a_salt() -> None:
    salts = {
        salt_of(f"v{video}", f"discover:c{field}") for video in range(50) for field in range(50)
    }
    assert len(salts) == 2_500
    assert all(0 < salt < DIGEST_MODULUS for salt in salts)
    assert salt_of("a b", "c") == salt_of("a", "b c")  # ids and slices hold no space


def test_the_same_bytes_elsewhere_have_another_digest() -> None:
    raw = encode_slice(FULL)
    assert row_digest(salt_of("v1", "discover:a"), raw) != row_digest(
        salt_of("v2", "discover:a"), raw
    )


@given(st.binary(min_size=1, max_size=400))
def test_a_digest_lies_below_the_modulus(raw: bytes) -> None:
    assert 0 <= row_digest(salt_of("v1", "video"), raw) < DIGEST_MODULUS < 1 << 127
