"""Readers of WebShop's own data files: each field by the reference's rule, each fault told in one line.

Rules after the public WebShop code (evidence: code). What the reference loads and never uses is not read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from creditsim.errors import CorruptFileError, InputError

__all__ = ["FILES", "Instruction", "Product", "RawData", "parse_products", "read_folder"]

FILES: Mapping[str, tuple[str, ...]] = {
    "products": ("items_shuffle_1000.json", "items_shuffle.json"),
    "attributes": ("items_ins_v2_1000.json", "items_ins_v2.json"),
    "human": ("items_human_ins.json",),
}
"""Names of each file, the one of the 1000-product set first."""

NO_ATTRIBUTES = ("DUMMY_ATTR",)
NO_PRICE = 100.0
LONGEST_ASIN = 10

Record = Mapping[str, Any]


@dataclass(frozen=True)
class Instruction:
    """A request for one product: its words, the attributes and the option values that a purchase must have."""

    text: str
    attributes: tuple[str, ...]
    options: tuple[str, ...] = ()


@dataclass(frozen=True)
class Product:
    """One product as pages, search and reward see it."""

    asin: str
    title: str
    description: str
    bullets: tuple[str, ...]
    pricing: tuple[float, ...]
    """One price, or the two ends of a range, in dollars."""
    price_tag: str
    options: Mapping[str, tuple[str, ...]]
    """Values to choose among by option name, lower-cased, in the file's order."""
    attributes: tuple[str, ...]
    category: str
    query: str
    product_category: str
    image: str
    human: tuple[Instruction, ...] = ()
    """Requests written by people."""
    synthetic: Instruction | None = None
    """The request that synthetic goals are made of."""


@dataclass(frozen=True)
class RawData:
    """The contents of the three files, with the names that errors give them."""

    products: Sequence[Record]
    attributes: Mapping[str, Record]
    human: Mapping[str, Sequence[Record]]
    names: Mapping[str, str]


def read_folder(path: str | Path) -> RawData:
    """Read the three files of a folder; the file of human instructions may be absent."""
    folder = Path(path)
    if not folder.is_dir():
        raise InputError("path", str(path), "a folder that holds " + ", ".join(names[0] for names in FILES.values()))
    found = {part: next((n for n in names if (folder / n).is_file()), "") for part, names in FILES.items()}
    for part in ("products", "attributes"):
        if not found[part]:
            raise InputError("path", str(path), "a folder that holds " + " or ".join(FILES[part]))
    return RawData(
        products=_json(folder / found["products"], list),
        attributes=_json(folder / found["attributes"], dict),
        human=_json(folder / found["human"], dict) if found["human"] else {},
        names=found,
    )


def parse_products(raw: RawData, limit: int | None = None) -> list[Product]:
    """Return the first `limit` records as products; repeated, over-long and `nan` asins are left out, as there."""
    products: dict[str, Product] = {}
    for i, record in enumerate(raw.products[:limit]):
        where = _Where(raw.names["products"], str(i))
        if not isinstance(record, Mapping):
            raise InputError(where.of("(all)"), _kind(record), "an object")
        asin = _get(record, "asin", where, str)
        if asin == "nan" or len(asin) > LONGEST_ASIN or asin in products:
            continue
        products[asin] = _product(asin, record, raw, where)
    if not products:
        raise InputError(raw.names["products"], "no usable product", "at least one record with an asin")
    return list(products.values())


@dataclass(frozen=True)
class _Where:
    file: str
    record: str

    def of(self, field: str) -> str:
        return f"{self.file}, record {self.record}, field {field}"


def _product(asin: str, record: Record, raw: RawData, where: _Where) -> Product:
    where = _Where(where.file, f"{where.record} ({asin})")
    bullets = _get(record, "small_description", where, str, list)
    pricing, tag = _pricing(record.get("pricing"), where)
    images = _get(record, "images", where, list)
    if not images:
        raise InputError(where.of("images"), "an empty list", "at least one address")
    noted = _Where(raw.names["attributes"], asin)
    notes = _get(raw.attributes, asin, noted, dict) if asin in raw.attributes else {}
    requests = _get(raw.human, asin, _Where(raw.names["human"], asin), list) if asin in raw.human else []
    return Product(
        asin=asin,
        title=_get(record, "name", where, str),
        description=_get(record, "full_description", where, str, type(None)) or "",
        bullets=_texts(bullets, "small_description", where) if isinstance(bullets, list) else (bullets,),
        pricing=pricing,
        price_tag=tag,
        options=_options(_get(record, "customization_options", where, dict, list, str, type(None)), where),
        attributes=_texts(notes["attributes"], "attributes", noted) if "attributes" in notes else NO_ATTRIBUTES,
        category=_get(record, "category", where, str),
        query=_get(record, "query", where, str).lower().strip(),
        product_category=_get(record, "product_category", where, str),
        image=str(images[0]),
        human=tuple(_human(entry, raw.names["human"], asin, i) for i, entry in enumerate(requests)),
        synthetic=_synthetic(notes, noted),
    )


