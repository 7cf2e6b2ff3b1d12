"""Control records of 0.1.0, read into today's types."""

from typing import Any

import msgspec
import pytest
from kit.events import FANS, FOOTBALL, MUSIC, NOW, SHENYANG, WEIGHTS, admit

from streams.core.counters import Video
from streams.core.events import Admit, ControlRecord, FirstAdmit, FirstPolicy, Policy
from streams.core.first.translation import HORIZON
from streams.core.outlook import Outlook
from streams.core.units import MICROS
from streams.runtime.first_format import decode_control

SLICE = {
    "reach": 5_000,
    "prior_mean": 350_000,
    "prior_variance": 20_000,
    "noise_variance": 100_000,
    "price": 330_000,
    "neighbours": {MUSIC: 300_000},
}
POLICY: dict[str, Any] = {
    "type": "policy",
    "id": "policy-1",
    "ts": NOW,
    "seq": 1,
    "version": "launch-1",
    "weights": msgspec.to_builtins(WEIGHTS),
    "slices": {FOOTBALL: SLICE, MUSIC: {**SLICE, "reach": 200, "price": 300_000}, FANS: SLICE},
    "tranche": 20,
    "growth": 3,
    "top_stage": 3,
    "budget": 2_000,
    "widen_z": 1_282_000,
    "widen_used": 500_000,
    "nearly_used": 800_000,
    "noise_views": 10,
    "noise_floor": 1_000,
    "fit_value": 50_000,
    "ordinary_subsidy": 10_000,
    "commercial_price": 1_500_000,
    "late_after_ms": 3_600_000,
}
ADMIT: dict[str, Any] = {
    "type": "admit",
    "id": "admit-1",
    "video": "v1",
    "ts": NOW,
    "seq": 4,
    "tier": "established",
    "commercial": False,
    "limited": False,
    "starts": [FANS, SHENYANG, FOOTBALL],
    "fits": {FOOTBALL: 700_000},
}


TODAY = msgspec.json.Decoder(ControlRecord)


def read(words: dict[str, Any]) -> ControlRecord:
    """Return what a record of 0.1.0 is read as."""
    event: ControlRecord = decode_control(TODAY, msgspec.json.encode(words))
    return event


def policy() -> Policy:
    event = read(POLICY)
    assert isinstance(event, Policy)
    return event


def test_a_policys_own_numbers_stay_what_they_were() -> None:
    event = policy()
    assert (event.id, event.seq, event.version, event.ts) == ("policy-1", 1, "launch-1", NOW)
    assert event.weights == WEIGHTS
    for name in ("tranche", "growth", "top_stage", "budget", "widen_z", "fit_value", "noise_floor"):
        assert getattr(event, name) == POLICY[name]


def test_a_slice_keeps_its_variance_for_itself_and_hopes_for_some_hundreds() -> None:
    slices = policy().slices
    assert slices[FOOTBALL].own_variance == 20_000
    assert slices[FOOTBALL].loadings == (0, 0, 0)
    assert (slices[FOOTBALL].horizon, slices[MUSIC].horizon) == (HORIZON, 200)
    assert (slices[FOOTBALL].reach, slices[FOOTBALL].price) == (5_000, 330_000)


@pytest.mark.parametrize("slice_id", [FOOTBALL, FANS])
def test_prices_of_the_classes_are_nearly_what_they_were(slice_id: str) -> None:
    outlook = Outlook(policy())
    for tier, band in (("ordinary", 0), ("ordinary", 4), ("established", 5)):
        for commercial in (False, True):
            then = 330_000 - (10_000 if tier == "ordinary" else 0)
            then = then * 3 // 2 if commercial else then
            price = outlook.price(slice_id, Video(band=band, commercial=commercial))
            assert price == pytest.approx(then, abs=15_000 if commercial else 0)


@pytest.mark.parametrize(("tier", "band"), [("established", 5), ("ordinary", 0)])
def test_a_tier_becomes_a_band(tier: str, band: int) -> None:
    event = read({**ADMIT, "tier": tier})
    assert isinstance(event, Admit)
    assert (event.band, event.guarantee, event.seq) == (band, 0, 4)


def test_starts_outside_the_crowds_become_fits() -> None:
    event = read(ADMIT)
    assert isinstance(event, Admit)
    assert event.fits == {FOOTBALL: 700_000, FANS: MICROS, SHENYANG: MICROS}


@pytest.mark.parametrize(
    "words",
    [
        {**POLICY, "tranche": 0},
        {**POLICY, "slices": {}},
        {name: value for name, value in POLICY.items() if name != "weights"},
        {**ADMIT, "tier": "royal"},
        {**ADMIT, "starts": "everywhere"},
    ],
)
def test_what_was_never_right_is_refused_as_ever(words: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        read(words)


def test_a_record_of_today_that_names_an_old_word_is_read_as_it_is() -> None:
    hold = {"type": "hold", "id": "h", "video": "v1", "ts": NOW, "seq": 5, "note": 'the "tier"'}
    event = read(hold)
    assert getattr(event, "note", "") == 'the "tier"'
    assert read(msgspec.to_builtins(admit())) == admit()


def test_before_the_upgrade_a_record_is_what_it_was() -> None:
    policy, admission = (
        decode_control(TODAY, msgspec.json.encode(each), upgraded=False) for each in (POLICY, ADMIT)
    )
    assert isinstance(policy, FirstPolicy)
    assert policy.slices[FOOTBALL].neighbours == {MUSIC: 300_000}
    assert isinstance(admission, FirstAdmit)
    assert admission.starts == [FANS, SHENYANG, FOOTBALL]
