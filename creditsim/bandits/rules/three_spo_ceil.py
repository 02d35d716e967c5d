"""3SPO's allocation as implemented: a number of rollouts for every arm."""

from __future__ import annotations

import math

from creditsim.bandits.batches import all_batches
from creditsim.bandits.instances import Bandit
from creditsim.bandits.rules.base import at_least, positive, rule
from creditsim.jit import kernel


def _step(count, total, t, params, memory, words, where):
    alpha, group, xi, zeta, eps = params[0], params[1], params[2], params[3], params[4]
    for k in range(count.shape[0]):
        rate = (count[k] - total[k]) / (count[k] + eps)
        if count[k] > 0.0 and total[k] >= xi and rate <= zeta:
            memory[k] = 0.0
        else:
            memory[k] = math.ceil(group * math.exp(-alpha * math.log(t) * rate))
    return 0


_count = kernel(_step)


@kernel
def _run(out, arms, plan, params, scratch):
    all_batches(_count, out, arms, plan, params, scratch)


@rule(
    "3spo_ceil",
    paper="arXiv:2606.09961",
    evidence="code",
    run=_run,
    walk="batch",
    step=_step,
    binary=True,
    initial=0,
    presets={"truncating": {"xi": 10.0, "zeta": 0.1}},
)
def three_spo_ceil(
    bandit: Bandit,
    *,
    alpha: float = 50.0,
    group: int = 8,
    xi: float | None = None,
    zeta: float = 0.1,
    eps: float = 1e-6,
) -> tuple[float, ...]:
    """Give every arm n_a = ceil(group S_a) rollouts per iteration, S_a = exp(-alpha ln(t) p_a) (paper eq. 1).

    p_a = successes / (N_a + eps); an arm not seen yet has S_a = 1. S_a = 0, hence no rollout ever again, once xi
    failures were seen and p_a <= zeta (None: never; preset `truncating`: the defaults of the code). The horizon
    counts iterations; `clock` "decisions" takes their number for t, "pulls" 1 + the rollouts so far, as the code does.
    Success rates as in `3spo_proportional`: objective "min". Errors: InputError for alpha <= 0, group outside 1..128,
    xi < 1, zeta outside [0, 1], eps < 0.
    """
    return (
        positive("alpha", alpha),
        at_least("group", group, 1.0, 128.0),
        math.inf if xi is None else at_least("xi", xi, 1.0),
        at_least("zeta", zeta, 0.0, 1.0),
        at_least("eps", eps, 0.0),
    )
