"""Pages as the text environment shows them, made straight from the state; no HTML is rendered or parsed.

A page is a list of its visible strings, in the order of the reference's templates, each with the element it stands
in. From it come the text modes (`text`, `text_rich`), the list of what can be clicked, the anchor, and for reports an
escaped HTML rendering of our own. Order and words after the public WebShop templates (code).
"""

from __future__ import annotations

import html
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

from creditsim.errors import choose
from llm_bridge.envs.webshop.data import Product
from llm_bridge.envs.webshop.state import SUB_PAGES, State
from llm_bridge.envs.webshop.store import Store

__all__ = ["MODES", "Node", "Target", "View", "anchor", "as_html", "observed", "view"]

MODES = ("text", "text_rich", "url")
ADDRESS = "http://127.0.0.1:3000"
_SEPARATOR = " [SEP] "
_HTML_SPACES = " \t\n\f\r"

Kind = Literal["plain", "button", "label", "link"]


class Node(NamedTuple):
    """One visible string and the element that holds it."""

    kind: Kind
    text: str


class Target(NamedTuple):
    """What a click reaches: a button, a product's asin, or the name of the option whose value is clicked."""

    kind: Literal["button", "product", "option"]
    name: str


@dataclass(frozen=True)
class View:
    """A page."""

    nodes: tuple[Node, ...]
    instruction: int
    """Nodes up to and with the instruction; the anchor begins after them."""
    clickables: Mapping[str, Target]
    """By the text that a click names, in the order in which they are listed."""
    search_bar: bool
    url: str
    visited: frozenset[str]


def view(store: Store, number: int, state: State, show_attributes: bool = False) -> View:
    """Return the page of a state of task `number`."""
    nodes, clickables = _PAGES[state.page](store, number, state, show_attributes)
    return View(
        nodes=tuple(nodes),
        instruction={"search": 3, "done": 0}.get(state.page, 2),
        clickables=clickables,
        search_bar=state.page == "search",
        url=_url(number, state),
        visited=state.visited,
    )


def observed(page: View, mode: str) -> str:
    """Return a page as an observation.

    `text`: visible strings joined by [SEP]; `text_rich`: one a line, with marks for what can be and what was clicked;
    `url`: the address. In `text` the options chosen do not show.
    """
    choose("mode", mode, MODES)
    return page.url if mode == "url" else _words(page, page.nodes, mode)


def anchor(page: View, mode: str) -> str:
    """Return the observation without its instruction; two tasks' search pages are one anchor."""
    choose("mode", mode, MODES)
    return page.url if mode == "url" else _words(page, page.nodes[page.instruction :], mode)


def as_html(page: View) -> str:
    """Return the page as an HTML fragment in which every text is escaped; for reports, not the reference's markup."""
    tags = {"plain": "p", "button": "button", "label": "label", "link": "a"}
    return "\n".join(f"<{tags[kind]}>{html.escape(text.strip())}</{tags[kind]}>" for kind, text in page.nodes)


def _words(page: View, nodes: tuple[Node, ...], mode: str) -> str:
    if mode == "text":
        return _SEPARATOR.join(text.strip() for _, text in nodes)
    chosen: list[str] = []
    lines = []
    for kind, text in nodes:
        clicked = (kind == "label" and f'"{text}"' in page.url) or (kind == "link" and text in page.visited)
        if kind == "label" and clicked:
            chosen.insert(0, f"You have clicked {text}.\n")
        mark = "clicked button" if clicked else "button"
        before = {"plain": "", "button": "", "label": "  ", "link": "\n"}[kind]
        lines.append(f"{before}{text}\n" if kind == "plain" else f"{before}[{mark}] {text} [{mark}_]\n")
    return "".join(chosen + lines)


_Parts = tuple[list[Node], dict[str, Target]]


def _search(store: Store, number: int, state: State, show_attributes: bool) -> _Parts:
    # Only this template has a space behind "Instruction:".
    nodes = [Node("plain", "WebShop"), Node("plain", "Instruction: "), *_plain(store.goals[number].instruction)]
    return _with_buttons(nodes, "Search")


def _results(store: Store, number: int, state: State, show_attributes: bool) -> _Parts:
    found = store.search.find(state.keywords, str(number))
    nodes, clickables = _with_buttons(_head(store, number), "Back to Search")
    nodes.append(Node("plain", f"Page {state.number} (Total results: {len(found.positions)})"))
    # "Next >" is offered past the last page too; an empty list follows.
    _with_buttons(nodes, *(["< Prev"] if state.number > 1 else []), "Next >", clickables=clickables)
    for position in found.page(state.number):
        product = store.products[position]
        nodes += [Node("link", product.asin), *_plain(product.title), Node("plain", product.price_tag)]
        clickables[product.asin.lower()] = Target("product", product.asin)
    return nodes, clickables


