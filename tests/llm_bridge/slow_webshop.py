"""WebShop's rules once more, slow and plain, from their description alone: reward, pages, clicks, sessions.

Nothing of the engine is used but the parsed products and goals. The fuzzy ratio is worked out from a longest common
subsequence, not by a library.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from llm_bridge.envs.webshop.data import Product
from llm_bridge.envs.webshop.goals import Goal

COLOURS = (
    "alabaster apricot aqua ash asphalt azure banana beige black blue blush bordeaux bronze brown burgundy camel camo "
    "caramel champagne charcoal cheetah chestnut chocolate christmas coffee cognac copper coral cranberry cream "
    "crystal dark denim eggplant elephant espresso fuchsia gold granite grape graphite grass gray green grey heather "
    "indigo ivory ivy khaki lavender lemon leopard light lilac lime magenta maroon mauve merlot midnight mint mocha "
    "multicolor mushroom mustard natural navy nude olive orange peach pewter pink plum purple rainbow red rose royal "
    "rust sand sapphire seashell silver skull slate steel stone stonewash sunflower tan taupe teal tiger turquoise "
    "violet walnut wheat white wine yellow"
).split()


def common(a: str, b: str) -> int:
    """Length of the longest common subsequence, by the textbook table."""
    row = [0] * (len(b) + 1)
    for x in a:
        before = 0
        for j, y in enumerate(b, 1):
            before, row[j] = row[j], before + 1 if x == y else max(row[j], row[j - 1])
    return row[-1]


def ratio(a: str, b: str) -> Fraction:
    return Fraction(200 * common(a, b), len(a) + len(b)) if a or b else Fraction(100)


def token_set_ratio(a: str, b: str) -> int:
    """Share of common letters of the best of three pairs: shared words alone, with the rest of each side."""
    left, right = (set(_words(text)) for text in (a, b))
    if not left or not right:
        return 0
    shared = " ".join(sorted(left & right))
    one, two = (" ".join(sorted(words)) for words in (left - right, right - left))
    if shared and not (one and two):
        return 100
    sides = [" ".join(part for part in (shared, rest) if part) for rest in (one, two)]
    pairs = [tuple(sides)] + ([(shared, side) for side in sides] if shared else [])
    return _half_even(max(ratio(x, y) for x, y in pairs))


def _words(text: str) -> list[str]:
    plain = "".join(letter for letter in text if not 128 <= ord(letter) <= 255)
    return re.sub(r"[\W_]", " ", plain).lower().split()


def _half_even(value: Fraction) -> int:
    return round(value)


def one_colour(text: str) -> str:
    return next((colour for colour in COLOURS if colour in text), text)


def score(
    product: Product, goal: Goal, price: float, chosen: Mapping[str, str], nouns: Sequence[Sequence[str]]
) -> float:
    """r_type (attributes + options + price) / (all of them), `nouns` of the product's title and of the goal's."""
    texts = [product.title, " ".join(product.bullets), product.description]
    attributes = options = 0
    for wanted in goal.attributes:
        alike = any(token_set_ratio(own, wanted) > 85 for own in product.attributes)
        attributes += alike or any(wanted in text.lower() for text in texts)
    for wanted in goal.options:
        asked = one_colour(wanted) if isinstance(wanted, str) else _pair(wanted)
        options += any(token_set_ratio(one_colour(value), asked) > 85 for value in chosen.values())
    bought, asked_nouns = nouns
    shared = {noun for noun in bought if noun in asked_nouns}
    title = len(shared) / len(asked_nouns) if asked_nouns else 0.2
    if title == 0:
        return 0.0
    paths = [{part.strip() for part in path.split("›")} for path in (product.product_category, goal.product_category)]
    alike = product.query == goal.query or len(paths[0] & paths[1]) > 1 or title > 0.2
    kind = 0.1 if title < 0.1 else 1.0 if alike else 0.5
    parts = len(goal.attributes) + len(goal.options) + 1
    return kind * (attributes + options + (price <= goal.price_upper)) / parts


def _pair(wanted: tuple[str, str]) -> str:
    return next((colour for colour in COLOURS if colour in wanted), " ".join(wanted))


@dataclass
class Shop:
    """A session as a state machine over page names; `find` gives the asins of a search, best first."""

    products: Mapping[str, Product]
    find: Mapping[tuple[str, ...], Sequence[str]]
    page: str = "search"
    words: tuple[str, ...] = ()
    number: int = 1
    asin: str = ""
    chosen: dict[str, str] = field(default_factory=dict)
    bought: bool = False

    def shown(self) -> list[str]:
        """The asins of this page of results: ten of the list."""
        return list(self.find[self.words])[10 * self.number - 10 : 10 * self.number]

    def clicks(self) -> list[str]:
        return list(dict.fromkeys(self._clicks()))

    def _clicks(self) -> Iterator[str]:
        if self.page in ("search", "done"):
            return
        yield "back to search"
        if self.page == "results":
            yield from ["< prev"] if self.number > 1 else []
            yield "next >"
            yield from (asin.lower() for asin in self.shown())
            return
        yield "< prev"
        if self.page == "item":
            yield from ("description", "features", "reviews", "buy now")
            yield from (value for values in self.products[self.asin].options.values() for value in values)

    def step(self, name: str, argument: str) -> bool:
        """Do it; whether it meant anything."""
        if name == "search":
            self._results(tuple(argument.split(" ")), 1)
            return True
        if name != "click" or argument not in self.clicks():
            return False
        if argument == "buy now":
            self.page, self.bought = "done", True
        elif argument == "back to search":
            self.page, self.words, self.number, self.asin, self.chosen = "search", (), 1, "", {}
        elif argument in ("next >", "< prev") and self.page == "results":
            self._results(self.words, self.number + (1 if argument == "next >" else -1))
        elif argument == "< prev" and self.page == "item":
            self._results(self.words, self.number)
        elif argument in ("description", "features", "reviews"):
            self.page = argument
        elif self.page == "results":
            self.page, self.asin = "item", next(a for a in self.shown() if a.lower() == argument)
        else:
            for option, values in self.products[self.asin].options.items():
                if argument in values:
                    self.chosen = {**self.chosen, option: argument} if argument != "< prev" else self.chosen
            self.page = "item"
        return True

    def _results(self, words: tuple[str, ...], number: int) -> None:
        self.page, self.words, self.number, self.asin, self.chosen = "results", words, number, "", {}

    def heading(self) -> str:
        """What the page of results says of itself."""
        return f"Page {self.number} (Total results: {len(self.find[self.words])})"


def pages(total: int) -> int:
    return math.ceil(total / 10)
