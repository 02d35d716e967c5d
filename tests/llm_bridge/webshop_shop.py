"""A shop of four products in the real files' formats, small enough to work every page and score out by hand."""

from __future__ import annotations

import copy
import random
from typing import Any

from llm_bridge.envs.webshop.data import FILES, Product, RawData, parse_products
from llm_bridge.envs.webshop.engine import WebShopEnv
from llm_bridge.envs.webshop.goals import Goal
from llm_bridge.envs.webshop.store import Store
from llm_bridge.envs.webshop.tagger import rule_nouns

PRODUCTS: list[dict[str, Any]] = [
    {
        "asin": "B000LAMP01",
        "name": "Norva Table Lamp",
        "full_description": "A lamp of brass. Dimmable.",
        "small_description": ["Solid brass foot", "Warm light"],
        "pricing": "$35.00",
        "customization_options": {
            "Color": [{"value": " Navy Blue ", "image": None}, {"value": "Red / White"}],
            "Size": [{"value": "S/M"}, {"value": "Large"}],
            "Gone": None,
        },
        "category": "garden",
        "query": " Table LAMP ",
        "product_category": "Home & Kitchen › Lighting › Lamps",
        "images": ["lamp.jpg", "other.jpg"],
        "seller_name": "dropped",
    },
    {
        "asin": "B000LAMP02",
        "name": "Osko Desk Lamp",
        "full_description": "",
        "small_description": "One bullet only",
        "pricing": "$1,299.50$1,400.00",
        "customization_options": {},
        "category": "garden",
        "query": "desk lamp",
        "product_category": "Home & Kitchen › Lighting › Lamps",
        "images": ["desk.jpg"],
    },
    {
        "asin": "B000SOAP03",
        "name": "<b>Fizz</b> Soap & Co",
        "full_description": "Cleans <i>gently</i>.",
        "small_description": [],
        "pricing": None,
        "customization_options": {"scent": [{"value": "rose"}, {"value": "cedar wood"}]},
        "category": "beauty",
        "query": "soap",
        "product_category": "Beauty › Bath › Soap",
        "images": ["soap.jpg"],
    },
    {
        "asin": "B000SOAP04",
        "name": "Plain Soap",
        "full_description": "Soap.",
        "small_description": ["Soap"],
        "pricing": "$3.00",
        "customization_options": None,
        "category": "beauty",
        "query": "soap",
        "product_category": "Beauty › Bath › Soap",
        "images": ["plain.jpg"],
    },
]
ATTRIBUTES: dict[str, dict[str, Any]] = {
    "B000LAMP01": {
        "attributes": ["energy efficient", "easy assembly"],
        "instruction": "find me an energy efficient lamp",
        "instruction_attributes": ["energy efficient"],
    },
    "B000SOAP03": {"attributes": ["cruelty free"]},
}
HUMAN: dict[str, list[dict[str, Any]]] = {
    "B000LAMP01": [
        {
            "instruction": "i need an energy efficient brass lamp in navy blue.",
            "instruction_attributes": ["energy efficient", "brass"],
            "instruction_options": ["navy blue"],
        },
        {"instruction": "no attributes", "instruction_attributes": [], "instruction_options": []},
    ],
}
GOAL = Goal(
    asin="B000LAMP01",
    instruction="i need an energy efficient brass lamp in navy blue, and price lower than 60.00 dollars",
    attributes=("energy efficient", "brass"),
    options=("navy blue",),
    price_upper=60.0,
    name="Norva Table Lamp",
    category="garden",
    query="table lamp",
    product_category="Home & Kitchen › Lighting › Lamps",
)


def dice(seed: int) -> random.Random:
    """Python's generator, which the reference draws from."""
    return random.Random(seed)  # noqa: S311


def raw() -> RawData:
    """A copy of the three files, free to be damaged."""
    names = {part: files[0] for part, files in FILES.items()}
    return RawData(copy.deepcopy(PRODUCTS), copy.deepcopy(ATTRIBUTES), copy.deepcopy(HUMAN), names)


def products() -> list[Product]:
    return parse_products(raw())


def shop() -> Store:
    """The four products at fixed prices, with one goal."""
    prices = {"B000LAMP01": 35.0, "B000LAMP02": 1350.0, "B000SOAP03": 100.0, "B000SOAP04": 3.0}
    return Store(products(), prices, [GOAL], rule_nouns)


def shopper(mode: str = "text", **options: bool) -> WebShopEnv:
    """An environment in the shop, at the start of its one task."""
    env = WebShopEnv(shop(), mode, **options)
    env.reset("0")
    return env
