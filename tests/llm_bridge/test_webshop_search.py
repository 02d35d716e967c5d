"""The store's search beside a slow BM25 of its own, and by hand; stems, words and lengths as Lucene has them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from webshop_shop import products

from llm_bridge.envs.webshop.analyser import STOP_WORDS, stem, terms
from llm_bridge.envs.webshop.catalogue import make_catalogue
from llm_bridge.envs.webshop.data import Product, parse_products
from llm_bridge.envs.webshop.search import TOP, Search, contents, lucene_length


@dataclass(frozen=True)
class Slow:
    """BM25 as its formula reads, with what can be done wrongly."""

    k1: float = 0.9
    b: float = 0.4
    coarse: bool = True
    stops: bool = True
    once: bool = False
    last_first: bool = False

    def scores(self, documents: Sequence[Sequence[str]], query: str) -> list[float]:
        words = terms(query) if self.stops else [stem(w) for w in query.lower().split()]
        words = list(dict.fromkeys(words)) if self.once else words
        mean = sum(map(len, documents)) / len(documents)
        counts = [Counter(document) for document in documents]
        holders = {word: sum(word in count for count in counts) for word in words}
        totals = []
        for document, count in zip(documents, counts, strict=True):
            length = _one_byte(len(document)) if self.coarse else len(document)
            norm = self.k1 * (1 - self.b + self.b * length / mean)
            total = 0.0
            for word in words:
                idf = math.log(1 + (len(documents) - holders[word] + 0.5) / (holders[word] + 0.5))
                total += idf * count[word] / (count[word] + norm)
            totals.append(total)
        return totals


def _one_byte(n: int) -> int:
    """Lucene's SmallFloat, there and back: below 24 exact, above it a float of three bits behind its leading one."""
    if n < 24:
        return n
    rest, bits = n - 24, (n - 24).bit_length()
    code = rest if bits < 4 else ((rest >> (bits - 4)) & 7) | ((bits - 4 + 1) << 3)
    low, shift = code & 7, (code >> 3) - 1
    return 24 + (low if shift < 0 else (low | 8) << shift)


@cache
def _catalogue() -> tuple[list[Product], Search, list[list[str]]]:
    made = parse_products(make_catalogue())
    return made, Search(made), [terms(contents(product)) for product in made]


@cache
def _queries() -> list[str]:
    made, _, _ = _catalogue()
    requests = [r.text for p in made for r in p.human][:40]
    return requests + [p.title for p in made[:20]] + [p.query for p in made[:10]] + ["red red red lamp", "a the of", ""]


def _agrees(slow: Slow) -> bool:
    """Top-50 lists equal up to ties: the slow scores along our list are the slow scores of its own best 50."""
    _, search, documents = _catalogue()
    for query in _queries():
        theirs = np.array(slow.scores(documents, query))
        ours = search.ranked(query)
        hits = np.flatnonzero(theirs > 0.0)
        best = -np.sort(-theirs[hits])[:TOP]
        if len(ours) != len(best) or not np.allclose(theirs[list(ours)], best, rtol=2e-7, atol=0.0):
            return False
        single = theirs.astype(np.float32)
        tied = [i for i in range(1, len(ours)) if single[ours[i]] == single[ours[i - 1]]]
        ordered = all(ours[i] > ours[i - 1] for i in tied)
        if (slow.last_first and tied and ordered) or not (slow.last_first or ordered):
            return False
    return True


def test_top_fifty_are_those_of_the_slow_bm25() -> None:
    assert _agrees(Slow())


@pytest.mark.parametrize(
    "broken",
    [
        Slow(k1=1.2),
        Slow(b=0.75),
        Slow(coarse=False),
        Slow(stops=False),
        Slow(once=True),
        Slow(last_first=True),
    ],
    ids=["k1", "b", "exact lengths", "stop words kept", "repetitions dropped", "ties from the end"],
)
def test_the_check_rejects_another_convention(broken: Slow) -> None:
    assert not _agrees(broken)


def test_scores_are_the_slow_ones_to_rounding() -> None:
    _, search, documents = _catalogue()
    for query in _queries()[::5]:
        np.testing.assert_allclose(search.scores(query), Slow().scores(documents, query), rtol=1e-12, atol=1e-14)


