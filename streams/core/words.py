"""What people say of videos and slices: every record type of `reviews`, beside the events."""

from typing import Annotated

from msgspec import Meta, Struct

from streams.core.fields import Id, Millis, SliceName, Text, VerdictWord
from streams.core.units import SLICES_PER_VIDEO


class Review(Struct, frozen=True, tag_field="type", tag="review"):
    """A moderator's verdict: approve, limit (followers only) or reject (taken down)."""

    id: Id
    video: Id
    ts: Millis
    verdict: VerdictWord
    by: Id
    note: Text = ""


class SliceReview(Struct, frozen=True, tag_field="type", tag="slice"):
    """A person's word on a whole slice: frozen, nothing is shown in it; else it is open again.

    A freezing always counts, an opening only if it is later, by its own time, than the freezing
    that it ends: an old one cannot be said again by whoever kept it.
    """

    id: Id
    slice: SliceName
    ts: Millis
    frozen: bool
    by: Id
    note: Text = ""


class SecondLook(Struct, frozen=True, tag_field="type", tag="second_look"):
    """A person's word to look again at what evidence stopped of a video.

    In these slices or, without any, in all of them. What it is worth decides, not the person.
    """

    id: Id
    video: Id
    ts: Millis
    by: Id
    note: Text = ""
    slices: Annotated[tuple[SliceName, ...], Meta(max_length=SLICES_PER_VIDEO)] = ()
