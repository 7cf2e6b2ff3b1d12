"""The policy file as people write it, against the record that the fold works with."""

import tomllib
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from streams.control.policy.catalogue import Catalogue
from streams.control.policy.file import GuaranteeBound, PolicyRules
from streams.core.counters import Video
from streams.core.events import Policy
from streams.core.outlook import Outlook
from streams.core.units import surface_of
from streams.errors import Halt

CONFIG = Path("config")
NOW_MS = 1_700_000_000_000


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return Catalogue.from_toml(CONFIG / "slices.toml")


@pytest.fixture
def file() -> dict[str, Any]:
    return tomllib.loads((CONFIG / "policy.toml").read_text(encoding="utf-8"))


def parse(file: dict[str, Any], catalogue: Catalogue) -> PolicyRules:
    return PolicyRules.parse(file, catalogue, where="policy.toml")


def test_the_shipped_file_becomes_a_record_that_the_log_accepts(catalogue: Catalogue) -> None:
    rules = PolicyRules.from_toml(CONFIG / "policy.toml", catalogue)
    record = rules.record(seq=7, now_ms=NOW_MS)
    assert msgspec.json.decode(msgspec.json.encode(record), type=Policy) == record
    assert (record.seq, record.ts, record.id) == (7, NOW_MS, "policy-7")
    assert record.slices.keys() == catalogue.slices.keys()


def test_decimals_become_micro_units_and_hours_milliseconds(
    file: dict[str, Any], catalogue: Catalogue
) -> None:
    file["weights"]["hide"] = -1.5
    file["growth"] |= {"widen_probability": 0.975, "widen_used": 0.25, "nearly_used": 0.75}
    file["evidence"] |= {"noise_floor": 0.02, "fit_value": 0.3, "late_after_hours": 2}
    file["evidence"]["noise_cross"] = 0.25
    file["guarantee"] |= {"hours": 12, "slices": 4, "fresh_share": 0.03}
    file["evidence"] |= {"button_mean": 0.11, "delay_s": 25}
    file["growth"]["return_margin"] = 0.05
    file["exploration"]["probability"] = 0.075
    file["viewers"] = {"widen": [20, 40, 60], "stop": 12, "annoyed": 0.04}
    draft = parse(file, catalogue).draft
    assert draft.weights.hide == -1_500_000
    assert draft.widen_z == 1_959_964  # the textbook quantile of 97.5 %
    assert (draft.widen_used, draft.nearly_used) == (250_000, 750_000)
    assert (draft.noise_floor, draft.fit_value, draft.late_after_ms) == (20_000, 300_000, 7_200_000)
    assert draft.noise_cross == 250_000
    assert (draft.guarantee_ms, draft.guarantee_slices) == (43_200_000, 4)
    assert draft.fresh_share == 30_000
    assert (draft.widen_viewers, draft.stop_viewers) == ((20, 40, 60), 12)
    assert draft.annoyed_share == 40_000
    assert draft.return_margin == 50_000
    assert (draft.explore_probability, draft.explore_key) == (75_000, "")
    late = {(spec.button_mean, spec.delay_ms) for spec in draft.slices.values()}
    assert late == {(110_000, 25_000)}


def test_a_class_pays_its_band_and_its_commercial_term(
    file: dict[str, Any], catalogue: Catalogue
) -> None:
    file["price"] = {"commercial": 0.05, "bands": {"0": -0.02, "5": 0.01}}
    outlook = Outlook(parse(file, catalogue).draft)
    price = outlook.policy.slices["discover:football"].price
    paid = {
        (band, commercial): outlook.price(
            "discover:football", Video(band=band, commercial=commercial)
        )
        - price
        for band in (0, 3, 5)
        for commercial in (False, True)
    }
    assert paid == {
        (0, False): -20_000,
        (0, True): 30_000,
        (3, False): 0,
        (3, True): 50_000,
        (5, False): 10_000,
        (5, True): 60_000,
    }


def test_the_shipped_prices_favour_ordinary_people_and_not_advertisers(
    file: dict[str, Any], catalogue: Catalogue
) -> None:
    outlook = Outlook(parse(file, catalogue).draft)
    for name in catalogue.slices:
        prices = [outlook.price(name, Video(band=band)) for band in range(6)]
        if surface_of(name) == "following":
            assert len(set(prices)) == 1
        else:
            assert len(set(prices[:5])) == 1
            assert prices[0] < prices[5] < outlook.price(name, Video(band=5, commercial=True))


def test_a_slice_without_a_horizon_of_its_own_has_the_policys(
    file: dict[str, Any], catalogue: Catalogue
) -> None:
    file["growth"]["horizon"] = 123
    assert {spec.horizon for spec in parse(file, catalogue).draft.slices.values()} == {123}


def test_the_version_is_the_name_and_a_hash_of_the_content(
    file: dict[str, Any], catalogue: Catalogue
) -> None:
    rules = parse(file, catalogue)
    assert rules.version.startswith("launch-")
    assert rules.record(1, NOW_MS).version == rules.record(9, NOW_MS + 5).version == rules.version
    assert parse(dict(reversed(file.items())), catalogue).version == rules.version


