"""From the store of a results folder to what figures are given: tables and facts by name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from creditsim.study.cells import Cell
from creditsim.study.store import Store
from figures.base import FIGURES, Data, FigurePart
from theory.claim import CLAIMS, Size
from theory.ledger import claim_cells, matches
from theory.study import PREFIX, cells_of, join

__all__ = ["Results", "figures_for", "study_cells_of"]


def figures_for(pattern: str | None, claims: Iterable[str]) -> list[FigurePart]:
    """Figures that match a pattern by name or title, or that draw one of the claims named; all for None."""
    chosen = set(claims)
    return [f for f in FIGURES if matches(pattern, f.name, f.title) or chosen.intersection(f.claims)]


def study_cells_of(figures: Iterable[FigurePart], size: Size) -> list[Cell]:
    """Cells of the built-in studies that figures draw, each once."""
    names = dict.fromkeys(name for f in figures for name in f.claims if name.startswith(PREFIX))
    return [cell for name in names for cell in cells_of(name, size)]


@dataclass(frozen=True)
class Results:
    """Stored results of one size; a name is a claim's id or `study:` and a study's name."""

    store: Store
    size: Size
    verdicts: Mapping[str, str]
    """The ledger's verdicts, which replace the checks' own."""

    def cells(self, name: str) -> list[Cell]:
        """Cells that a name stands for."""
        return cells_of(name, self.size) if name.startswith(PREFIX) else claim_cells([CLAIMS[name]], self.size)

    def missing(self, figure: FigurePart) -> list[str]:
        """Names among those that a figure draws whose results are not there."""
        return [name for name in figure.claims if any(self.store.get(cell) is None for cell in self.cells(name))]

    def load(self, names: Sequence[str]) -> dict[str, Data] | None:
        """Data by name; None where one of them is not finished."""
        out = {}
        for name in names:
            cells = self.cells(name)
            found = [result for cell in cells if (result := self.store.get(cell)) is not None]
            if len(found) < len(cells) or not cells:
                return None
            whole = join(cells, found) if name.startswith(PREFIX) else found[0]
            out[name] = Data(whole.table, self._facts(name, whole.meta))
        return out

    def _facts(self, name: str, meta: Mapping[str, Any]) -> Mapping[str, Any]:
        if name.startswith(PREFIX):
            return meta
        return {**meta["claim"], "verdict": self.verdicts.get(name, meta["claim"]["verdict"])}
