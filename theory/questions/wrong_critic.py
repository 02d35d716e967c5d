"""How much does a wrong critic cost, and which lambda?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from theory.question import question

BIAS, ONE, BEST = "gae.bias", "gae.unbiased-at-one", "gae.best-lambda"
GRADIENT = "gae.gradient-variance-rises"


@question(
    "wrong_critic",
    title="How much does a wrong critic cost, and which lambda?",
    asked="users of PPO for language models, where gamma = lambda = 1 is the default",
    claims=(BIAS, ONE, BEST, GRADIENT),
    figure="gae_lambda",
)
def wrong_critic(evidence: Mapping[str, Mapping[str, Any]]) -> str:
    """A critic that is wrong by e(s) biases the advantage by -e(s) plus (1 - lambda) times its errors later on. The
    first term does not depend on the action and costs no bias of the gradient; the second does. So lambda = 1 forgives
    every critic, and lambda = 0 none.

    What lambda buys is variance. With an exact critic the variance of each advantage rises with lambda. That of the
    gradient does so for sure only where the parameters of different steps are not shared; else a small lambda can beat
    lambda = 0 even there.

    Which lambda is best depends on how much is averaged. The squared bias stays, the variance falls like 1/N, so the
    best lambda rises with the number of trajectories N and with the critic's error: in large batches the default of 1
    is right for all but very good critics.
    """
    best = evidence[BEST]["detail"]
    at = [best["trajectories"].index(n) for n in (64, 4096)]
    zero, usual, _ = best["bias_share"]["0.1"]
    chosen = {error: [values[i] for i in at] for error, values in best["best_lambda"].items()}
    return (
        f"A critic that is wrong by 0.1 of the goal's reward biases the gradient by {100 * zero:.0f} % of its length "
        f"at lambda = 0, {100 * usual:.1f} % at 0.95 and nothing at 1; the best lambda for 64 (4096) trajectories is "
        f"{chosen['0'][0]:.2g} ({chosen['0'][1]:.2g}) with an exact critic, {chosen['0.03'][0]:.2g} "
        f"({chosen['0.03'][1]:.2g}) at an error of 0.03, {chosen['0.1'][0]:.2g} ({chosen['0.1'][1]:.2g}) at 0.1 and "
        f"{chosen['0.3'][0]:.2g} ({chosen['0.3'][1]:.2g}) at 0.3."
    )
