"""Chain: walk to the goal at its end."""

from __future__ import annotations

import numpy as np

from creditsim.mdp.checks import finite, fraction, whole
from creditsim.mdp.families.base import family
from creditsim.mdp.table import TabularMDP

__all__ = ["chain"]


@family(
    "chain", tiny={"length": 3, "horizon": 4}, small={"length": 6, "horizon": 12}, large={"length": 20, "horizon": 60}
)
def chain(
    *,
    length: int = 6,
    horizon: int = 12,
    slip: float = 0.0,
    goal_reward: float = 1.0,
    step_reward: float = 0.0,
    gamma: float = 1.0,
) -> TabularMDP:
    """Walk right along `length` states to the goal; action 0 goes left, 1 goes right, `slip` swaps them.

    Regime: sparse terminal reward, revisits (left moves), success probability falling with the horizon.

    Every step pays `step_reward`, entering the goal `goal_reward` on top. State `length` is the goal. Errors:
    InputError for length < 1, horizon < 1, slip outside [0, 1], numbers that are not finite.
    """
    whole("length", length, 1)
    fraction("slip", slip)
    states = length + 1
    here = np.arange(states)
    left, right = np.maximum(here - 1, 0), np.minimum(here + 1, length)
    successor = np.stack([np.stack([left, right], -1), np.stack([right, left], -1)], axis=1)
    goal = np.where(successor == length, finite("goal_reward", goal_reward), 0.0)
    return TabularMDP.build(
        successor=successor,
        probability=np.broadcast_to([1.0 - slip, slip], successor.shape),
        reward=goal + finite("step_reward", step_reward),
        terminal=here == length,
        horizon=whole("horizon", horizon, 1),
        gamma=gamma,
        name=f"chain(length={length}, horizon={horizon}, slip={slip:g})",
    )
