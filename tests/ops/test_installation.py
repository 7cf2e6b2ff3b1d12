"""An installation is made once; a change of its keys is whole, or known and ended by the next."""

import pytest
from kit.events import NOW, hold, signed_record
from kit.keys import INSTALLATION, KEY, NEXT_KEY, NEXT_SIGNER, STRANGER, TRUST, key_of
from kit.twins import settings_of
from msgspec.structs import replace

from streams.core.partition_control import Generation, Key
from streams.errors import Halt, Retry
from streams.ops.installation import (
    KEYS_MAX,
    KeyChanger,
    lengthen_generations,
    make_installation,
    with_key,
    without_key,
)
from streams.runtime.codec import Spelling, decode_log
from streams.runtime.installation import (
    Installation,
    installation_record,
    read_installation,
    require_made,
    signer_of,
)
from streams.runtime.memory import MemoryLog, MemoryProducer, MemoryReader
from streams.runtime.ports import Outgoing, Record
from streams.runtime.signing import SigningKey, key_id

SETTINGS = settings_of(partitions=3, topic_prefix="p.")
LOG = "p.interactions"


class Ground:
    """Brokers with the topics of an installation."""

    def __init__(self) -> None:
        self.log = MemoryLog()
        self.log.create(LOG, 3)
        self.log.create("p.policies", 1)
        self.reader = MemoryReader(self.log)
        self.producer = MemoryProducer(self.log)

    async def make(self, key: SigningKey = KEY) -> Installation:
        return await make_installation(self.reader, self.producer, SETTINGS, key.public)

    async def installation(self) -> Installation:
        return require_made(await read_installation(self.reader, SETTINGS), SETTINGS)

    async def put(self, *keys: SigningKey, by: SigningKey = KEY) -> Installation:
        now = await self.installation()
        changer = KeyChanger(self.producer, SETTINGS, 3, signer_of(now, by))
        return await changer.put(now, [one.public for one in keys], NOW)

    def records(self, partition: int) -> list[Record]:
        return list(self.log.records(LOG, partition))


@pytest.fixture
def ground() -> Ground:
    return Ground()


async def test_an_installation_is_made_once(ground: Ground) -> None:
    made = await ground.make()
    assert await ground.installation() == made == await ground.make(STRANGER)
    assert made.first == made.keys == (KEY.public,)
    assert len(made.id) == 16


async def test_two_installations_differ() -> None:
    assert (await Ground().make()).id != (await Ground().make()).id


async def test_over_an_empty_log_no_hmac_ever_counts(ground: Ground) -> None:
    assert (await ground.make()).trust().upgraded


async def test_over_a_log_of_old_hmacs_count_until_the_upgrade(ground: Ground) -> None:
    ground.log.append(Outgoing(LOG, b"{}", b"v1", partition=2))
    assert not (await ground.make()).trust().upgraded


async def test_a_log_that_does_not_answer_whole_is_not_called_fresh(ground: Ground) -> None:
    ground.log.leaderless.add((LOG, 1))
    with pytest.raises(Retry, match=r"p\.interactions\[1\]"):
        await ground.make()


async def test_the_last_record_says_which_installation_this_is(ground: Ground) -> None:
    assert await read_installation(ground.reader, SETTINGS) is None
    for installation in (INSTALLATION, replace(INSTALLATION, seq=4)):
        ground.log.append(installation_record(SETTINGS, installation))
    ground.log.append(Outgoing("p.policies", b"x", b"another", partition=0))
    assert (await ground.installation()).seq == 4


async def test_a_deleted_record_is_none(ground: Ground) -> None:
    await ground.make()
    ground.log.append(Outgoing("p.policies", None, b"installation", partition=0))
    with pytest.raises(Halt, match="streams topics apply --yes") as halt:
        await ground.installation()
    assert halt.value.code == "installation_missing"


@pytest.mark.parametrize("value", [b"{", b"[]", b'{"id":"x"}', b"\xff"])
async def test_a_record_that_is_no_installation_is_refused(ground: Ground, value: bytes) -> None:
    ground.log.append(Outgoing("p.policies", value, b"installation", partition=0))
    with pytest.raises(Halt, match="cannot be read"):
        await ground.installation()


async def test_a_topic_that_does_not_answer_is_asked_again_and_no_fresh_start(
    ground: Ground,
) -> None:
    await ground.make()
    ground.log.leaderless.add(("p.policies", 0))
    with pytest.raises(Retry, match="does not answer"):
        await read_installation(ground.reader, SETTINGS)


async def test_a_new_key_is_in_force_in_every_partition_and_in_the_table(ground: Ground) -> None:
    made = await ground.make()
    done = await ground.put(KEY, NEXT_KEY)
    assert done == await ground.installation()
    assert (done.keys, done.seq, done.pending) == ((KEY.public, NEXT_KEY.public), 1, None)
    assert done.first == made.first
    for partition in range(3):
        out = decode_log(ground.records(partition), made.trust(), Spelling(1 << 20))
        assert (out.refusals, out.trust.keys) == ([], done.keys)


async def test_what_is_in_force_already_writes_nothing(ground: Ground) -> None:
    await ground.make()
    await ground.put(KEY)
    assert ground.records(0) == []