def _item(store: Store, number: int, state: State, show_attributes: bool) -> _Parts:
    product = store.by_asin[state.asin]
    nodes, clickables = _with_buttons(_head(store, number), "Back to Search", "< Prev")
    for name, values in product.options.items():
        nodes += [*_plain(name), *(node for value in values for node in _node("label", value))]
    nodes += [*_plain(product.title), Node("plain", f"Price: {product.price_tag}"), Node("plain", "Rating: N.A.")]
    shown = SUB_PAGES if show_attributes else tuple(name for name in SUB_PAGES if name != "Attributes")
    _with_buttons(nodes, *shown, "Buy Now", clickables=clickables)
    # Options are listed behind all buttons; of two options with one value the later one is chosen by it.
    for name, values in product.options.items():
        clickables.update({value: Target("option", name) for value in values})
    return nodes, clickables


def _sub(store: Store, number: int, state: State, show_attributes: bool) -> _Parts:
    nodes, clickables = _with_buttons(_head(store, number), "Back to Search", "< Prev")
    return nodes + _SUB_PAGES[state.sub](store.by_asin[state.asin]), clickables


def _done(store: Store, number: int, state: State, show_attributes: bool) -> _Parts:
    # Most fields of this page are never filled in: they read None, or hold nothing where they belong to the goal.
    options = json.dumps(dict(state.options), sort_keys=True)
    for letter in "<>&'":
        options = options.replace(letter, f"\\u{ord(letter):04x}")
    texts = ["Thank you for shopping with us!", "Your code: ", "None", " (Paste it in your MTurk interface.)"]
    texts += ["Purchased", "asin", state.asin, "options", options]
    texts += [text for name in ("attrs", "category", "query", "product category") for text in (name, "None")]
    texts += ["Target", "asin", "options", "attrs", "price upper", "instuction text", "category", "product category"]
    texts += ["query", "Goal ", "None", "Reward", "Your score (min 0.0, max 1.0)", str(state.score)]
    texts += ["Reward Details ", "None"]
    return [Node("plain", text) for text in texts], {}


_PAGES: Mapping[str, Callable[[Store, int, State, bool], _Parts]] = {
    "search": _search,
    "results": _results,
    "item": _item,
    "sub": _sub,
    "done": _done,
}


def _attributes(product: Product) -> list[Node]:
    texts = [f" {attribute}" for attribute in product.attributes]
    return [n for text in [*texts, product.category, product.query, product.product_category] for n in _plain(text)]


_SUB_PAGES: Mapping[str, Callable[[Product], list[Node]]] = {
    "Description": lambda product: _plain(product.description),
    "Features": lambda product: [node for bullet in product.bullets for node in _plain(f" {bullet}")],
    "Reviews": lambda product: [],  # the reference has its reviews switched off
    "Attributes": _attributes,
}


def _head(store: Store, number: int) -> list[Node]:
    return [Node("plain", "Instruction:"), *_plain(store.goals[number].instruction)]


def _with_buttons(nodes: list[Node], *names: str, clickables: dict[str, Target] | None = None) -> _Parts:
    """Append buttons to `nodes` and to what can be clicked."""
    clickables = {} if clickables is None else clickables
    nodes += [Node("button", name) for name in names]
    clickables.update({name.lower(): Target("button", name) for name in names})
    return nodes, clickables


def _plain(text: str) -> list[Node]:
    return _node("plain", text)


def _node(kind: Kind, text: str) -> list[Node]:
    """Return the string as an HTML parser keeps it: blank ones vanish if they break a line, else become one space."""
    if text.strip(_HTML_SPACES):
        return [Node(kind, text)]
    return [Node(kind, " ")] if text and "\n" not in text else []


def _url(number: int, state: State) -> str:
    words = "+".join(state.keywords)
    options = dict(state.options)
    return {
        "search": f"{ADDRESS}/{number}",
        "results": f"{ADDRESS}/search_results/{number}/{words}/{state.number}",
        "item": f"{ADDRESS}/item_page/{number}/{state.asin}/{words}/{state.number}/{json.dumps(options)}",
        "sub": f"{ADDRESS}/item_sub_page/{number}/{state.asin}/{words}/{state.number}/{state.sub}/{options}",
        "done": f"{ADDRESS}/done/{number}/{state.asin}/{options}",
    }[state.page]
