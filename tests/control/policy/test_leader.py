"""Which policy is in force, by the log alone, whoever leads, on the twins in memory."""

import logging
from collections.abc import Awaitable, Iterable
from typing import Any
from unittest.mock import ANY

import msgspec
import pytest
from kit.control import NOW, RULES, Office, Process
from kit.events import view
from kit.keys import INSTALLATION, KEY, NEXT_KEY, SIGNER
from kit.twins import LOG
from msgspec.structs import replace

from streams.control.policy.file import versioned
from streams.control.policy.keeper import Keeper, Proposal
from streams.core.events import (
    Policy,
    number_of,
)
from streams.core.halves import unplaced
from streams.core.partition_control import Key, Lead
from streams.errors import Halt, Retry
from streams.runtime.installation import installation_record
from streams.runtime.memory import MemoryLog, MemoryProducer
from streams.runtime.policies import Orders, orders_record, policy_record
from streams.runtime.ports import Outgoing
from streams.runtime.signing import Signer, control_record, encode

FIFTY_MINUTES_MS = 3_000_000
MICROSECONDS = 1_700_000_000_000_000
"""A number such as a clock gave once."""
FOOTBALL = "discover:football"
DRAFT = RULES.policy.draft


@pytest.fixture
def office() -> Office:
    return Office()


def another(name: str = "bolder", **changes: Any) -> Policy:
    """Return the draft of other files."""
    named = versioned(replace(DRAFT, version=name, files="", **changes))
    return replace(named, files=named.version)


def numbers(office: Office) -> list[str]:
    """Return the number of the policy that each partition has in force, counted or not."""
    return [number_of(policy) for policy in office.in_force()]


def bytes_in_force(office: Office) -> set[bytes]:
    return {office.world.meta(partition).policy for partition in range(office.world.partitions)}


def put_by_hand(office: Office, policy: Policy, partitions: Iterable[int] = range(2)) -> None:
    for partition in partitions:
        office.world.log.append(control_record(LOG, policy, SIGNER, partition))


def leads(office: Office) -> list[Lead]:
    return [one for one in office.controls() if isinstance(one, Lead)]


def written(office: Office) -> int:
    return len(office.world.sent(LOG)) + len(office.world.log.records("policies", 0))


class Longer:
    """Evidence and proposal in one: the horizon of football, longer whenever it is asked."""

    def __init__(self) -> None:
        self.horizon = 400_000

    async def gather(self, policy: Policy) -> int:
        assert policy.slices
        self.horizon += 1
        return self.horizon

    def propose(self, policy: Policy, evidence: int) -> Proposal:
        spec = replace(policy.slices[FOOTBALL], horizon=evidence)
        return Proposal("horizons are longer", {"minutes": 60}, {FOOTBALL: spec})

    def keeper(self, process_clock: Any) -> Keeper[int]:
        return Keeper(self.propose, self.gather, 60, process_clock)


async def learned(office: Office) -> Policy:
    """Let a control plane lead, learn something and die; return the policy in force."""
    clock = [0.0]
    process = Process(office, keeper=Longer().keeper(lambda: clock[0]))
    await process.start()
    await process.step()
    clock[0] = 100
    await process.step()
    await process.step()
    await process.die()
    assert bytes_in_force(office).__len__() == 1
    return office.in_force()[0]


# ---------------------------------------------------------------- the files' policy


async def test_the_first_leader_takes_term_1_and_its_files_are_in_force_when_counted(
    office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "streams.control"):
        process = await Process(office).start()
        await process.leader.step()
        assert "is in force" not in caplog.text
        assert process.metrics.policy_waiting._value.get() == 2
        await process.step()
    assert numbers(office) == ["1.1", "1.1"]
    assert {policy.version for policy in office.in_force()} == {RULES.policy.version}
    assert caplog.text.count(f"policy {RULES.policy.version} is in force in 2 partitions") == 1
    assert process.metrics.policy_waiting._value.get() == 0
    assert process.metrics.policy_number._value.get() == 1
    assert process.metrics.policy_term._value.get() == 1


async def test_every_partition_has_the_term_before_any_policy_of_it(office: Office) -> None:
    await Process(office).start()
    for partition in range(2):
        kinds = [r.value or b"" for r in office.world.log.records(LOG, partition)]
        assert [b'"type":"lead"' in kinds[0], b'"type":"policy"' in kinds[1]] == [True, True]


