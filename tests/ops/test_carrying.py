"""Dossiers, promises to creators and tables go along to another partition count."""

from pathlib import Path

from kit.events import (
    NOW,
)
from kit.keys import INSTALLATION, SIGNER
from kit.repartitions import FIXED_IN_TERM, small_move

from streams.core.creators import DayStart
from streams.core.partitioner import partition_of
from streams.ops.carrying import CLAIM_KEY
from streams.runtime.documents import copy_of
from streams.runtime.installation import (
    decode_installation,
    installation_record,
)
from streams.runtime.policies import policy_record
from streams.runtime.ports import Claim, Document, DossierChange
from streams.runtime.waiting import waiting_record


async def test_dossiers_promises_and_tables_go_along(tmp_path: Path) -> None:
    move = await small_move(tmp_path)
    day = NOW // 86_400_000
    granted = b'{"upload":{"creator":"c1","id":"u"},"grant":{"impressions":9,"day":%d}}' % day
    document, old = Document(2, granted), move.old_dossiers
    await old.put(partition_of(b"v7", 2), "old", [DossierChange("v7", 0, document)], {})
    await old.claim("log", [Claim(partition_of(b"c1", 2), "c1", day, "v7")], 1)
    await old.keep_day(day, DayStart(7, {"c1": (3, 4)}))
    source, log = move.before.settings, move.before.log
    log.append(copy_of(source, partition_of(b"v7", 2), "v7", document))
    log.append(waiting_record(source, partition_of(b"v7", 2), "gate", "v7", None))
    log.append(policy_record(source, FIXED_IN_TERM, SIGNER))
    log.append(installation_record(source, INSTALLATION))
    made = await move.run()
    new, home = move.new_dossiers, partition_of(b"v7", 4)
    assert (await new.read(home, "", ["v7"])).documents == {"v7": document}
    assert await new.claim("log", [Claim(partition_of(b"c1", 4), "c1", day, "v8")], 1) == [None]
    assert await new.days([day]) == await old.days([day])
    after = move.after.log
    assert [one.key for one in after.records("dossiers", home)] == [b"v7"]
    assert [one.key for one in after.records("waiting", home)] == [b"gate:v7"]
    keys = [one.key for one in after.records("policies", 0)]
    assert keys == [CLAIM_KEY, b"1.1", b"installation"]
    last = decode_installation(move.after.settings, after.records("policies", 0)[-1].value or b"")
    assert last == made


async def test_a_dossier_that_is_there_in_a_later_revision_stays(tmp_path: Path) -> None:
    move = await small_move(tmp_path)
    home, newer = partition_of(b"v1", 4), Document(9, b"{}")
    await move.new_dossiers.put(home, "new", [DossierChange("v1", 0, newer)], {})
    await move.run()
    assert move.new_dossiers.shelves[home].documents == {"v1": newer}
