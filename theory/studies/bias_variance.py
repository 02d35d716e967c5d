"""Bias and variance of every estimator beside the exact advantage, on one scale and on its own."""

from __future__ import annotations

from collections.abc import Sequence

from creditsim.study.cells import Cell
from creditsim.study.spec import VarianceStudy
from theory.claim import Size
from theory.overall import cells
from theory.study import study_cells

__all__ = ["ENVIRONMENTS", "PLAIN", "bias_variance"]

ENVIRONMENTS = (
    "answers@small",
    "chain@small",
    "loop@small",
    "layered@small",
    "stopping@small",
    "aliased(delay=1, payoff=[[1, 0], [0.2, 0.6]])",
)
"""One per regime. Aliased pays unlike rewards: its default leaves a policy that sees one observation no gradient."""

PLAIN = (
    "reinforce",
    "reinforce_plus_plus@paper",
    "reinforce_plus_plus_baseline@paper",
    "rloo",
    "dr_grpo@paper",
    "grpo@paper",
    "grpo@verl-agent",
    "grpo_passk@paper",
    "opo@paper",
    "gpg@paper",
    "optimal_token_baseline",
    'gigpo@paper(gamma=1, normalize="mean")',
    "gigpo@paper(gamma=1)",
    "gigpo@verl-agent-alfworld(gamma=1, penalty=0)",
    'hgpo@verl-agent(gamma=1, normalize="mean")',
    "hgpo@verl-agent(gamma=1)",
)
"""What needs no more than rollouts of independent groups; all at the discount of the exact values."""


@study_cells("bias-variance")
def bias_variance(size: Size) -> Sequence[Cell]:
    """Bias, variance and mean squared error of the advantage, and noise of the gradient, for every estimator.

    Uniform policy, four groups of eight. ReMax draws greedy rollouts too; GAE is given the exact values.
    """
    replicates = {"quick": 600, "standard": 8_000, "full": 80_000}[size]
    shared = {"environments": ENVIRONMENTS, "group_sizes": (8,), "groups": 4, "replicates": replicates}
    studies = (
        VarianceStudy(estimators=PLAIN, **shared),
        VarianceStudy(estimators=("remax@paper",), design="independent_with_greedy", **shared),
        VarianceStudy(estimators=("gae(gamma=1, lam=0.95)",), signals=("oracle_value",), **shared),
    )
    return [cell for study in studies for cell in cells(study)]