def test_a_score_by_hand() -> None:
    # Documents of the shop after stop words and stemming ("of", "a", "and" and "&" drop):
    #  1 norva tabl lamp | lamp brass dimmabl | solid brass foot | color navi blue red white size s m larg  -> 18 words
    #  2 osko desk lamp | (nothing) | one bullet onli                                                     ->  6 words
    #  3 b fizz b soap co | clean i gentl i | (no bullet) | scent rose cedar wood                         -> 13 words
    #  4 plain soap | soap | soap                                                                         ->  4 words
    # "<b>Fizz</b>" gives the words b, fizz, b and "<i>gently</i>" gives i, gently, i; mean = 41/4 = 10.25.
    shop = products()
    assert [len(terms(contents(product))) for product in shop] == [18, 6, 13, 4]
    # "lamps": 2 of 4 documents hold "lamp": idf = ln(1 + 2.5/2.5) = ln 2.
    #  1: f = 2, norm = 0.9 (0.6 + 0.4 * 18/10.25) = 1.172195; 2/3.172195 = 0.630478; * ln 2 = 0.437014
    #  2: f = 1, norm = 0.9 (0.6 + 0.4 * 6/10.25) = 0.750732; 1/1.750732 = 0.571190; * ln 2 = 0.395919
    np.testing.assert_allclose(Search(shop).scores("Lamps"), [0.437014, 0.395919, 0.0, 0.0], atol=2e-6)
    assert Search(shop).ranked("Lamps") == (0, 1)


def test_words_by_hand() -> None:
    assert len(STOP_WORDS) == 33
    assert terms("The Baker's 2.5-inch pan, U.S.A. style; it's 1,000 ml") == [
        "baker", "2.5", "inch", "pan", "u.s.a", "style", "1,000", "ml",
    ]  # fmt: skip
    # "U.S.A." keeps its inner stops; "it's" loses its possessive and is then the stop word "it".
    assert terms("men’s t-shirt size:large __ a|b") == ["men", "t", "shirt", "size:larg", "b"]


def test_stems_by_hand() -> None:
    # Porter's published examples, and the three points where Lucene's stemmer leaves the published algorithm.
    published = {"caresses": "caress", "ponies": "poni", "hopping": "hop", "relational": "relat", "happy": "happi"}
    departures = {"as": "as", "us": "us", "technology": "technolog", "technologies": "technolog"}
    departures |= {"possibly": "possibl", "possible": "possibl", "technological": "technolog"}
    for word, root in (published | departures).items():
        assert stem(word) == root, word
    # An ending laid bare by a later step is left: -ness falls in step 3, behind the step that knows -bli.
    assert stem("wobbliness") == "wobbli"
    assert stem("logi") == "logi"  # nothing measurable before the ending


def test_lengths_by_hand() -> None:
    # 24 + 17 = 24 + 10001b, whose last bit falls: 40. 24 + 76 = 24 + 1001100b, four bits stay: 24 + 72 = 96.
    assert [lucene_length(n) for n in (0, 1, 23, 24, 39, 40, 41, 42, 100)] == [0, 1, 23, 24, 39, 40, 40, 42, 96]


@given(st.integers(0, 200_000))
def test_lengths_are_those_of_a_byte(n: int) -> None:
    assert lucene_length(n) == _one_byte(n) <= n
    assert lucene_length(lucene_length(n)) == lucene_length(n)


WORDS = st.lists(st.sampled_from("lamp soap desk brass rose red the of xyz".split()), min_size=0, max_size=6)


@settings(max_examples=60, deadline=None)
@given(WORDS, st.randoms(use_true_random=False))
def test_order_of_words_does_not_matter(words: list[str], shuffle: object) -> None:
    search = Search(products())
    turned = list(reversed(words))
    np.testing.assert_allclose(search.scores(" ".join(words)), search.scores(" ".join(turned)), rtol=1e-12)


def test_special_keywords() -> None:
    shop = products()
    search = Search(shop)
    assert search.find(["<a>", "cruelty", "free"]).positions == (2,)
    assert search.find(["<c>", "garden"]).positions == (0, 1)
    assert search.find(["<c>"]).positions == ()
    assert search.find(["<q>", "table", "lamp"]).positions == (0,)
    assert search.find(["<q>", "nothing"]).positions == ()
    assert sorted(search.find(["<r>"], "0").positions) == [0, 1, 2, 3]
    made, search, _ = _catalogue()
    drawn = search.find(["<r>"], "7").positions
    assert len(set(drawn)) == TOP and drawn == search.find(["<r>"], "7").positions
    assert drawn != search.find(["<r>"], "8").positions
    garden = search.find(["<c>", "garden"]).positions
    assert len(garden) == 200 and all(made[i].category == "garden" for i in garden)  # not cut to 50


def test_equal_lists_share_a_name() -> None:
    search = Search(products())
    assert search.find(["lamp"]).digest == search.find(["the", "lamps"]).digest
    assert search.find(["lamp"]).digest != search.find(["soap"]).digest
    assert search.find(["lamp"]).page(1) == (0, 1) and search.find(["lamp"]).page(2) == ()


def test_a_shop_without_words() -> None:
    mute = [replace(p, title="&", description="", bullets=(), options={}) for p in products()]
    assert Search(mute).ranked("lamp") == ()
