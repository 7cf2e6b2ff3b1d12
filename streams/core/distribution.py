"""Distribution: what control records and checkpoints do to a video's slices, and the receipts.

A slice that is open to a video needs no row: it has the policy's first tranche until somebody is
shown the video there. The row begins with that impression, and then its tranche is charged to the
video's budget.
"""

from collections.abc import Collection, Iterable
from typing import Final

from msgspec.structs import replace

from streams.core.counters import (
    ACTIVE,
    HELD,
    IDLE,
    LAPSED,
    SLICE_STAGES,
    STOP_CAUSES,
    STOPPED,
    Slice,
)
from streams.core.events import (
    Admit,
    Clear,
    End,
    Hold,
    Impression,
    Reconsider,
    Release,
    Revise,
    Takedown,
    VideoControl,
    View,
    first_tranche,
)
from streams.core.posterior import Sums, sum_factors, weighed
from streams.core.receipts import Reason
from streams.core.reports import hear, is_too_much, settle, waiting_of
from streams.core.rule import (
    FIRST_CHECKPOINT,
    Ruling,
    assess,
    comes_back,
    is_decidable,
    look_again,
    next_look,
    open_slices,
    room_of,
    rule,
    set_checkpoints,
)
from streams.core.stages import SliceMove, VideoMove, move_slice, move_video
from streams.core.state import forget_sums
from streams.core.units import NEVER, is_slice, surface_of
from streams.core.words import SliceReview
from streams.core.writing import ReceiptWriter
from streams.errors import DeadLetter

GONE: Final = Ruling("stop", "slice_gone", 0)
FROZEN: Final = Ruling("stop", "slice_frozen", 0)


