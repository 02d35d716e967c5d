"""A scripted purchase that scores 1.0, by listed commands only."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from creditsim.errors import InputError
from llm_bridge.envs.webshop.actions import parse
from llm_bridge.envs.webshop.goals import Goal
from llm_bridge.envs.webshop.search import PER_PAGE
from llm_bridge.envs.webshop.state import State
from llm_bridge.envs.webshop.store import Store
from llm_bridge.prompts import query_of

__all__ = ["purchase"]

_TRIES = 10_000


def purchase(store: Store, number: int, state: State) -> list[str]:
    """Return commands that buy the goal's product from `state` for a score of 1.0; InputError if there are none.

    It searches for the words of the instruction (those that fill the search template for policies that choose among
    commands), or for the product's title where they do not find it, and turns pages.
    """
    goal = store.goals[number]
    if state.page == "done":
        raise InputError("oracle", "the end of an episode", "a place before the purchase")
    wanted = _winning_options(store, number, goal)
    commands: list[str] = []
    here = dict(state.options)
    if state.page in ("item", "sub") and state.asin == goal.asin:
        commands += ["click[< prev]"] if state.page == "sub" else []
    else:
        commands += [] if state.page == "search" else ["click[back to search]"]
        commands += _way(store, number, goal)
        here = {}
    commands += [f"click[{value}]" for name, value in wanted.items() if here.get(name) != value]
    return [*commands, "click[buy now]"]


def _way(store: Store, number: int, goal: Goal) -> list[str]:
    """Search and turn pages to the goal's product."""
    for words in (query_of(goal.instruction), goal.name.lower()):
        found = store.search.find(words.split(" "), str(number)).positions if words else ()
        rank = next((i for i, position in enumerate(found) if store.products[position].asin == goal.asin), None)
        if rank is not None:
            return [f"search[{words}]", *["click[next >]"] * (rank // PER_PAGE), f"click[{goal.asin.lower()}]"]
    raise InputError("oracle", f"task {number}, whose product {goal.asin} no search finds", "another task")


def _winning_options(store: Store, number: int, goal: Goal) -> dict[str, str]:
    """Return the fewest choices that score 1.0, those that the goal names first."""
    for chosen in itertools.islice(_choices(store, goal), _TRIES):
        if store.score(number, goal.asin, chosen).total == 1.0:
            return chosen
    raise InputError("oracle", f"task {number}, whose product {goal.asin} scores below 1.0", "another task")


def _choices(store: Store, goal: Goal) -> Iterator[dict[str, str]]:
    options = store.by_asin[goal.asin].options
    # A pair names its option; of two options with one value a click reaches the later one only.
    reached = {
        value: name
        for name, values in options.items()
        for value in values
        if parse(f"click[{value}]") == ("click", value)
    }
    named = [option if isinstance(option, str) else option[1] for option in goal.options]
    yield {reached[value]: value for value in named if value in reached}
    for k in range(len(options) + 1):
        for names in itertools.combinations(options, k):
            for values in itertools.product(*(options[name] for name in names)):
                if all(reached.get(value) == name for name, value in zip(names, values, strict=True)):
                    yield dict(zip(names, values, strict=True))
