"""Error of the advantage over the length of episodes."""

from __future__ import annotations

from collections.abc import Sequence

from creditsim.study.cells import Cell
from creditsim.study.spec import VarianceStudy
from theory.claim import Size
from theory.overall import cells
from theory.study import study_cells

__all__ = ["horizon"]


@study_cells("horizon")
def horizon(size: Size) -> Sequence[Cell]:
    """Mean squared error of the advantage over the number of steps, groups of eight, uniform policy.

    `layered`: rewards and branching all along, so that every step adds to the return what no other step has caused.
    `chain`: half as many states as steps and one reward at the end, which a uniform policy reaches ever more rarely.
    """
    steps = {"quick": (2, 4, 8, 16, 32), "standard": (2, 4, 8, 16, 32, 64), "full": (2, 4, 8, 16, 32, 64, 128)}[size]
    replicates = {"quick": 300, "standard": 4_000, "full": 20_000}[size]
    environments = (
        *(f"layered(layers={t}, width=4, actions=2)" for t in steps),
        *(f"chain(length={t // 2}, horizon={t})" for t in steps if t <= 16),
    )
    shared = {"environments": environments, "group_sizes": (8,), "groups": 4, "replicates": replicates}
    plain = ("reinforce", "rloo", "grpo@paper", "gigpo@paper(gamma=1)", "hgpo@verl-agent(gamma=1)")
    critic = ("gae(gamma=1, lam=0.95)", "gae(gamma=1, lam=0.5)")
    studies = (
        VarianceStudy(estimators=plain, **shared),
        VarianceStudy(estimators=critic, signals=("oracle_value",), **shared),
    )
    return [cell for study in studies for cell in cells(study)]
