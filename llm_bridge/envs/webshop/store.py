"""All that the tasks of one catalogue share: products, index, prices and goals, loaded once a process."""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import lru_cache

from creditsim.errors import InputError
from llm_bridge.envs.webshop.catalogue import make_catalogue
from llm_bridge.envs.webshop.data import Product, RawData, parse_products, read_folder
from llm_bridge.envs.webshop.goals import Goal, draw_prices, make_goals, shuffled
from llm_bridge.envs.webshop.reward import Score, score_purchase
from llm_bridge.envs.webshop.search import Search
from llm_bridge.envs.webshop.tagger import Tagger, make_tagger

__all__ = ["Contents", "Store", "open_raw", "open_store"]


@dataclass(frozen=True)
class Contents:
    """What decides a store; equal contents share one."""

    path: str = ""
    """Folder with the real files; empty: a generated catalogue."""
    goals: str = "human"
    products: int = 1000
    """Records read, or products made; 0 reads all records of `path`."""
    n_goals: int = 500
    """Human goals that are made for a generated catalogue."""
    seed: int = 0
    """Of the generated catalogue."""
    draw_seed: int = 42
    """Of the prices drawn in ranges, then of the price clauses."""
    shuffle_seed: int = 233
    tagger: str = "auto"


class Store:
    """A catalogue that can be searched and bought from."""

    def __init__(self, products: list[Product], prices: dict[str, float], goals: list[Goal], nouns: Tagger) -> None:
        self.products = products
        self.by_asin = {product.asin: product for product in products}
        self.prices = prices
        self.goals = goals
        self.nouns = nouns
        self.search = Search(products)

    def number(self, task: str) -> int:
        """Return the number that a task id stands for."""
        if not (task.isdecimal() and int(task) < len(self.goals)):
            raise InputError("task", repr(task), f"0 .. {len(self.goals) - 1}")
        return int(task)

    def score(self, number: int, asin: str, chosen: dict[str, str]) -> Score:
        """Score a purchase under the goal of task `number`."""
        return score_purchase(self.by_asin[asin], self.goals[number], self.prices[asin], chosen, self.nouns)


def open_raw(contents: Contents) -> RawData:
    """Read or generate the records of a catalogue; InputErrors name the file, record and field at fault."""
    if contents.products < (0 if contents.path else 1):
        raise InputError("products", contents.products, "at least 1 (0, with a path: all of them)")
    if contents.path:
        return read_folder(contents.path)
    return make_catalogue(contents.products, contents.n_goals, contents.seed)


@lru_cache(maxsize=4)
def open_store(contents: Contents) -> Store:
    """Load or generate a catalogue; InputErrors name the file, record and field at fault."""
    raw = open_raw(contents)
    nouns = make_tagger(contents.tagger)
    products = parse_products(raw, contents.products or None)
    # One stream for both, in this order: the reference draws from one global generator that is seeded before.
    draw = random.Random(contents.draw_seed)  # noqa: S311
    prices = draw_prices(products, draw)
    goals = shuffled(make_goals(contents.goals, products, prices, draw), contents.shuffle_seed)
    return Store(products, prices, goals, nouns)
