"""Words with their meanings, found in titles and hashtags of any language in one pass."""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from typing import Final, Generic, TypeVar

T = TypeVar("T")


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
