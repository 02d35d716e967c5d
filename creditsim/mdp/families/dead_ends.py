"""Dead ends: a chain with doors that lead nowhere, ways to dawdle, and a shortcut that seldom works."""

from __future__ import annotations

import numpy as np

from creditsim.errors import choose
from creditsim.mdp.checks import finite, fraction, whole
from creditsim.mdp.families.base import family
from creditsim.mdp.table import TabularMDP

__all__ = ["dead_ends"]


@family(
    "dead_ends",
    tiny={"length": 2, "distractors": 1, "horizon": 3},
    small={"length": 4, "distractors": 1, "horizon": 10},
    large={"length": 16, "distractors": 3, "horizon": 50},
)
def dead_ends(
    *,
    length: int = 4,
    distractors: int = 1,
    luck: float = 0.0,
    end: str = "end",
    horizon: int = 10,
    goal_reward: float = 1.0,
    gamma: float = 1.0,
) -> TabularMDP:
    """Walk `length` stations to the goal past doors to a dead end, with `distractors` ways to lose time in each.

    Regime: sparse success, failures with much right about them, loops on matched steps; with luck a tempting trap.

    Action 0 goes on, 1 opens the door, 2.. stay where they are. The door leads to the dead end, but with chance `luck`
    to the next station: then some successes went through it, although it is the worse choice. In the dead end the
    episode is over (`end="end"`) or the agent sits until the horizon ("stay"). State `length` is the goal and pays
    `goal_reward`, `length + 1` is the dead end. Errors: InputError for length < 1, distractors < 0, horizon < 1, luck
    outside [0, 1], numbers that are not finite; UnknownNameError for another `end`.
    """
    choose("end", end, ("end", "stay"))
    here = np.arange(whole("length", length, 1))
    chance = fraction("luck", luck)
    goal, dead = length, length + 1
    states = np.arange(length + 2)
    successor = np.broadcast_to(states[:, None, None], (length + 2, 2 + whole("distractors", distractors, 0), 2)).copy()
    successor[here, 0] = (here + 1)[:, None]
    successor[here, 1] = np.stack([here + 1, np.full(length, dead)], axis=-1)
    probability = np.zeros(successor.shape)
    probability[:, :, 0] = 1.0
    probability[:, 1] = [chance, 1.0 - chance]
    entered = (successor == goal) & (states < goal)[:, None, None]
    return TabularMDP.build(
        successor=successor,
        probability=probability,
        reward=np.where(entered, finite("goal_reward", goal_reward), 0.0),
        terminal=(states == goal) | ((states == dead) & (end == "end")),
        horizon=whole("horizon", horizon, 1),
        gamma=gamma,
        name=f"dead_ends(length={length}, distractors={distractors}, luck={chance:g}, end={end}, horizon={horizon})",
    )