class Distribution(ReceiptWriter):
    """The slices of one video, as one record moves them; lives for that record only."""

    __slots__ = ()

    def control(self, record: VideoControl) -> None:
        """Apply one control record; `DeadLetter` if it names no slice, `IllegalMove` likewise."""
        match record:
            case Admit():
                self._admit(record)
            case Revise():
                self._revise(record)
            case Hold():
                self._close("held", "hold", move="hold", stages=(ACTIVE,))
            case Release():
                if self._move_video("release"):
                    self._open("released")
            case Reconsider():
                self._look_again(record)
            case Clear():
                self._let_through(record)
            case Takedown():
                self._close("takedown", "takedown", move="stop", stages=(ACTIVE, HELD))
                self._end_review()
            case End():
                self._close("ended", "end", move="stop", stages=(ACTIVE, HELD))
                self._end_review()
        self.video.row.seq = record.seq
        self.video.judged = self.video.controlled = True
        self.partition.touch_video(self.video_id, self.video)

    def meet(self, slice_id: str, row: Slice) -> None:
        """Activate a slice that the policy opens to the video; otherwise look again later."""
        if self.outlook.prospect(slice_id, self.video.row) is not None:
            self._activate(slice_id, row)
        if row.status == IDLE and self.video.row.stage != "unknown":
            look_again(row)

    def checkpoint(self, slice_id: str, row: Slice) -> None:
        """Judge a slice on its evidence and do what the rule says."""
        policy = self.outlook.policy
        if row.status == IDLE:
            self.meet(slice_id, row)
            return
        if row.status == STOPPED:
            row.presses = 0
            self._reconsider(slice_id, row, None)
            return
        self.video.judged = True
        if isinstance(self.cause, View | Impression):
            row.late_judgements = 0
        spec = policy.slices.get(slice_id)
        if spec is None or spec.is_shut:
            self._leave(slice_id, row, None if spec is None else spec.word)
            return
        if self.video.row.trials:
            self._weigh_trial(slice_id, row)
        if not is_decidable(policy, slice_id, self.video.row, row):
            set_checkpoints(policy, row)
            self._look_around(None)
            return
        assessment = assess(self.outlook, self.video, slice_id, row)
        ruling = rule(policy, slice_id, self.video.row, row, assessment)
        if ruling is None:
            set_checkpoints(policy, row)
        elif ruling.action == "stop":
            left = self._end(slice_id, row, "stop")
            row.cause = STOP_CAUSES.index(ruling.reason)
            self.video.row.lapsed += row.cause == LAPSED
            self._write(ruling, slice_id, row, assessment, left)
        else:
            if ruling.action == "widen":
                self._move(row, "widen")
                row.stage += 1
            self._grant(slice_id, row, ruling.tranche)
            self._write(ruling, slice_id, row, assessment)
        self._look_around(ruling)

    def _look_around(self, ruling: Ruling | None) -> None:
        """After a judgement, look at what was stopped if the video has changed enough."""
        if self.video.row.lapsed and (ruling is None or ruling.action != "stop"):
            views = self.video.views
            if views >= self.video.row.next_look or (ruling and ruling.action == "widen"):
                self._look(())

    def _weigh_trial(self, slice_id: str, row: Slice) -> None:
        """Sum what a drawn tranche came to beside what was expected of it, once it was shown."""
        policy, own = self.outlook.policy, self.video.row
        trial = own.trials.get(slice_id)
        if trial is None or row.impressions < trial.upto or not row.views:
            return
        seen = weighed(policy, slice_id, row, own.fits)
        if seen.views:
            found = seen.value // seen.views
            self.partition.sums_of(self.video, slice_id, row).note_trial(trial.hoped, found)
            del own.trials[slice_id]
            self.partition.touch_video(self.video_id, self.video)

    def hear(self, row: Slice, viewer: str) -> None:
        """Count a viewer's first report, made in a slice; ask moderation where it is one too many.

        That stops nothing: what reports weigh in the evidence is apart from it.
        """
        own, policy = self.video.row, self.outlook.policy
        if own.stage in {"removed", "ended"} or not hear(self.video, row, viewer, policy):
            return
        self.partition.touch_video(self.video_id, self.video)
        reported = own.reported
        if reported is not None and is_too_much(reported, policy):
            reported.since = self.cause.ts
            self._write_review("reported")
            self.effects.waiting.append((self.video_id, waiting_of(self.effects.receipts[-1])))

    def _let_through(self, record: Clear) -> None:
        """Settle what was reported: a person lets the video be shown."""
        if settle(self.video.row, record.looked):
            self._write_review("let_through")
            self._end_review()

    def _end_review(self) -> None:
        """Have nobody asked about the video any more."""
        reported = self.video.row.reported
        if reported is not None and reported.since:
            reported.since = 0
            self.effects.waiting.append((self.video_id, None))

    def _look_again(self, record: Reconsider) -> None:
        """Look again at what evidence stopped, because a person says so, and tell what that is."""
        rows, known = self.video.slices, self.outlook.policy.slices
        names = sorted(rows.keys() & known.keys() & set(record.slices or rows))
        stopped = [name for name in names if rows[name].status == STOPPED]
        self._write_all("review", "look_again", self._crowds(stopped))
        self._look(record.slices)

    def _look(self, slices: Collection[str]) -> None:
        """Look again at what evidence stopped, in these slices or, without any, in all."""
        rows, own = self.video.slices, self.video.row
        own.next_look = next_look(self.video.views)
        self.partition.touch_video(self.video_id, self.video)
        sums = sum_factors(self.outlook.policy, self.video)
        for name, row in sorted(rows.items()):
            if row.status == STOPPED and (not slices or name in slices):
                self._reconsider(name, row, sums)

    def _reconsider(self, slice_id: str, row: Slice, sums: Sums | None) -> None:
        """Open a stopped slice again if it is worth it by now, where it once began."""
        policy, own = self.outlook.policy, self.video.row
        if row.cause != LAPSED or not self.outlook.reaches(slice_id, own):
            return
        assessment = assess(self.outlook, self.video, slice_id, row, sums)
        room = room_of(policy, policy.slices[slice_id], slice_id, own, row)
        if not room or not comes_back(policy, row, assessment):
            return
        self._move(row, "start")
        row.stage, row.cause, row.late_judgements = 0, 0, 0
        row.returns += 1
        own.lapsed -= 1
        self._grant(slice_id, row, min(first_tranche(policy), room))
        self._write(Ruling("open", "reconsidered", row.tranche), slice_id, row, assessment)
        if isinstance(self.cause, Reconsider):
            self._sign(self.cause.by, self.cause.note)
        self.video.judged = self.video.controlled = True

    def _admit(self, record: Admit) -> None:
        _require_slices(record.fits)
        row = self.video.row
        first = row.stage == "unknown"
        self._move_video("admit_limited" if record.limited else "admit")
        if first:
            row.band, row.commercial, row.format = record.band, record.commercial, record.format
            row.creator, row.admitted = record.creator, record.ts
            row.guarantee = 0 if record.limited else record.guarantee
            forget_sums(self.video)
            self._set_fits(record.fits)
            self._open("admitted")

    def _revise(self, record: Revise) -> None:
        term = self.partition.trust.term
        if record.handicap is not None and record.term < term:
            raise DeadLetter("stale", f"a handicap of term {record.term}, in term {term}")
        if record.fits is not None:
            _require_slices(record.fits)
        before = self.video.row.stage
        if record.limited:
            self._close("limited", "limit", move="withdraw", stages=(ACTIVE, HELD))
        elif record.limited is not None or before == "unknown":
            self._move_video("widen")  # illegal of an unknown video: nothing to revise
            if not self.video.row.guarantee:
                self.video.row.guarantee, self.video.row.promised = record.guarantee, record.ts
        if record.fits is not None:
            self._set_fits(record.fits)
        if (before, self.video.row.stage) == ("limited", "public"):
            self._open("audience_widened")
        if record.handicap is not None:
            self._handicap(record.handicap)

    def _handicap(self, handicap: int) -> None:
        """Have feeds rank the video by so much less: nothing is judged or granted otherwise."""
        own = self.video.row
        moved, own.handicap, own.handicapped = own.handicap != handicap, handicap, self.cause.ts
        if moved:
            self._write_all("review", "ceiling", ())
            receipts = self.effects.receipts
            receipts[-1] = replace(receipts[-1], handicap=handicap)

    def _set_fits(self, fits: dict[str, int]) -> None:
        self.video.row.fits = fits
        self.video.totals = None
        for row in self.video.slices.values():
            row.weighed = None

    def _open(self, reason: Reason) -> None:
        """Say what is open; activate what was held, and what was shown before it was open."""
        opened = open_slices(self.outlook, self.video)
        looked_at = []
        for slice_id, row in sorted(self.video.slices.items()):
            if row.status == HELD:
                self._move(row, "release")
                self.partition.touch_slice(self.video_id, self.video, slice_id, row)
                looked_at.append((slice_id, row))
        for slice_id in opened if self.video.slices else ():
            met = self.video.slices.get(slice_id)
            if met is not None and met.status == IDLE:
                self._activate(slice_id, met)
                if met.views >= FIRST_CHECKPOINT:
                    looked_at.append((slice_id, met))
        for slice_id, row in self.video.slices.items():
            if row.status == IDLE:
                look_again(row)
                self.partition.touch_slice(self.video_id, self.video, slice_id, row)
        self._write_all("open", reason, self._crowds(opened))
        for slice_id, row in looked_at:
            if row.status == ACTIVE:
                self.checkpoint(slice_id, row)  # feedback that was in flight came meanwhile

    def _close(
        self, reason: Reason, of_video: VideoMove, *, move: SliceMove, stages: tuple[int, ...]
    ) -> None:
        """Move the video, and end what that closes: all slices, or those of the public."""
        crowds = self._crowds(open_slices(self.outlook, self.video))
        self._move_video(of_video)
        private = move == "withdraw"
        for slice_id, row in sorted(self.video.slices.items()):
            kept = private and surface_of(slice_id) == "following"
            if row.status in stages and not kept:
                self._end(slice_id, row, move)
        closed = [
            each for each in crowds if not (private and surface_of(each.slice) == "following")
        ]
        if closed:
            self._write_all("stop", reason, closed)

    def _activate(self, slice_id: str, row: Slice) -> None:
        policy = self.outlook.policy
        room = room_of(policy, policy.slices[slice_id], slice_id, self.video.row, row)
        if room:
            self._move(row, "start")
            self._grant(slice_id, row, min(first_tranche(policy), room))
            self.partition.touch_slice(self.video_id, self.video, slice_id, row)

    def _grant(self, slice_id: str, row: Slice, tranche: int) -> None:
        row.tranche = tranche
        # What was shown beyond the allowance is not to be shown again for it.
        row.allowance = max(row.allowance, row.impressions) + tranche
        row.granted_views = row.views
        self.partition.sums_of(self.video, slice_id, row).granted += tranche
        row.weighed = None
        if surface_of(slice_id) != "following":
            self.video.row.granted += tranche
            self.partition.touch_video(self.video_id, self.video)
        set_checkpoints(self.outlook.policy, row)

    def _leave(self, slice_id: str, row: Slice, word: SliceReview | None) -> None:
        """Let a slice go that the policy does not have any more, or that a person froze.

        Back to idle: it may return. Who froze it and why stands in the receipt.
        """
        if word is None and surface_of(slice_id) == "following":
            set_checkpoints(self.outlook.policy, row)
            return
        left = self._end(slice_id, row, "withdraw")
        look_again(row)
        self._write(FROZEN if word else GONE, slice_id, row, None, left)
        if word is not None:
            self._sign(word.by, word.note)

    def _end(self, slice_id: str, row: Slice, move: SliceMove) -> int:
        """End a slice; return the impressions not shown, which go back to the video's budget."""
        self._move(row, move)
        row.check_views = row.check_impressions = NEVER
        row.presses = row.late_judgements = 0
        left = 0
        if row.status != HELD:
            left = max(row.allowance - row.impressions, 0)
            row.allowance -= left
            self.partition.sums_of(self.video, slice_id, row).returned += left
            row.weighed = None
            if surface_of(slice_id) != "following":
                self.video.row.granted -= left
        self.partition.touch_slice(self.video_id, self.video, slice_id, row)
        self.partition.touch_video(self.video_id, self.video)
        return left

    def _move_video(self, move: VideoMove) -> bool:
        """Move the video; tell whether that leads anywhere."""
        before = self.video.row.stage
        self.video.row.stage = move_video(before, move)
        return before != self.video.row.stage

    def _move(self, row: Slice, move: SliceMove) -> None:
        row.status = SLICE_STAGES.index(move_slice(SLICE_STAGES[row.status], move))


def _require_slices(fits: Iterable[str]) -> None:
    if not all(is_slice(name) for name in fits):
        raise DeadLetter("slice", "a control record names a slice that is not surface:group")
