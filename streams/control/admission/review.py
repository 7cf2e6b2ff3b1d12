"""The review gate: which videos may be shown without asking a moderator, and which may not.

The rules of `config/review.toml` are tried from top to bottom; the first whose conditions all
hold decides. A rule that says `wait`, and a video that no rule fits, wait for a verdict on the
topic `reviews`, of those whom `[reviews]` there names. The gate is pure: same video, same tags,
same answer.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from msgspec import Meta, Struct

from streams.control.admission.lexicon import Lexicon
from streams.control.admission.reviewers import ANYBODY, Reviewers, checked
from streams.control.admission.taxonomy import (
    DIMENSIONS,
    MetadataTest,
    TagKey,
    Taxonomy,
    Word,
    passes,
    tag_weights,
)
from streams.control.figures import every
from streams.core.events import Tag, Upload, VerdictWord
from streams.errors import Misconfigured
from streams.settings import read_toml
from streams.shapes import shaped


class Verdict(Struct, frozen=True):
    """The gate's word on a video, the rule that spoke and its reason for people to read."""

    verdict: VerdictWord
    rule: str
    reason: str


class ReviewGate:
    """Decides by the rules alone; what they leave open waits for people.

    >>> gate = ReviewGate.parse({"rule": [{"name": "ads", "verdict": "limit", "reason": "an ad",
    ...     "commercial": True}]}, known=(), where="example")
    >>> ad = Upload(id="u1", video="v1", creator="c1", ts=1_700_000_000_000, duration_ms=9_000,
    ...     commercial=True)
    >>> gate.decide(ad, ())
    Verdict(verdict='limit', rule='ads', reason='an ad')
    """

    def __init__(self, rules: Iterable["Rule"], reviewers: Reviewers = ANYBODY) -> None:
        self.rules: Final = tuple(rules)
        self.reviewers: Final = reviewers

    def decide(self, upload: Upload, tags: Sequence[Tag]) -> Verdict | None:
        """Return the verdict, or None when the video waits for one on `reviews`."""
        rule = self.first_rule(upload, tags)
        if rule is None or rule.verdict == "wait":
            return None
        return Verdict(rule.verdict, rule.name, rule.reason)

    def first_rule(self, upload: Upload, tags: Sequence[Tag]) -> "Rule | None":
        """Return the rule that decides, a waiting one too: a moderator should see why."""
        return next((rule for rule in self.rules if rule.holds(upload, tags)), None)

    @classmethod
    def from_toml(cls, path: Path, taxonomy: Taxonomy | None = None) -> Self:
        """Read the rules, and the taxonomy beside them unless it is given.

        Raises Misconfigured with one line that names file and rule.
        """
        known = taxonomy or Taxonomy.from_toml(path.parent / "taxonomy.toml")
        return cls.parse(read_toml(path), known=known.implies, where=str(path))

    @classmethod
    def parse(cls, data: Mapping[str, object], *, known: Iterable[TagKey], where: str) -> Self:
        """Build from the parsed content of a file; `known` are the tags that rules may name."""
        known = [*known, *(TagKey(dimension, "*") for dimension in DIMENSIONS)]
        file = shaped(data, _RulesFile, where)
        rules = every(
            partial(_rule, raw, known, f"{where}: rule {raw.get('name', f'number {place}')}")
            for place, raw in enumerate(file.rule, start=1)
        )
        for name, times in Counter(rule.name for rule in rules).items():
            if times > 1:
                raise Misconfigured(f"{where}: rule {name}: declared twice: rename or remove one")
        return cls(rules, checked(file.reviews, where))


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule; every condition that it states must hold, and it states at least one.

    `words`: one of them is in the title or a hashtag. `tags`: one of these tags has at least this
    confidence (micro-units); the name `*` stands for any tag of its dimension. `metadata`: each
    key is there with a value that passes one of its tests. `duration_ms`, `followers`: from and
    to, both inclusive, None is open. `commercial`: whether the upload is.
    """

    name: str
    verdict: Literal["approve", "limit", "reject", "wait"]
    reason: str
    words: Lexicon[str] | None
    tags: Mapping[TagKey, int]
    metadata: Mapping[str, tuple[MetadataTest, ...]]
    duration_ms: "Bounds"
    followers: "Bounds"
    commercial: bool | None

    def holds(self, upload: Upload, tags: Sequence[Tag]) -> bool:
        """Tell whether every condition holds for `upload` with these merged tags."""
        return (
            self.commercial in {None, upload.commercial}
            and self.duration_ms.hold(upload.duration_ms)
            and self.followers.hold(upload.followers)
            and all(_any_passes(tests, upload, key) for key, tests in self.metadata.items())
            and (not self.tags or any(self._asks_for(tag) for tag in tags))
            and self._speaks(upload)
        )

    def _asks_for(self, tag: Tag) -> bool:
        keys = (TagKey(tag.dimension, tag.name), TagKey(tag.dimension, "*"))
        return any(key in self.tags and tag.confidence_micros >= self.tags[key] for key in keys)

    def _speaks(self, upload: Upload) -> bool:
        words = self.words
        return words is None or any(words.find(text) for text in (upload.title, *upload.hashtags))


def _any_passes(tests: Sequence[MetadataTest], upload: Upload, key: str) -> bool:
    value = upload.metadata.get(key)
    return value is not None and any(passes(test, value) for test in tests)


class Bounds(Struct, frozen=True, forbid_unknown_fields=True):
    """From `min` to `max`, both inclusive; None is open."""

    min: Annotated[int, Meta(ge=0)] | None = None
    max: Annotated[int, Meta(ge=0)] | None = None

    def hold(self, value: int) -> bool:
        """Tell whether `value` is inside.

        >>> Bounds(min=10).hold(10), Bounds(max=9).hold(10), Bounds().hold(10)
        (True, False, True)
        """
        return (self.min is None or value >= self.min) and (self.max is None or value <= self.max)


class _RulesFile(Struct, frozen=True, forbid_unknown_fields=True):
    # each rule is checked on its own, so that an error can name it
    rule: Annotated[tuple[dict[str, Any], ...], Meta(min_length=1)]
    reviews: Reviewers = ANYBODY


_NAME: Final = Meta(
    pattern=r"\A[a-z0-9][a-z0-9_-]{0,63}\Z",
    description="a name of a-z, 0-9, _ and -, up to 64 characters",
)


class _RuleEntry(Struct, frozen=True, forbid_unknown_fields=True):
    name: Annotated[str, _NAME]
    verdict: Literal["approve", "limit", "reject", "wait"]
    reason: Annotated[
        str, Meta(min_length=1, max_length=200, description="text of 1 to 200 characters")
    ]
    words: tuple[Word, ...] = ()
    except_words: tuple[Word, ...] = ()
    tags: dict[str, Decimal] = {}
    metadata: dict[str, Annotated[tuple[bool | int | str, ...], Meta(min_length=1)]] = {}
    duration_ms: Bounds = Bounds()
    followers: Bounds = Bounds()
    commercial: bool | None = None


def _rule(raw: Mapping[str, object], known: Iterable[TagKey], where: str) -> Rule:
    entry = shaped(raw, _RuleEntry, where)
    stated = (entry.words, entry.tags, entry.metadata, entry.commercial is not None)
    open_bounds = entry.duration_ms == entry.followers == Bounds()
    if not any(stated) and open_bounds:
        raise Misconfigured(f"{where}: fits every video: state a condition")
    if entry.except_words and not entry.words:
        raise Misconfigured(f"{where}: except_words without words: add words or remove it")
    for name, bounds in (("duration_ms", entry.duration_ms), ("followers", entry.followers)):
        if bounds.min is not None and bounds.max is not None and bounds.min > bounds.max:
            raise Misconfigured(f"{where}: {name}: min is above max: exchange them")
    # Each rule has its own lexicon: what one rule excepts must not hide a word from another.
    words: list[tuple[str, str | None]] = [(word, word) for word in entry.words]
    words += [(phrase, None) for phrase in entry.except_words]
    return Rule(
        name=entry.name,
        verdict=entry.verdict,
        reason=entry.reason,
        words=Lexicon(words) if words else None,
        tags=tag_weights(entry.tags, known, f"{where}: tags"),
        metadata=entry.metadata,
        duration_ms=entry.duration_ms,
        followers=entry.followers,
        commercial=entry.commercial,
    )
