"""Does SCPO's shared credit make failed rollouts useful, and what does it cost?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from theory.question import question

MASS, SIGN, GAIN = "scpo.conflict-mass", "scpo.sign-agreement", "scpo.gain-over-horizon"
DIRECTION, NOISE = "scpo.bonus-direction", "scpo.matcher-noise"


@question(
    "shared_credit",
    title="Does SCPO's shared credit make failed rollouts useful, and what does it cost?",
    asked="users who train agents on long tasks, where most rollouts fail late",
    claims=(MASS, SIGN, GAIN, DIRECTION, NOISE),
    figure="scpo_trap",
)
def shared_credit(evidence: Mapping[str, Mapping[str, Any]]) -> str:
    """With credit by outcome a step taken in a success is pushed up and the same step in a failed sibling down. On long
    tasks most steps of a failure are right, so most of what a failure teaches is wrong. SCPO gives failed steps that
    match a step of a successful sibling a bonus on their step return, alpha r with r = max(0, M - lambda) / (1 -
    lambda), each reference step once.

    That moves the credit of failed steps towards the exact advantage: their correlation rises several times over. It
    does not turn their sign. The episode level stays negative for the whole failure and outweighs the step level, so
    nearly all right steps of failures go on being pushed down, only less. And the bonus differs from group to group,
    which is noise: per rollout the gain in signal to noise is a few per cent and falls with the length of the task,
    although the gain in signal alone rises.

    The price is a bias. The bonus is no difference of potentials, so it need not vanish from the optimum. Where matched
    steps are right ones it points uphill. Where the best match of a step that leads nowhere is a good one, because the
    texts look alike or because a success once got away with it, failures are rewarded for the mistake. So choose the
    threshold above the likeness of confusable actions, and alpha well below the discounted reward of success.
    """
    gain, signs = evidence[GAIN]["detail"]["0.25"], evidence[SIGN]["detail"]
    direction, noise = evidence[DIRECTION]["detail"], evidence[NOISE]["detail"]
    longest = max(gain, key=int)
    old, new = signs["GiGPO, N=4, L=8"], signs["SCPO, N=4, L=8"]
    return (
        f"Partly: in chains of 8 choices with a quarter of successes and groups of 4 the correlation with the exact "
        f"advantage on failed steps rises from {old[0]:.2f} to {new[0]:.2f}, yet {100 * new[2]:.0f} % of the failed "
        f"steps are right and still pushed down ({100 * old[2]:.0f} % under GiGPO); GiGPO needs {gain['2'][0]:.2f} "
        f"groups per group of SCPO at 2 choices and {gain[longest][0]:.2f} at {longest}; matched to look-alike doors "
        f"the bonus sums to {direction['lowest_in_traps']:+.3f} against {sum(direction['bonus']):+.3f} where matches "
        f"are right, and with every second wrong step matched the correlation falls from "
        f"{noise['correlation']['0.0']:.2f} to {noise['correlation']['0.5']:.2f}."
    )
