"""Who may sign what, and until when: each rule has a record that breaks it and becomes a letter."""

import pickle

import pytest
from kit.events import FIXED, NOW, Logged, admit, record, signed_record, takedown
from kit.first import FIRST_POLICY
from kit.first import first_record as old_record
from kit.keys import (
    INSTALLATION,
    KEY,
    NEXT_KEY,
    NEXT_SIGNER,
    OLD_TRUST,
    SECRET,
    SIGNER,
    SPELLING,
    STRANGER,
    TRUST,
)

from streams.core.events import (
    ControlRecord,
)
from streams.core.keys import NOBODY, Trust
from streams.core.partition_control import Key, Upgrade
from streams.runtime.codec import Decoded, Spelling, decode_log
from streams.runtime.signing import SIGNATURE, Signer, encode, key_id

OLD = Spelling(1 << 20, SECRET)
ROTATED = Key("keys-1", NOW, 1, (NEXT_KEY.public,))
BOTH = Key("keys-1", NOW, 1, (KEY.public, NEXT_KEY.public))
UPGRADE = Upgrade("upgrade-1", NOW)


def decode(*records: Logged, trust: Trust = TRUST, spelling: Spelling = SPELLING) -> Decoded:
    return decode_log(records, trust, spelling)


def reasons(out: Decoded) -> list[tuple[int, str]]:
    return [(refusal.offset, refusal.reason) for refusal in out.refusals]


def test_the_header_names_the_key_and_nothing_of_its_private_half() -> None:
    [(name, text)] = signed_record(takedown()).headers
    assert text is not None
    scheme, named, signature = text.split(b":")
    assert (name, scheme, named) == ("streams-signature", b"ed25519", key_id(KEY.public).encode())
    assert len(bytes.fromhex(signature.decode())) == 64


def test_the_same_record_is_signed_by_the_same_bytes() -> None:
    assert signed_record(admit()) == signed_record(admit())


def test_what_was_signed_for_another_installation_is_refused() -> None:
    elsewhere = Signer("fedcba9876543210", KEY)
    out = decode(signed_record(takedown(), signer=elsewhere), signed_record(takedown(), 1))
    assert reasons(out) == [(0, "signature")]
    assert "installation" in out.refusals[0].message


def test_a_key_that_is_not_in_force_signs_nothing() -> None:
    stranger = Signer(INSTALLATION.id, STRANGER)
    out = decode(signed_record(takedown(), signer=stranger))
    assert reasons(out) == [(0, "signature")]
    assert "not in force" in out.refusals[0].message


def test_a_key_does_not_sign_under_the_name_of_another() -> None:
    [(_, text)] = signed_record(takedown(), signer=Signer(INSTALLATION.id, STRANGER)).headers
    assert text is not None
    named = text.replace(key_id(STRANGER.public).encode(), key_id(KEY.public).encode())
    out = decode(signed_record(takedown())._replace(headers=[(SIGNATURE, named)]))
    assert reasons(out) == [(0, "signature")]


@pytest.mark.parametrize(
    "text",
    [
        b"ed25519",
        b"ed25519::",
        b"ed25519:%b:" % key_id(KEY.public).encode(),
        b"ed25519:%b:%b" % (key_id(KEY.public).encode(), b"zz" * 64),
        b"ed25519:%b:%b" % (key_id(KEY.public).encode(), b"\xff" * 64),
        b"ed25519:%b:%b:1" % (key_id(KEY.public).encode(), b"00" * 64),
        b"ed25519:\xff:%b" % (b"00" * 64),
    ],
)
def test_no_spelling_of_a_signature_raises(text: bytes) -> None:
    out = decode(signed_record(takedown())._replace(headers=[(SIGNATURE, text)]), spelling=OLD)
    assert reasons(out) == [(0, "signature")]


def test_a_new_key_counts_from_its_record_on_and_not_before() -> None:
    out = decode(
        signed_record(takedown(), 0, signer=NEXT_SIGNER),
        signed_record(BOTH, 1),
        signed_record(takedown(), 2, signer=NEXT_SIGNER),
        signed_record(takedown(), 3),
    )
    assert reasons(out) == [(0, "signature")]
    assert out.trust == TRUST.after(BOTH)


def test_an_old_key_is_refused_behind_the_record_that_retired_it() -> None:
    before, after = signed_record(takedown(), 0), signed_record(takedown(), 2)
    out = decode(before, signed_record(ROTATED, 1), after)
    assert (before.value, before.headers) == (after.value, after.headers), "it is a replay"
    assert reasons(out) == [(2, "signature")]


