"""Answers that were not drawn: does symmetric credit leave them alone, and does asymmetric credit save them?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from theory.question import question

LOGIT, PROBABILITY, FALLS, PASSK = (
    "agrae.unsampled-logits", "agrae.unsampled-probability", "agrae.unsampled-falls", "agrae.pass-at-k",
)  # fmt: skip


@question(
    "unsampled_answers",
    title="Does GRPO leave unsampled answers as they are, and does leaning to the negative save them?",
    asked="A-GRAE's theorem 1, and why pass@k falls under GRPO",
    claims=(LOGIT, PROBABILITY, FALLS, PASSK),
    figure="agrae_passk",
)
def answer(evidence: Mapping[str, Mapping[str, Any]]) -> str:
    """GRPO's credit sums to zero over a group. One step then moves the logit of an answer b by eta times the credit of
    its own draws, so what was not drawn keeps its logit: dh_b = eta (sum of A over the draws of b - C pi_b), C = 0.

    A logit is not a probability. The drawn ones have moved, the sum is normalised anew, and an unsampled answer's
    probability is divided by sum_a pi_a exp(dh_a), which is at least 1 where the policy is even. Where the policy is
    confident in a wrong answer, the unsampled gain from its fall.

    Credit that leans to the negative, C < 0, raises all unsampled answers, in proportion to the probability they have:
    the likely ones first, right or wrong. With a table for each prompt that is harmless. Where prompts share parameters
    it lifts what is common and not what is right, and in our bandits breadth is lost and not kept; what kept most of it
    was larger weight for hard prompts or for praise. Other ways of sharing parameters may do otherwise.
    """
    shown = evidence[PROBABILITY]["detail"]
    after = evidence[PASSK]["parts"][1]["detail"]
    left = after["after"]
    rise, raised = shown["negative"]
    return (
        f"With eight of twenty answers drawn and four right, one step of size 1 multiplies an unsampled answer's "
        f"probability by {shown['even'][1]:.4f} with its logit unmoved, under negative-dominant credit by "
        f"{raised:.4f} with a logit {rise:.2f} higher, and under GRPO by {shown['confident'][1]:.3f} where a wrong "
        f"answer had half of the probability; on prompts that share logits pass@256 goes from {after['initial']:.4f} "
        f"to {left['GRPO']:.4f} under GRPO, {left['A-GRAE']:.3f} under A-GRAE, {left['negative-dominant']:.3f} under "
        f"negative-dominant and {left['positive-dominant']:.4f} under positive-dominant credit."
    )
