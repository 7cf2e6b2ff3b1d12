"""Receipts as they are written: what one record leads to, with the numbers it was decided on."""

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from msgspec import UNSET
from msgspec.structs import replace

from streams.core.counters import Reported, Slice, Trial, VideoState
from streams.core.events import InteractionRecord, VideoControl
from streams.core.exploration import draw, drawable
from streams.core.outlook import Outlook
from streams.core.posterior import solve, sum_factors
from streams.core.receipts import Action, Crowd, Effects, Reason, Receipt
from streams.core.reports import impressions_of, sum_up
from streams.core.rule import Assessment, Ruling, allowance_of, estimate_in, open_slices
from streams.core.state import PartitionState
from streams.core.units import surface_of


class ReceiptWriter:
    """Writes the receipts of one video for one record; lives for that record only."""

    __slots__ = ("cause", "effects", "outlook", "partition", "video", "video_id")

    def __init__(
        self,
        partition: PartitionState,
        outlook: Outlook,
        video: VideoState,
        cause: InteractionRecord | VideoControl,
        effects: Effects,
    ) -> None:
        self.partition = partition
        self.outlook = outlook
        self.video = video
        self.video_id = cause.video
        self.cause = cause
        self.effects = effects

    def _crowds(self, slice_ids: Iterable[str]) -> Sequence[Crowd]:
        policy, video = self.outlook.policy, self.video
        outset = self.outlook.outset(video.row)
        if not video.slices and self.outlook.affords_first(video.row):
            return outset.crowds  # the same, sooner
        if video.views:
            tastes = solve(sum_factors(policy, video))
            found = {name: estimate_in(policy, video, name, tastes) for name in slice_ids}
            said = {name: (each.mean, each.score) for name, each in found.items()}
        else:
            before = [self.outlook.before_any_view(name, video.row) for name in slice_ids]
            said = {each.slice: (each.mean, each.score) for each in before}
        return [
            Crowd(slice_id, mean, score, allowance_of(policy, video, slice_id))
            for slice_id, (mean, score) in said.items()
        ]

    def _write(
        self,
        ruling: Ruling,
        slice_id: str,
        row: Slice,
        assessment: Assessment | None,
        returned: int = 0,
    ) -> None:
        """Write the receipt of one slice: the numbers are those that the decision was taken on."""
        head = self._head(slice_id, ruling.action, ruling.reason)
        counted = Receipt(
            **head,
            stage=row.stage,
            tranche=ruling.tranche,
            returned=returned,
            allowance=row.allowance,
            impressions=row.impressions,
            views=row.views,
            viewers=row.viewers.bit_count(),
        )
        if assessment is not None:
            spec = self.outlook.policy.slices[slice_id]
            counted = replace(
                counted,
                loadings=spec.loadings,
                own_variance=spec.own_variance,
                horizon=spec.horizon,
                weighed=assessment.views,
                value=assessment.value,
                hoped=assessment.hoped,
                base=assessment.base,
                noise_variance=assessment.estimate.noise,
                mean=assessment.estimate.mean,
                sd=assessment.estimate.sd,
                score=assessment.estimate.score,
                price=assessment.price,
                z=assessment.z,
                sums=assessment.sums,
            )
        self.effects.receipts.append(counted)
        if ruling.action == "widen":
            self._explore(())
        self.partition.touch_slice(self.video_id, self.video, slice_id, row)

    def _sign(self, by: str, note: str) -> None:
        """Name the person whose word led to the latest receipt."""
        receipts = self.effects.receipts
        receipts[-1] = replace(receipts[-1], by=by, note=note)

    def _write_review(self, reason: Reason) -> None:
        """Write a receipt about what was reported; it moves nothing."""
        self._write_all("review", reason, ())
        video, receipts = self.video, self.effects.receipts
        sums = sum_up(video.row.reported or Reported(), self.outlook.policy)
        counts = {"impressions": impressions_of(video), "views": video.views}
        receipts[-1] = replace(receipts[-1], **counts, reports=sums)

    def _write_all(self, action: Action, reason: Reason, crowds: Collection[Crowd]) -> None:
        """Write one receipt about the whole video, with the person whose verdict led to it."""
        head, cause = self._head("", action, reason), self.cause
        by, note = (cause.by, cause.note) if isinstance(cause, VideoControl) else ("", "")
        self.effects.receipts.append(Receipt(**head, crowds=tuple(crowds), by=by, note=note))
        if action == "open" and reason != "released":
            self._explore([each.slice for each in crowds])

    def _explore(self, opened: Collection[str]) -> None:
        """Have chance say which slice is tried, if any; the receipt just written says so.

        Of those that are `opened` or, without any, of all that are open.
        """
        policy, video, receipts = self.outlook.policy, self.video, self.effects.receipts
        if not policy.explore_probability:
            return
        among = self._drawable(opened or open_slices(self.outlook, video))
        drawn = draw(policy, receipts[-1].id, among)
        if drawn.slice:
            hoped = estimate_in(policy, video, drawn.slice, solve(sum_factors(policy, video)))
            upto = allowance_of(policy, video, drawn.slice)
            video.row.trials[drawn.slice] = Trial(upto, hoped.mean)
        receipts[-1] = replace(receipts[-1], draw=drawn)

    def _drawable(self, opened: Collection[str]) -> Sequence[str]:
        """Return those of some open slices that chance may draw and that have room."""
        video, policy = self.video, self.outlook.policy
        if not video.slices and not video.row.trials and self.outlook.affords_first(video.row):
            return self.outlook.outset(video.row).drawable  # the same, sooner
        return [name for name in drawable(video, opened) if allowance_of(policy, video, name)]

    def _head(self, slice_id: str, action: Action, reason: Reason) -> dict[str, Any]:
        row = self.video.row
        n = row.decisions = row.decisions + 1
        self.partition.touch_video(self.video_id, self.video)
        ranked_less = row.handicap if surface_of(slice_id) != "following" else 0
        return {
            "id": f"{self.video_id}.{n}",
            "n": n,
            "video": self.video_id,
            "slice": slice_id,
            "action": action,
            "reason": reason,
            "cause": self.cause.id,
            "ts": self.cause.ts,
            "policy": self.outlook.policy.version,
            "rule": self.outlook.policy.rule,
            "creator": row.creator,
            "band": row.band,
            "commercial": row.commercial,
            "format": row.format,
            "handicap": ranked_less or UNSET,
        }
