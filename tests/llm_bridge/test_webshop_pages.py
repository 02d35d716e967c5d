"""Page strings, written out by hand from the format: order of the templates' visible texts, joined by " [SEP] "."""

from __future__ import annotations

from dataclasses import replace

import pytest
from webshop_shop import GOAL, products, shop, shopper

from creditsim.errors import UnknownNameError
from llm_bridge.envs.webshop import pages
from llm_bridge.envs.webshop.engine import WebShopEnv
from llm_bridge.envs.webshop.state import START, State
from llm_bridge.envs.webshop.store import Store
from llm_bridge.envs.webshop.tagger import rule_nouns

ASKED = GOAL.instruction
RESULTS = State("results", ("lamp",))
LAMP = State("item", ("lamp",), asin="B000LAMP01", visited=frozenset({"B000LAMP01"}))
DESK = State("item", ("lamp",), asin="B000LAMP02")
SOAP = State("item", ("lamp",), asin="B000SOAP03")
PLAIN = State("item", ("lamp",), asin="B000SOAP04")


def _sub(state: State, name: str) -> State:
    return replace(state, page="sub", sub=name)


# What stands behind the instruction, by state. "lamp" finds the two lamps, the one that says it twice first (see the
# score by hand in test_webshop_search.py).
SHOWN: dict[str, tuple[State, str]] = {
    "start": (START, "Search"),
    "results": (
        RESULTS,
        "Back to Search [SEP] Page 1 (Total results: 2) [SEP] Next > [SEP] B000LAMP01 [SEP] Norva Table Lamp [SEP] "
        "$35.0 [SEP] B000LAMP02 [SEP] Osko Desk Lamp [SEP] $1299.5 to $1400.0",
    ),
    # "Next >" leads past the end, where it is offered again above an empty list; "< Prev" stands before it.
    "past the end": (
        replace(RESULTS, number=2),
        "Back to Search [SEP] Page 2 (Total results: 2) [SEP] < Prev [SEP] Next >",
    ),
    "nothing found": (
        State("results", ("velvet",)),
        "Back to Search [SEP] Page 1 (Total results: 0) [SEP] Next >",
    ),
    # Options come before the title; the inner double spaces of "red  |  white" are the data's own.
    "item": (
        LAMP,
        "Back to Search [SEP] < Prev [SEP] color [SEP] navy blue [SEP] red  |  white [SEP] size [SEP] s | m [SEP] "
        "large [SEP] Norva Table Lamp [SEP] Price: $35.0 [SEP] Rating: N.A. [SEP] Description [SEP] Features [SEP] "
        "Reviews [SEP] Buy Now",
    ),
    "item without options": (
        DESK,
        "Back to Search [SEP] < Prev [SEP] Osko Desk Lamp [SEP] Price: $1299.5 to $1400.0 [SEP] Rating: N.A. [SEP] "
        "Description [SEP] Features [SEP] Reviews [SEP] Buy Now",
    ),
    "item with markup": (
        SOAP,
        "Back to Search [SEP] < Prev [SEP] scent [SEP] rose [SEP] cedar wood [SEP] <b>Fizz</b> Soap & Co [SEP] Price: "
        "$100.0 [SEP] Rating: N.A. [SEP] Description [SEP] Features [SEP] Reviews [SEP] Buy Now",
    ),
    "description": (_sub(LAMP, "Description"), "Back to Search [SEP] < Prev [SEP] A lamp of brass. Dimmable."),
    "empty description": (_sub(DESK, "Description"), "Back to Search [SEP] < Prev"),
    "features": (
        _sub(LAMP, "Features"),
        "Back to Search [SEP] < Prev [SEP] Solid brass foot [SEP] Warm light",
    ),
    "no features": (_sub(SOAP, "Features"), "Back to Search [SEP] < Prev"),
    "reviews": (_sub(LAMP, "Reviews"), "Back to Search [SEP] < Prev"),
    "attributes": (
        _sub(LAMP, "Attributes"),
        "Back to Search [SEP] < Prev [SEP] energy efficient [SEP] easy assembly [SEP] garden [SEP] table lamp [SEP] "
        "Home & Kitchen › Lighting › Lamps",
    ),
}


