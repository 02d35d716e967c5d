"""Boltzmann-Gumbel exploration."""

from __future__ import annotations

import math

from creditsim.bandits.draws import ALLOCATION, pair
from creditsim.bandits.instances import Bandit
from creditsim.bandits.rules.base import positive, rule
from creditsim.bandits.walk import each
from creditsim.jit import kernel


def _step(count, total, t, params, memory, words, where):
    replication, pull, stream, k0, k1 = where
    chosen, top = 0, -math.inf
    first, second = 0.0, 0.0
    for k in range(count.shape[0]):
        if k & 1 == 0:
            first, second = pair(replication, pull, stream, ALLOCATION, k >> 1, k0, k1)
        u = second if k & 1 else first
        # u = 0 gives the lowest Gumbel value, minus infinity.
        noise = -math.log(-math.log(u)) if u > 0.0 else -math.inf
        index = total[k] / count[k] + params[0] * noise / math.sqrt(count[k])
        if index > top:
            top, chosen = index, k
    return chosen


_choose = kernel(_step)


@kernel
def _run(out, arms, plan, params, scratch):
    each(_choose, out, arms, plan, params, scratch)


@rule("boltzmann_gumbel", paper="Cesa-Bianchi et al. 2017", evidence="notes", run=_run, walk="choice", step=_step)
def boltzmann_gumbel(bandit: Bandit, *, scale: float = 0.5) -> tuple[float, ...]:
    """Pull the arm of the highest mean + scale G_a / sqrt(N_a), G_a standard Gumbel noise, fresh at every pull.

    Boltzmann exploration with a temperature of its own for each arm. Error: InputError for scale <= 0.
    """
    return (positive("scale", scale),)
