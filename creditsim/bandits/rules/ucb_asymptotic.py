"""Asymptotic UCB."""

from __future__ import annotations

import math

from creditsim.bandits.instances import Bandit
from creditsim.bandits.lanes import side_by_side
from creditsim.bandits.rules.base import positive, rule
from creditsim.jit import kernel


@kernel(inline=True)
def _terms(count, total, params):
    share = 1.0 / count
    return total * share, params[0] * math.sqrt(2.0 * share)


@kernel
def _refresh(location, width, count, total, params):
    for lane in range(count.shape[0]):
        location[lane], width[lane] = _terms(count[lane], total[lane], params)


@kernel(inline=True)
def _growth(t, params):
    log = math.log(t)
    return math.sqrt(math.log1p(t * log * log))


@kernel
def _run(out, arms, plan, params, scratch):
    side_by_side(_refresh, _growth, out, arms, plan, params, scratch)


@rule(
    "ucb_asymptotic",
    paper="Lattimore and Szepesvari 2020, ch. 8",
    evidence="notes",
    run=_run,
    walk="index",
    step=(_terms, _growth),
)
def ucb_asymptotic(bandit: Bandit, *, sigma: float = 1.0) -> tuple[float, ...]:
    """Pull the arm of the highest mean + sigma sqrt(2 ln f(t) / N_a), f(t) = 1 + t ln^2 t; ties go to the first arm.

    Rewards are sigma-sub-Gaussian; those in [0, 1] are with sigma = 1/2. Error: InputError for sigma <= 0.
    """
    return (positive("sigma", sigma),)
