"""UCB1."""

from __future__ import annotations

import math

from creditsim.bandits.instances import Bandit
from creditsim.bandits.lanes import side_by_side
from creditsim.bandits.rules.base import positive, rule
from creditsim.jit import kernel


@kernel(inline=True)
def _terms(count, total, params):
    share = 1.0 / count
    return total * share, math.sqrt(params[0] * share)


@kernel
def _refresh(location, width, count, total, params):
    for lane in range(count.shape[0]):
        location[lane], width[lane] = _terms(count[lane], total[lane], params)


@kernel(inline=True)
def _growth(t, params):
    return math.sqrt(math.log(max(t - 1.0, 1.0)))


@kernel
def _run(out, arms, plan, params, scratch):
    side_by_side(_refresh, _growth, out, arms, plan, params, scratch)


@rule("ucb1", paper="Auer et al. 2002", evidence="notes", run=_run, walk="index", step=(_terms, _growth))
def ucb1(bandit: Bandit, *, width: float = 2.0) -> tuple[float, ...]:
    """Pull the arm of the highest mean + sqrt(width ln(t - 1) / N_a), t - 1 pulls done; ties go to the first arm.

    Made for values in [0, 1]; its regret bound wants width = 2. Error: InputError for width <= 0.
    """
    return (positive("width", width),)
