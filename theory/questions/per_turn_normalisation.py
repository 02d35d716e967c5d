"""Is per-turn normalisation biased when the policy chooses when to stop?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from theory.question import question

SIGN, UNBIASED = "per-turn.wrong-sign", "per-turn.unbiased"
FORMULA, REPAIR = "per-turn.expected-gradient", "per-turn.charge-to-the-end"


@question(
    "per_turn_normalisation",
    title="Is per-turn normalisation biased when the policy chooses when to stop?",
    asked="verl #7244",
    claims=(SIGN, UNBIASED, FORMULA, REPAIR),
    figure="per_turn",
)
def per_turn_normalisation(evidence: Mapping[str, Mapping[str, Any]]) -> str:
    """Multi-turn methods with a reward per turn often centre each turn's reward among the members of the group that are
    still alive at that turn, and then add up what is left from the turn on. The mean looks like a baseline. It is none:
    how many means are taken off depends on how long the rollout goes on, and so on the action.

    With p_k = P(T >= k) and mu_k the mean reward of turn k among those who get there, the estimator expects
    sum_k c_k p_k dmu_k, c_k = 1 - (1 - (1-p_k)^N) / (N p_k), instead of sum_k (p_k dmu_k + mu_k dp_k). What is lost is
    the part in which the policy changes the chance of further turns: each extra turn is charged the mean reward of that
    turn, whatever it is worth. If all turns pay alike, nothing is learnt about length at all.

    It is harmless where the environment alone ends the episode (dp_k = 0). Two repairs work for any policy: centre the
    return-to-go, not the reward, among the members alive; or count ended members as 0 in the mean and charge the mean
    for turns after the end too. Charging it only while alive is not enough. A single outcome reward centred once per
    trajectory is not touched by any of this.
    """
    sign, unbiased = evidence[SIGN], evidence[UNBIASED]["detail"]
    low, high = sign["detail"]["smallest"], sign["detail"]["largest"]
    exact = evidence[FORMULA]["verdict"] == "supported" and evidence[REPAIR]["verdict"] == "supported"
    return (
        f"Yes: where stopping pays 0.6 and going on 0.3 and then 0.5, the expected gradient is {low:.2f} to {high:.2f} "
        f"times the exact one, the wrong sign for every group size and policy; on random three-turn tasks the bias is "
        f"{unbiased['least_outside']:.2f} to {unbiased['worst_outside']:.2f} times as long as the fair gradient, and "
        f"0 where the environment ends it{'; the closed form and both repairs hold to rounding' if exact else ''}."
    )
