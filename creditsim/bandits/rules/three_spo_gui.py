"""3SPO's sigmoid form for GUI agents."""

from __future__ import annotations

import math

from creditsim.bandits.instances import Bandit
from creditsim.bandits.rules.base import FEEDBACK, at_least, positive, rule
from creditsim.bandits.walk import each
from creditsim.jit import kernel


def _step(count, total, t, params, memory, words, where):
    steepness = params[0] * (1.0 - math.exp(-params[1] * t / params[2]))
    for k in range(count.shape[0]):
        score = math.exp(-steepness * (1.0 - total[k] / count[k]))
        if count[k] > 0.0 and total[k] >= params[3]:
            score = 0.0
        memory[k] = max(1.0, math.floor(params[4] / (1.0 + math.exp(-score))))
    return 0


_weigh = kernel(_step)


@kernel
def _run(out, arms, plan, params, scratch):
    each(_weigh, out, arms, plan, params, scratch)


@rule(
    "3spo_gui",
    paper="arXiv:2606.09961, GUI variant",
    evidence="code",
    run=_run,
    walk="shares",
    step=_step,
    binary=True,
    feedback=FEEDBACK,
)
def three_spo_gui(
    bandit: Bandit,
    *,
    lambda_0: float = 1.0,
    alpha: float = 0.1,
    period: float = 1000.0,
    xi: float | None = None,
    group: int = 8,
) -> tuple[float, ...]:
    """Draw an arm in proportion to n_a = max(1, floor(group sigmoid(S_a))), S_a = exp(-lambda(t) p_a).

    lambda(t) = lambda_0 (1 - exp(-alpha t / period)); S_a = 0 once xi failures were seen (None: never). With group
    8 every n_a is 4 or 5, so the rule stays close to uniform. Success rates as in `3spo_proportional`: objective "min".
    Errors: InputError for lambda_0, alpha, period <= 0, xi < 1, group < 1.
    """
    first = positive("lambda_0", lambda_0), positive("alpha", alpha), positive("period", period)
    return (*first, math.inf if xi is None else at_least("xi", xi, 1.0), at_least("group", group, 1.0))
