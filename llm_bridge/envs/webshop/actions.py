"""Commands and what they do: a pure step from state to state."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from llm_bridge.envs.webshop.pages import Target, View
from llm_bridge.envs.webshop.state import START, SUB_PAGES, State
from llm_bridge.envs.webshop.store import Store

__all__ = ["SEARCH", "listed", "parse", "transition"]

SEARCH = "search[<your query>]"
"""How a list of commands says that words may be searched for."""

_COMMAND = re.compile(r"(.+)\[(.+)\]")
_SUB_PAGES: Mapping[str, str] = {name.lower(): name for name in SUB_PAGES}


def parse(text: str) -> tuple[str, str | None]:
    """Split `name[argument]`, the argument lower-cased; None where the text has no such form.

    The brackets are the last pair that a greedy match finds, and what follows them is ignored.
    """
    match = _COMMAND.match(text)
    return (match[1], match[2].lower()) if match else (text, None)


def listed(page: View, dead_clicks: bool = False) -> tuple[str, ...]:
    """Return the commands of a page: the search template where there is a search bar, then every click.

    Clicking `search` does nothing; it is listed only with `dead_clicks`, as published prompts have it.
    """
    clicks = (f"click[{name}]" for name in page.clickables if dead_clicks or name != "search")
    return ((SEARCH,) if page.search_bar else ()) + tuple(clicks)


def transition(store: Store, number: int, state: State, page: View, text: str) -> tuple[State, bool]:
    """Return the state that a command leads to, and whether the store accepted it.

    Searching is accepted on every page, though only the start page lists it. A command that means nothing changes
    nothing. Source: the public WebShop code (code).
    """
    name, argument = parse(text)
    if argument is None:
        return state, False
    if name == "search":
        return _search(state, tuple(argument.split(" ")), 1), True
    if name == "click" and argument in page.clickables and argument != "search":
        return _click(store, number, state, argument, page.clickables[argument]), True
    return state, False


def _search(state: State, keywords: tuple[str, ...], number: int) -> State:
    return State("results", keywords, number, visited=state.visited)


def _click(store: Store, number: int, state: State, clicked: str, target: Target) -> State:
    # By name first: an option value that reads like a button does what the button does.
    if clicked == "buy now":
        total = store.score(number, state.asin, dict(state.options)).total
        return replace(state, page="done", sub="", score=total)
    if clicked == "back to search":
        return START
    if clicked in ("next >", "< prev") and state.page == "results":
        return _search(state, state.keywords, state.number + (1 if clicked == "next >" else -1))
    if clicked == "< prev" and state.page == "item":
        return _search(state, state.keywords, state.number)
    if clicked in _SUB_PAGES:
        return replace(state, page="sub", sub=_SUB_PAGES[clicked])
    if target.kind == "product":
        return replace(state, page="item", asin=target.name, visited=state.visited | {target.name})
    options = state.choose(target.name, clicked) if target.kind == "option" else state.options
    return replace(state, page="item", sub="", options=options)
