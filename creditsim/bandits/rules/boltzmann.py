"""Boltzmann exploration."""

from __future__ import annotations

import math

from creditsim.bandits.instances import Bandit
from creditsim.bandits.rules.base import FEEDBACK, positive, rule
from creditsim.bandits.walk import each
from creditsim.errors import choose
from creditsim.jit import kernel

SCHEDULES = ("constant", "log", "sqrt")


def _step(count, total, t, params, memory, words, where):
    heat = params[0] * (math.log(t) if params[1] == 1.0 else math.sqrt(t) if params[1] == 2.0 else 1.0)
    top = -math.inf
    for k in range(count.shape[0]):
        memory[k] = heat * total[k] / count[k]
        top = max(top, memory[k])
    for k in range(count.shape[0]):
        memory[k] = math.exp(memory[k] - top)
    return 0


_weigh = kernel(_step)


@kernel
def _run(out, arms, plan, params, scratch):
    each(_weigh, out, arms, plan, params, scratch)


@rule(
    "boltzmann",
    paper="Cesa-Bianchi et al. 2017",
    evidence="notes",
    run=_run,
    walk="shares",
    step=_step,
    feedback=FEEDBACK,
)
def boltzmann(bandit: Bandit, *, scale: float = 1.0, schedule: str = "log") -> tuple[float, ...]:
    """Draw an arm from q_a ~ exp(eta_t mean_a), eta_t = scale, scale ln t or scale sqrt(t).

    `schedule` is "constant", "log" or "sqrt". Errors: InputError for scale <= 0 or another schedule.
    """
    return positive("scale", scale), float(SCHEDULES.index(choose("schedule", schedule, SCHEDULES)))
