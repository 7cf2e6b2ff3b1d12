"""Keys change by records of the log, by one pure function that the fold keeps in the meta."""

import pytest
from kit.events import FIXED, NOW, takedown, view
from kit.folding import Folding, placed
from kit.keys import KEY, META, NEXT_KEY, OLD_META, TRUST

from streams.core.events import (
    LogRecord,
)
from streams.core.keys import NOBODY, Trust, read_trust
from streams.core.partition_control import Key, Upgrade
from streams.core.state import FRESH, PartitionState


def key(seq: int, *keys: str) -> Key:
    return Key(f"keys-{seq}", NOW, seq, keys or (NEXT_KEY.public,))


UPGRADE = Upgrade("upgrade-1", NOW)


def folded(*events: LogRecord) -> Folding:
    return Folding().fold(placed(events)).flush()


def test_a_key_record_puts_exactly_its_keys_in_force() -> None:
    done = folded(key(1, NEXT_KEY.public, KEY.public), key(2))
    assert read_trust(done.meta.keys) == Trust(TRUST.installation, (NEXT_KEY.public,), True, 2)
    assert done.outcomes == {("key", "applied"): 2}


def test_a_key_record_of_the_same_number_is_a_repeat_and_a_lower_one_a_letter() -> None:
    done = folded(key(5), key(5, KEY.public), key(4, KEY.public))
    assert read_trust(done.meta.keys).keys == (NEXT_KEY.public,)
    assert [refusal.reason for refusal in done.rejected] == ["stale"]
    assert done.outcomes["key", "duplicate"] == 1


def test_an_upgrade_stands_in_the_meta_and_a_second_one_is_a_repeat() -> None:
    assert not read_trust(OLD_META.keys).upgraded
    done = Folding(meta=OLD_META).fold(placed([UPGRADE, UPGRADE])).flush()
    assert read_trust(done.meta.keys).upgraded
    assert done.outcomes == {("upgrade", "applied"): 1, ("upgrade", "duplicate"): 1}


def test_the_codec_and_the_fold_come_to_the_same_keys() -> None:
    events = [key(2), UPGRADE, key(1, KEY.public), key(3, KEY.public, NEXT_KEY.public), key(3)]
    trust = TRUST
    for place, event in enumerate(events, start=1):
        trust = trust.after(event)
        assert folded(*events[:place]).state.trust == trust


def test_other_records_change_no_keys() -> None:
    done = folded(FIXED, view(), takedown())
    assert done.meta.keys == META.keys
    assert TRUST.after(FIXED) == TRUST


def test_keys_are_about_no_video() -> None:
    assert Folding().state.missing([key(1), UPGRADE, view()]) == ["v1"]


def test_keys_survive_a_restart() -> None:
    done = folded(key(1), UPGRADE).restart([])
    assert done.state.trust == Trust(TRUST.installation, (NEXT_KEY.public,), True, 1)


def test_without_keys_nobody_signs() -> None:
    assert PartitionState(0, 1, 10).trust == NOBODY
    assert NOBODY.keys == ()


@pytest.mark.parametrize("raw", [b"{", b"[]", b'{"keys":["00"]}', b'{"keys":7}'])
def test_what_is_no_meta_of_keys_is_refused(raw: bytes) -> None:
    with pytest.raises(ValueError, match="keys: "):
        PartitionState(0, 1, 10, FRESH._replace(keys=raw))
