"""What a video is about: tags with a confidence each, from what its uploader says.

The built-in recogniser looks the words of `config/taxonomy.toml` up in title, hashtags, music,
scene and metadata. Others plug in by the entry-point group `streams.recognisers`, or publish on
the topic `recognitions`; `merge_tags` makes one answer of all of them. Everything is pure: the
same upload gives the same tags, in the same order.
"""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Annotated, Final, Generic, Literal, NamedTuple, Protocol, Self, TypeVar, get_args

import msgspec
from msgspec import Meta, Struct

from streams.core.events import Dimension, Tag, Upload
from streams.core.units import MICROS
from streams.errors import Halt
from streams.settings import read_toml

T = TypeVar("T")

DIMENSIONS: Final[tuple[Dimension, ...]] = get_args(Dimension)
Kind = Literal["hashtag", "metadata", "title", "genre", "music", "scene"]
"""Kinds of evidence. Each counts once per tag: ten synonyms in one title weigh as much as one."""
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
ENTRY_POINT_GROUP: Final = "streams.recognisers"

MetadataTest = bool | int | str | tuple[int, int]
"""A metadata value: equal to it, or for a pair, an integer between both ends inclusive."""


class TagKey(NamedTuple):
    """A tag without its confidence, written `dimension.name` in the files of `config/`."""

    dimension: Dimension
    name: str

    def __str__(self) -> str:
        return f"{self.dimension}.{self.name}"


class RecogniserPlugin(Protocol):
    """What an entry point of `streams.recognisers` provides.

    The entry point names a class. It is built once at start, in the control plane's process: with
    `from_config(folder)` when the class has one (`folder` holds the files of `config/`), with no
    argument otherwise. Whatever it raises is reported under its name and stops nobody else.
    """

    def recognise(self, upload: Upload) -> tuple[Tag, ...]:
        """Return what is seen in `upload`; called once per upload, on the event loop: be quick."""


