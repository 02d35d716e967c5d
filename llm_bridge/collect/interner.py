"""Texts become integers that stay the same over all iterations of a run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from creditsim.errors import InputError

__all__ = ["Interner"]


class Interner:
    """Ids by space (`observation`, `action`, `state`, `context`), dense in order of first appearance.

    State scores and search trees carry ids from one iteration to the next, so one interner serves a whole run. Given
    names take the ids 0, 1, ... of their space. `names()` is what a checkpoint stores and what a new one begins with.
    Errors: InputError for a name given twice in one space.
    """

    def __init__(self, names: Mapping[str, Sequence[str]] | None = None) -> None:
        self._ids = {space: {name: i for i, name in enumerate(given)} for space, given in (names or {}).items()}
        for space, given in (names or {}).items():
            if len(self._ids[space]) != len(given):
                raise InputError(f"names of {space}", "one name twice", "different names")

    def ids(self, space: str, texts: Iterable[str]) -> np.ndarray:
        """(n,) int64 ids of n texts; unknown texts get the next ones."""
        table = self._ids.setdefault(space, {})
        return np.fromiter((table.setdefault(text, len(table)) for text in texts), np.int64)

    def names(self) -> dict[str, list[str]]:
        """All names by space, in the order of their ids."""
        return {space: list(table) for space, table in self._ids.items()}
