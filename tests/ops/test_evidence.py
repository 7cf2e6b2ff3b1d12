"""The bounds of what is known of a video in each crowd."""

from typing import Any

from streams.core.receipts import Receipt
from streams.ops.evidence import evidence


def crowd(name: str, **more: Any) -> dict[str, Any]:
    numbers = {"score": 400_000, "price": 350_000, "mean": 380_000, "sd": 10_000}
    counts = {"allowance": 60, "impressions": 12, "left": 48, "owed": 0}
    return {"slice": name, **numbers, **counts, **more}


def counted(*opened: dict[str, Any], **views: int) -> dict[str, Any]:
    """Return what is counted: open crowds, and the views of each crowd of `discover`."""
    slices = {f"discover:{name}": {"views": number} for name, number in views.items()}
    return {"open": opened, "slices": slices}


def receipt(n: int, slice_id: str, **more: Any) -> Receipt:
    about: dict[str, Any] = {"video": "v1", "slice": slice_id, "cause": "e", "ts": 1, "policy": "p"}
    about |= {"action": "stop", "reason": "index_below_price", "rule": 2, "creator": "c", "band": 1}
    about |= {"commercial": False, "format": "video", "sums": (1,) * 9}
    return Receipt(id=f"v1.{n}", n=n, **(about | more))


def test_95_of_100_worths_lie_within_the_bounds() -> None:
    [row] = evidence(counted(crowd("discover:cars")), [])
    assert (row["low"], row["mean"], row["high"]) == (360_400, 380_000, 399_600)
    assert (row["action"], row["views"]) == ("open", 0)


def test_an_open_crowd_bears_what_was_decided_last_and_its_evidence_of_now() -> None:
    receipts = [
        receipt(1, "discover:cars", action="keep", views=20),
        receipt(2, "discover:cars", action="widen", views=40, mean=1),
    ]
    [row] = evidence(counted(crowd("discover:cars"), cars=47), receipts)
    assert (row["action"], row["views"], row["mean"]) == ("widen", 47, 380_000)


def test_crowds_that_ended_come_behind_by_the_receipt_that_ended_them() -> None:
    receipts = [
        receipt(1, "discover:dance", score=200_000, mean=190_000, sd=1_000, views=30),
        receipt(2, "discover:film", score=300_000, mean=290_000, views=90),
    ]
    rows = evidence(counted(crowd("discover:cars"), dance=31), receipts)
    assert [row["slice"] for row in rows] == ["discover:cars", "discover:film", "discover:dance"]
    assert (rows[2]["high"], rows[2]["left"], rows[2]["views"]) == (191_960, 0, 31)


def test_a_crowd_that_ended_unjudged_has_no_evidence() -> None:
    assert evidence(counted(), [receipt(1, "discover:cars", sums=(), reason="takedown")]) == []
    assert evidence(counted(), [receipt(1, "", reason="takedown")]) == []
