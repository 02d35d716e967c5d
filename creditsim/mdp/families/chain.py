"""Chain: the sparse-reward staple."""

from __future__ import annotations

import numpy as np

from creditsim.mdp.families.base import family
from creditsim.mdp.table import TabularMDP

__all__ = ["chain"]


@family(
    "chain", tiny={"length": 3, "horizon": 4}, small={"length": 6, "horizon": 12}, large={"length": 20, "horizon": 60}
)
def chain(*, length: int = 6, horizon: int = 12, slip: float = 0.0, goal_reward: float = 1.0) -> TabularMDP:
    """Walk right along `length` states to the goal; action 0 goes left, 1 goes right, `slip` swaps them.

    Regime: sparse terminal reward, revisits (left moves), success probability falling with the horizon.
    """
    states = length + 1
    here = np.arange(states)
    left, right = np.maximum(here - 1, 0), np.minimum(here + 1, length)
    successor = np.stack([np.stack([left, right], -1), np.stack([right, left], -1)], axis=1)
    probability = np.broadcast_to([1.0 - slip, slip], successor.shape)
    reward = np.where(successor == length, goal_reward, 0.0)
    return TabularMDP.build(
        successor=successor,
        probability=probability,
        reward=reward,
        terminal=here == length,
        horizon=horizon,
        name=f"chain(length={length}, horizon={horizon}, slip={slip:g})",
    )