def test_another_number_or_another_slice_is_another_version(
    file: dict[str, Any], catalogue: Catalogue
) -> None:
    before = parse(file, catalogue).version
    file["growth"]["tranche"] += 1
    changed = parse(file, catalogue).version
    fewer = Catalogue(list(catalogue.slices.values())[1:], catalogue.default)
    assert len({before, changed, parse(file, fewer).version}) == 3


def test_the_number_of_an_admission_does_not_change_the_version_of_the_rule(
    file: dict[str, Any], catalogue: Catalogue
) -> None:
    before = parse(file, catalogue)
    file["guarantee"] |= {"impressions": 5, "full_a_day": 2, "beyond": 1}
    after = parse(file, catalogue)
    assert (after.version, after.guarantee, after.bound) == (before.version, 5, (2, 1))


def test_a_file_of_before_has_the_usual_bound(file: dict[str, Any], catalogue: Catalogue) -> None:
    for name in ("full_a_day", "beyond"):
        del file["guarantee"][name]
    assert parse(file, catalogue).bound == GuaranteeBound()


@pytest.mark.parametrize(
    ("section", "key", "value", "says"),
    [
        ("growth", "widen_probability", 0.4, "use 0.5 to 0.999999"),
        ("growth", "widen_probability", 1.0, "use 0.5 to 0.999999"),
        ("growth", "widen_probability", Decimal("NaN"), "use 0.5 to 0.999999"),
        ("growth", "tranche", 0, "growth.tranche is 0: write a whole number from 1 to 1000000"),
        ("growth", "tranche", 60.5, "write a whole number"),
        ("growth", "factor", 1, "growth.factor is 1: write a whole number from 2"),
        ("growth", "top_stage", 21, "from 1 to 20"),
        ("growth", "widen_used", 1.5, "use 0 to 1"),
        ("growth", "nearly_used", 0.1234567, "six decimals"),
        ("growth", "tranches", 5, "growth.tranches is not known: did you mean tranche?"),
        ("growth", "return_margin", -0.1, "use 0 to 100"),
        ("weights", "like", 500_000, "use -100 to 100"),
        ("weights", "superlike", 1, "weights.superlike is not known"),
        (
            "evidence",
            "noise_floor",
            0,
            "evidence.noise_floor: 0 is out of range: use 0.000001 to 100",
        ),
        ("evidence", "late_after_hours", -1, "write a whole number from 0"),
        ("evidence", "noise_cross", 1.5, "use 0 to 1"),
        ("evidence", "button_mean", 80_000, "use -100 to 100"),
        ("evidence", "delay_s", -1, "from 0 to 86400"),
        ("price", "commercial", 101, "use -100 to 100"),
        ("price", "bands", {"6": 0.1}, "a fan band, 0 to 5"),
        ("price", "bands", {"0": 500}, "price.bands.0: 500 is out of range"),
        ("growth", "open_max", 0, "from 1 to 256"),
        ("growth", "open_max", 257, "from 1 to 256"),
        ("growth", "horizon", 0, "growth.horizon is 0: write a whole number from 1"),
        ("guarantee", "impressions", -1, "write a whole number from 0"),
        ("guarantee", "full_a_day", 0, "write a whole number from 1"),
        ("guarantee", "beyond", -1, "write a whole number from 0"),
        ("guarantee", "slices", 0, "from 1 to 16"),
        ("guarantee", "fresh_share", 2, "use 0 to 1"),
        ("viewers", "widen", [30, 120], "from 0 to 119"),
        ("viewers", "stop", -1, "from 0 to 119"),
        ("viewers", "annoyed", 1.5, "use 0 to 1"),
        ("exploration", "probability", 0.51, "probability: 0.51 is out of range: use 0 to 0.5"),
        ("exploration", "probability", -0.1, "use 0 to 0.5"),
    ],
)
def test_a_wrong_number_stops_the_start_with_one_line(
    file: dict[str, Any], catalogue: Catalogue, section: str, key: str, value: object, says: str
) -> None:
    file[section][key] = value
    with pytest.raises(Halt) as caught:
        parse(file, catalogue)
    message = str(caught.value)
    assert message.startswith("policy.toml: ")
    assert says in message
    assert "\n" not in message


@pytest.mark.parametrize("name", ["", "Launch", "a b", "x" * 41, "{v}"])
def test_a_name_that_no_receipt_could_bear_is_refused(
    file: dict[str, Any], catalogue: Catalogue, name: str
) -> None:
    file["name"] = name
    with pytest.raises(Halt, match="name"):
        parse(file, catalogue)


def test_a_missing_key_is_named(file: dict[str, Any], catalogue: Catalogue) -> None:
    del file["growth"]["budget"]
    with pytest.raises(Halt, match=r"growth\.budget is missing: write a whole number"):
        parse(file, catalogue)
