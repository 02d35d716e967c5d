"""Uniform allocation."""

from __future__ import annotations

from creditsim.bandits.instances import Bandit
from creditsim.bandits.rules.base import rule
from creditsim.bandits.walk import each
from creditsim.jit import kernel


def _step(count, total, t, params, memory, words, where):
    for k in range(count.shape[0]):
        memory[k] = 1.0
    return 0


_weigh = kernel(_step)


@kernel
def _run(out, arms, plan, params, scratch):
    each(_weigh, out, arms, plan, params, scratch)


@rule(
    "uniform",
    paper="",
    evidence="notes",
    run=_run,
    walk="shares",
    step=_step,
    feedback=("bandit", "full"),
    initial=0,
)
def uniform(bandit: Bandit) -> tuple[float, ...]:
    """Give every arm the share 1/K at every pull, whatever was seen."""
    return ()
