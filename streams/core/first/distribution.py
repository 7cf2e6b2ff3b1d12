"""What control records and checkpoints did to a video's slices under 0.1.0, and its receipts."""

from collections.abc import Iterable
from typing import Final

from streams.core.counters import ACTIVE, HELD, IDLE, SLICE_STAGES, VideoState
from streams.core.events import (
    FirstAdmit,
    FirstPolicy,
    FirstSlicePolicy,
    Hold,
    InteractionRecord,
    Release,
    Revise,
    Takedown,
)
from streams.core.first.rule import (
    FIRST_CHECKPOINT,
    FirstAssessment,
    FirstRuling,
    assess,
    next_slice,
    predicted_mean,
    room_of,
    rule,
    set_checkpoints,
)
from streams.core.first_rows import FirstSlice, own_row, rows_of
from streams.core.receipts import Effects, FirstReceipt
from streams.core.stages import SliceMove, VideoMove, move_slice, move_video
from streams.core.state import PartitionState
from streams.core.units import NEVER, is_slice, surface_of
from streams.errors import DeadLetter

FirstControl = FirstAdmit | Revise | Hold | Release | Takedown
"""Control records about a video, as 0.1.0 wrote them."""
GONE: Final = FirstSlicePolicy(reach=1, prior_mean=0, prior_variance=1, noise_variance=1, price=0)
"""Stands for a slice that the policy in force does not have."""
GONE_RULING: Final = FirstRuling("stop", "slice_gone", 0)