async def test_a_start_with_unchanged_files_takes_a_term_and_writes_no_policy(
    office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    first = await Process(office).start()
    await first.step()
    await first.die()
    before = office.policies()
    with caplog.at_level(logging.INFO, "streams.control"):
        again = await Process(office).start()
        await again.step()
    assert office.policies() == before
    assert [lead.term for lead in leads(office)] == [1, 2] * 2
    assert "is in force in 2 partitions" in caplog.text
    assert again.broadcast.waiting == set()


async def test_once_in_force_nothing_more_is_written(office: Office) -> None:
    process = await Process(office).start()
    await process.step()
    before = written(office)
    for _ in range(5):
        await process.step()
    assert written(office) == before


async def test_a_policy_of_a_time_before_leaders_is_followed_on_whatever_its_number(
    office: Office,
) -> None:
    put_by_hand(office, RULES.policy.record(MICROSECONDS + FIFTY_MINUTES_MS * 1000, NOW))
    await office.count()
    process = await Process(office, files=another()).start()
    await process.step()
    assert [policy.version for policy in office.in_force()] == [another().version] * 2
    assert numbers(office) == ["1.1", "1.1"]
    assert office.refused(LOG) == []


@pytest.mark.parametrize("hours", [-26_280, 1, 26_280])
async def test_a_host_far_ahead_or_behind_the_log_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    for module in ("broadcast", "terms"):
        name = f"streams.control.policy.{module}.now_ms"
        monkeypatch.setattr(name, lambda: NOW + hours * 3_600_000)
    office = Office()
    process = await Process(office).start()
    await process.leader.put_files(another())
    await process.step()
    assert office.refused(LOG) == []
    assert numbers(office) == ["1.2", "1.2"]


async def test_its_time_is_that_of_the_latest_event_counted(office: Office) -> None:
    event = view("e1", video="v0")
    office.world.log.append(Outgoing(LOG, encode(event), b"v0"))
    await office.count()
    await Process(office).start()
    assert {policy.ts for policy in office.policies()} == {event.ts}


async def test_changed_files_say_what_changed(office: Office) -> None:
    process = await Process(office).start()
    await process.leader.put_files(another(tranche=61))
    await process.step()
    (policy, _) = office.in_force()
    assert (policy.tranche, policy.version) == (61, another(tranche=61).version)
    assert policy.why == f"files {DRAFT.version} -> {policy.files}"
    assert policy.by.rpartition("-")[0]


# ---------------------------------------------------------------- what is learned


async def test_what_was_learned_is_in_force_and_says_why(office: Office) -> None:
    policy = await learned(office)
    assert policy.slices[FOOTBALL].horizon == 400_001
    assert (policy.why, policy.evidence) == ("horizons are longer", {"minutes": 60})
    assert number_of(policy) == "1.2"
    assert policy.files == DRAFT.version != policy.version


async def test_nothing_learned_is_lost_at_a_restart(office: Office) -> None:
    before = await learned(office)
    again = await Process(office).start()
    await again.step()
    assert office.in_force() == [before] * 2


async def test_nothing_learned_is_lost_with_the_counters(office: Office) -> None:
    before = await learned(office)
    office.flush()
    again = await Process(office).start()
    await again.step()
    assert {unplaced(policy) == unplaced(before) for policy in office.in_force()} == {True}


async def test_changed_files_leave_what_was_learned_and_other_weights_reset_it(
    office: Office,
) -> None:
    await learned(office)
    process = await Process(office, files=another(tranche=61)).start()
    await process.step()
    assert [policy.slices[FOOTBALL].horizon for policy in office.in_force()] == [400_001] * 2
    weights = replace(DRAFT.weights, like=1)
    await process.leader.put_files(another(weights=weights))
    await process.step()
    (policy, _) = office.in_force()
    assert policy.slices[FOOTBALL].horizon == DRAFT.slices[FOOTBALL].horizon
    assert "other weights: what was learned is reset" in policy.why


async def test_a_pin_holds_the_learned_half_until_it_is_taken_back(office: Office) -> None:
    await learned(office)
    clock = [0.0]
    process = Process(office, keeper=Longer().keeper(lambda: clock[0]))
    await process.start()
    pin = Orders(NOW, "k", pinned="1.1", why="the night was odd")
    office.world.log.append(orders_record(office.world.settings, pin, SIGNER))
    for now in (0, 100, 200):
        clock[0] = now
        await process.step()
    (policy, _) = office.in_force()
    assert (policy.pinned, policy.slices) == ("1.1", DRAFT.slices)
    office.world.log.append(orders_record(office.world.settings, Orders(NOW, "k"), SIGNER))
    for now in (201, 300, 400):
        clock[0] = now
        await process.step()
    (policy, _) = office.in_force()
    assert policy.pinned == ""
    assert policy.slices[FOOTBALL].horizon > 400_000


async def test_orders_that_nobody_in_force_signed_are_none(office: Office) -> None:
    process = await Process(office).start()
    stranger = Signer(INSTALLATION.id, NEXT_KEY)
    frozen = Orders(NOW, "k", frozen=("means",))
    office.world.log.append(orders_record(office.world.settings, frozen, stranger))
    await process.step()
    await process.step()
    assert {policy.frozen for policy in office.in_force()} == {DRAFT.frozen}


# ---------------------------------------------------------------- a leader that dies


class Mortal(MemoryProducer):
    """Writes so many records and no more: its process is dead then."""

    def __init__(self, log: MemoryLog, lasts: int) -> None:
        super().__init__(log)
        self.lasts = lasts

    async def send(self, record: Outgoing) -> Awaitable[None]:
        if self.lasts == 0:
            raise Killed
        self.lasts -= 1
        return await super().send(record)


class Killed(BaseException):
    """The process is gone."""


PARTITIONS = 4
RECORDS = PARTITIONS + 1 + PARTITIONS
"""A lead in partition 0 and in the others, the policy in the table, and in every partition."""


@pytest.mark.parametrize("counted", [True, False], ids=["counted", "uncounted"])
@pytest.mark.parametrize("lasts", range(RECORDS + 1))
async def test_killed_after_any_record_of_a_broadcast_all_partitions_end_alike(
    lasts: int, *, counted: bool
) -> None:
    office = Office(PARTITIONS)
    first = await Process(office).start()
    await first.step()
    await first.die()
    dying = Process(office, files=another(), producer=Mortal(office.world.log, lasts))
    if lasts < RECORDS:
        with pytest.raises(Killed):
            await dying.start()
    else:
        await dying.start()
    await dying.die()
    if counted:
        await office.count()
    was_announced = any(
        b"bolder" in (r.value or b"") for r in office.world.log.records("policies", 0)
    )
    following = await Process(office, files=another() if was_announced else None).start()
    await following.step()
    assert len(bytes_in_force(office)) == 1
    expected = another().version if was_announced else RULES.policy.version
    assert {policy.version for policy in office.in_force()} == {expected}
    assert following.broadcast.waiting == set()
    assert office.refused(LOG) == []


@pytest.mark.parametrize("lasts", range(RECORDS + 1))
async def test_what_a_dead_leader_learned_is_in_force_everywhere_or_nowhere(lasts: int) -> None:
    office, clock = Office(PARTITIONS), [0.0]
    producer = Mortal(office.world.log, 1_000)
    process = Process(office, keeper=Longer().keeper(lambda: clock[0]), producer=producer)
    await process.start()
    await process.step()
    producer.lasts, clock[0] = lasts, 100
    if lasts < 1 + PARTITIONS:
        with pytest.raises(Killed):
            await process.leader.step()
    else:
        await process.leader.step()
    await process.die()
    following = await Process(office).start()
    await following.step()
    assert len(bytes_in_force(office)) == 1
    assert {policy.slices[FOOTBALL].horizon for policy in office.in_force()} == {
        400_001 if lasts else 400
    }


async def test_a_half_done_change_of_keys_is_ended_by_the_next_leader(office: Office) -> None:
    both = (KEY.public, NEXT_KEY.public)
    pending = Key("keys-1", NOW, 1, both)
    begun = replace(INSTALLATION, pending=pending)
    office.world.log.append(installation_record(office.world.settings, begun))
    office.world.log.append(control_record(LOG, pending, SIGNER, 0))
    await Process(office).start()
    await office.count()
    assert [one for one in office.controls() if isinstance(one, Key)] == [pending] * 3
    for partition in range(2):
        assert office.trust(partition).keys == both
    last = office.world.log.records("policies", 0)
    settled = [r for r in last if r.key == b"installation"][-1]
    assert b'"pending":null' in (settled.value or b"")


# ---------------------------------------------------------------- an old leader


async def test_an_old_leader_that_slept_over_two_terms_is_refused_everywhere(
    office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    old = await Process(office).start()
    await old.step()
    await old.die()
    old.leader.election.owns = True  # it slept: the group has long dealt without it
    for _ in range(2):
        following = await Process(office).start()
        await following.step()
        await following.die()
    before = bytes_in_force(office)
    old.leader.files = another("asleep")
    await old.broadcast.put(another("asleep"), "old")
    await office.count()
    assert bytes_in_force(office) == before
    assert office.refused(LOG) == ["stale"] * 2
    await old.leader.step()
    assert not old.leader.leads
    assert "leads no more after term 1: another control plane took a later term" in caplog.text


async def test_a_policy_that_an_old_leader_tells_of_late_is_not_the_greatest_for_long(
    office: Office,
) -> None:
    old = await Process(office).start()
    await old.step()
    await old.die()
    following = await Process(office).start()
    await following.step()
    await old.broadcast.put(another("asleep"), "old")
    await following.step()
    await office.count()
    assert numbers(office) == ["2.1", "2.1"]
    assert office.refused(LOG) == ["stale"] * 2


async def test_a_deposed_leader_that_still_owns_takes_the_next_term(office: Office) -> None:
    process = await Process(office).start()
    await process.step()
    for partition in range(2):
        lead = Lead("lead-7", NOW, 7, "a-sleeper")
        office.world.log.append(control_record(LOG, lead, SIGNER, partition))
    await process.step()
    await process.step()
    assert process.leader.leads
    assert max(lead.term for lead in leads(office)) == 8
    await process.leader.put_files(another())
    await process.step()
    assert numbers(office) == ["8.1", "8.1"]
    assert office.refused(LOG) == []


async def test_a_term_that_nobody_counted_yet_is_known_from_the_log(office: Office) -> None:
    unseen = Lead("lead-1", NOW, 1, "another")
    office.world.log.append(control_record(LOG, unseen, SIGNER, 0))
    await Process(office).start()
    await office.count()
    assert numbers(office) == ["2.1", "2.1"]
    assert office.refused(LOG) == []


class Outrun(MemoryProducer):
    """Another control plane takes each of the first terms a moment earlier."""

    times = 1

    async def send(self, record: Outgoing) -> Awaitable[None]:
        value = record.value or b""
        if self.times and b'"type":"lead"' in value and record.partition == 0:
            self.times -= 1
            term = msgspec.json.decode(value, type=Lead).term
            faster = Lead(f"lead-{term}", NOW, term, "faster")
            await super().send(control_record(LOG, faster, SIGNER, 0))
        return await super().send(record)


async def test_of_two_that_take_one_term_the_first_in_the_log_leads(office: Office) -> None:
    await Process(office, producer=Outrun(office.world.log)).start()
    await office.count()
    assert [(lead.term, lead.by) for lead in leads(office)][:2] == [(1, "faster"), (1, ANY)]
    assert numbers(office) == ["2.1", "2.1"]
    assert office.refused(LOG) == ["stale"]


async def test_who_is_outrun_again_and_again_writes_no_policy(office: Office) -> None:
    producer = Outrun(office.world.log)
    producer.times = 9
    with pytest.raises(Retry, match="take one term after the other, last 5"):
        await Process(office, producer=producer).start()
    assert office.policies() == []


async def test_two_control_planes_with_other_files_come_to_rest_with_the_leaders(
    office: Office,
) -> None:
    one = await Process(office, files=another("one")).start()
    two = await Process(office, files=another("two")).start()
    assert (one.leader.leads, two.leader.leads) == (True, False)
    for _ in range(3):
        await one.step()
        await two.step()
    before = written(office)
    for _ in range(3):
        await one.step()
        await two.step()
    assert written(office) == before
    assert {policy.version for policy in office.in_force()} == {another("one").version}
    await one.die()
    await two.step()
    await two.step()
    assert two.leader.leads
    assert len(bytes_in_force(office)) == 1
    assert {policy.version for policy in office.in_force()} == {another("two").version}


async def test_a_policy_that_stood_unseen_in_the_log_is_followed_on(
    office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    put_by_hand(office, RULES.policy.record(1, NOW))
    await office.count()
    put_by_hand(office, replace(another("unseen"), seq=2, explore_key="k"))
    process = await Process(office).start()  # all partitions still have its own in force
    await process.leader.step()
    assert process.broadcast.waiting == {0, 1}
    await process.step()
    assert "was overtaken in partitions [0, 1]" in caplog.text
    await process.step()
    assert numbers(office) == ["1.1", "1.1"]
    assert {policy.version for policy in office.in_force()} == {RULES.policy.version}


async def test_another_policy_of_its_number_is_an_alarm_and_is_followed_on(
    office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    process = await Process(office).start()
    await process.step()
    put_by_hand(office, replace(another("forged"), term=1, seq=2, explore_key="k"), [1])
    await process.leader.put_files(another("meant"))
    await process.step()
    assert process.metrics.policy_conflicts._value.get() == 1
    assert "partition 1 has another policy 1.2" in caplog.text
    await process.step()
    await process.step()
    assert numbers(office) == ["1.3", "1.3"]
    assert {policy.version for policy in office.in_force()} == {another("meant").version}
    assert office.refused(LOG) == ["stale"]


# ---------------------------------------------------------------- what does not answer


class OneIsAway(MemoryProducer):
    """Writes to every partition but 1, until told otherwise."""

    away = True

    async def send(self, record: Outgoing) -> Awaitable[None]:
        if self.away and record.partition == 1:
            raise Retry("no leader")
        return await super().send(record)


async def test_a_partition_that_does_not_answer_keeps_it_from_no_other(office: Office) -> None:
    producer = OneIsAway(office.world.log)
    process = await Process(office, producer=producer).start()
    assert [len(office.world.log.records(LOG, p)) for p in range(2)] == [2, 0]
    await process.leader.put_files(another())
    producer.away = False
    await process.step(seconds=9)
    await process.step()
    kinds = [type(one) for one in office.controls()]
    assert kinds == [Lead, Policy, Policy, Lead, Policy]
    assert numbers(office) == ["1.2", "1.2"]
    assert process.broadcast.waiting == set()


class TableIsAway(MemoryProducer):
    """Writes to the log and, until told otherwise, not to the table."""

    away = True

    async def send(self, record: Outgoing) -> Awaitable[None]:
        if self.away and record.topic == "policies":
            raise Retry("no table")
        return await super().send(record)


async def test_a_policy_that_the_table_does_not_take_is_not_in_the_log_and_comes_later(
    office: Office,
) -> None:
    producer = TableIsAway(office.world.log)
    process = Process(office, producer=producer)
    with pytest.raises(Retry, match="no table"):
        await process.start()
    with pytest.raises(Retry, match="no table"):
        await process.step()
    assert office.policies() == []
    producer.away = False
    await process.step()
    await process.step()
    assert numbers(office) == ["1.1", "1.1"]


async def test_without_a_worker_it_says_once_that_the_policy_waits(
    office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    process = await Process(office).start()
    for _ in range(3):
        process.now_s += 60
        await process.leader.step()
    assert caplog.text.count("waits for a worker in partitions [0, 1]") == 1


async def test_who_does_not_lead_waits_for_a_first_policy_and_writes_none(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streams.control.policy.leader.FIRST_S", 1.0)
    monkeypatch.setattr("streams.control.policy.leader.PAUSE_S", 0.01)
    asleep = Process(office)
    await asleep.leader.election.start()
    waiting = Process(office)
    with pytest.raises(Retry, match="there is no policy yet, and another control plane leads"):
        await waiting.start()
    assert office.world.sent(LOG) == []


async def test_whose_key_counts_no_more_lets_another_one_lead(office: Office) -> None:
    only_next = replace(INSTALLATION, keys=(NEXT_KEY.public,))
    office.world.log.append(installation_record(office.world.settings, only_next))
    process = Process(office)
    with pytest.raises(Halt, match="the key that signs here counts no more"):
        await process.start()
    assert not process.leader.election.owns
    assert office.world.log.members(office.world.settings.keeper_group) == []


async def test_policies_of_90_days_are_kept_and_the_latest_one_for_good(office: Office) -> None:
    settings, day_ms = office.world.settings, 86_400_000
    for seq, days in ((1, 200), (2, 95), (3, 80), (4, 0)):
        record = policy_record(settings, RULES.policy.record(seq, NOW), SIGNER)
        office.world.log.append(replaced(record, NOW - days * day_ms))
    put_by_hand(office, RULES.policy.record(4, NOW))
    await office.count()
    await Process(office).start()
    gone = [r.key for r in office.world.log.records("policies", 0) if r.value is None]
    assert gone == [b"0.1", b"0.2"]


def replaced(record: Outgoing, timestamp: int) -> Outgoing:
    return Outgoing(record.topic, record.value, record.key, record.headers, 0, timestamp)


# ---------------------------------------------------------------- another log


async def test_counters_of_another_installation_refuse_the_start(office: Office) -> None:
    process = await Process(office).start()
    await process.step()
    other = Process(office, signer=Signer("fedcba9876543210", KEY))
    with pytest.raises(Halt, match="its counters differ in installation") as halt:
        await other.broadcast.states()
    assert halt.value.code == "namespace"


async def test_counters_of_another_log_refuse_the_start(office: Office) -> None:
    process = await Process(office).start()
    await process.step()
    log: MemoryLog = office.world.log
    log.create(LOG, 2)
    with pytest.raises(Halt, match="its counters differ in id"):
        await Process(office).broadcast.states()
