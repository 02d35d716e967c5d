"""KL-UCB, with an index solved only where it can win."""

from __future__ import annotations

import math

from creditsim.bandits.instances import Bandit
from creditsim.bandits.kl import entropy, upper_index
from creditsim.bandits.rules.base import at_least, rule
from creditsim.bandits.walk import each
from creditsim.jit import kernel


def _step(count, total, t, params, memory, words, where):
    # memory: the last arm + 1 (0 at the start), then the arms' entropies, of which one changes per pull.
    arms = count.shape[0]
    log = math.log(t)
    level = log + params[0] * math.log(max(log, 1.0)) if params[0] >= 0.0 else math.log1p(t * log * log)
    last = int(memory[0]) - 1
    for k in range(arms) if last < 0 else range(last, last + 1):
        memory[1 + k] = entropy(total[k] / count[k])
    arm = max(last, 0)
    index = upper_index(total[arm] / count[arm], level / count[arm])
    ahead, behind = -math.log(index) if index > 0.0 else math.inf, -math.log1p(-index) if index < 1.0 else math.inf
    chosen = arm
    for k in range(arms):
        if k != arm:
            mean = total[k] / count[k]
            # N d(mean, index) < level says that this arm's index lies above; 0 ln 0 = 0 where the index is at an end.
            needed = -memory[1 + k]
            needed += mean * ahead if mean > 0.0 else 0.0
            needed += (1.0 - mean) * behind if mean < 1.0 else 0.0
            if mean >= index or count[k] * needed < level:
                own = upper_index(mean, level / count[k])
                if own > index or (own == index and k < chosen):
                    index, chosen = own, k
                    ahead = -math.log(index) if index > 0.0 else math.inf
                    behind = -math.log1p(-index) if index < 1.0 else math.inf
    memory[0] = chosen + 1.0
    return chosen


_choose = kernel(_step)


@kernel
def _run(out, arms, plan, params, scratch):
    each(_choose, out, arms, plan, params, scratch)


@rule(
    "kl_ucb",
    paper="Garivier and Cappe 2011",
    evidence="notes",
    run=_run,
    walk="choice",
    step=_step,
    binary=True,
    memory=lambda arms: arms + 1,
    presets={"proved": {"c": 3.0}, "finite": {"c": None}},
)
def kl_ucb(bandit: Bandit, *, c: float | None = 0.0) -> tuple[float, ...]:
    """Pull the arm of the highest index max{q: N_a d(mean_a, q) <= ln t + c ln ln t}.

    The first proof wants c = 3 (preset `proved`), practice takes 0. c = None (preset `finite`) puts ln(1 + t ln^2 t) on
    the right, for which Lattimore and Szepesvari, ch. 10, give a bound at every horizon. The index of the last arm is
    solved first; another arm's only where
    N d(mean, that index) falls short, so that it can be higher. Rewards 0 and 1. Error: InputError for c < 0.
    """
    return (-1.0 if c is None else at_least("c", c, 0.0),)
