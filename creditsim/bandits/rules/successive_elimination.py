"""Successive elimination."""

from __future__ import annotations

import math

from creditsim.bandits.instances import Bandit
from creditsim.bandits.rules.base import at_least, rule
from creditsim.bandits.walk import each
from creditsim.errors import InputError
from creditsim.jit import kernel


def _step(count, total, t, params, memory, words, where):
    # memory: 1 for an arm that is out. Arms that are in are pulled in turn, and judged after each whole round.
    arms = count.shape[0]
    least, most, top = math.inf, 0.0, -math.inf
    for k in range(arms):
        if memory[k] == 0.0:
            least, most = min(least, count[k]), max(most, count[k])
            top = max(top, total[k] / count[k])
    if least == most:
        inside = arms * least * least / params[0]
        radius = math.sqrt(math.log(params[1] * inside) / (params[2] * least))
        for k in range(arms):
            if memory[k] == 0.0 and top - total[k] / count[k] >= 2.0 * radius:
                memory[k] = 1.0
    chosen = -1
    for k in range(arms):
        if memory[k] == 0.0 and (chosen < 0 or count[k] < count[chosen]):
            chosen = k
    return chosen


_choose = kernel(_step)


@kernel
def _run(out, arms, plan, params, scratch):
    each(_choose, out, arms, plan, params, scratch)


@rule(
    "successive_elimination",
    paper="Even-Dar et al. 2006",
    evidence="notes",
    run=_run,
    walk="choice",
    step=_step,
    presets={"sharp": {"c": 4.0, "sharpness": 2.0}},
)
def successive_elimination(
    bandit: Bandit, *, delta: float = 0.05, c: float = 5.0, sharpness: float = 1.0
) -> tuple[float, ...]:
    """Pull the arms that are in by turns; after round n drop those with highest mean - mean_a >= 2 radius_n.

    radius_n = sqrt(ln(c K n^2 / delta) / (sharpness n)). Values in [0, 1]; delta bounds the chance that the best arm is
    dropped (c > 4 as published; preset `sharp`, c = 4 and sharpness 2, follows from Hoeffding's inequality too).
    Errors: InputError for delta outside (0, 1), c < 4, sharpness outside [0.1, 2].
    """
    if not 0.0 < delta < 1.0:
        raise InputError("delta", delta, "a number in (0, 1)")
    return delta, at_least("c", c, 4.0), at_least("sharpness", sharpness, 0.1, 2.0)