def test_a_retired_key_brings_itself_back_by_no_record_of_old() -> None:
    back = Key("keys-2", NOW, 2, (KEY.public,))
    replayed = signed_record(BOTH, 2)
    out = decode(signed_record(ROTATED, 0), signed_record(back, 1), replayed)
    assert reasons(out) == [(1, "signature"), (2, "signature")]
    assert out.trust.keys == (NEXT_KEY.public,)


def test_a_change_of_keys_that_was_signed_once_does_not_count_again() -> None:
    add, back = BOTH, Key("keys-2", NOW, 2, (KEY.public,))
    out = decode(signed_record(add, 0), signed_record(back, 1), signed_record(add, 2))
    assert out.refusals == []  # the fold refuses it, as stale
    assert out.trust.keys == (KEY.public,)


@pytest.mark.parametrize("signer", [Signer(INSTALLATION.id, STRANGER), NEXT_SIGNER])
def test_only_a_key_in_force_changes_the_keys(signer: Signer) -> None:
    out = decode(signed_record(ROTATED, signer=signer))
    assert reasons(out) == [(0, "signature")]
    assert out.trust == TRUST


@pytest.mark.parametrize("late", [300_000, 300_001])
def test_a_change_of_keys_that_is_refused_changes_none(late: int) -> None:
    ahead = Key("keys-1", NOW + late, 1, (NEXT_KEY.public,))
    out = decode(signed_record(ahead), signed_record(takedown(), 1))
    refused = late > 300_000
    assert reasons(out) == ([(0, "future")] if refused else [(1, "signature")])
    assert (out.trust == TRUST) is refused


def test_a_change_of_keys_with_an_id_of_no_alphabet_changes_none() -> None:
    out = decode(signed_record(Key("a b", NOW, 1, (NEXT_KEY.public,))))
    assert reasons(out) == [(0, "id")]
    assert out.trust == TRUST


@pytest.mark.parametrize("event", [ROTATED, UPGRADE])
def test_unsigned_changes_of_keys_are_letters(event: ControlRecord) -> None:
    out = decode(record(encode(event)))
    assert reasons(out) == [(0, "signature")]
    assert out.trust == TRUST


def test_an_hmac_counts_with_the_secret_of_old_until_the_upgrade() -> None:
    log = [old_record(FIRST_POLICY), signed_record(UPGRADE, 1), old_record(takedown(), 2)]
    assert reasons(decode(*log, trust=OLD_TRUST, spelling=OLD)) == [(2, "signature")]
    assert reasons(decode(*log, trust=OLD_TRUST)) == [(0, "signature"), (2, "signature")]


def test_ed25519_counts_before_the_upgrade_too() -> None:
    assert decode(signed_record(FIXED), trust=OLD_TRUST, spelling=OLD).events == [FIXED]


def test_an_hmac_of_another_secret_never_counts() -> None:
    forged = old_record(takedown(), secret=b"somebody else's secret")
    assert reasons(decode(forged, trust=OLD_TRUST, spelling=OLD)) == [(0, "signature")]


@pytest.mark.parametrize("event", [ROTATED, UPGRADE])
def test_an_hmac_changes_no_keys(event: ControlRecord) -> None:
    out = decode(old_record(event), trust=OLD_TRUST, spelling=OLD)
    assert reasons(out) == [(0, "signature")]
    assert out.trust == OLD_TRUST


def test_no_hmac_ever_counts_in_a_fresh_installation() -> None:
    fresh = Trust(INSTALLATION.id, (KEY.public,), upgraded=True)
    assert reasons(decode(old_record(FIXED), trust=fresh, spelling=OLD)) == [(0, "signature")]


def test_nobody_signs_where_no_key_is_known() -> None:
    assert reasons(decode(signed_record(FIXED), trust=NOBODY)) == [(0, "signature")]


def test_whoever_looks_at_no_signatures_gets_every_event_and_knows_no_keys() -> None:
    out = decode_log([signed_record(ROTATED), old_record(takedown(), 1)], None, SPELLING)
    assert out.events == [ROTATED, takedown()]
    assert out.trust == NOBODY


def test_a_batch_of_plain_events_hands_the_keys_on() -> None:
    assert decode(trust=TRUST).trust == TRUST


def test_a_private_key_shows_itself_nowhere() -> None:
    text = KEY.pem().decode()
    inner = "".join(text.splitlines()[1:-1])
    shown = [repr(KEY), str(KEY), repr(SIGNER), f"{KEY}", repr(vars(SIGNER))]
    assert not any(inner in one or (1).to_bytes(32, "big").hex() in one for one in shown)
    with pytest.raises(TypeError):
        pickle.dumps(KEY)
