"""Whose verdicts count: anybody's who may write to `reviews`, or those of people who sign.

`[reviews]` of `config/review.toml` says so. A person signs with an Ed25519 key of their own, over
the installation, the record's key and its value, so what they said is neither changed nor moved.
"""

from datetime import datetime
from typing import Annotated, Final

from msgspec import Meta, Struct

from streams.core.fields import PublicKey
from streams.core.keys import Trust
from streams.core.units import ID_MAX
from streams.core.words import Review, SecondLook, SliceReview
from streams.errors import DeadLetter, Misconfigured
from streams.runtime.ports import Record
from streams.runtime.signing import require_signature

PersonName = Annotated[
    str,
    Meta(
        pattern=rf"\A[A-Za-z0-9_-]{{1,{ID_MAX}}}\Z",
        description=f"a name of A-Z, a-z, 0-9, _ and -, up to {ID_MAX} characters",
    ),
]
PersonKey = Annotated[
    PublicKey, Meta(description="64 hexadecimal digits, as `streams keys new` prints them")
]


class Reviewers(Struct, frozen=True, forbid_unknown_fields=True):
    """The people whose verdicts count, where they have to be `signed`.

    A person has one key or several, while they change it. What `former` people signed counts up to
    when they left: it may be read again, after a loss of Redis.
    """

    signed: bool = False
    people: dict[PersonName, Annotated[tuple[PersonKey, ...], Meta(min_length=1)]] = {}
    former: dict[PersonName, Annotated[datetime, Meta(tz=True)]] = {}

    def require(
        self, review: Review | SliceReview | SecondLook, record: Record, installation: str
    ) -> None:
        """Raise `DeadLetter` unless the verdict counts: signed by whom it says, still one of us."""
        if not self.signed:
            return
        keys = self.people.get(review.by)
        if keys is None:
            raise DeadLetter("signature", "by: nobody of [reviews.people] in review.toml")
        left = self.former.get(review.by)
        if left is not None and record.timestamp > left.timestamp() * 1000:
            raise DeadLetter("signature", "by: left before this record, says [reviews.former]")
        require_signature(record, Trust(installation, keys, upgraded=True), None)


ANYBODY: Final = Reviewers()


def checked(reviewers: Reviewers, where: str) -> Reviewers:
    """Return reviewers who can speak; `Misconfigured` if nobody could, or one has no key."""
    if reviewers.signed and not reviewers.people:
        raise Misconfigured(
            f"{where}: reviews.people is empty, and only signed verdicts count: write "
            'alice = ["PUBLIC KEY"], as `streams keys new alice.key` prints it'
        )
    if unknown := sorted(reviewers.former.keys() - reviewers.people.keys()):
        raise Misconfigured(
            f"{where}: reviews.former.{unknown[0]} is not in reviews.people: leave the keys there"
        )
    return reviewers


__all__ = ["ANYBODY", "Reviewers", "checked"]
