"""Loop: going round revisits the same anchors before an exit is taken."""

from __future__ import annotations

import numpy as np

from creditsim.mdp.checks import finite, fraction, whole
from creditsim.mdp.families.base import family
from creditsim.mdp.table import TabularMDP

__all__ = ["loop"]


@family(
    "loop",
    tiny={"states": 1, "horizon": 4},
    small={"states": 3, "horizon": 15},
    large={"states": 12, "horizon": 100},
)
def loop(
    *,
    states: int = 3,
    horizon: int = 15,
    good_reward: float = 1.0,
    bad_reward: float = 0.0,
    loop_reward: float = 0.0,
    slip: float = 0.0,
    gamma: float = 1.0,
) -> TabularMDP:
    """Go round a ring of `states`, or leave it by the good or the bad exit.

    Regime: revisited anchors inside one trajectory, so members of an anchor group are dependent.

    Action 0 goes on to the next state of the ring (with one state: stays), 1 takes the good exit, 2 the bad exit. The
    good exit of state i pays `good_reward` (i + 1) / states. With probability `slip` an exit is missed and the agent
    goes on. The episode starts in state 0; state `states` is the end. One state and a long horizon is the looping
    state whose exact pooled advantages are known (0, 1/2, -1/2 at gamma = 1 under the uniform policy). Errors:
    InputError for states < 1, horizon < 1, slip outside [0, 1], numbers that are not finite.
    """
    ring = np.arange(whole("states", states, 1))
    onward = (ring + 1) % states
    successor = np.full((states + 1, 3, 2), states)
    successor[:states, 0, :] = onward[:, None]
    successor[:states, 1:, 1] = onward[:, None]
    probability = np.zeros(successor.shape)
    probability[:, 0, 0] = 1.0
    probability[:, 1:] = [1.0 - fraction("slip", slip), slip]
    reward = np.full(successor.shape, finite("loop_reward", loop_reward))
    reward[:states, 1, 0] = finite("good_reward", good_reward) * (ring + 1) / states
    reward[:states, 2, 0] = finite("bad_reward", bad_reward)
    return TabularMDP.build(
        successor=successor,
        probability=probability,
        reward=reward,
        terminal=np.arange(states + 1) == states,
        horizon=whole("horizon", horizon, 1),
        gamma=gamma,
        name=f"loop(states={states}, horizon={horizon}, slip={slip:g})",
    )