class FirstDistribution:
    """The slices of one video, as one record moves them; lives for that record only."""

    __slots__ = ("cause", "effects", "own", "partition", "policy", "rows", "video", "video_id")

    def __init__(
        self,
        partition: PartitionState,
        policy: FirstPolicy,
        video: VideoState,
        cause: InteractionRecord | FirstControl,
        effects: Effects,
    ) -> None:
        self.partition = partition
        self.policy = policy
        self.video = video
        self.own = own_row(video)
        self.rows = rows_of(video)
        self.video_id = cause.video
        self.cause = cause
        self.effects = effects

    def control(self, record: FirstControl) -> None:
        """Apply one control record; `DeadLetter` if it names no slice, `IllegalMove` likewise."""
        match record:
            case FirstAdmit():
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
        self.own.seq = record.seq
        self.partition.touch_video(self.video_id, self.video)

    def checkpoint(self, slice_id: str, row: FirstSlice) -> None:
        """Judge an active slice on its evidence and do what the rule says."""
        if slice_id in self.policy.slices:
            assessment = self._assess(slice_id, row)
            ruling = rule(self.policy, slice_id, self.own, row, assessment)
        else:
            ruling = None if surface_of(slice_id) == "following" else GONE_RULING
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

    def _admit(self, record: FirstAdmit) -> None:
        _require_slices((*record.starts, *record.fits), "admit")
        own = self.own
        first = own.stage == "unknown"
        self._move_video("admit_limited" if record.limited else "admit")
        if not first:
            return
        own.tier, own.commercial, own.fits = record.tier, record.commercial, record.fits
        for slice_id in record.starts:
            if own.stage == "public" or surface_of(slice_id) == "following":
                self._start(slice_id, "first_crowd")
        self._reach_public("first_crowd")

    def _revise(self, record: Revise) -> None:
        _require_slices(record.fits or (), "revise")
        before = self.own.stage
        if record.limited is None:
            if before == "unknown":
                self._move_video("widen")  # illegal: nothing to revise
        else:
            self._move_video("limit" if record.limited else "widen")
        if record.fits is not None:
            self.own.fits = record.fits
        if record.limited:
            self._move_all("limited", "withdraw", (ACTIVE, HELD))
        elif before != self.own.stage:
            self._reach_public("audience_widened")

    def _release(self) -> None:
        for slice_id, row in sorted(self.rows.items()):
            if row.status == HELD:
                self._move(row, "release")
                self._write(FirstRuling("start", "released", 0), slice_id, row)
                self.checkpoint(slice_id, row)  # feedback that was in flight came meanwhile
        self._reach_public("released")

    def _move_all(self, reason: str, move: SliceMove, stages: tuple[int, ...]) -> None:
        for slice_id, row in sorted(self.rows.items()):
            kept = move == "withdraw" and surface_of(slice_id) == "following"
            if row.status in stages and not kept:
                self._end(slice_id, row, reason, move)

    def _reach_public(self, reason: str) -> None:
        """Give a video that may reach the public and does not its best crowd."""
        active = (name for name, row in self.rows.items() if row.status == ACTIVE)
        if not any(surface_of(name) != "following" for name in active):
            self._start_next(reason)

    def _start_next(self, reason: str) -> None:
        slice_id = next_slice(self.policy, self.video)
        if slice_id is not None:
            self._start(slice_id, reason)

    def _start(self, slice_id: str, reason: str) -> None:
        spec = self.policy.slices.get(slice_id)
        row = self.rows.get(slice_id) or FirstSlice()
        if spec is None or row.status != IDLE:
            return
        room = room_of(self.policy, spec, slice_id, self.own, row)
        tranche = min(room, self.policy.tranche)
        if not tranche:
            return
        row.prior_mean = predicted_mean(self.policy, self.video, slice_id)
        self.rows[slice_id] = row
        self._move(row, "start")
        self._grant(slice_id, row, FirstRuling("start", reason, tranche))
        if row.views >= FIRST_CHECKPOINT:
            self.checkpoint(slice_id, row)

    def _grant(self, slice_id: str, row: FirstSlice, ruling: FirstRuling) -> None:
        if ruling.action == "widen":
            self._move(row, "widen")
            row.stage += 1
        row.tranche = ruling.tranche
        row.allowance = max(row.allowance, row.impressions) + ruling.tranche
        row.granted_views = row.views
        if surface_of(slice_id) != "following":
            self.own.granted += ruling.tranche
        self._write(ruling, slice_id, row)
        set_checkpoints(self.policy, row)

    def _end(self, slice_id: str, row: FirstSlice, reason: str, move: SliceMove) -> None:
        self._move(row, move)
        row.check_views = row.check_impressions = NEVER
        self._write(FirstRuling("stop", reason, 0), slice_id, row)

    def _move_video(self, move: VideoMove) -> None:
        self.own.stage = move_video(self.own.stage, move)

    def _move(self, row: FirstSlice, move: SliceMove) -> None:
        row.status = SLICE_STAGES.index(move_slice(SLICE_STAGES[row.status], move))

    def _assess(self, slice_id: str, row: FirstSlice) -> FirstAssessment:
        """Return what the evidence says, and keep its index in the row."""
        spec = self.policy.slices.get(slice_id, GONE)
        assessment = assess(self.policy, spec, self.own, row)
        row.index = assessment.score
        return assessment

    def _write(self, ruling: FirstRuling, slice_id: str, row: FirstSlice) -> None:
        """Write the receipt: the numbers are those that the decision was taken on."""
        assessment = self._assess(slice_id, row)
        n = self.own.decisions = self.own.decisions + 1
        receipt = FirstReceipt(
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
            prior_mean=assessment.prior_mean,
            prior_variance=assessment.prior_variance,
            noise_variance=assessment.noise_variance,
            mean=assessment.mean,
            sd=assessment.sd,
            index=assessment.score,
            price=assessment.price,
            z=assessment.z,
            reach_left=assessment.reach_left,
        )
        self.effects.first_receipts.append(receipt)
        self.partition.touch_slice(self.video_id, self.video, slice_id, row)
        self.partition.touch_video(self.video_id, self.video)


def _require_slices(names: Iterable[str], kind: str) -> None:
    if not all(is_slice(name) for name in names):
        raise DeadLetter("slice", f"{kind} names a slice that is not surface:group")
