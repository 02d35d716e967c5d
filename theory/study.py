"""Built-in studies: tables that figures need and no claim makes, computed by `reproduce` beside the claims."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from creditsim.registry import Part, Registry
from creditsim.study.cells import Cell, CellResult
from theory.claim import Size

__all__ = ["PREFIX", "STUDIES", "BuiltInStudy", "cells_of", "join", "study_cells"]

PREFIX = "study:"
"""A figure names the table of the study `x` as `study:x` among its claims."""

Cells = Callable[[Size], Sequence[Cell]]


@dataclass(frozen=True)
class BuiltInStudy(Part):
    """A registered study; `function(size)` gives its cells, the docstring says what is computed."""


STUDIES: Registry[BuiltInStudy] = Registry("built-in study", "theory.studies")


def study_cells(name: str) -> Callable[[Cells], Cells]:
    """Register `cells(size) -> [Cell, ...]` under a name; no `study:` in front."""

    def register(function: Cells) -> Cells:
        STUDIES.add(BuiltInStudy("built-in study", name, function))
        return function

    return register


def cells_of(name: str, size: Size) -> list[Cell]:
    """Cells of the study `name` (with or without the prefix) at a size."""
    return list(STUDIES[name.removeprefix(PREFIX)].function(size))


def join(cells: Iterable[Cell], results: Iterable[CellResult]) -> CellResult:
    """One long table from those of all cells, and their facts as a list.

    Text, numbers and truth values of a cell's spec become columns where its table has none of that name. A column that
    some cells lack is NaN there (empty where it is text). A cell without a table adds one row of its spec.
    """
    blocks: list[dict[str, np.ndarray]] = []
    facts = []
    for cell, result in zip(cells, results, strict=True):
        labels = {k: v for k, v in cell.spec.items() if isinstance(v, (str, int, float, bool))}
        rows = result.n_rows if result.table else 1
        block = {name: np.full(rows, value) for name, value in labels.items() if name not in result.table}
        blocks.append({**block, **{name: np.asarray(values) for name, values in result.table.items()}})
        facts.append({"spec": dict(cell.spec), "seed": cell.seed, **result.meta})
    names = list(dict.fromkeys(name for block in blocks for name in block))
    return CellResult({name: _stack(name, blocks) for name in names}, {"cells": facts})


def _stack(name: str, blocks: list[dict[str, np.ndarray]]) -> np.ndarray:
    text = any(block[name].dtype.kind in "UO" for block in blocks if name in block)
    missing: Any = "" if text else np.nan
    parts = []
    for block in blocks:
        rows = len(next(iter(block.values())))
        values = block[name] if name in block else np.full(rows, missing)
        parts.append(values.astype(object) if text else values)
    return np.concatenate(parts)
