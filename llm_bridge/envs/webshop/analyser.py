"""Text to index terms as Lucene's default English analyser makes them: words, no possessive, no stop words, Porter.

Words follow the word-break rules of Unicode (UAX 29) as far as Latin text needs them. The stemmer is Snowball's
"porter" with the three points in which Lucene's Porter stemmer departs from the published algorithm: words of one or
two letters stay, `-logi` becomes `-log`, and `-bli` becomes `-ble`. Evidence: code (Lucene), read; not run here.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from creditsim.errors import ExtraMissingError

__all__ = ["STOP_WORDS", "stem", "terms"]

STOP_WORDS = frozenset(
    "a an and are as at be but by for if in into is it no not of on or such that the their then there these they "
    "this to was will with".split()
)
"""The 33 words that Lucene's English analyser drops."""

# A full stop, an apostrophe or a colon between letters, and a full stop, a comma or an apostrophe between digits,
# do not end a word; a hyphen does.
_WORD = re.compile(r"\w+(?:(?:(?<=[^\W\d_])[.:'\u2019\u00b7](?=[^\W\d_])|(?<=\d)[.,;'\u2019](?=\d))\w+)*")
_POSSESSIVE = re.compile(r"['\u2019\uff07][sS]$")
_LETTER = re.compile(r"[^\W_]")


def terms(text: str) -> list[str]:
    """Return the index terms of a text, in order and with repetitions."""
    words = (_POSSESSIVE.sub("", word).lower() for word in _WORD.findall(text) if _LETTER.search(word))
    return [stem(word) for word in words if word not in STOP_WORDS]


@lru_cache(maxsize=65_536)
def stem(word: str) -> str:
    """Return the stem that Lucene's Porter stemmer gives a lower-case word."""
    if len(word) <= 2:
        return word
    root = _snowball().stemWord(word)
    # Only where the ending is the one that step 2 saw; one laid bare by a later step stays.
    if word not in (root, root[:-1] + "y", root + "es", root + "ed"):
        return root
    if root.endswith("logi") and _measure(root[:-4]) > 0:
        return root[:-1]
    if root.endswith("bli") and _measure(root[:-3]) > 0:
        return _snowball().stemWord(root[:-1] + "e")
    return root


def _measure(root: str) -> int:
    """Porter's m: how often a vowel is followed by a consonant; y is a vowel after a consonant."""
    count, vowel = 0, False
    for i, letter in enumerate(root):
        now = letter in "aeiou" or (letter == "y" and i > 0 and not vowel)
        count += vowel and not now
        vowel = now
    return count


@lru_cache(maxsize=1)
def _snowball() -> Any:
    try:
        import Stemmer
    except ImportError:
        raise ExtraMissingError("PyStemmer", "webshop") from None
    return Stemmer.Stemmer("porter")