async def test_a_rotation_ends_with_the_new_key_alone(ground: Ground) -> None:
    made = await ground.make()
    await ground.put(KEY, NEXT_KEY)
    done = await ground.put(NEXT_KEY, by=NEXT_KEY)
    late = signed_record(hold(), 9)
    records = [*ground.records(0), late._replace(topic=LOG)]
    out = decode_log(records, made.trust(), Spelling(1 << 20))
    assert [refusal.offset for refusal in out.refusals] == [9]
    assert done.keys == (NEXT_KEY.public,)


async def test_a_change_that_was_cut_short_is_known_and_ended_by_the_next(ground: Ground) -> None:
    made = await ground.make()
    ground.log.leaderless.add((LOG, 1))
    with pytest.raises(Retry, match=r"partitions \[1\] did not take .*same command again"):
        await ground.put(KEY, NEXT_KEY)
    cut = await ground.installation()
    assert (cut.keys, cut.seq) == ((KEY.public,), 0), "not in force everywhere"
    assert cut.pending is not None
    ground.log.leaderless.clear()
    done = await ground.put(KEY, NEXT_KEY, key_of(7))
    assert (done.seq, done.pending) == (2, None)
    for partition in range(3):
        out = decode_log(ground.records(partition), made.trust(), Spelling(1 << 20))
        assert (out.refusals, out.trust.keys, out.trust.seq) == ([], done.keys, 2)


def test_a_key_is_added_once_and_not_without_end() -> None:
    assert with_key(INSTALLATION, KEY.public) == (KEY.public,)
    assert with_key(INSTALLATION, NEXT_KEY.public) == (KEY.public, NEXT_KEY.public)
    full = replace(INSTALLATION, keys=tuple(key_of(n).public for n in range(1, KEYS_MAX + 1)))
    with pytest.raises(Halt, match="retire one first"):
        with_key(full, key_of(99).public)


@pytest.mark.parametrize("name", [key_id(KEY.public), KEY.public])
def test_a_key_is_retired_by_its_id_or_as_a_whole(name: str) -> None:
    two = replace(INSTALLATION, keys=(KEY.public, NEXT_KEY.public))
    assert without_key(two, name, NEXT_KEY.public) == (NEXT_KEY.public,)
    with pytest.raises(Halt, match="sign the end of a key with another one"):
        without_key(two, name, KEY.public)


def test_a_key_that_nobody_knows_is_named_with_those_in_force() -> None:
    with pytest.raises(Halt, match=f"no key abc is in force .*{key_id(KEY.public)}"):
        without_key(INSTALLATION, "abc", KEY.public)


def test_what_waits_to_be_in_force_counts_in_the_next_change() -> None:
    waiting = Key("keys-1", NOW, 1, (KEY.public, NEXT_KEY.public))
    cut = replace(INSTALLATION, pending=waiting)
    assert with_key(cut, STRANGER.public) == (KEY.public, NEXT_KEY.public, STRANGER.public)
    assert without_key(cut, NEXT_KEY.public, KEY.public) == (KEY.public,)


def test_a_key_that_does_not_count_here_signs_nothing_here() -> None:
    with pytest.raises(Halt, match=f"streams keys add {STRANGER.public}"):
        signer_of(INSTALLATION, STRANGER)
    both = replace(INSTALLATION, keys=(KEY.public, NEXT_KEY.public))
    assert signer_of(both, NEXT_KEY) == NEXT_SIGNER
    assert both.trust().installation == TRUST.installation


# ---------------------------------------------------------------- generations


def longer(records: int) -> Generation:
    return Generation(f"generation-{records}", NOW, records)


async def lengthened(ground: Ground, records: int) -> Installation:
    now = await ground.installation()
    signer = signer_of(now, KEY)
    return await lengthen_generations(ground.producer, SETTINGS, 3, signer, now, longer(records))


async def test_generations_become_longer_everywhere_by_a_signed_record(ground: Ground) -> None:
    made = await ground.make()
    assert (made.generation, made.lengthened) == (100_000, 100_000)
    after = await lengthened(ground, 200_000)
    assert await ground.installation() == after
    assert after.generation_records(SETTINGS) == 100_000
    assert after.generation_records(SETTINGS, whole=False) == 200_000
    for partition in range(3):
        decoded = decode_log(ground.records(partition), made.trust(), Spelling(1 << 20))
        assert decoded.events == [longer(200_000)]


async def test_generations_do_not_become_shorter(ground: Ground) -> None:
    await ground.make()
    await lengthened(ground, 200_000)
    for records in (1, 100_000, 200_000):
        with pytest.raises(Halt, match="has 200,000 records"):
            await lengthened(ground, records)


async def test_a_lengthening_that_was_cut_short_is_ended_by_the_same_call(ground: Ground) -> None:
    made = await ground.make()
    ground.log.leaderless.add((LOG, 2))
    with pytest.raises(Retry, match=r"partitions \[2\] did not take"):
        await lengthened(ground, 200_000)
    assert await ground.installation() == made
    ground.log.leaderless.clear()
    assert (await lengthened(ground, 200_000)).lengthened == 200_000


async def test_the_beginning_of_an_installation_whose_length_nobody_noted_is_the_settings() -> None:
    old = replace(INSTALLATION, generation=0, lengthened=0)
    assert old.generation_records(SETTINGS) == SETTINGS.generation_records


def test_what_is_counted_begins_with_the_log_or_behind_the_record_of_a_repartition() -> None:
    assert [INSTALLATION.begins(0, start) for start in (0, 7)] == [0, 7]
    moved = replace(INSTALLATION, base=(20, 30))
    assert [moved.begins(1, start) for start in (0, 7, 40)] == [31, 31, 40]
