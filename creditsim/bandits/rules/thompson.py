"""Thompson sampling."""

from __future__ import annotations

import math

from creditsim.bandits.beta import ATTEMPTS, gamma_at_once, gamma_from
from creditsim.bandits.draws import ALLOCATION, block
from creditsim.bandits.instances import Bandit
from creditsim.bandits.rules.base import positive, rule
from creditsim.bandits.walk import each
from creditsim.jit import kernel


def _step(count, total, t, params, memory, words, where):
    # memory: the last arm + 1 (0 at the start), then of every gamma draw d, 1 / sqrt(9 d) and its value.
    replication, pull, stream, k0, k1 = where
    arms = count.shape[0]
    n, last = 2 * arms, int(memory[0]) - 1
    at_d, at_c, at_value = 1, 1 + n, 1 + 2 * n
    for k in range(arms) if last < 0 else range(last, last + 1):
        for j in (2 * k, 2 * k + 1):
            shape = params[0] + total[k] if j == 2 * k else params[1] + count[k] - total[k]
            d = shape - 1.0 / 3.0
            # A shape below 1 takes the long way: with c NaN nothing is accepted at once.
            memory[at_d + j], memory[at_c + j] = d, 1.0 / math.sqrt(9.0 * d) if shape >= 1.0 else math.nan
    for j in range(n):
        w0, w1, w2, w3 = block(replication, pull, stream, ALLOCATION, j * ATTEMPTS, k0, k1)
        words[0, j] = w0
        words[1, j] = w1
        words[2, j] = w2
        words[3, j] = w3
    for j in range(n):
        w0, w1, w2, w3 = words[0, j], words[1, j], words[2, j], words[3, j]
        memory[at_value + j] = gamma_at_once(memory[at_d + j], memory[at_c + j], w0, w1, w2, w3)
    chosen, top = 0, -1.0
    for k in range(arms):
        for j in (2 * k, 2 * k + 1):
            if memory[at_value + j] < 0.0:
                shape = memory[at_d + j] + 1.0 / 3.0
                w0, w1, w2, w3 = words[0, j], words[1, j], words[2, j], words[3, j]
                memory[at_value + j] = gamma_from(
                    shape, w0, w1, w2, w3, replication, pull, stream, j * ATTEMPTS, k0, k1
                )
        x = memory[at_value + 2 * k]
        sample = x / (x + memory[at_value + 2 * k + 1])
        if sample > top:
            top, chosen = sample, k
    memory[0] = chosen + 1.0
    return chosen


_choose = kernel(_step)


@kernel
def _run(out, arms, plan, params, scratch):
    each(_choose, out, arms, plan, params, scratch)


@rule(
    "thompson",
    paper="Thompson 1933; Agrawal and Goyal 2012",
    evidence="notes",
    run=_run,
    walk="choice",
    step=_step,
    binary=True,
    initial=0,
    memory=lambda arms: 1 + 6 * arms,
    words=lambda arms: 2 * arms,
)
def thompson(bandit: Bandit, *, prior_success: float = 1.0, prior_failure: float = 1.0) -> tuple[float, ...]:
    """Pull the arm of the highest draw from Beta(prior_success + S_a, prior_failure + N_a - S_a).

    S_a counts values 1: successes under objective "max", failures under "min". No initial pulls are needed.
    Error: InputError for a prior <= 0.
    """
    return positive("prior_success", prior_success), positive("prior_failure", prior_failure)
