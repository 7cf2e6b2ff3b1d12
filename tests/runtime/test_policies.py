"""The table of policies, record by record: what is genuine, and what is not there."""

import msgspec
import pytest
from kit.events import FIXED, NOW
from kit.keys import INSTALLATION, NEXT_KEY, SIGNER, TRUST
from kit.twins import settings_of
from msgspec.structs import replace

from streams.core.events import Policy
from streams.runtime.memory import MemoryLog
from streams.runtime.policies import (
    ORDERS,
    KeptPolicy,
    Orders,
    forgetting_record,
    orders_record,
    policy_record,
    read_entry,
    stored_policy,
)
from streams.runtime.ports import Outgoing, Record
from streams.runtime.signing import Signer

SETTINGS = settings_of()
WISH = Orders(NOW, "k", "3.1", ("prices",), "odd night")
NUMBERED = replace(FIXED, term=3, seq=14)


def written(record: Outgoing) -> Record:
    log = MemoryLog(now_ms=lambda: NOW)
    log.create("policies", 1)
    return log.append(record)


def test_a_policy_is_kept_under_its_number_and_read_as_it_was() -> None:
    record = written(policy_record(SETTINGS, NUMBERED, SIGNER))
    assert (record.key, record.partition) == (b"3.14", 0)
    assert read_entry(record, TRUST) == KeptPolicy(NUMBERED, NOW)
    assert msgspec.json.decode(record.value or b"", type=Policy) == NUMBERED


def test_what_operators_want_is_one_record() -> None:
    record = written(orders_record(SETTINGS, WISH, SIGNER))
    assert record.key == ORDERS
    assert read_entry(record, TRUST) == WISH


@pytest.mark.parametrize("make", [policy_record, orders_record])
def test_what_is_not_genuine_is_not_there(make: object) -> None:
    stranger = Signer(INSTALLATION.id, NEXT_KEY)
    elsewhere = Signer("fedcba9876543210", SIGNER.key)
    assert callable(make)
    for signer in (stranger, elsewhere):
        made = make(SETTINGS, NUMBERED if make is policy_record else WISH, signer)
        assert read_entry(written(made), TRUST) is None
    good = make(SETTINGS, NUMBERED if make is policy_record else WISH, SIGNER)
    for wrong in (
        replace_in(good, headers=()),
        replace_in(good, value=b"{}"),
        replace_in(good, key=b"9.9"),
        replace_in(good, value=None),
    ):
        assert read_entry(written(wrong), TRUST) is None


def replace_in(record: Outgoing, **changes: object) -> Outgoing:
    fields = {"topic": record.topic, "value": record.value, "key": record.key, "partition": 0}
    return Outgoing(**({**fields, "headers": record.headers} | changes))  # type: ignore[arg-type]


def test_a_policy_that_is_forgotten_is_a_tombstone_of_its_number() -> None:
    record = written(forgetting_record(SETTINGS, "3.14"))
    assert (record.key, record.value) == (b"3.14", None)
    assert read_entry(record, TRUST) is None


def test_a_meta_holds_a_policy_none_or_one_of_before() -> None:
    assert stored_policy(b"") is None
    assert stored_policy(msgspec.json.encode(FIXED)) == FIXED
    older = msgspec.to_builtins(FIXED)
    del older["noise_cross"]
    assert stored_policy(msgspec.json.encode(older)) is None
