"""What people said of whole slices, taken into the policy that bears it to every partition."""

from collections.abc import Mapping
from typing import Final

from msgspec.structs import replace

from streams.control.policy.file import versioned
from streams.control.policy.succession import ROUTINE
from streams.core.events import (
    Policy,
)
from streams.core.words import SliceReview

NOTE_MOST: Final = 300
WHY_MOST: Final = 2_000
"""Characters of a policy's `why`, and of what one person said in it."""


def with_words(policy: Policy, base: Policy | None, words: Mapping[str, SliceReview]) -> Policy:
    """Return a policy with people's last words on its slices; its `why` says what they changed.

    A word in force goes where the table has none, or one that ends no freezing.
    """
    notes, slices = [], {}
    for name, spec in policy.slices.items():
        before = None if base is None or name not in base.slices else base.slices[name].word
        word = _later(before, words.get(name))
        slices[name] = replace(spec, word=word)
        if word is not None and word != before:
            effect = "frozen" if word.frozen else "open again"
            notes.append(f"{name} {effect}, says {word.by}: {word.note}"[:NOTE_MOST])
    if slices == policy.slices:
        return policy
    why = "; ".join([*notes, *([policy.why] if policy.why != ROUTINE or not notes else [])])
    return versioned(replace(policy, slices=slices, why=why[:WHY_MOST]))


def _later(before: SliceReview | None, word: SliceReview | None) -> SliceReview | None:
    if before is None or word is None:
        return word or before
    return word if word.frozen or word.ts > before.ts else before
