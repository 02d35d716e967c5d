"""Which baseline has the least variance?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from theory.question import question

BEST, USUALLY = "opo.best-constant-baseline", "opo.usually-better-than-mean"
TOKEN, REMAX, SELF = "otb.no-worse-than-any-constant", "remax.less-variance", "opo.self-inclusion-bias"


@question(
    "least_variance_baseline",
    title="Which baseline has the least variance?",
    asked="users of OPO, ReMax and verl's optimal_token_baseline who ask what they gain over the group mean",
    claims=(BEST, USUALLY, TOKEN, REMAX, SELF),
    figure="baseline_variance",
)
def least_variance_baseline(evidence: Mapping[str, Mapping[str, Any]]) -> str:
    """Among constants it is the mean return weighted by the squared score, b* = E[|S|^2 R] / E[|S|^2]: rollouts that
    would move the parameters most decide. The variance is a parabola around b*, so every other choice is as good as it
    is near to b*.

    OPO replaces |S|^2 by the response length. That is exact where each token moves the parameters alike, and a guess
    elsewhere. ReMax takes the return of a greedy rollout, which is no average at all: with two arms it has more
    variance than no baseline as soon as the other arm pays less than 1 - 1/(2p) of the greedy one, p being the greedy
    arm's chance. With rewards 0 and 1 and a greedy answer that is right, that is always the case.

    A baseline per token can do better than any constant. verl's optimal token baseline does so for a terminal reward,
    one length, and scores of different tokens that are orthogonal; when logits are shared, rewards come in between or
    lengths differ it can lose. OPO and OTB also keep the sample in its own baseline, which biases the gradient by a
    multiple of 1/n in a direction of its own.
    """
    share = evidence[USUALLY]["detail"]["share_worse"]
    worse = evidence[TOKEN]["detail"]["share_worse"]
    remax = evidence[REMAX]["detail"]
    ratio = remax["binary_reward_ratio"][len(remax["binary_reward_ratio"]) // 2]
    p = remax["binary_reward_p"][len(remax["binary_reward_p"]) // 2]
    return (
        f"The mean weighted by the squared score; OPO's length-weighted mean is worse than the plain mean in "
        f"{100 * share:.0f} % of random bandits whose lengths have nothing to do with the score, a greedy baseline has "
        f"{ratio:.0f} times the variance of none for 0/1 rewards at p = {p:.2f}, and the optimal token baseline loses "
        f"to the best constant in {100 * worse['orthogonal scores']:.0f} % of tasks with orthogonal scores but in "
        f"{100 * worse['shared logits']:.0f} % with shared logits."
    )
