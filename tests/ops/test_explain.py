import re
from typing import get_args

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from streams.core.receipts import ACTIONS, Reason, Receipt
from streams.ops.explain import WORDS, decimal, explain, moment

MICROS_FIELDS = {
    "value_sum", "value_sq", "prior_mean", "prior_variance", "noise_variance", "mean", "sd",
    "index", "price", "z",
}  # fmt: skip
micros = st.integers(-(10**15), 10**15)
counts = st.integers(0, 10**12)
words = st.text("abcdefghijkl0123456789_-", min_size=1, max_size=12)
receipts = st.builds(
    Receipt,
    id=words, n=counts, video=words, slice=st.just("discover:football"),
    action=st.sampled_from(ACTIONS), reason=st.sampled_from(get_args(Reason)), cause=words,
    ts=st.integers(1_000_000_000_000, 4_102_444_799_999), policy=words, stage=counts,
    tranche=counts, allowance=counts, impressions=counts, views=counts, value_sum=micros,
    value_sq=micros, prior_mean=micros, prior_variance=micros, noise_variance=micros, mean=micros,
    sd=micros, index=micros, price=micros, z=micros, reach_left=counts,
)  # fmt: skip


def numbers_of(text: str) -> list[str]:
    return re.findall(r"-?\d[\d,]*(?:\.\d+)?", text)


def as_micros(text: str) -> int:
    whole, _, part = text.replace(",", "").partition(".")
    number = int(whole.lstrip("-")) * 1_000_000 + int(part.ljust(6, "0") or 0)
    return -number if text.startswith("-") else number


@given(receipts)
def test_every_number_of_the_receipt_appears_exactly(receipt: Receipt) -> None:
    text = explain(receipt)
    said = [as_micros(number) for number in numbers_of(text)]
    for name, value in msgspec.structs.asdict(receipt).items():
        if name == "ts" or not isinstance(value, int):
            continue
        expected = value if name in MICROS_FIELDS else value * 1_000_000
        assert (abs(expected) if name == "z" else expected) in said, name
    for part in (receipt.id, receipt.cause, receipt.policy, receipt.action, receipt.slice):
        assert part in text
    assert moment(receipt.ts) in text


@given(receipts)
def test_the_comparison_tells_the_truth(receipt: Receipt) -> None:
    relation = re.search(r"Its index \S+ ([<=>]) the price", explain(receipt))[1]
    assert {
        "<": receipt.index < receipt.price,
        "=": receipt.index == receipt.price,
        ">": receipt.index > receipt.price,
    }[relation]
    assert (" below the price" in explain(receipt)) == (receipt.z < 0)


def test_every_reason_has_its_words() -> None:
    assert WORDS.keys() == set(get_args(Reason))


@given(micros)
def test_decimals_are_exact(number: int) -> None:
    assert as_micros(decimal(number)) == number
