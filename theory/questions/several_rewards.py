"""Several rewards: sum first, normalise first, or weigh by spread?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from theory.question import question

VARIANCE, SIGNAL, NOISE, FRONT = "dvao.gradient-variance", "dvao.signal-to-noise", "dvao.weighs-signal", "dvao.front"


@question(
    "several_rewards",
    title="Several rewards: sum them, normalise each, or weigh by their spread?",
    asked="DVAO against reward combination and advantage combination; TRL's multi-objective aggregation",
    claims=(VARIANCE, SIGNAL, NOISE, FRONT),
    figure="dvao_weights",
)
def answer(evidence: Mapping[str, Mapping[str, Any]]) -> str:
    """Reward combination sums the rewards and divides by the group's deviation of the sum; advantage combination
    divides each reward by its own deviation and sums with fixed weights. DVAO's sum_k v_k A_k with v_k = w_k s_k /
    sum_l w_l s_l is neither: the standardisation cancels, and what is left is the combined reward over the weighted sum
    of deviations.

    So DVAO's credit is reward combination's, made smaller where objectives disagree inside the group. Its gradient
    varies less, but size is also what a learning rate sets; per unit of size it carries a little less signal.

    Two things follow in practice. A reward's unit matters again, as in a plain sum; only advantage combination is free
    of it. And a deviation is not a signal: a reward that is loud and that the policy cannot move gets the largest
    weight. In groups of four an extreme weight is not followed to its end; with groups of 16 all three learn the same
    trade.
    """
    variance, signal = evidence[VARIANCE]["detail"], evidence[SIGNAL]["detail"]
    at = "w 0.5, correlation 0"
    loud = evidence[NOISE]["parts"][1]["detail"]
    gaps = evidence[FRONT]["parts"][1]["detail"]["gap"]
    worst = min(min(pair) for pair in gaps)
    return (
        f"Between two uncorrelated rewards DVAO's gradient varies {variance[at][1] / variance[at][0]:.2f} times "
        f"less than that of reward combination and is aligned {signal[at][0]:.3f} against {signal[at][1]:.3f}; "
        f"beside a coin that pays {loud['amplitude']:g} it gives the coin {100 * loud['share']:.0f} % of the "
        f"weight and is aligned {loud['ours']:.2f} with the real objective, advantage combination "
        f"{loud['AC']:.2f}; in groups of four it ends up to {-worst:.3f} of weighted return below the others, in "
        f"groups of 16 within {evidence[FRONT]['parts'][0]['margin']:g}."
    )
