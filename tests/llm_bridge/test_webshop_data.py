"""Readers of the real formats: every field rule, every fault in one line; the generated catalogue goes the same way."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from webshop_shop import products, raw

from creditsim.errors import CorruptFileError, InputError
from llm_bridge.envs.webshop.catalogue import make_catalogue, write_folder
from llm_bridge.envs.webshop.data import RawData, parse_products, read_folder


def test_fields_follow_the_references_rules() -> None:
    lamp, desk, soap, plain = products()
    assert (lamp.asin, lamp.title, lamp.query) == ("B000LAMP01", "Norva Table Lamp", "table lamp")
    assert lamp.bullets == ("Solid brass foot", "Warm light")
    assert lamp.image == "lamp.jpg"
    # Names and values lower-cased, "/" becomes " | " (inside the spaces it had), None options dropped.
    assert lamp.options == {"color": ("navy blue", "red  |  white"), "size": ("s | m", "large")}
    assert (lamp.pricing, lamp.price_tag) == ((35.0,), "$35.0")
    assert (desk.pricing, desk.price_tag) == ((1299.5, 1400.0), "$1299.5 to $1400.0")
    assert (soap.pricing, soap.price_tag) == ((100.0,), "$100.0")
    assert desk.bullets == ("One bullet only",)
    assert soap.bullets == ()
    assert plain.options == {}
    assert lamp.attributes == ("energy efficient", "easy assembly")
    assert plain.attributes == ("DUMMY_ATTR",)
    assert [request.options for request in lamp.human] == [("navy blue",), ()]
    assert lamp.synthetic is not None and lamp.synthetic.attributes == ("energy efficient",)
    assert soap.synthetic is None


def test_repeated_long_and_nan_asins_are_left_out() -> None:
    data = raw()
    for asin in ("nan", "B0000000001", "B000LAMP01"):
        data.products.append({**data.products[1], "asin": asin, "name": "another"})  # type: ignore[attr-defined]
    parsed = parse_products(data)
    assert [p.asin for p in parsed] == ["B000LAMP01", "B000LAMP02", "B000SOAP03", "B000SOAP04"]
    assert parsed[0].title == "Norva Table Lamp"
    assert [p.asin for p in parse_products(data, 2)] == ["B000LAMP01", "B000LAMP02"]


REQUIRED = (
    "asin", "name", "full_description", "small_description", "customization_options", "category", "query",
    "product_category", "images",
)  # fmt: skip


@pytest.mark.parametrize("field", REQUIRED)
def test_a_missing_field_names_file_record_and_field(field: str) -> None:
    data = raw()
    del data.products[1][field]  # type: ignore[attr-defined]
    with pytest.raises(InputError) as caught:
        parse_products(data)
    line = str(caught.value)
    assert "\n" not in line
    assert line.startswith("items_shuffle_1000.json, record 1") and f"field {field}: got nothing" in line
    assert field == "asin" or "B000LAMP02" in line


@pytest.mark.parametrize("field", ["instruction", "instruction_attributes", "instruction_options"])
def test_a_missing_field_of_a_human_instruction_is_named(field: str) -> None:
    data = raw()
    del data.human["B000LAMP01"][1][field]  # type: ignore[attr-defined]
    with pytest.raises(InputError, match=rf"items_human_ins.json, record B000LAMP01\[1\], field {field}: got nothing"):
        parse_products(data)


Damage = Callable[[Any], Any]
WRONG: list[tuple[str, str, Damage]] = [
    ("pricing", "'call us'", lambda d: d.products[0].update(pricing="call us")),
    ("pricing", "'\\$ tba'", lambda d: d.products[0].update(pricing="$ tba")),
    ("pricing", "a number", lambda d: d.products[0].update(pricing=3.5)),
    ("images", "an empty list", lambda d: d.products[0].update(images=[])),
    ("name", "null", lambda d: d.products[0].update(name=None)),
    ("small_description", "a list", lambda d: d.products[0].update(small_description=[None])),
    ("customization_options", "text", lambda d: d.products[0].update(customization_options="red")),
    (
        "customization_options.Hue.value",
        "nothing",
        lambda d: d.products[0].update(customization_options={"Hue": [{"image": None}]}),
    ),
    ("attributes", "text", lambda d: d.attributes["B000LAMP01"].update(attributes="brass")),
    ("instruction", "a number", lambda d: d.attributes["B000LAMP01"].update(instruction=3)),
    ("instruction_attributes", "an empty list", lambda d: d.attributes["B000LAMP01"].update(instruction_attributes=[])),
    ("B000LAMP01", "a list", lambda d: d.attributes.update(B000LAMP01=[])),
    ("B000LAMP01", "an object", lambda d: d.human.update(B000LAMP01={})),
    ("(all)", "text", lambda d: d.products.insert(0, "not a record")),
    ("(all)", "text", lambda d: d.human.update(B000LAMP01=["not a record"])),
]


@pytest.mark.parametrize(("field", "got", "damage"), WRONG, ids=[f"{w[0]}-{i}" for i, w in enumerate(WRONG)])
def test_a_wrong_field_is_one_line(field: str, got: str, damage: Damage) -> None:
    data = raw()
    damage(data)
    with pytest.raises(InputError) as caught:
        parse_products(data)
    line = str(caught.value)
    assert "\n" not in line and f"field {field}: got " in line
    assert got.replace("\\", "") in line


def test_no_usable_product_is_an_error() -> None:
    data = RawData([{"asin": "nan"}], {}, {}, raw().names)
    with pytest.raises(InputError, match="no usable product"):
        parse_products(data)


def test_folders(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"path: got .*nowhere"):
        read_folder(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"items_shuffle_1000\.json or items_shuffle\.json"):
        read_folder(tmp_path)
    write_folder(raw(), tmp_path)
    assert parse_products(read_folder(tmp_path)) == products()
    (tmp_path / "items_human_ins.json").unlink()
    assert all(not product.human for product in parse_products(read_folder(tmp_path)))
    (tmp_path / "items_ins_v2_1000.json").write_text("[]")
    with pytest.raises(CorruptFileError, match=r"items_ins_v2_1000\.json: got a list, allowed an object"):
        read_folder(tmp_path)
    (tmp_path / "items_ins_v2_1000.json").write_text("{")
    with pytest.raises(CorruptFileError, match="allowed a readable JSON file"):
        read_folder(tmp_path)


def test_the_generated_catalogue_is_read_like_the_real_one(tmp_path: Path) -> None:
    made = make_catalogue(120, 60)
    write_folder(made, tmp_path)
    assert parse_products(read_folder(tmp_path)) == parse_products(made)


def test_the_catalogue_has_what_was_asked_for() -> None:
    made = make_catalogue()
    parsed = parse_products(made)
    assert len(parsed) == 1000
    assert len({product.category for product in parsed}) == 5
    requests = [(product, request) for product in parsed for request in product.human]
    assert len(requests) == 500
    assert all(request.attributes and request.options for _, request in requests)
    assert all(set(request.attributes) <= set(product.attributes) for product, request in requests)
    values = {p.asin: {value for vs in p.options.values() for value in vs} for p in parsed}
    assert all(set(request.options) <= values[product.asin] for product, request in requests)
    # No value stands under two options of one product: a click reaches each.
    assert all(sum(map(len, p.options.values())) == len(values[p.asin]) for p in parsed)
    assert any(len(p.pricing) == 2 for p in parsed) and any(not p.description for p in parsed)
    assert sum(price is None for price in (r["pricing"] for r in made.products)) > 10
    assert all(len(p.asin) == 10 and p.synthetic for p in parsed)


def _hash(data: RawData) -> str:
    text = json.dumps([data.products, data.attributes, data.human], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def test_the_catalogue_depends_on_sizes_and_seed_alone() -> None:
    assert _hash(make_catalogue()) == _hash(make_catalogue(1000, 500, 0)) == "aa72557b32afc325"
    assert _hash(make_catalogue(seed=1)) != _hash(make_catalogue())
    assert len(make_catalogue(3, 10).human) == 3  # requests go round the products
    with pytest.raises(InputError, match="products, n_goals: got"):
        make_catalogue(0, 5)
