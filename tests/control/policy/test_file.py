"""The policy file as people write it, against the record that the fold works with."""

import tomllib
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from streams.control.policy.catalogue import Catalogue
from streams.control.policy.file import PolicyRules
from streams.core.events import Policy
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
    file["price"] |= {"ordinary_subsidy": 0.01, "commercial_factor": 1.25}
    draft = parse(file, catalogue).draft
    assert draft.weights.hide == -1_500_000
    assert draft.widen_z == 1_959_964  # the textbook quantile of 97.5 %
    assert (draft.widen_used, draft.nearly_used) == (250_000, 750_000)
    assert (draft.noise_floor, draft.fit_value, draft.late_after_ms) == (20_000, 300_000, 7_200_000)
    assert (draft.ordinary_subsidy, draft.commercial_price) == (10_000, 1_250_000)


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


def test_the_admission_numbers_do_not_change_the_version_of_the_rule(
    file: dict[str, Any], catalogue: Catalogue
) -> None:
    before = parse(file, catalogue)
    file["admission"]["established_followers"] = 5
    after = parse(file, catalogue)
    assert (after.version, after.established_followers) == (before.version, 5)


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
        ("weights", "like", 500_000, "use -100 to 100"),
        ("weights", "superlike", 1, "weights.superlike is not known"),
        (
            "evidence",
            "noise_floor",
            0,
            "evidence.noise_floor: 0 is out of range: use 0.000001 to 100",
        ),
        ("evidence", "late_after_hours", -1, "write a whole number from 0"),
        (
            "price",
            "commercial_factor",
            -0.5,
            "price.commercial_factor: -0.5 is out of range: use 0 to 10",
        ),
        ("price", "commercial_factor", 11, "use 0 to 10"),
        ("admission", "established_followers", 0, "write a whole number from 1 on"),
        ("admission", "first_slices", 9, "from 1 to 8"),
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
