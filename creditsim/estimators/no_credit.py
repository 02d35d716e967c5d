"""No credit at all: for methods that learn a model and plan."""

from __future__ import annotations

from creditsim.arrays import Array, namespace
from creditsim.estimators.base import estimator
from creditsim.rollouts import Rollouts

__all__ = ["no_credit"]


@estimator("no_credit", paper="arXiv:2306.06265", evidence="notes", trees=True)
def no_credit(rollouts: Rollouts) -> Array:
    """Give no credit: A_i = 0 for every row.

    For methods whose update reads what was seen and not how it was credited (UCBVI, StepMix, EpsMix); under any
    policy-gradient update the policy stays where it is.

    In: nothing but the rows. Out: advantage (M,), zeros. Source: notes (these methods have no advantage).
    """
    return namespace(rollouts.reward).zeros_like(rollouts.reward)