class Recogniser:
    """The built-in recogniser: the taxonomy's words, found in what the uploader says.

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


# ---------------------------------------------------------------------------- plug-ins


@dataclass(frozen=True, slots=True)
class RecogniserFault:
    """A recogniser that could not be built, or that failed on one upload; for log and metric."""

    source: str
    error: str


def load_recognisers(
    folder: Path, found: Iterable[EntryPoint] | None = None
) -> tuple[dict[str, RecogniserPlugin], tuple[RecogniserFault, ...]]:
    """Build every installed recogniser, by name; what fails comes back as a fault.

    `folder` holds the files of `config/`; `found` stands in for the installed entry points.
    """
    points = entry_points(group=ENTRY_POINT_GROUP) if found is None else found
    built: dict[str, RecogniserPlugin] = {}
    faults: list[RecogniserFault] = []
    for point in sorted(points, key=lambda point: (point.name, point.value)):
        if point.name in built:
            faults.append(RecogniserFault(point.name, f"{point.value}: the name is taken"))
            continue
        try:
            built[point.name] = _build(point, folder)
        except Exception as error:  # noqa: BLE001 - a stranger's code may raise anything
            faults.append(_fault(point.name, error))
    return built, tuple(faults)


def _build(point: EntryPoint, folder: Path) -> RecogniserPlugin:
    factory = point.load()
    from_config = getattr(factory, "from_config", None)
    plugin: RecogniserPlugin = factory() if from_config is None else from_config(folder)
    if not callable(getattr(plugin, "recognise", None)):
        raise TypeError(f"{point.value} has no method recognise(upload)")
    return plugin


def recognise_all(
    recognisers: Mapping[str, RecogniserPlugin], upload: Upload
) -> tuple[dict[str, tuple[Tag, ...]], tuple[RecogniserFault, ...]]:
    """Ask every recogniser; return the tags by source, ready for `merge_tags`, and the faults.

    A source that raises or answers with anything but valid tags is a fault and says nothing.
    """
    by_source: dict[str, tuple[Tag, ...]] = {}
    faults: list[RecogniserFault] = []
    for source, recogniser in recognisers.items():
        try:
            said = msgspec.to_builtins(tuple(recogniser.recognise(upload)))
            by_source[source] = msgspec.convert(said, tuple[Tag, ...])
        except Exception as error:  # noqa: BLE001 - a stranger's code may raise anything
            faults.append(_fault(source, error))
    return by_source, tuple(faults)


def _fault(source: str, error: Exception) -> RecogniserFault:
    text = " ".join(str(error).split())
    return RecogniserFault(source, f"{type(error).__name__}: {text}")


# ---------------------------------------------------------------------------- taxonomy


@dataclass(frozen=True, slots=True)
class Taxonomy:
    """The known tags, the words that speak for them, and how far each kind of evidence counts.

    `implies` has every known tag as a key, with the tags it implies and their weights (micros);
    `confidence` is the belief in one piece of evidence (micros), `metadata_tests` go by key.
    """

    implies: Mapping[TagKey, Mapping[TagKey, int]]
    confidence: Mapping[tuple[Dimension, Kind], int]
    metadata_text: frozenset[str]
    metadata_tests: Mapping[str, tuple[tuple[TagKey, MetadataTest], ...]]
    lexicon: "Lexicon[TagKey]"

    @classmethod
    def from_toml(cls, path: Path) -> Self:
        """Read a taxonomy file; raises Halt with one line when it is wrong."""
        return cls.parse(read_toml(path), where=str(path))

    @classmethod
    def parse(cls, data: Mapping[str, object], where: str) -> Self:
        """Build from the parsed content of a file; `where` names it in errors."""
        file = checked(data, _TaxonomyFile, where)
        entries = {
            TagKey(dimension, name): entry
            for dimension, names in file.tags.items()
            for name, entry in names.items()
        }
        tests: dict[str, list[tuple[TagKey, MetadataTest]]] = defaultdict(list)
        for key, entry in entries.items():
            for name, test in entry.metadata.items():
                tests[name].append((key, test))
        words = [(word, key) for key, entry in entries.items() for word in entry.words]
        return cls(
            implies={
                key: tag_weights(entry.implies, entries.keys(), f"{where}: {key}: implies")
                for key, entry in entries.items()
            },
            confidence=_beliefs(file, where),
            metadata_text=file.metadata_text,
            metadata_tests={name: tuple(group) for name, group in tests.items()},
            lexicon=Lexicon([*words, *((phrase, None) for phrase in file.ignore)]),
        )


Word = Annotated[str, Meta(pattern=r"[^\s_'’-]")]
"""A word of a lexicon: anything that is more than space and joiners."""


class _TagEntry(Struct, frozen=True, forbid_unknown_fields=True):
    words: tuple[Word, ...] = ()
    metadata: dict[str, MetadataTest] = {}
    implies: dict[str, Decimal] = {}


class _TaxonomyFile(Struct, frozen=True, forbid_unknown_fields=True):
    tags: dict[
        Dimension, dict[Annotated[str, Meta(pattern=r"\A[a-z0-9][a-z0-9_-]{0,31}\Z")], _TagEntry]
    ]
    confidence: dict[Kind, Decimal]
    confidence_in: dict[Dimension, dict[Kind, Decimal]] = {}
    metadata_text: frozenset[str] = frozenset()
    ignore: tuple[Word, ...] = ()


def _beliefs(file: _TaxonomyFile, where: str) -> dict[tuple[Dimension, Kind], int]:
    """Return the belief for every pair; a kind that the file leaves out is not believed at all."""
    return {
        (dimension, kind): ratio_micros(
            file.confidence_in.get(dimension, {}).get(kind, file.confidence.get(kind, Decimal(0))),
            f"{where}: confidence of {kind} in {dimension}",
        )
        for dimension in DIMENSIONS
        for kind in KINDS
    }


def passes(test: MetadataTest, value: str | int | bool) -> bool:
    """Tell whether a metadata value passes; text in any case, and `true` is not 1.

    >>> passes("Yes", "yes"), passes(1, True), passes((18, 24), 19), passes((18, 24), "19")
    (True, False, True, False)
    """
    if isinstance(test, tuple):
        low, high = test
        return type(value) is int and low <= value <= high
    if isinstance(test, str) and isinstance(value, str):
        return test.casefold() == value.casefold()
    return type(test) is type(value) and test == value


class Lexicon(Generic[T]):
    """Words with their meanings, found in a text in one pass.

    Words of Latin letters are found whole, in any case, joined by space, hyphen, underscore or
    nothing; Chinese and emoji anywhere. A word inside a longer known word is not found: a word
    without a meaning therefore hides what it contains.

    >>> words = Lexicon([("游戏", "gaming"), ("亲子游戏", "parenting"), ("World Cup", "football")])
    >>> sorted(words.find("和娃玩亲子游戏")), sorted(words.find("#WorldCup 游戏"))
    (['parenting'], ['football', 'gaming'])
    """

    def __init__(self, entries: Iterable[tuple[str, T | None]]) -> None:
        words: dict[tuple[str, ...], set[T]] = defaultdict(set)
        for word, meaning in entries:
            for form in _forms(word):
                words[form].update(() if meaning is None else (meaning,))
        by_first: dict[str, list[tuple[tuple[str, ...], frozenset[T]]]] = defaultdict(list)
        for form in sorted(words, key=len, reverse=True):
            by_first[form[0]].append((form, frozenset(words[form])))
        self._by_first: Final = dict(by_first)

    def find(self, text: str) -> frozenset[T]:
        """Return the meanings of every word found in `text`."""
        units = _units(text)
        found: set[T] = set()
        covered = 0
        for start, unit in enumerate(units):
            for word, meanings in self._by_first.get(unit, ()):
                end = start + len(word)
                if units[start:end] == word:
                    if end > covered:
                        found |= meanings
                        covered = end
                    break
        return frozenset(found)


# One whole word of an alphabet that writes spaces; a run of what may join such words; or any
# single other character: Chinese, Japanese, Korean, emoji, punctuation.
_UNIT: Final = re.compile(r"[^\W_\u2e80-\U0003ffff]+|[\s_'’-]+|.", re.DOTALL)
_JOINER: Final = re.compile(r"[\s_'’-]")


def _units(text: str) -> tuple[str, ...]:
    folded = unicodedata.normalize("NFKC", text.strip()).casefold()
    return tuple(" " if _JOINER.match(unit) else unit for unit in _UNIT.findall(folded))


def _forms(word: str) -> set[tuple[str, ...]]:
    """Return a word's units and, for several Latin words, the one that a hashtag makes of them."""
    units = _units(word)
    joined = _units("".join(unit for unit in units if unit != " "))
    return {units, joined} if len(joined) == 1 else {units}