@pytest.mark.parametrize("name", SHOWN)
def test_text_and_anchor_by_hand(name: str) -> None:
    state, shown = SHOWN[name]
    page = pages.view(shop(), 0, state)
    before = "WebShop [SEP] Instruction: [SEP] " if state.page == "search" else "Instruction: [SEP] "
    assert pages.observed(page, "text") == f"{before}{ASKED} [SEP] {shown}"
    assert pages.anchor(page, "text") == shown


def test_the_done_page_by_hand() -> None:
    # Fields that are never filled in read None; those of the goal hold nothing at all; options sorted by name, with
    # letters outside ASCII and the apostrophe as JSON codes.
    options = (("size", "king's"), ("color", "café"))
    page = pages.view(shop(), 0, replace(LAMP, page="done", options=options, score=0.5))
    expected = (
        "Thank you for shopping with us! [SEP] Your code: [SEP] None [SEP] (Paste it in your MTurk interface.) [SEP] "
        "Purchased [SEP] asin [SEP] B000LAMP01 [SEP] options [SEP] "
        '{"color": "caf\\u00e9", "size": "king\\u0027s"} [SEP] '
        "attrs [SEP] None [SEP] category [SEP] None [SEP] query [SEP] None [SEP] product category [SEP] None [SEP] "
        "Target [SEP] asin [SEP] options [SEP] attrs [SEP] price upper [SEP] instuction text [SEP] category [SEP] "
        "product category [SEP] query [SEP] Goal [SEP] None [SEP] Reward [SEP] Your score (min 0.0, max 1.0) [SEP] 0.5 "
        "[SEP] Reward Details [SEP] None"
    )
    assert pages.observed(page, "text") == pages.anchor(page, "text") == expected
    assert page.clickables == {} and not page.search_bar


def test_text_rich_by_hand() -> None:
    store = shop()
    assert pages.observed(pages.view(store, 0, START), "text_rich") == (
        f"WebShop\nInstruction: \n{ASKED}\n[button] Search [button_]\n"
    )
    visited = replace(RESULTS, visited=frozenset({"B000LAMP02"}))
    assert pages.observed(pages.view(store, 0, visited), "text_rich") == (
        f"Instruction:\n{ASKED}\n[button] Back to Search [button_]\nPage 1 (Total results: 2)\n"
        "[button] Next > [button_]\n"
        "\n[button] B000LAMP01 [button_]\nNorva Table Lamp\n$35.0\n"
        "\n[clicked button] B000LAMP02 [clicked button_]\nOsko Desk Lamp\n$1299.5 to $1400.0\n"
    )
    # Each chosen option that is met puts its line in front of all there is so far: the last met stands first.
    chosen = replace(LAMP, options=(("color", "navy blue"), ("size", "large")))
    assert pages.observed(pages.view(store, 0, chosen), "text_rich") == (
        "You have clicked large.\nYou have clicked navy blue.\n"
        f"Instruction:\n{ASKED}\n[button] Back to Search [button_]\n[button] < Prev [button_]\n"
        "color\n  [clicked button] navy blue [clicked button_]\n  [button] red  |  white [button_]\n"
        "size\n  [button] s | m [button_]\n  [clicked button] large [clicked button_]\n"
        "Norva Table Lamp\nPrice: $35.0\nRating: N.A.\n"
        "[button] Description [button_]\n[button] Features [button_]\n[button] Reviews [button_]\n"
        "[button] Buy Now [button_]\n"
    )
    # A bullet keeps the space that the template puts before it; the text mode strips it.
    features = pages.observed(pages.view(store, 0, _sub(LAMP, "Features")), "text_rich")
    assert features.endswith("[button] < Prev [button_]\n Solid brass foot\n Warm light\n")


def test_clicks_are_read_off_the_address_as_there() -> None:
    """A quoted word of the query marks an option of that name as clicked: the reference looks into the whole URL."""
    page = pages.view(shop(), 0, replace(LAMP, keywords=("lamp", '"large"')))
    assert "[clicked button] large [clicked button_]" in pages.observed(page, "text_rich")


