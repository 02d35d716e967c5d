"""3SPO's shares with forced exploration."""

from __future__ import annotations

import math

from creditsim.bandits.instances import Bandit
from creditsim.bandits.rules.base import at_least, positive, rule
from creditsim.bandits.walk import each
from creditsim.jit import kernel


def _step(count, total, t, params, memory, words, where):
    steepness = params[0] * math.log(t)
    arms = count.shape[0]
    top, mass = 0.0, 0.0
    for k in range(count.shape[0]):
        memory[k] = total[k] / count[k]
        top = max(top, memory[k])
    for k in range(count.shape[0]):
        memory[k] = math.exp(-steepness * (top - memory[k]))
        mass += memory[k]
    forced = params[1] / t if params[1] > 0.0 else math.log(t) / t
    forced = 1.0 if t == 1.0 else min(1.0, forced)
    for k in range(arms):
        memory[k] = (1.0 - forced) * memory[k] / mass + forced / arms
    return 0


_weigh = kernel(_step)


@kernel
def _run(out, arms, plan, params, scratch):
    each(_weigh, out, arms, plan, params, scratch)


@rule(
    "3spo_forced",
    paper="arXiv:2606.09961, repaired",
    evidence="inferred",
    run=_run,
    walk="shares",
    step=_step,
    binary=True,
    presets={"log": {"c": 0.0}},
)
def three_spo_forced(
    bandit: Bandit, *, alpha: float = 50.0, c: float = 0.5, gap: float | None = None
) -> tuple[float, ...]:
    """Draw an arm from (1 - e_t) q_a + e_t / K with q of `3spo_proportional` and e_t = min(1, c K / (gap^2 t)).

    `gap` defaults to the bandit's own smallest gap at the lower end, which a real learner does not know. c = 0 (preset
    `log`) takes e_t = min(1, ln t / t) instead, which needs no gap and wastes about (K-1)/K (ln I)^2 / 2 pulls.
    Errors: InputError for alpha <= 0, c < 0, gap <= 0.
    """
    known = positive("gap", bandit.gap("min") if gap is None else gap)
    return positive("alpha", alpha), at_least("c", c, 0.0) * bandit.arms / known**2
