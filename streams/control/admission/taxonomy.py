"""The known tags, the words that speak for them, and what each kind of evidence counts."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Final, Literal, NamedTuple, Self, get_args

from msgspec import Meta, Struct

from streams.control.admission.lexicon import Lexicon
from streams.control.figures import ratio_micros
from streams.core.fields import Dimension
from streams.errors import Misconfigured
from streams.settings import read_toml
from streams.shapes import shaped

DIMENSIONS: Final[tuple[Dimension, ...]] = get_args(Dimension)
Kind = Literal["hashtag", "metadata", "title", "genre", "music", "scene"]
"""Kinds of evidence. Each counts once per tag: ten synonyms in one title weigh as much as one."""
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)

MetadataTest = bool | int | str | tuple[int, int]
"""A metadata value: equal to it, or for a pair, an integer between both ends inclusive."""


class TagKey(NamedTuple):
    """A tag without its confidence, written `dimension.name` in the files of `config/`."""

    dimension: Dimension
    name: str

    def __str__(self) -> str:
        return f"{self.dimension}.{self.name}"


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
        """Read a taxonomy file; raises Misconfigured with one line when it is wrong."""
        return cls.parse(read_toml(path), where=str(path))

    @classmethod
    def parse(cls, data: Mapping[str, object], where: str) -> Self:
        """Build from the parsed content of a file; `where` names it in errors."""
        file = shaped(data, _TaxonomyFile, where)
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


Word = Annotated[
    str, Meta(pattern=r"[^\s_'’-]", description="a word, more than blanks and joiners")
]
"""A word of a lexicon: anything that is more than space and joiners."""


class _TagEntry(Struct, frozen=True, forbid_unknown_fields=True):
    words: tuple[Word, ...] = ()
    metadata: dict[str, MetadataTest] = {}
    implies: dict[str, Decimal] = {}


_TAG_NAME: Final = Meta(
    pattern=r"\A[a-z0-9][a-z0-9_-]{0,31}\Z",
    description="a name of a-z, 0-9, _ and -, up to 32 characters",
)


class _TaxonomyFile(Struct, frozen=True, forbid_unknown_fields=True):
    tags: dict[Dimension, dict[Annotated[str, _TAG_NAME], _TagEntry]]
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


def tag_weights(
    written: Mapping[str, Decimal], known: Iterable[TagKey], where: str
) -> dict[TagKey, int]:
    """Return weights by tag in micro-units; Misconfigured on a tag that the taxonomy lacks."""
    by_name = {str(key): key for key in known}
    for name in written:
        if name not in by_name:
            raise Misconfigured(
                f"{where}: unknown tag {name}: use a dimension.name of taxonomy.toml"
            )
    return {
        by_name[name]: ratio_micros(weight, f"{where}: {name}") for name, weight in written.items()
    }
