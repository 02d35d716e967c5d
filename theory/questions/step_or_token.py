"""Step-level or token-level GAE?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from theory.question import question

SIGNAL, ABLATION, GAMMA = "steppo.signal-at-start", "steppo.ablation", "steppo.gamma-robustness"
RATIO, WEIGHT, MATCHED = "steppo.ratio-variance", "steppo.length-weight", "steppo.matched-discount"
CRITIC = "steppo.boundary-critic"


@question(
    "step_or_token",
    title="Step-level or token-level GAE?",
    asked="users of PPO for agents that say many tokens per step",
    claims=(SIGNAL, ABLATION, GAMMA, RATIO, WEIGHT, MATCHED, CRITIC),
    figure="steppo_ablation",
)
def step_or_token(evidence: Mapping[str, Mapping[str, Any]]) -> str:
    """Token-level GAE counts time in tokens. With gamma < 1 a reward at the end of T steps of L tokens reaches the
    first step as gamma^(LT-1) instead of gamma^(T-1), and lambda fades in the same way. StepPO takes a whole response
    for the action: one value before it, one TD error, one advantage for all its tokens, one ratio.

    In a table this matters just where the discount per token fades over an episode. With gamma = 1, or steps of a few
    tokens, the level of the advantage makes no difference that matters. Taking gamma^(1/L) and lambda^(1/L) per token
    is no way out in general: rewards at the last token are discounted inside their step, and a decision made late in
    the step is shrunk by lambda^(j/L) on its way to the first token.

    The geometric-mean ratio keeps the variance of a step's ratio small, where that of the product explodes with L. In a
    table with filler tokens its small gain is probably that of a wider trust region: averaged over tokens that do not
    move, the ratio meets the same clip later (not tested apart). Its price: each step weighs 1/L, so the gradient is
    the policy gradient only where steps are equally long. A critic at step boundaries has fewer values to learn if it
    cannot see the tokens; its lower loss does not show that, because a critic that sees them is told more of the
    outcome and has the lower loss.
    """
    signal, effects = evidence[SIGNAL]["detail"], evidence[ABLATION]["detail"]
    ratio, weight = evidence[RATIO]["detail"], evidence[WEIGHT]["detail"]
    fading, lasting = effects["16 tokens, gamma 0.95"], effects["16 tokens, gamma 0.99"]
    step, token = signal["0.95, 50"]
    return (
        f"Step-level where gamma < 1 and steps are long: over 10 steps of 50 tokens at gamma = 0.95 a final reward "
        f"reaches the first step as {step:.2f} by step and {token:.1e} by token; with 16 tokens per step the "
        f"step-level advantage is worth {fading['advantage']:+.2f} of J at gamma = 0.95 and "
        f"{lasting['advantage']:+.3f} at 0.99, the step ratio {fading['ratio']:+.3f} and {lasting['ratio']:+.3f}; at "
        f"256 tokens the product of ratios has variance {ratio['product_at_256']:.1f} and their geometric mean "
        f"{ratio['mean_at_256']:.1e}, while with answers of 1, 4 and 16 tokens the step loss climbs at cosine "
        f"{min(weight.values()):.2f} to the policy gradient."
    )
