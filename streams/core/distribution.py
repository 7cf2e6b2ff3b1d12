"""Distribution: what control records and checkpoints do to a video's slices, and the receipts."""

from typing import Final

from streams.core.counters import ACTIVE, HELD, IDLE, SLICE_STAGES, Slice, VideoState
from streams.core.events import (
    Admit,
    Hold,
    InteractionRecord,
    Policy,
    Release,
    Revise,
    SlicePolicy,
    Takedown,
    VideoControl,
)
from streams.core.receipts import Effects, Reason, Receipt
from streams.core.rule import (
    FIRST_CHECKPOINT,
    Assessment,
    Ruling,
    assess,
    next_slice,
    predicted_mean,
    room_of,
    rule,
    set_checkpoints,
)
from streams.core.stages import SliceMove, VideoMove, move_slice, move_video
from streams.core.state import PartitionState
from streams.core.units import NEVER, is_slice, surface_of
from streams.errors import DeadLetter

GONE: Final = SlicePolicy(reach=1, prior_mean=0, prior_variance=1, noise_variance=1, price=0)
"""Stands for a slice that the policy in force does not have."""
GONE_RULING: Final = Ruling("stop", "slice_gone", 0)


class Distribution:
    """The slices of one video, as one record moves them; lives for that record only."""

    __slots__ = ("cause", "effects", "partition", "policy", "video", "video_id")

    def __init__(
        self,
        partition: PartitionState,
        policy: Policy,
        video: VideoState,
        cause: InteractionRecord | VideoControl,
        effects: Effects,
    ) -> None:
        self.partition = partition
        self.policy = policy
        self.video = video
        self.video_id = cause.video
        self.cause = cause
        self.effects = effects

    def control(self, record: VideoControl) -> None:
        """Apply one control record; `DeadLetter` if it names no slice, `IllegalMove` likewise."""
        match record:
            case Admit():
                self._admit(record)
            case Revise():
                self._revise(record)
            case Hold():
                self._move_video("hold")
                self._move_all("held", "hold", (ACTIVE,))
            case Release():
                self._move_video("release")
                self._release()
            case Takedown():
                self._move_video("takedown")
                self._move_all("takedown", "stop", (ACTIVE, HELD))
        self.video.row.seq = record.seq
        self.partition.touch_video(self.video_id, self.video)

    def checkpoint(self, slice_id: str, row: Slice) -> None:
        """Judge an active slice on its evidence and do what the rule says."""
        spec = self.policy.slices.get(slice_id)
        if spec is None:
            ruling = None if surface_of(slice_id) == "following" else GONE_RULING
        else:
            assessment = self._assess(slice_id, row)
            ruling = rule(self.policy, spec, slice_id, self.video.row, row, assessment)
        if ruling is None:
            set_checkpoints(self.policy, row)
        elif ruling.action == "stop":
            self._end(slice_id, row, ruling.reason, "stop")
            reach = ruling.reason == "reach_used"
            self._start_next("next_after_reach" if reach else "next_after_stop")
        else:
            self._grant(slice_id, row, ruling)
            if ruling.action == "widen" and row.stage == self.policy.top_stage:
                self._start_next("next_after_top")

    def _admit(self, record: Admit) -> None:
        for name in (*record.starts, *record.fits):
            if not is_slice(name):
                raise DeadLetter("slice", "admit names a slice that is not surface:group")
        first = self.video.row.stage == "unknown"
        self._move_video("admit_limited" if record.limited else "admit")
        if not first:
            return
        row = self.video.row
        row.tier, row.commercial, row.fits = record.tier, record.commercial, record.fits
        for slice_id in record.starts:
            if row.stage == "public" or surface_of(slice_id) == "following":
                self._start(slice_id, "first_crowd")
        self._reach_public("first_crowd")

    def _revise(self, record: Revise) -> None:
        if record.fits is not None and not all(is_slice(name) for name in record.fits):
            raise DeadLetter("slice", "revise names a slice that is not surface:group")
        before = self.video.row.stage
        if record.limited is None:
            if before == "unknown":
                self._move_video("widen")  # illegal: nothing to revise
        else:
            self._move_video("limit" if record.limited else "widen")
        if record.fits is not None:
            self.video.row.fits = record.fits
        if record.limited:
            self._move_all("limited", "withdraw", (ACTIVE, HELD))
        elif before != self.video.row.stage:
            self._reach_public("audience_widened")

    def _release(self) -> None:
        for slice_id, row in sorted(self.video.slices.items()):
            if row.status == HELD:
                self._move(row, "release")
                self._write(Ruling("start", "released", 0), slice_id, row)
                self.checkpoint(slice_id, row)  # feedback that was in flight came meanwhile
        self._reach_public("released")

    def _move_all(self, reason: Reason, move: SliceMove, stages: tuple[int, ...]) -> None:
        for slice_id, row in sorted(self.video.slices.items()):
            kept = move == "withdraw" and surface_of(slice_id) == "following"
            if row.status in stages and not kept:
                self._end(slice_id, row, reason, move)

    def _reach_public(self, reason: Reason) -> None:
        """Give a video that may reach the public and does not its best crowd."""
        active = (name for name, row in self.video.slices.items() if row.status == ACTIVE)
        if not any(surface_of(name) != "following" for name in active):
            self._start_next(reason)

    def _start_next(self, reason: Reason) -> None:
        slice_id = next_slice(self.policy, self.video)
        if slice_id is not None:
            self._start(slice_id, reason)

    def _start(self, slice_id: str, reason: Reason) -> None:
        spec = self.policy.slices.get(slice_id)
        row = self.video.slices.get(slice_id) or Slice()
        if spec is None or row.status != IDLE:
            return
        tranche = room_of(self.policy, spec, slice_id, self.video.row, row)
        tranche = min(tranche, self.policy.tranche)
        if not tranche:
            return
        row.prior_mean = predicted_mean(self.policy, self.video, slice_id)
        self.video.slices[slice_id] = row
        self._move(row, "start")
        self._grant(slice_id, row, Ruling("start", reason, tranche))
        if row.views >= FIRST_CHECKPOINT:
            self.checkpoint(slice_id, row)

    def _grant(self, slice_id: str, row: Slice, ruling: Ruling) -> None:
        if ruling.action == "widen":
            self._move(row, "widen")
            row.stage += 1
        row.tranche = ruling.tranche
        # What was shown beyond the allowance, or before any, is not to be shown again for it.
        row.allowance = max(row.allowance, row.impressions) + ruling.tranche
        row.granted_views = row.views
        if surface_of(slice_id) != "following":
            self.video.row.granted += ruling.tranche
        self._write(ruling, slice_id, row)
        set_checkpoints(self.policy, row)

    def _end(self, slice_id: str, row: Slice, reason: Reason, move: SliceMove) -> None:
        self._move(row, move)
        row.check_views = row.check_impressions = NEVER
        self._write(Ruling("stop", reason, 0), slice_id, row)

    def _move_video(self, move: VideoMove) -> None:
        self.video.row.stage = move_video(self.video.row.stage, move)

    def _move(self, row: Slice, move: SliceMove) -> None:
        row.status = SLICE_STAGES.index(move_slice(SLICE_STAGES[row.status], move))

    def _assess(self, slice_id: str, row: Slice) -> Assessment:
        """Return what the evidence says, and keep its index in the row."""
        spec = self.policy.slices.get(slice_id, GONE)
        assessment = assess(self.policy, spec, self.video.row, row)
        row.index = assessment.estimate.index
        return assessment

    def _write(self, ruling: Ruling, slice_id: str, row: Slice) -> None:
        """Write the receipt: the numbers are those that the decision was taken on."""
        assessment = self._assess(slice_id, row)
        n = self.video.row.decisions = self.video.row.decisions + 1
        self.effects.receipts.append(
            Receipt(
                id=f"{self.video_id}.{n}",
                n=n,
                video=self.video_id,
                slice=slice_id,
                action=ruling.action,
                reason=ruling.reason,
                cause=self.cause.id,
                ts=self.cause.ts,
                policy=self.policy.version,
                stage=row.stage,
                tranche=ruling.tranche,
                allowance=row.allowance,
                impressions=row.impressions,
                views=row.views,
                value_sum=row.value_sum,
                value_sq=row.value_sq,
                prior_mean=assessment.prior.mean,
                prior_variance=assessment.prior.variance,
                noise_variance=assessment.estimate.noise_variance,
                mean=assessment.estimate.mean,
                sd=assessment.estimate.sd,
                index=assessment.estimate.index,
                price=assessment.price,
                z=assessment.z,
                reach_left=assessment.reach_left,
            )
        )
        self.partition.touch_slice(self.video_id, self.video, slice_id, row)
        self.partition.touch_video(self.video_id, self.video)
