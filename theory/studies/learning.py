"""Exact learning curves of methods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from creditsim.stats.intervals import t_interval
from creditsim.study import learning as library
from creditsim.study.cells import Cell, CellResult
from creditsim.study.grid import learning_cells
from creditsim.study.spec import LearningStudy
from theory.claim import Size
from theory.sources import modules_behind
from theory.study import study_cells

__all__ = ["learning", "run_cell"]


@study_cells("learning")
def learning(size: Size) -> Sequence[Cell]:
    """Exact return after every update, from the uniform policy, for each method with its own loss."""
    study = LearningStudy(
        methods=("reinforce", "rloo", "grpo", "dr_grpo", "gigpo", "hgpo", "ppo"),
        environments=("lock@small", "loop@small", "tree@small"),
        updates={"quick": 40, "standard": 80, "full": 80}[size],
        replicates={"quick": 16, "standard": 32, "full": 128}[size],
    )
    sources = modules_behind("theory.studies.learning")
    return [
        Cell("theory.studies.learning:run_cell", cell.spec, cell.seed, sources, cell.title)
        for cell in learning_cells(study)
    ]


def run_cell(spec: Mapping[str, Any], seed: int) -> CellResult:
    """Mean exact return over replicates by `update`, with Student's t interval `low`, `high`, and the `optimum`."""
    whole = library.run_cell(spec, seed)
    update, j = whole.table["update"], whole.table["j"]
    curves = j.reshape(-1, spec["replicates"])
    band = t_interval(spec["replicates"], curves.mean(axis=1), curves.var(axis=1, ddof=1), alpha=spec["alpha"])
    return CellResult(
        {
            "update": update[:: spec["replicates"]],
            "j": curves.mean(axis=1),
            "low": np.asarray(band.low),
            "high": np.asarray(band.high),
            "optimum": np.full(len(curves), whole.meta["optimum"]),
        },
        whole.meta,
    )
