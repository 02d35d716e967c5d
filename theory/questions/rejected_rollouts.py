"""Do rejected rollouts shift the baseline?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from theory.question import question

REJECTED, CONVENTIONS = "rloo.rejected-answers", "grpo.conventions"


@question(
    "rejected_rollouts",
    title="Do rejected rollouts shift the baseline of their siblings?",
    asked="verl #6452",
    claims=(REJECTED, CONVENTIONS),
    figure="rejected_answers",
)
def answer(evidence: Mapping[str, Mapping[str, Any]]) -> str:
    """A rollout that is masked out of the loss, say for running over the length limit, usually keeps reward 0.

    Some libraries still count it in the group's mean, so all its siblings look better than they are. Whether that
    biases the gradient depends on what rejection looks at. A baseline only has to be independent of the answer it
    judges: if rejection is blind to the answer (a crashed server), a lower baseline adds noise and no bias. If some
    answers are rejected more than others, the shift multiplies d log P(accepted)/dtheta, which is then not zero:

    E[g] is about dE[r | accepted]/dtheta + (E[r | accepted] - E[r]) d log P(accepted)/dtheta for large groups.

    The policy is pushed towards answers that are not rejected, by an amount nobody chose. Left out of the mean,
    rejected rollouts never bias what remains, which is the gradient of E[r | accepted]; a penalty for rejection, if
    wanted, is better written into the reward.
    """
    degrees = evidence[REJECTED]["parts"][1]["detail"]["degrees"]
    value = evidence[CONVENTIONS]["detail"]["1 of 3 and a rejected"]
    return (
        f"Yes: a success beside two failures and a rejected answer gets {value['verl']:.3f} with it in the baseline "
        f"and {value['paper']:.3f} without; the gradient stays right when rejection is blind, but turns "
        f"by {degrees['long include 0.5']:.1f}° when half of one kind of answer is rejected and by "
        f"{degrees['long include 0.9']:.1f}° when nine tenths are (left out of the baseline: "
        f"{degrees['long exclude 0.9']:.1f}°)."
    )
