"""WebShop as a text environment."""

from __future__ import annotations

import json

from creditsim.errors import InputError
from llm_bridge.envs.base import Observation, Outcome, Snapshot
from llm_bridge.envs.webshop import pages
from llm_bridge.envs.webshop.actions import listed, transition
from llm_bridge.envs.webshop.oracle import purchase
from llm_bridge.envs.webshop.state import START, State
from llm_bridge.envs.webshop.store import Store

__all__ = ["WebShopEnv"]


class WebShopEnv:
    """One shopper in one store. Task ids are the numbers of the shuffled goals.

    The reward is WebShop's own score in [0, 1], paid once at `buy now`; an episode is won at 1.0. A command that means
    nothing leaves the page as it is.
    """

    def __init__(self, store: Store, mode: str = "text", show_attributes: bool = False, dead_clicks: bool = False):
        self._store, self._mode = store, mode
        self._show_attributes, self._dead_clicks = show_attributes, dead_clicks
        self._number, self._steps = -1, 0
        self._go(START)

    def reset(self, task: str) -> Observation:
        """Show the search page of a task."""
        self._number, self._steps = self._store.number(task), 0
        self._go(START)
        return self._observation()

    def step(self, text: str) -> Outcome:
        """Issue a command; InputError before `reset` and after the purchase."""
        if self._number < 0 or self._state.page == "done":
            raise InputError("step", "no episode under way", "a call of reset first")
        state, accepted = transition(self._store, self._number, self._state, self._page, text)
        self._steps += 1
        if state is not self._state:
            self._go(state)
        score = 0.0 if state.score is None else state.score
        done = state.page == "done"
        return Outcome(self._observation(), score, done, done and score == 1.0, accepted, score)

    def snapshot(self) -> Snapshot:
        """Name the present place; the payload is the state itself."""
        return Snapshot(str(self._number), self._steps, self._state)

    def restore(self, place: Snapshot) -> Observation:
        """Go to a place that an environment of the same tasks has named."""
        if not isinstance(place.payload, State):
            raise InputError("restore", "a snapshot of another environment", "one of this environment")
        self._number, self._steps = self._store.number(place.task), place.steps
        self._go(place.payload)
        return self._observation()

    def oracle(self) -> list[str]:
        """Commands that win from here, listed ones only."""
        return purchase(self._store, self._number, self._state)

    def close(self) -> None:
        """Nothing to release."""

    def page(self) -> pages.View:
        """The page shown, for reports (`pages.as_html` escapes it)."""
        return self._page

    def _go(self, state: State) -> None:
        self._state = state
        self._page = pages.view(self._store, self._number, state, self._show_attributes)

    def _observation(self) -> Observation:
        return Observation(
            text=pages.observed(self._page, self._mode),
            anchor=pages.anchor(self._page, self._mode),
            admissible=listed(self._page, self._dead_clicks),
            task=self._store.goals[self._number].instruction.strip(),
            state=self._name(),
        )

    def _name(self) -> str:
        """Name the state by what its futures depend on: the list that was found rather than the words that found it.

        Where the mode shows more (`text_rich` the products visited, both other modes the words), that is named too.
        """
        state = self._state
        found = self._store.search.find(state.keywords, str(self._number)).digest if state.keywords else ""
        options = json.dumps(dict(state.options), sort_keys=True) if state.options else ""
        parts = [str(self._number), state.page, found, str(state.number), state.asin, options, state.sub]
        if self._mode != "text":
            parts += ["+".join(state.keywords), ",".join(sorted(state.visited)), str(state.options)]
        return "/".join(parts)
