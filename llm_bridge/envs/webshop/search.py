"""The store's search: BM25 over product texts in Lucene's convention, and the four special first keywords."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from hashlib import blake2b
from typing import Any, NamedTuple

import numpy as np

from creditsim.errors import ExtraMissingError
from llm_bridge.envs.webshop.analyser import terms
from llm_bridge.envs.webshop.data import Product

__all__ = ["K1", "PER_PAGE", "TOP", "B", "Found", "Search", "contents", "lucene_length"]

K1, B = 0.9, 0.4
TOP = 50
"""Products that a search by words returns at most."""
PER_PAGE = 10

_EXACT_LENGTHS = 24
_CACHED = 4096


class Found(NamedTuple):
    """What a search found: positions of products, best first, and a name that equal lists share."""

    positions: tuple[int, ...]
    digest: str

    def page(self, number: int) -> tuple[int, ...]:
        """Return the positions shown on a page, counted from 1; none past the last page."""
        return self.positions[(number - 1) * PER_PAGE : number * PER_PAGE]


class Search:
    """An index of products.

    Score of a document = sum over query words, repetitions included, of ln(1 + (N - n + 0.5)/(n + 0.5)) *
    f / (f + k1 (1 - b + b L / mean L)), k1 = 0.9, b = 0.4, with n documents that hold the word, f times in this one,
    and L the document's length as Lucene stores it in one byte. Documents without any of the words are not found;
    ties, equality of the score in single precision, go by the order of the products. Source: Lucene and the public
    WebShop code (code).
    """

    def __init__(self, products: Sequence[Product]) -> None:
        self._products = products
        self._index = _index([terms(contents(product)) for product in products])
        self._known: dict[tuple[str, ...], Found] = {}

    def find(self, keywords: Sequence[str], task: str = "") -> Found:
        """Return what the words of a search action find.

        `<r>` draws 50 products by chance, `<a>` those of an attribute, `<c>` of a category, `<q>` of a query; these
        lists are not cut to 50. A draw depends on `task` and the words alone, so that pages and restored places agree
        (the reference draws anew for every page).
        """
        key = (*keywords, task) if keywords[0] == "<r>" else tuple(keywords)
        found = self._known.get(key)
        if found is None:
            positions = self._special(list(keywords), task)
            found = Found(positions, blake2b(repr(positions).encode(), digest_size=6).hexdigest())
            if len(self._known) >= _CACHED:
                self._known.clear()
            self._known[key] = found
        return found

    def ranked(self, query: str, k: int = TOP) -> tuple[int, ...]:
        """Return positions of the best `k` documents of a query, best first."""
        scores = self.scores(query)
        hits = np.flatnonzero(scores > 0.0)
        order = np.argsort(-scores[hits].astype(np.float32), kind="stable")[:k]
        return tuple(hits[order].tolist())

    def scores(self, query: str) -> np.ndarray:
        """Return the (products,) float64 score of each product."""
        words = [word for word in terms(query) if word in self._index.vocab_dict] if self._index else []
        return self._index.get_scores(words) if words else np.zeros(len(self._products))

    def _special(self, keywords: list[str], task: str) -> tuple[int, ...]:
        first, rest = keywords[0], " ".join(keywords[1:]).strip()
        every = range(len(self._products))
        if first == "<r>":
            draw = random.Random(" ".join([task, *keywords]))  # noqa: S311
            return tuple(draw.sample(every, min(TOP, len(every))))
        if first == "<a>":
            return tuple(i for i in every if rest in self._products[i].attributes)
        if first == "<c>":
            category = keywords[1].strip() if len(keywords) > 1 else ""
            return tuple(i for i in every if self._products[i].category == category)
        if first == "<q>":
            return tuple(i for i in every if self._products[i].query == rest)
        return self.ranked(" ".join(keywords))


def contents(product: Product) -> str:
    """Return the text that a product is found by: title, description, first bullet point and options, lower-cased."""
    options = ", and ".join(f"{name}: {', '.join(values)}" for name, values in product.options.items())
    first = product.bullets[0] if product.bullets else ""
    return " ".join([product.title, product.description, first, options]).lower()


def lucene_length(n: int) -> int:
    """Return a document length as Lucene keeps it in one byte: exact to 40, then four significant bits above 24."""
    rest = n - _EXACT_LENGTHS
    shift = max(rest.bit_length() - 4, 0)
    return n if rest < 0 else _EXACT_LENGTHS + (rest >> shift << shift)


class _Document(list[int]):
    """Ids of a document's words; its length, which bm25s asks for once, is the one that Lucene stores."""

    def __len__(self) -> int:
        return lucene_length(super().__len__())


def _index(documents: Sequence[list[str]]) -> Any:
    """Index documents; None if none of them has a word."""
    try:
        import bm25s
    except ImportError:
        raise ExtraMissingError("bm25s", "webshop") from None
    counts: Counter[str] = Counter()
    for words in documents:
        counts.update(words)
    if not counts:
        return None
    vocabulary = {word: i for i, word in enumerate(counts)}
    # The mean length is exact in Lucene, but bm25s takes the mean of the stored lengths. Scaling the length's weight
    # by (mean stored / mean exact) undoes that: k1 (1 - b) and k1 b / mean are what the formula holds.
    exact, stored = sum(counts.values()), sum(lucene_length(len(words)) for words in documents)
    constant, slope = K1 * (1.0 - B), K1 * B * stored / exact
    index = bm25s.BM25(k1=constant + slope, b=slope / (constant + slope), method="lucene", dtype="float64")
    index.index(
        ([_Document(vocabulary[word] for word in words) for words in documents], vocabulary),
        create_empty_token=False,
        show_progress=False,
    )
    return index
