"""A generated catalogue in the real files' formats: invented products, their options, and requests for them.

The readers of `data` load it like the real one. It is a function of its sizes and its seed alone.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from creditsim.errors import InputError
from llm_bridge.envs.webshop.data import FILES, RawData
from llm_bridge.envs.webshop.words import ASK, BRANDS, CHOICES, DEPARTMENTS, PHRASES, TAILS, Department, Type

__all__ = ["make_catalogue", "write_folder"]

_SHELF = " \u203a "
_DIGITS = "0123456789ABCDEFGHJKLMNPQRSTUVWXYZ"
_UNPRICED = 0.03
"""Share of products without a price (100 dollars by the reading rule), and without a description."""
_RANGED = 0.25
"""Share of products whose price is a range."""

Record = dict[str, Any]


def make_catalogue(n_products: int = 1000, n_goals: int = 500, seed: int = 0) -> RawData:
    """Return products over five categories, an instruction for each, and `n_goals` human-style requests.

    Requests go round the products in a shuffled order, so that no product has two before each has one.
    """
    if n_products < 1 or n_goals < 1:
        raise InputError("products, n_goals", (n_products, n_goals), "at least 1 of each")
    draw = random.Random(f"webshop catalogue {seed}")  # noqa: S311
    kinds = [(name, kind) for name, department in DEPARTMENTS.items() for kind in department.types]
    products: list[Record] = []
    attributes: dict[str, Record] = {}
    for i in range(n_products):
        name, kind = kinds[i % len(kinds)]
        department = DEPARTMENTS[name]
        has = draw.sample(department.attributes, draw.randint(3, 5))
        product = _product(draw, name, department, kind, has)
        while product["asin"] in attributes:
            product["asin"] = _asin(draw)
        products.append(product)
        wanted = has[: draw.randint(1, 2)]
        text = f"find me {_joined(wanted)} {kind.query}"
        attributes[product["asin"]] = {
            "attributes": has,
            "instruction": text,
            "instruction_attributes": wanted,
        }
    draw.shuffle(products)
    human: dict[str, list[Record]] = {}
    order = draw.sample(products, n_products)
    for i in range(n_goals):
        product = order[i % n_products]
        request = _request(draw, product, attributes[product["asin"]]["attributes"])
        human.setdefault(product["asin"], []).append(request)
    return RawData(products, attributes, human, {part: f"generated {names[0]}" for part, names in FILES.items()})


def write_folder(raw: RawData, folder: str | Path) -> list[Path]:
    """Write the three files under their real names into a folder that exists; return their paths."""
    parts: Mapping[str, Any] = {"products": raw.products, "attributes": raw.attributes, "human": raw.human}
    paths = []
    for part, content in parts.items():
        path = Path(folder) / FILES[part][0]
        path.write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
        paths.append(path)
    return paths


def _product(draw: random.Random, category: str, department: Department, kind: Type, has: list[str]) -> Record:
    brand = draw.choice(BRANDS[0]) + draw.choice(BRANDS[1])
    look, use = draw.choice(department.looks), draw.choice(department.uses)
    thing = kind.query.title()
    shown = [attribute.title() for attribute in has[1:3]]
    # The first attribute stands in the attribute list alone, the next two in the title, the others in the text.
    described = draw.random() >= _UNPRICED
    return {
        "asin": _asin(draw),
        "name": f"{brand} {look} {thing} for {use}, {', '.join(shown)}",
        "full_description": _description(brand, look, kind, use, has) if described else "",
        "small_description": [
            f"{look} {kind.query} made for {use.lower()}.",
            *(f"{attribute.capitalize()}: tried and tested by {brand}." for attribute in has[3:]),
            f"Sold by {brand}, model {draw.randint(100, 999)}.",
        ],
        "pricing": _price(draw, kind),
        "customization_options": {
            name: [{"value": value, "image": None} for value in _values(draw, name)] for name in kind.options
        },
        "category": category,
        "query": kind.query,
        "product_category": _SHELF.join([department.root, kind.shelf.replace(" \u203a ", _SHELF), thing]),
        "images": [f"images/{category}/{kind.query.replace(' ', '-')}.jpg"],
    }


def _description(brand: str, look: str, kind: Type, use: str, has: list[str]) -> str:
    return (
        f"The {brand} {kind.query} brings a {look.lower()} touch to {use.lower()}. "
        f"It is {_joined(has[1:])}, and it comes with a two year promise."
    )


def _price(draw: random.Random, kind: Type) -> str | None:
    low = draw.randint(kind.cheapest, kind.dearest) - 0.01 * draw.choice([1, 5, 51])
    kinds = draw.random()
    if kinds < _UNPRICED:
        return None
    if kinds < _UNPRICED + _RANGED:
        return f"${low:.2f}${low + draw.randint(2, 12):.2f}"
    return f"${low:.2f}"


def _values(draw: random.Random, name: str) -> list[str]:
    """Draw two to four values of an option, in the order in which its list has them."""
    offered = CHOICES[name]
    picked = set(draw.sample(offered, draw.randint(2, min(4, len(offered)))))
    return [value for value in offered if value in picked]


def _request(draw: random.Random, product: Record, has: list[str]) -> Record:
    attributes = draw.sample(has, draw.randint(1, 2))
    options = product["customization_options"]
    named = draw.sample(list(options), draw.randint(1, min(2, len(options))))
    values = {name: draw.choice(options[name])["value"] for name in named}
    thing = " ".join(
        [_article(attributes[0]), _joined(attributes), product["query"]]
        + [draw.choice(PHRASES[name]).format(value) for name, value in values.items()]
    )
    return {
        "instruction": draw.choice(ASK).format(thing=thing) + draw.choice(TAILS) + ".",
        "instruction_attributes": attributes,
        "instruction_options": list(values.values()),
    }


def _article(word: str) -> str:
    return "an" if word[0] in "aeiou" else "a"


def _joined(words: list[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _asin(draw: random.Random) -> str:
    return "X" + "".join(draw.choices(_DIGITS, k=9))
