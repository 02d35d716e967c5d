"""The gradient over the size of a group, at equal rollouts."""

from __future__ import annotations

from collections.abc import Sequence

from creditsim.study.cells import Cell
from creditsim.study.spec import VarianceStudy
from theory.claim import Size
from theory.overall import cells
from theory.study import study_cells

__all__ = ["ROLLOUTS", "group_size"]

ROLLOUTS = 64
"""Trajectories in a batch, however they are grouped."""


@study_cells("group-size")
def group_size(size: Size) -> Sequence[Cell]:
    """Cosine and signal-to-noise ratio of the gradient of 64 rollouts in groups of 2, 4, ..., 64; uniform policy."""
    replicates = {"quick": 500, "standard": 8_000, "full": 40_000}[size]
    return [
        cell
        for n in (2, 4, 8, 16, 32, 64)
        for cell in cells(
            VarianceStudy(
                estimators=("reinforce", "rloo", "grpo@paper", "gigpo@paper(gamma=1)", "hgpo@verl-agent(gamma=1)"),
                environments=("answers@small", "chain@small", "loop@small"),
                group_sizes=(n,),
                groups=ROLLOUTS // n,
                replicates=replicates,
            )
        )
    ]