def _pricing(text: Any, where: _Where) -> tuple[tuple[float, ...], str]:
    """Split at the dollar signs; nothing means 100, two or more mean a range of the first two."""
    if not text:
        return (NO_PRICE,), f"${NO_PRICE}"
    if not isinstance(text, str):
        raise InputError(where.of("pricing"), _kind(text), "text such as $9.99 or $5.00 to $9.99")
    parts = [re.sub(r"[^\d.]", "", part) for part in text.split("$")[1:]][:2]
    try:
        prices = tuple(float(part) for part in parts)
    except ValueError:
        prices = ()
    if not prices:
        raise InputError(where.of("pricing"), repr(text), "text such as $9.99 or $5.00 to $9.99")
    return prices, " to ".join(f"${price}" for price in prices)


def _options(contents: Any, where: _Where) -> dict[str, tuple[str, ...]]:
    if not contents:
        return {}
    if not isinstance(contents, Mapping):
        raise InputError(where.of("customization_options"), _kind(contents), "an object")
    listed = {str(name): values for name, values in contents.items() if values is not None}
    for name, values in listed.items():
        if not isinstance(values, list):
            raise InputError(where.of(f"customization_options.{name}"), _kind(values), "a list of values, or null")
    return {name.lower(): tuple(_option(value, name, where) for value in values) for name, values in listed.items()}


def _option(content: Any, name: str, where: _Where) -> str:
    if not isinstance(content, Mapping) or not isinstance(content.get("value"), str):
        raise InputError(where.of(f"customization_options.{name}.value"), "nothing", "text")
    return content["value"].strip().replace("/", " | ").lower()


def _human(entry: Any, file: str, asin: str, i: int) -> Instruction:
    where = _Where(file, f"{asin}[{i}]")
    if not isinstance(entry, Mapping):
        raise InputError(where.of("(all)"), _kind(entry), "an object")
    return Instruction(
        _get(entry, "instruction", where, str),
        _texts(_get(entry, "instruction_attributes", where, list), "instruction_attributes", where),
        _texts(_get(entry, "instruction_options", where, list), "instruction_options", where),
    )


def _synthetic(notes: Record, where: _Where) -> Instruction | None:
    text = notes.get("instruction")
    if text is None:
        return None
    if not isinstance(text, str):
        raise InputError(where.of("instruction"), _kind(text), "text")
    attributes = _texts(_get(notes, "instruction_attributes", where, list), "instruction_attributes", where)
    if not attributes:
        raise InputError(where.of("instruction_attributes"), "an empty list", "at least one attribute")
    return Instruction(text, attributes)


def _get(record: Record, field: str, where: _Where, *kinds: type) -> Any:
    allowed = " or ".join(_NAMES[kind] for kind in kinds)
    if field not in record:
        raise InputError(where.of(field), "nothing", allowed)
    value = record[field]
    if not isinstance(value, kinds):
        raise InputError(where.of(field), _kind(value), allowed)
    return value


def _texts(values: Any, field: str, where: _Where) -> tuple[str, ...]:
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise InputError(where.of(field), _kind(values), "a list of texts")
    return tuple(values)


_NAMES: Mapping[type, str] = {
    str: "text", list: "a list", dict: "an object", float: "a number", int: "a number", bool: "a truth value",
    type(None): "null",
}  # fmt: skip


def _kind(value: Any) -> str:
    return _NAMES.get(type(value), type(value).__name__)


def _json(path: Path, kind: type) -> Any:
    try:
        text = path.read_text(encoding="utf-8")
        content = json.loads(text)
        if "\\ud" in text.lower():  # half an escaped character is JSON, and no text that can be shown or stored
            json.dumps(content, ensure_ascii=False).encode()
    except (ValueError, OSError) as error:
        raise CorruptFileError(str(path), str(error).split("\n", 1)[0], "a readable JSON file") from None
    if not isinstance(content, kind):
        raise CorruptFileError(str(path), _kind(content), _NAMES[kind])
    return content
