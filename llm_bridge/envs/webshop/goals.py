"""What a shopper is asked for: human and synthetic goals, the price clause, the order of tasks and their splits."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from creditsim.errors import InputError, choose
from llm_bridge.envs.webshop.data import Product

__all__ = ["KINDS", "SPLITS", "Goal", "GoalOption", "draw_prices", "make_goals", "shuffled", "split_goals"]

KINDS = ("human", "synthetic")
SPLITS = ("share", "original", "verl-agent")
BOUNDS = tuple(10.0 * i for i in range(1, 100))
"""Upper prices that an instruction may name."""
NEAREST = 4
"""Bounds above the price that the clause is drawn from."""
UNBOUNDED = 1_000_000.0
HELD_OUT = 500
"""Goals that the original tests on and verl-agent validates on."""
EVALUATED = 1500
"""Where the original's training goals begin."""
SHARE = 5
"""One goal in five is held out where the split is by share."""

GoalOption = str | tuple[str, str]
"""An option value as people wrote it, or a (name, value) pair of a synthetic goal."""


@dataclass(frozen=True)
class Goal:
    """One task: the instruction, and what the reward compares a purchase with."""

    asin: str
    instruction: str
    attributes: tuple[str, ...]
    options: tuple[GoalOption, ...]
    price_upper: float
    name: str
    category: str
    query: str
    product_category: str
    weight: float = 1.0
    """Its chance, up to a constant, where a session does not name its goal."""


def draw_prices(products: Sequence[Product], draw: random.Random) -> dict[str, float]:
    """Return the price of each product: its own, or a uniform draw in its range, in the order of the products."""
    return {p.asin: p.pricing[0] if len(p.pricing) == 1 else draw.uniform(*p.pricing) for p in products}


def make_goals(kind: str, products: Sequence[Product], prices: Mapping[str, float], draw: random.Random) -> list[Goal]:
    """Return the goals in the order of the products; `draw` picks the price bounds.

    `human`: one for each written request with at least one attribute, weight 1. `synthetic`: one for each product
    with an instruction and each combination of its option values (names in alphabetic order), weight = mean over its
    attributes of 1 / (goals that ask for the attribute). Source: the public WebShop code (code).
    """
    choose("goals", kind, KINDS)
    make = _human if kind == "human" else _synthetic
    goals = [goal for product in products for goal in make(product, prices[product.asin], draw)]
    if not goals:
        raise InputError("goals", f"no {kind} goal", "data with at least one instruction")
    if kind == "human":
        return goals
    asked = Counter(attribute for goal in goals for attribute in goal.attributes)
    return [replace(g, weight=sum(1.0 / asked[a] for a in g.attributes) / len(g.attributes)) for g in goals]


def price_clause(price: float, draw: random.Random) -> tuple[float, str]:
    """Return the bound and the words of the price clause.

    The larger of two draws from the next four multiples of ten above the price (10 to 990); with fewer than two of
    them left there is no clause, and the bound is a million.
    """
    above = [bound for bound in BOUNDS if bound > price][:NEAREST]
    if len(above) < 2:
        return UNBOUNDED, ""
    upper = max(draw.sample(above, 2))
    return upper, f", and price lower than {upper:.2f} dollars"


def shuffled(goals: Sequence[Goal], seed: int) -> list[Goal]:
    """Return the goals in the order of their task numbers: the original shuffles with seed 233."""
    order = list(goals)
    random.Random(seed).shuffle(order)  # noqa: S311
    return order


def split_goals(rule: str, n: int) -> dict[str, range]:
    """Return the task numbers of each split.

    `original`: test 0-499, valid 500-1499, train from 1500. `verl-agent`: valid 0-499, train from 500. `share`: one
    fifth valid, the rest train, for catalogues that have fewer goals. A split left empty is an InputError.
    """
    choose("split", rule, SPLITS)
    if rule == "original":
        splits = {"train": range(EVALUATED, n), "valid": range(HELD_OUT, EVALUATED), "test": range(HELD_OUT)}
        least = EVALUATED + 1
    else:
        held = HELD_OUT if rule == "verl-agent" else max(n // SHARE, 1)
        splits = {"train": range(held, n), "valid": range(held)}
        least = held + 1
    if n < least:
        other = "" if rule == "share" else ", or split='share'"
        raise InputError("split", f"{rule!r} with {n} goals", f"at least {least} goals{other}")
    return splits


def _human(product: Product, price: float, draw: random.Random) -> list[Goal]:
    goals = []
    for request in product.human:
        if request.attributes:
            upper, clause = price_clause(price, draw)
            text = request.text.strip(".") + clause
            goals.append(_goal(product, text, request.attributes, request.options, upper))
    return goals


def _synthetic(product: Product, price: float, draw: random.Random) -> list[Goal]:
    request = product.synthetic
    if request is None:
        return []
    upper, clause = price_clause(price, draw)
    names = sorted(product.options)
    goals = []
    for values in itertools.product(*(product.options[name] for name in names)):
        chosen = dict(zip(names, values, strict=True))
        wish = ", and ".join(f"{name}: {value}" for name, value in chosen.items())
        text = f"{request.text}{' with ' + wish if wish else ''}{clause}"
        goals.append(_goal(product, text, request.attributes, tuple(chosen.items()), upper))
    return goals


def _goal(
    product: Product, text: str, attributes: tuple[str, ...], options: tuple[GoalOption, ...], upper: float
) -> Goal:
    return Goal(
        asin=product.asin,
        instruction=text,
        attributes=attributes,
        options=options,
        price_upper=upper,
        name=product.title,
        category=product.category,
        query=product.query,
        product_category=product.product_category,
    )
