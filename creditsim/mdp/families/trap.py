"""Trap: a pit beside the way that can be entered for nothing and never left."""

from __future__ import annotations

import numpy as np

from creditsim.errors import choose
from creditsim.mdp.checks import finite, fraction, whole
from creditsim.mdp.families.base import family
from creditsim.mdp.table import TabularMDP

__all__ = ["trap"]


@family(
    "trap",
    tiny={"length": 2, "horizon": 3},
    small={"length": 3, "horizon": 8},
    large={"length": 10, "horizon": 40},
)
def trap(
    *,
    length: int = 3,
    horizon: int = 8,
    pit: str = "stay",
    slip: float = 0.0,
    goal_reward: float = 1.0,
    gamma: float = 1.0,
) -> TabularMDP:
    """Walk `length` states to the goal; in each of them action 0 goes on and 1 falls into the pit.

    Regime: a dead end that costs nothing to enter, so only the lost goal speaks against it.

    With `pit="stay"` the agent sits in the pit until the horizon, with "end" the episode is over; no reward either way.
    `slip` swaps the two actions with that chance. State `length` is the goal and pays `goal_reward`, `length + 1` is
    the pit. J = product over the states on the way of the chance of going on. Errors: InputError for length < 1,
    horizon < 1, slip outside [0, 1], numbers that are not finite; UnknownNameError for another `pit`.
    """
    choose("pit", pit, ("stay", "end"))
    here = np.arange(whole("length", length, 1))
    fraction("slip", slip)
    goal, hole = length, length + 1
    successor = np.full((length + 2, 2, 2), hole)
    successor[here, 0, 0] = successor[here, 1, 1] = here + 1
    successor[goal] = goal
    states = np.arange(length + 2)
    return TabularMDP.build(
        successor=successor,
        probability=np.broadcast_to([1.0 - slip, slip], successor.shape),
        reward=np.where((successor == goal) & (states < goal)[:, None, None], finite("goal_reward", goal_reward), 0.0),
        terminal=(states == goal) | ((states == hole) & (pit == "end")),
        horizon=whole("horizon", horizon, 1),
        gamma=gamma,
        name=f"trap(length={length}, horizon={horizon}, pit={pit}, slip={slip:g})",
    )
