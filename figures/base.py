"""What a figure is: a function from stored results to a matplotlib figure, registered with what it needs and says."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from creditsim.errors import InputError, nearest
from creditsim.registry import Part, Registry

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["FIGURES", "Data", "FigurePart", "figure"]


@dataclass(frozen=True)
class Data:
    """A stored result: columns of one length in long form, and the facts beside them (for a claim: its evidence)."""

    table: Mapping[str, np.ndarray]
    meta: Mapping[str, Any] = field(default_factory=dict)

    def __getitem__(self, column: str) -> np.ndarray:
        if column not in self.table:
            raise InputError("column", repr(column), " | ".join(self.table), nearest(column, self.table))
        return self.table[column]

    def where(self, **values: Any) -> Data:
        """Rows in which every named column equals the value given."""
        keep = np.ones(len(next(iter(self.table.values()))), bool)
        for name, value in values.items():
            keep &= self[name] == value
        return Data({name: column[keep] for name, column in self.table.items()}, self.meta)

    def unique(self, column: str) -> list[Any]:
        """Distinct values of a column, in order of first appearance."""
        return list(dict.fromkeys(self[column].tolist()))


Draw = Callable[[Mapping[str, Data]], "Figure"]


@dataclass(frozen=True)
class FigurePart(Part):
    """A registered figure. `claims` (or study names) are the stored results it draws; the caption is its docstring."""

    title: str = ""
    claims: tuple[str, ...] = ()

    @property
    def caption(self) -> str:
        """What the figure shows and how to read it."""
        return " ".join((inspect.getdoc(self.function) or "").split())


FIGURES: Registry[FigurePart] = Registry("figure", "figures")


def figure(name: str, *, title: str, claims: tuple[str, ...]) -> Callable[[Draw], Draw]:
    """Register `draw(results) -> Figure`, where `results` maps each name in `claims` to its Data."""

    def register(draw: Draw) -> Draw:
        FIGURES.add(FigurePart("figure", name, draw, title=title, claims=claims))
        return draw

    return register
