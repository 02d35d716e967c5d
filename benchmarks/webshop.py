"""WebShop by one process on 1000 products: how long a thousand steps take, a search whose words are new, a start."""

from __future__ import annotations

import itertools
import random

from benchmarks.report import line
from benchmarks.timing import Rounds, compare
from llm_bridge.envs.base import make_tasks
from llm_bridge.envs.webshop.catalogue import make_catalogue
from llm_bridge.envs.webshop.data import parse_products
from llm_bridge.envs.webshop.search import Search
from llm_bridge.prompts import query_of

__all__: list[str] = []

_NEEDS = ("Stemmer", "bm25s", "thefuzz")
_STEPS = 1000


@line("WebShop, 1000 steps of random shoppers", "alone, 1000 products", "seconds", target=1, needs=_NEEDS)
def thousand_steps() -> Rounds:
    tasks = make_tasks("webshop")
    env, rng = tasks.make(), random.Random(0)  # noqa: S311
    ids = tasks.splits()["train"]

    def shop() -> None:
        left = _STEPS
        while left:
            seen = env.reset(rng.choice(ids))
            for _ in range(min(tasks.max_steps, left)):
                command = rng.choice(seen.admissible).replace("<your query>", query_of(seen.task))
                outcome = env.step(command)
                seen, left = outcome.observation, left - 1
                if outcome.done:
                    break

    return compare(shop)


@line("WebShop, 100 searches by titles, none asked before", "alone, 1000 products", "seconds", needs=_NEEDS)
def searches() -> Rounds:
    products = parse_products(make_catalogue())
    search, titles = Search(products), itertools.cycle(product.title for product in products)
    return compare(lambda: [search.ranked(title) for title in itertools.islice(titles, 100)])


@line("WebShop, catalogue of 1000 products and 500 goals", "alone", "seconds", target=1, needs=_NEEDS)
def catalogue() -> Rounds:
    return compare(lambda: parse_products(make_catalogue()))