def test_addresses_by_hand() -> None:
    two = replace(LAMP, keywords=("brass", "lamp"), number=3, options=(("size", "s | m"), ("color", "navy blue")))
    base = "http://127.0.0.1:3000"
    expected = {
        START: f"{base}/0",
        RESULTS: f"{base}/search_results/0/lamp/1",
        two: f'{base}/item_page/0/B000LAMP01/brass+lamp/3/{{"size": "s | m", "color": "navy blue"}}',
        _sub(two, "Features"): (
            f"{base}/item_sub_page/0/B000LAMP01/brass+lamp/3/Features/{{'size': 's | m', 'color': 'navy blue'}}"
        ),
        replace(LAMP, page="done", score=1.0): f"{base}/done/0/B000LAMP01/{{}}",
    }
    for state, url in expected.items():
        page = pages.view(shop(), 0, state)
        assert pages.observed(page, "url") == pages.anchor(page, "url") == url


def test_clickables_by_hand() -> None:
    store = shop()
    assert list(pages.view(store, 0, START).clickables) == ["search"]
    assert list(pages.view(store, 0, RESULTS).clickables) == [
        "back to search", "next >", "b000lamp01", "b000lamp02",
    ]  # fmt: skip
    assert list(pages.view(store, 0, replace(RESULTS, number=2)).clickables) == ["back to search", "< prev", "next >"]
    buttons = ["back to search", "< prev", "description", "features", "reviews", "buy now"]
    values = ["navy blue", "red  |  white", "s | m", "large"]
    assert list(pages.view(store, 0, LAMP).clickables) == buttons + values
    with_attributes = pages.view(store, 0, LAMP, show_attributes=True)
    assert list(with_attributes.clickables) == [*buttons[:5], "attributes", "buy now", *values]
    assert "Reviews [SEP] Attributes [SEP] Buy Now" in pages.observed(with_attributes, "text")
    assert list(pages.view(store, 0, _sub(LAMP, "Reviews")).clickables) == buttons[:2]
    assert [page.search_bar for page in (pages.view(store, 0, s) for s in (START, RESULTS, LAMP))] == [
        True,
        False,
        False,
    ]


def test_blank_texts_are_what_an_html_parser_leaves() -> None:
    def described(text: str, bullets: tuple[str, ...]) -> Store:
        changed = [replace(products()[0], description=text, bullets=bullets), *products()[1:]]
        return Store(changed, shop().prices, [GOAL], rule_nouns)

    # A blank string that breaks a line vanishes; another leaves one space, stripped to nothing between separators.
    broken = pages.view(described(" \n ", ("", "\n", "x")), 0, _sub(LAMP, "Description"))
    assert pages.anchor(broken, "text") == "Back to Search [SEP] < Prev"
    blank = pages.view(described("  ", ("", "\n", "x")), 0, _sub(LAMP, "Description"))
    assert pages.anchor(blank, "text") == "Back to Search [SEP] < Prev [SEP] "
    # Bullets have a space before them: an empty one is blank, one with a line break vanishes.
    features = pages.view(described("  ", ("", "\n", "x")), 0, _sub(LAMP, "Features"))
    assert pages.anchor(features, "text") == "Back to Search [SEP] < Prev [SEP]  [SEP] x"


def test_product_text_is_escaped_in_reports_and_nowhere_else() -> None:
    store = shop()
    for state in (SOAP, _sub(SOAP, "Description")):
        page = pages.view(store, 0, state)
        shown = pages.as_html(page)
        raw = "<b>Fizz</b> Soap & Co" if state.page == "item" else "Cleans <i>gently</i>."
        escaped = raw.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        assert raw in pages.observed(page, "text") and raw in pages.observed(page, "text_rich")
        assert raw not in shown and escaped in shown
    assert "<button>Back to Search</button>\n<button>&lt; Prev</button>" in pages.as_html(pages.view(store, 0, SOAP))
    env = shopper()
    env.step("search[soap]")
    assert "<a>B000SOAP04</a>" in pages.as_html(env.page())


def test_unknown_modes() -> None:
    page = pages.view(shop(), 0, START)
    with pytest.raises(UnknownNameError, match=r"mode: got 'html', allowed text \| text_rich \| url"):
        pages.observed(page, "html")
    with pytest.raises(UnknownNameError):
        WebShopEnv(shop(), "rich").reset("0")
