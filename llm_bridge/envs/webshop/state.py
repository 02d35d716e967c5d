"""Where a shopper is: one small immutable value, so that a snapshot is the state itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["START", "SUB_PAGES", "State"]

SUB_PAGES = ("Description", "Features", "Reviews", "Attributes")
"""Pages that belong to a product's page, as their buttons are written."""


@dataclass(frozen=True)
class State:
    """The page shown and the session's record."""

    page: Literal["search", "results", "item", "sub", "done"] = "search"
    keywords: tuple[str, ...] = ()
    """Words of the last search, empty before one."""
    number: int = 1
    """Page of the results."""
    asin: str = ""
    """Product looked at."""
    options: tuple[tuple[str, str], ...] = ()
    """Chosen (name, value) pairs, in the order of their first choice."""
    visited: frozenset[str] = frozenset()
    """Products looked at since the start page was last shown."""
    sub: str = ""
    score: float | None = None
    """What the purchase earned, at the end."""

    def choose(self, name: str, value: str) -> tuple[tuple[str, str], ...]:
        """Return the options with one more choice; a new value of an option keeps the option's place."""
        return tuple({**dict(self.options), name: value}.items())


START = State()
"""The search page."""
