"""KL Maillard sampling."""

from __future__ import annotations

import math

from creditsim.bandits.instances import Bandit
from creditsim.bandits.kl import divergence
from creditsim.bandits.rules.base import rule
from creditsim.bandits.walk import each
from creditsim.jit import kernel


def _step(count, total, t, params, memory, words, where):
    top = 0.0
    for k in range(count.shape[0]):
        top = max(top, total[k] / count[k])
    for k in range(count.shape[0]):
        memory[k] = math.exp(-count[k] * divergence(total[k] / count[k], top))
    return 0


_weigh = kernel(_step)


@kernel
def _run(out, arms, plan, params, scratch):
    each(_weigh, out, arms, plan, params, scratch)


@rule("kl_ms", paper="Qin et al. 2023", evidence="notes", run=_run, walk="shares", step=_step, binary=True)
def kl_ms(bandit: Bandit) -> tuple[float, ...]:
    """Draw an arm from q_a ~ exp(-N_a d(mean_a, highest mean)), d the Bernoulli relative entropy.

    An arm that has failed once while another has never failed gets no share until that one fails, since d is infinite.
    Rewards 0 and 1.
    """
    return ()