# ---------------------------------------------------------------------------- config files


def checked(data: Mapping[str, object], shape: type[T], where: str) -> T:
    """Return `data` as `shape`; raises Halt with one line that names the place."""
    try:
        return msgspec.convert(data, shape)
    except msgspec.ValidationError as error:
        raise Halt(f"{where}: {error}: correct or remove this entry") from error


def micros(value: Decimal, where: str) -> int:
    """Return a decimal in micro-units, exactly; raises Halt on more than six decimals."""
    if value.is_finite() and (scaled := value * MICROS) == int(scaled):
        return int(scaled)
    raise Halt(f"{where}: {value} is not a number with at most six decimals: round it")


def ratio_micros(value: Decimal, where: str) -> int:
    """Return a decimal from 0 to 1 in micro-units; raises Halt outside of it."""
    if value.is_finite() and 0 <= value <= 1:
        return micros(value, where)
    raise Halt(f"{where}: {value} is out of range: use 0 to 1")


def tag_weights(
    written: Mapping[str, Decimal], known: Iterable[TagKey], where: str
) -> dict[TagKey, int]:
    """Return weights by tag in micro-units; raises Halt on a tag that the taxonomy lacks."""
    by_name = {str(key): key for key in known}
    for name in written:
        if name not in by_name:
            raise Halt(f"{where}: unknown tag {name}: use a dimension.name of taxonomy.toml")
    return {
        by_name[name]: ratio_micros(weight, f"{where}: {name}") for name, weight in written.items()
    }
