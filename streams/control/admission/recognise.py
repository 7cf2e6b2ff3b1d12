"""What a video is about: tags with a confidence each, from what its uploader says.

The built-in recogniser looks the words of `config/taxonomy.toml` up in title, hashtags, music,
scene and metadata. Others plug in by the entry-point group `streams.recognisers`, or publish on
the topic `recognitions`; `merge_tags` makes one answer of all of them. Everything is pure: the
same upload gives the same tags, in the same order.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Self

from streams.control.admission.taxonomy import DIMENSIONS, Kind, TagKey, Taxonomy, passes
from streams.core.events import Tag, Upload
from streams.core.units import MICROS


class Recogniser:
    """The built-in recogniser: the taxonomy's words, found in what the uploader says.

    >>> from decimal import Decimal
    >>> taxonomy = Taxonomy.parse({"tags": {"interest": {"football": {"words": ["足球"]}}},
    ...     "confidence": {"title": Decimal("0.5")}}, where="example")
    >>> upload = Upload(id="u1", video="v1", creator="c1", ts=1_700_000_000_000, duration_ms=9_000,
    ...     title="周末足球赛")
    >>> Recogniser(taxonomy).recognise(upload)
    (Tag(dimension='interest', name='football', confidence_micros=500000),)
    """

    def __init__(self, taxonomy: "Taxonomy") -> None:
        self._taxonomy = taxonomy

    @classmethod
    def from_toml(cls, path: Path) -> Self:
        """Build from a taxonomy file; raises Halt with one line when the file is wrong."""
        return cls(Taxonomy.from_toml(path))

    @classmethod
    def from_config(cls, folder: Path) -> Self:
        """Build from the folder that holds `taxonomy.toml` (the contract of a plug-in)."""
        return cls.from_toml(folder / "taxonomy.toml")

    def recognise(self, upload: Upload) -> tuple[Tag, ...]:
        """Return the tags of `upload`, sorted by dimension, then confidence, then name."""
        evidence: dict[TagKey, dict[str, int]] = defaultdict(dict)
        for key, kind, confidence in self._evidence(upload):
            evidence[key][kind] = max(confidence, evidence[key].get(kind, 0))
        direct = {key: noisy_or(parts.values()) for key, parts in evidence.items()}
        # Implied tags rest on direct evidence only, so no chain and no circle can build up, and
        # only the strongest reason counts: football and its stadium are one excitement, not two.
        for key, confidence in direct.items():
            for implied, weight in self._taxonomy.implies[key].items():
                through = confidence * weight // MICROS
                evidence[implied]["implied"] = max(through, evidence[implied].get("implied", 0))
        return _sorted_tags({key: noisy_or(parts.values()) for key, parts in evidence.items()})

    def _evidence(self, upload: Upload) -> Iterator[tuple[TagKey, Kind, int]]:
        believed = self._taxonomy.confidence
        for kind, text in _texts(upload):
            for key in self._taxonomy.lexicon.find(text):
                yield key, kind, believed[key.dimension, kind]
        for name, value in upload.metadata.items():
            own = _own_confidence(upload, name)
            for key in self._in_metadata(name, value):
                yield key, "metadata", believed[key.dimension, "metadata"] if own is None else own

    def _in_metadata(self, name: str, value: str | int | bool) -> Iterator[TagKey]:
        """Yield the tags that one metadata entry speaks for; a tag may come twice."""
        taxonomy = self._taxonomy
        for key, test in taxonomy.metadata_tests.get(name, ()):
            if passes(test, value):
                yield key
        if not isinstance(value, str):
            return
        if name in taxonomy.metadata_text:
            yield from taxonomy.lexicon.find(value)
        elif name in DIMENSIONS:
            named = TagKey(name, value.casefold())
            yield from {named} & taxonomy.implies.keys()
            yield from (key for key in taxonomy.lexicon.find(value) if key.dimension == name)


def merge_tags(by_source: Mapping[str, Sequence[Tag]]) -> tuple[Tag, ...]:
    """Make one answer of what several sources say: across sources, noisy-or.

    Inside one source the later word on a tag replaces the earlier one, and a confidence of 0 takes
    the tag back. The order of the sources changes nothing.

    >>> merge_tags({"eye": [Tag("scene", "sea", 500_000)], "ear": [Tag("scene", "sea", 500_000)]})
    (Tag(dimension='scene', name='sea', confidence_micros=750000),)
    """
    parts: dict[TagKey, list[int]] = defaultdict(list)
    for tags in by_source.values():
        latest = {TagKey(tag.dimension, tag.name): tag.confidence_micros for tag in tags}
        for key, confidence in latest.items():
            parts[key].append(confidence)
    return _sorted_tags({key: noisy_or(confidences) for key, confidences in parts.items()})


def noisy_or(confidences: Iterable[int]) -> int:
    """Return the chance, in micros, that at least one of several independent ones holds.

    One division at the end makes it independent of the order; the doubt is rounded up, so only a
    certain part makes a certain whole.

    >>> noisy_or([500_000, 500_000]), noisy_or([]), noisy_or([999_999, 999_999])
    (750000, 0, 999999)
    """
    doubt = whole = MICROS
    for confidence in confidences:
        doubt *= MICROS - confidence
        whole *= MICROS
    return MICROS - -(-doubt * MICROS // whole)


def _sorted_tags(confidences: Mapping[TagKey, int]) -> tuple[Tag, ...]:
    tags = [Tag(*key, confidence) for key, confidence in confidences.items() if confidence > 0]
    return tuple(sorted(tags, key=lambda tag: (tag.dimension, -tag.confidence_micros, tag.name)))


def _own_confidence(upload: Upload, name: str) -> int | None:
    """Return how sure the upstream recogniser says it is, if it says so."""
    own = upload.metadata.get(f"{name}_confidence_micros")
    return own if type(own) is int and 0 <= own <= MICROS else None


def _texts(upload: Upload) -> Iterator[tuple[Kind, str]]:
    yield "title", upload.title
    yield "scene", upload.scene
    for hashtag in upload.hashtags:
        yield "hashtag", hashtag
    if upload.music is not None:
        yield "music", upload.music.title
        yield "music", upload.music.artist
        yield "genre", upload.music.genre
