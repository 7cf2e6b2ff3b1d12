"""Exploration: now and then chance, and not the rule, says which crowd is shown a video next.

What a video was shown in follows from what was thought of it before, so what those crowds say is no
random sample of what all would have said. Therefore, where a video is opened to the public and at
each widening, one of the public crowds that are open to it and that nobody was shown it in is drawn
with the policy's probability, each as likely as the others. The first tranche of a drawn crowd
comes before everything else that a feed is told to show, and is shown to its end whatever comes of
it. So it has a known probability to be a part of the sample: the policy's over the number of crowds
(inverse propensities: Horvitz & Thompson 1952, J. American Statistical Association 47).

Who draws is a hash of the video and the number of its receipt under a key that stands in the
policy: the same log gives the same draws, and nobody who chooses an id knows them.
"""

import hmac
from collections.abc import Collection, Iterator, Mapping, Sequence

from streams.core.counters import HELD, Slice, Video, VideoState
from streams.core.events import Policy
from streams.core.receipts import Draw
from streams.core.units import MICROS, surface_of


def draw(policy: Policy, name: str, slices: Sequence[str]) -> Draw:
    """Return which of these slices, if any, is drawn for a receipt of this name.

    >>> from types import SimpleNamespace
    >>> policy = SimpleNamespace(explore_probability=250_000, explore_key="k")
    >>> draws = [draw(policy, f"v1.{n}", ["a", "b"]).slice for n in range(1_000)]
    >>> {name: round(draws.count(name), -2) for name in ("", "a", "b")}
    {'': 800, 'a': 100, 'b': 100}
    """
    probability = policy.explore_probability
    digest = hmac.digest(policy.explore_key.encode(), name.encode(), "sha256")
    chance, place = (int.from_bytes(digest[at : at + 8], "big") for at in (0, 8))
    drawn = ""
    if slices and chance * MICROS < probability << 64:
        drawn = slices[place * len(slices) >> 64]
    return Draw(probability, len(slices), drawn)


def drawable(video: VideoState, opened: Collection[str]) -> list[str]:
    """Return the public ones of some open slices that nobody was shown the video in, by name.

    None that was drawn before.
    """
    rows, drawn = video.slices, video.row.trials
    return sorted(
        name
        for name in opened
        if surface_of(name) != "following" and name not in drawn and not _was_shown(rows, name)
    )


def is_tried(video: Video, slice_id: str, row: Slice) -> bool:
    """Tell whether a slice was drawn and its first tranche is still to be shown."""
    trial = video.trials.get(slice_id)
    return trial is not None and row.impressions < trial.upto


def tried(video: VideoState) -> Iterator[tuple[str, int]]:
    """Yield the slices that were drawn and what is still to be shown of their first tranches."""
    if video.row.stage != "public":
        return
    for slice_id, trial in video.row.trials.items():
        row = video.slices.get(slice_id)
        left = trial.upto - (row.impressions if row else 0)
        if left > 0 and (row is None or row.status != HELD):
            yield slice_id, left


def _was_shown(rows: Mapping[str, Slice], slice_id: str) -> bool:
    row = rows.get(slice_id)
    return row is not None and (row.impressions > 0 or row.status == HELD)
