"""Maillard sampling."""

from __future__ import annotations

import math

from creditsim.bandits.instances import Bandit
from creditsim.bandits.rules.base import positive, rule
from creditsim.bandits.walk import each
from creditsim.jit import kernel


def _step(count, total, t, params, memory, words, where):
    top = -math.inf
    for k in range(count.shape[0]):
        top = max(top, total[k] / count[k])
    for k in range(count.shape[0]):
        gap = (top - total[k] / count[k]) / params[0]
        memory[k] = math.exp(-0.5 * count[k] * gap * gap)
    return 0


_weigh = kernel(_step)


@kernel
def _run(out, arms, plan, params, scratch):
    each(_weigh, out, arms, plan, params, scratch)


@rule("maillard", paper="Bian and Jun 2022", evidence="notes", run=_run, walk="shares", step=_step)
def maillard(bandit: Bandit, *, sigma: float = 0.5) -> tuple[float, ...]:
    """Draw an arm from q_a ~ exp(-N_a gap_a^2 / (2 sigma^2)), gap_a the empirical gap.

    Rewards are sigma-sub-Gaussian; sigma = 1/2, which holds for rewards in [0, 1], gives exp(-2 N_a gap_a^2). Error:
    InputError for sigma <= 0.
    """
    return (positive("sigma", sigma),)
