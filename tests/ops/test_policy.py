"""What is in force where, what is kept, and what operators may want, on the twins."""

import pytest
from kit.control import NOW, RULES, Office, Process
from kit.events import FIXED, WEIGHTS
from kit.keys import INSTALLATION, NEXT_KEY, SIGNER
from msgspec.structs import replace

from streams.core.events import number_of
from streams.errors import Halt
from streams.ops.policy import (
    NO_ORDERS,
    PartitionPolicy,
    PolicyHistory,
    history_rows,
    latest_of,
    place_row,
    read_history,
    read_in_force,
    summary,
    with_frozen,
    with_pin,
    without_frozen,
)
from streams.runtime.memory import MemoryReader
from streams.runtime.policies import (
    KeptPolicy,
    Orders,
    forgetting_record,
    orders_record,
    policy_record,
)
from streams.runtime.signing import Signer

LATER = replace(FIXED, term=1, seq=4, tranche=30, why="files a -> b", by="host-1")
HISTORY = PolicyHistory([KeptPolicy(FIXED, NOW), KeptPolicy(LATER, NOW + 1_000)], NO_ORDERS)
SETTINGS = Office().world.settings


async def kept(office: Office) -> PolicyHistory:
    return await read_history(MemoryReader(office.world.log), SETTINGS, INSTALLATION)


async def test_what_is_in_force_is_shown_with_who_why_and_where() -> None:
    office = Office()
    process = await Process(office).start()
    await process.step()
    found = await read_in_force(office.world.store, office.world.namespace, 2)
    latest = latest_of(found)
    assert latest is not None
    shown = summary(latest, found)
    assert shown["number"] == "1.1"
    assert shown["version"] == shown["files"] == RULES.policy.version
    assert (shown["term"], shown["partitions"]) == (1, "all 2 agree")
    assert (shown["why"], shown["learned"]) == ("the files of this control plane", "nothing yet")
    assert shown["by"] == latest.by
    assert place_row(found[1])["number"] == "1.1"


def test_partitions_that_differ_are_named() -> None:
    places = [
        PartitionPolicy(0, LATER, 2, 9),
        PartitionPolicy(1, FIXED, 1, 9),
        PartitionPolicy(2, None, 0, -1),
    ]
    assert latest_of(places) == LATER
    assert summary(LATER, places)["partitions"] == "[1, 2] differ"
    assert summary(LATER, places)["term"] == 2
    assert place_row(places[2])["number"] is None


async def test_a_partition_that_nobody_counted_has_nothing_in_force() -> None:
    office = Office()
    found = await read_in_force(office.world.store, office.world.namespace, 2)
    assert found == [PartitionPolicy(partition, None, 0, -1) for partition in range(2)]
    assert latest_of(found) is None


async def test_the_history_is_what_leaders_wrote_in_its_order() -> None:
    office = Office()
    process = await Process(office).start()
    await process.leader.put_files(replace(RULES.policy.draft, tranche=61, files="launch-2"))
    found = await kept(office)
    assert [number_of(each.policy) for each in found.policies] == ["1.1", "1.2"]
    rows = history_rows(found, 1)
    assert [row["number"] for row in rows] == ["1.2"]
    assert rows[0]["changed"] == "1 numbers of the operators"
    assert rows[0]["written"] == "2023-11-14T22:13:20.000Z"


async def test_what_was_forgotten_or_is_not_genuine_is_not_in_the_history() -> None:
    office = Office()
    stranger = Signer(INSTALLATION.id, NEXT_KEY)
    for record in (
        policy_record(SETTINGS, FIXED, SIGNER),
        policy_record(SETTINGS, LATER, SIGNER),
        forgetting_record(SETTINGS, number_of(FIXED)),
        policy_record(SETTINGS, replace(FIXED, seq=9), stranger),
        orders_record(SETTINGS, Orders(NOW, "k", frozen=("prices",)), SIGNER),
        orders_record(SETTINGS, Orders(NOW, "k", pinned="1.4"), stranger),
    ):
        office.world.log.append(record)
    found = await kept(office)
    assert [each.policy for each in found.policies] == [LATER]
    assert found.orders.frozen == ("prices",)


def test_a_policy_is_named_by_its_number() -> None:
    assert HISTORY.named("1.4") == LATER
    with pytest.raises(Halt, match=r"no policy 9\.9 is kept \(latest: 1\.4\)"):
        HISTORY.named("9.9")
    with pytest.raises(Halt, match=r"latest: none"):
        PolicyHistory([], NO_ORDERS).named("1.1")


def test_a_pin_is_of_a_policy_with_the_weights_in_force() -> None:
    assert with_pin(NO_ORDERS, HISTORY, LATER, "0.1").pinned == "0.1"
    other = replace(LATER, weights=replace(WEIGHTS, like=1))
    with pytest.raises(Halt, match="learned with other weights"):
        with_pin(NO_ORDERS, HISTORY, other, "0.1")


def test_what_is_frozen_is_a_number_that_is_learned() -> None:
    orders = with_frozen(NO_ORDERS, FIXED, ["prices", "means:discover:football"])
    assert orders.frozen == ("means:discover:football", "prices")
    assert without_frozen(orders, FIXED, ["prices"]).frozen == ("means:discover:football",)
    for wrong in ("price", "weights", "prices:discover:chess"):
        with pytest.raises(Halt, match=f"{wrong} is no number that is learned: name one of mea"):
            with_frozen(NO_ORDERS, FIXED, [wrong])


def test_what_the_files_freeze_is_not_taken_back_by_an_order() -> None:
    with pytest.raises(Halt, match=r"change keeper\.frozen there"):
        without_frozen(NO_ORDERS, replace(FIXED, frozen=("prices",)), ["prices"])
    with pytest.raises(Halt, match="by no order: it is not"):
        without_frozen(NO_ORDERS, FIXED, ["prices"])
