"""Where two runs part: the first receipt that differs, and why.

Receipts carry every number that led to them, so the first difference of a video tells its cause;
later ones only follow from it. Runs are compared by receipt id, repeats dropped.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

from streams.core.receipts import Receipt, decode, encode
from streams.errors import Halt
from streams.runtime.reasons import PARSER_ERRORS

CAUSES: Final = (
    (("policy",), "another policy was in force"),
    (("rule",), "the log puts another version of the rule in force"),
    (
        ("creator", "band", "commercial", "format"),
        "the video was admitted otherwise: another creator, or of another kind",
    ),
    (
        ("impressions", "views", "value"),
        "other feedback was counted before: records are missing, added or in another order",
    ),
    (
        ("cause", "ts"),
        "another event led here: records are missing, added or in another order",
    ),
    (("slice",), "another slice was judged: earlier decisions or tags differ"),
    (
        ("base", "noise_variance", "price"),
        "the policy's numbers differ under the same version",
    ),
    (
        ("sums",),
        "other feedback was counted in other slices of the video, or their numbers differ",
    ),
    (("stage", "allowance", "returned"), "earlier grants differ"),
    (
        ("crowds",),
        "its crowds were expected otherwise: earlier feedback, tags or numbers differ",
    ),
    (
        ("mean", "sd", "score", "z"),
        "the same inputs were judged otherwise: two versions of the code",
    ),
    (("draw",), "chance drew otherwise: the policy has another key, or other crowds were open"),
)
"""What it means that one of these fields differs, the causes that lie furthest back first."""


class ReceiptDifference(NamedTuple):
    """The first receipt that differs; None where a run does not have it."""

    id: str
    one: Receipt | None
    other: Receipt | None
    why: str
    fields: dict[str, tuple[Any, Any]]  # those that differ

    def as_fields(self) -> dict[str, Any]:
        """Return what goes to JSON."""
        differing = {name: {"one": a, "other": b} for name, (a, b) in self.fields.items()}
        return {"id": self.id, "why": self.why, "fields": differing}


class Compared(NamedTuple):
    """Two runs side by side."""

    one: int  # receipts, repeats dropped
    other: int
    differing: int  # ids that differ or that one run lacks
    first: ReceiptDifference | None


Run = Mapping[str, bytes]
"""Receipt id -> its bytes."""


def read_run(lines: Iterable[bytes], name: str) -> Run:
    """Return the receipts of a run; `Halt` if a line is none, or an id comes with other bytes."""
    run: dict[str, bytes] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            receipt = decode(line)
        except PARSER_ERRORS as error:
            raise Halt(f"{name}: line {number} is no receipt: {error}", code="damaged") from None
        raw = encode(receipt)
        if run.setdefault(receipt.id, raw) != raw:
            raise Halt(f"{name}: receipt {receipt.id} comes twice with other bytes", code="damaged")
    return run


def compare_runs(one: Run, other: Run) -> Compared:
    """Return where two runs part: earliest by event time, then by video and number."""
    differing = [key for key in one.keys() | other.keys() if one.get(key) != other.get(key)]
    if not differing:
        return Compared(len(one), len(other), 0, None)
    pairs = [(_read(one, key), _read(other, key)) for key in differing]
    first = min(pairs, key=_place)
    return Compared(len(one), len(other), len(differing), _explain(*first))


def _read(run: Run, key: str) -> Receipt | None:
    raw = run.get(key)
    return None if raw is None else decode(raw)


def _place(pair: tuple[Receipt | None, Receipt | None]) -> tuple[int, str, int]:
    there = [receipt for receipt in pair if receipt is not None]
    return min((receipt.ts, receipt.video, receipt.n) for receipt in there)


def _explain(one: Receipt | None, other: Receipt | None) -> ReceiptDifference:
    if one is None or other is None:
        there = one or other
        assert there is not None
        which = "second" if one is None else "first"
        why = (
            f"only the {which} run decided here ({there.action}, {there.reason}): the other has "
            "fewer records, another policy, or ended earlier"
        )
        return ReceiptDifference(there.id, one, other, why, {})
    fields = {
        name: (a, b)
        for name in Receipt.__struct_fields__
        if (a := getattr(one, name)) != (b := getattr(other, name))
    }
    return ReceiptDifference(one.id, one, other, _why(fields), fields)


def _why(fields: Mapping[str, object]) -> str:
    """Return the cause that lies furthest back among the fields that differ."""
    for names, why in CAUSES:
        if not fields.keys().isdisjoint(names):
            return why
    return "the same judgement led to another action: two versions of the code"
