"""A person's word on a slice, from the topic `reviews` to the policy in force."""

from dataclasses import replace
from typing import Any

import pytest
from kit.control import NOW, RULES, Office, Process, upload
from kit.keys import INSTALLATION
from msgspec import structs

from streams.control.admission.review import ReviewGate
from streams.control.admission.reviewers import Reviewers
from streams.control.moderation import SliceOpinion, in_index, say, slice_review
from streams.control.policy.succession import successor
from streams.control.policy.words import with_words
from streams.core.events import (
    Policy,
)
from streams.core.words import SliceReview
from streams.errors import Misconfigured
from streams.ops.slice_words import words_in_force
from streams.runtime.leases import Footing
from streams.runtime.memory import MemoryProducer
from streams.runtime.memory.serving import MemoryServingIndex
from streams.runtime.ports import Outgoing
from streams.runtime.signing import Signer, SigningKey, encode

FOOTBALL, MUSIC = "discover:football", "discover:music"
FILES = RULES.policy.draft


def word(
    *,
    frozen: bool = True,
    ts: int = NOW,
    slice_id: str = FOOTBALL,
    by: str = "alice",
    note: str = "a riot",
) -> SliceReview:
    return SliceReview(f"{by}-{ts}", slice_id, ts, frozen, by, note)


async def said(process: Process, *words: SliceReview, signer: Signer | None = None) -> None:
    """Say words on slices, and let the control plane and its leader take them up."""
    office = process.office
    for one in words:
        await say(MemoryProducer(office.world.log), office.world.settings, one, signer)
    await process.work()
    await process.step()
    await office.count()


def shut(office: Office) -> set[str]:
    """Return the slices that are frozen by the policy in force, the same in every partition."""
    policies = office.in_force()
    assert all(each == policies[0] for each in policies)
    return {name for name, spec in policies[0].slices.items() if spec.is_shut}


@pytest.fixture
async def process() -> Process:
    made = await Process(Office()).start()
    await made.office.count()
    return made


async def test_a_word_is_in_force_in_every_partition_and_ends_by_another_one(
    process: Process,
) -> None:
    office = process.office
    before = office.in_force()[0].version
    await said(process, word())
    assert shut(office) == {FOOTBALL}
    policy = office.in_force()[0]
    assert policy.version != before
    assert policy.why == f"{FOOTBALL} frozen, says alice: a riot"
    rows = await words_in_force(office.world.store, process.log.namespace, 2)
    assert [
        (row["slice"], row["state"], row["by"], row["note"], row["partitions"]) for row in rows
    ] == [(FOOTBALL, "frozen", "alice", "a riot", 2)]
    await said(process, word(frozen=False, ts=NOW + 1, by="bob", note="it is over"))
    assert shut(office) == set()
    rows = await words_in_force(office.world.store, process.log.namespace, 2)
    assert [(row["state"], row["by"]) for row in rows] == [("open", "bob")]


async def test_other_slices_and_what_is_asked_of_videos_go_on(process: Process) -> None:
    await said(process, word(), word(slice_id=MUSIC))
    await process.take(upload())
    await process.office.count()
    assert shut(process.office) == {FOOTBALL, MUSIC}
    assert process.office.row().stage == "public"


async def test_an_opening_that_is_older_than_the_freezing_opens_nothing(process: Process) -> None:
    opening = word(frozen=False, ts=NOW + 1)
    await said(process, word(), opening)
    await said(process, word(ts=NOW + 2))
    await said(process, opening)  # kept by somebody, and said again
    assert shut(process.office) == {FOOTBALL}
    await said(process, word(frozen=False, ts=NOW + 3))
    assert shut(process.office) == set()


async def test_a_freezing_counts_whatever_the_clock_of_who_says_it(process: Process) -> None:
    await said(process, word(frozen=False, ts=NOW + 200_000))
    assert process.office.in_force()[0].slices[FOOTBALL].word is not None
    await said(process, word(ts=NOW - 3_000_000))
    assert shut(process.office) == {FOOTBALL}


async def test_changed_files_another_leader_and_an_empty_redis_leave_a_slice_frozen(
    process: Process,
) -> None:
    office = process.office
    await said(process, word())
    changed = structs.replace(FILES, tranche=77, version="other", files="other")
    await process.leader.put_files(changed)
    await office.count()
    assert (office.in_force()[0].tranche, shut(office)) == (77, {FOOTBALL})
    await process.die()
    office.flush()
    other = await Process(office, files=changed).start()
    await other.work()
    await other.step()
    await office.count()
    assert shut(office) == {FOOTBALL}


