"""3SPO's score as shares."""

from __future__ import annotations

import math

from creditsim.bandits.instances import Bandit
from creditsim.bandits.rules.base import FEEDBACK, positive, rule
from creditsim.bandits.walk import each
from creditsim.jit import kernel


def _step(count, total, t, params, memory, words, where):
    steepness = params[0] * math.log(t)
    top = 0.0
    for k in range(count.shape[0]):
        memory[k] = total[k] / count[k]
        top = max(top, memory[k])
    for k in range(count.shape[0]):
        memory[k] = math.exp(-steepness * (top - memory[k]))
    return 0


_weigh = kernel(_step)


@kernel
def _run(out, arms, plan, params, scratch):
    each(_weigh, out, arms, plan, params, scratch)


@rule(
    "3spo_proportional",
    paper="arXiv:2606.09961",
    evidence="inferred",
    run=_run,
    walk="shares",
    step=_step,
    binary=True,
    feedback=FEEDBACK,
)
def three_spo_proportional(bandit: Bandit, *, alpha: float = 50.0) -> tuple[float, ...]:
    """Draw an arm from q_a = S_a / sum_b S_b, S_a = exp(-alpha ln(t) p_a) = t^(-alpha p_a), p_a its success rate.

    The rule that the paper's per-state bandit argument needs; the paper's own allocation is `3spo_ceil`. Its target is
    the arm that succeeds least: run it with objective "min" (under "max" successes and failures change places). No
    truncation. Error: InputError for alpha <= 0.
    """
    return (positive("alpha", alpha),)
