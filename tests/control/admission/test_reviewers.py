"""Whose verdicts count where they have to be signed."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from kit.control import NOW, RULES, Office, Process, review, upload
from kit.keys import INSTALLATION

from streams.control.admission.review import ReviewGate
from streams.control.admission.reviewers import Reviewers
from streams.control.rules import RulesInForce
from streams.core.events import (
    Takedown,
)
from streams.core.receipts import decode
from streams.core.words import Review
from streams.errors import Misconfigured
from streams.runtime.ports import Outgoing
from streams.runtime.signing import Signer, SigningKey, encode

ALICE, BOB, STRANGER = (SigningKey.fresh() for _ in range(3))
NEW = SigningKey.fresh()
RULE = {"name": "ads", "verdict": "limit", "reason": "an ad", "commercial": True}
PEOPLE = {"alice": (ALICE.public, NEW.public), "bob": (BOB.public,)}


def signer(key: SigningKey, installation: str = INSTALLATION.id) -> Signer:
    return Signer(installation, key)


def rules(reviewers: Reviewers) -> RulesInForce:
    gate = ReviewGate(RULES.tools.gate.rules, reviewers)
    return replace(RULES, tools=replace(RULES.tools, gate=gate))


def reject(by: str, **more: Any) -> Review:
    return Review(
        **({"id": "m1", "video": "v1", "ts": NOW, "note": "a court order"} | more)
        | {"verdict": "reject", "by": by}
    )


@pytest.fixture
async def process() -> Process:
    """A control plane where only signed verdicts count, with a video that is shown."""
    made = Process(Office(), rules=rules(Reviewers(signed=True, people=PEOPLE)))
    await made.start()
    await made.take(upload())
    return made


async def said(process: Process, verdict: Review, by: Signer | None) -> list[str]:
    """Bring a verdict; return why it was refused, [] if it was not."""
    process.office.bring(verdict, signer=by)
    await process.work()
    return process.office.refused("reviews")


@pytest.mark.parametrize("key", [ALICE, NEW])
async def test_who_signed_and_why_stands_in_the_log_and_in_receipts(
    process: Process, key: SigningKey
) -> None:
    assert await said(process, reject("alice"), signer(key)) == []
    (taken,) = [one for one in process.office.controls() if isinstance(one, Takedown)]
    assert (taken.by, taken.note) == ("alice", "a court order")
    await process.office.count()
    assert process.office.row().stage == "removed"
    receipts = [decode(one.value or b"") for one in process.office.world.sent("decisions")]
    assert [(one.reason, one.by, one.note) for one in receipts if not one.slice] == [
        ("admitted", "", ""),
        ("takedown", "alice", "a court order"),
    ]


@pytest.mark.parametrize(
    ("by", "key"),
    [("alice", None), ("alice", BOB), ("alice", STRANGER), ("mallory", STRANGER), ("Alice", ALICE)],
)
async def test_what_nobody_of_the_people_signed_is_refused(
    process: Process, by: str, key: SigningKey | None
) -> None:
    assert await said(process, reject(by), key and signer(key)) == ["signature"]
    assert process.office.said() == ["admit"]
    assert await said(process, reject("bob"), signer(BOB)) == ["signature"]
    assert process.office.said() == ["admit", "takedown"]


async def test_a_signature_of_another_installation_record_or_value_is_refused(
    process: Process,
) -> None:
    elsewhere = signer(ALICE, "another-installation")
    assert await said(process, reject("alice"), elsewhere) == ["signature"]
    genuine = reject("alice")
    header = signer(ALICE).header(b"v1", encode(genuine))
    other_video, other_note = reject("alice", video="v2"), reject("alice", note="for fun")
    for forged in (other_video, other_note):
        key = forged.video.encode()
        process.office.world.log.append(Outgoing("reviews", encode(forged), key, [header]))
    twice = Outgoing("reviews", encode(genuine), b"v1", [header, header])
    process.office.world.log.append(twice)
    await process.work()
    assert process.office.refused("reviews") == ["signature"] * 4
    assert process.office.said() == ["admit"]


@pytest.mark.parametrize(("left_ms", "refused"), [(NOW - 1, ["signature"]), (NOW + 10**12, [])])
async def test_what_former_people_said_counts_up_to_their_leaving(
    process: Process, left_ms: int, refused: list[str]
) -> None:
    left = datetime.fromtimestamp(left_ms / 1000, UTC)
    process.rules = rules(Reviewers(signed=True, people=PEOPLE, former={"alice": left}))
    assert await said(process, reject("alice"), signer(ALICE)) == refused


async def test_by_default_anybody_counts_who_may_write_to_the_topic() -> None:
    process = await Process(Office()).start()
    await process.take(upload())
    assert await said(process, review("limit"), None) == []
    assert await said(process, reject("alice", ts=NOW + 1), signer(STRANGER)) == []
    assert process.office.said() == ["admit", "limit", "clear", "takedown"]


async def test_what_recognisers_change_is_in_nobody_s_name(process: Process) -> None:
    office = process.office
    approved = Review("m1", "v1", NOW, "approve", "alice", "fine")
    assert await said(process, approved, signer(ALICE)) == []
    await process.take(upload(title="dance #dance", hashtags=("dance",), id="u2", ts=NOW + 1))
    refits = [one for one in office.controls() if one.id.startswith("refit")]
    assert [(one.by, one.note) for one in refits] == [("", "")]


def parse(reviews: dict[str, Any]) -> Reviewers:
    data = {"rule": [RULE], "reviews": reviews}
    return ReviewGate.parse(data, known=(), where="review.toml").reviewers


def test_people_stand_beside_the_rules() -> None:
    left = datetime(2026, 1, 31, tzinfo=UTC)
    people = {"alice": [ALICE.public]}
    reviewers = parse({"signed": True, "people": people, "former": {"alice": left}})
    assert reviewers == Reviewers(True, {"alice": (ALICE.public,)}, {"alice": left})
    assert parse({}) == Reviewers()


@pytest.mark.parametrize(
    ("reviews", "problem"),
    [
        ({"signed": True}, "reviews.people is empty, and only signed verdicts count"),
        ({"people": {"alice": ["12ab"]}}, "64 hexadecimal digits, as `streams keys new` prints"),
        ({"people": {"al ice": [ALICE.public]}}, "a name of A-Z, a-z, 0-9"),
        ({"people": {"alice": []}}, "reviews.people.alice"),
        ({"former": {"alice": datetime(2026, 1, 31, tzinfo=UTC)}}, "not in reviews.people"),
        ({"sigend": True}, "did you mean signed"),
    ],
)
def test_what_nobody_can_mean_is_said(reviews: dict[str, Any], problem: str) -> None:
    with pytest.raises(Misconfigured) as wrong:
        parse(reviews)
    assert problem in str(wrong.value)