async def test_a_word_from_before_the_first_control_plane_counts() -> None:
    office = Office()
    producer, settings = MemoryProducer(office.world.log), office.world.settings
    for one in (word(), word(slice_id=MUSIC), word(frozen=False, ts=NOW + 1)):
        await say(producer, settings, one)
    process = await Process(office).start()
    await process.step()
    await office.count()
    assert shut(office) == {MUSIC}


async def refused(process: Process, **more: Any) -> list[str]:
    await said(process, word(**more))
    return process.office.refused("reviews")


async def test_a_slice_that_the_catalogue_does_not_have_is_a_letter(process: Process) -> None:
    assert await refused(process, slice_id="discover:nonsense") == ["slice"]


@pytest.mark.parametrize(
    ("value", "key", "reason"),
    [
        (encode(word()), b"v1", "misrouted"),
        (
            b'{"type":"slice","id":"x","slice":"cars","ts":1700000000000,"frozen":true,"by":"a"}',
            b"cars",
            "slice",
        ),
        (
            b'{"type":"slice","id":"x","slice":"discover:cars","ts":1700000000000,"by":"a"}',
            b"discover:cars",
            "missing",
        ),
        (
            b'{"type":"slice","id":"x","slice":"discover:cars","ts":1,"frozen":1,"by":"a b"}',
            b"discover:cars",
            "ts",
        ),
    ],
)
async def test_what_is_no_word_is_a_letter(
    process: Process, value: bytes, key: bytes, reason: str
) -> None:
    process.office.world.log.append(Outgoing("reviews", value, key))
    await process.work()
    assert process.office.refused("reviews") == [reason]


async def test_where_people_sign_only_their_word_freezes(process: Process) -> None:
    alice, stranger = SigningKey.fresh(), SigningKey.fresh()
    reviewers = Reviewers(signed=True, people={"alice": (alice.public,)})
    gate = ReviewGate(RULES.tools.gate.rules, reviewers)
    process.rules = replace(RULES, tools=replace(RULES.tools, gate=gate))
    await said(process, word())
    await said(process, word(), signer=Signer(INSTALLATION.id, stranger))
    await said(process, word(by="mallory"), signer=Signer(INSTALLATION.id, stranger))
    assert process.office.refused("reviews") == ["signature"] * 3
    assert shut(process.office) == set()
    await said(process, word(), signer=Signer(INSTALLATION.id, alice))
    assert shut(process.office) == {FOOTBALL}


def test_a_policy_without_words_stays_as_it_is() -> None:
    first = successor(FILES, None)
    assert with_words(first, None, {}) is first
    assert with_words(first, None, {"discover:gone": word(slice_id="discover:gone")}) is first


def test_a_word_comes_with_what_else_changes() -> None:
    changed = structs.replace(FILES, tranche=77, version="other", files="other")
    frozen = with_words(successor(changed, FILES), FILES, {FOOTBALL: word()})
    assert frozen.why == f"{FOOTBALL} frozen, says alice: a riot; files {FILES.files} -> other"
    again = with_words(successor(changed, frozen), frozen, {})
    assert again.slices == frozen.slices
    long: Policy = with_words(changed, None, {FOOTBALL: word(note="x" * 2_000)})
    assert len(long.why) <= 2_000


@pytest.mark.parametrize("change", [{"by": "no spaces"}, {"note": "x" * 2_001}, {"slice": "cars"}])
def test_what_the_control_plane_would_refuse_is_not_said(change: dict[str, str]) -> None:
    opinion = SliceOpinion(FOOTBALL, frozen=True, by="alice", note="why")._replace(**change)
    with pytest.raises(Misconfigured, match="the verdict would be refused"):
        slice_review(opinion, NOW)


async def test_the_time_until_the_index_obeys_is_told() -> None:
    index, opinion = MemoryServingIndex(), SliceOpinion(FOOTBALL, frozen=True, by="a", note="b")
    seconds = iter(range(100)).__next__
    assert await in_index(index, opinion, seconds, 1) is None
    await index.set_prices(FOOTBALL, (1, 1), {}, Footing(frozen=True))
    assert await in_index(index, opinion, seconds, 1) == 1
