"""Grid: find the goal in the far corner, with or without a key to fetch first."""

from __future__ import annotations

import numpy as np

from creditsim.mdp.checks import finite, fraction, whole
from creditsim.mdp.families.base import family
from creditsim.mdp.table import TabularMDP

__all__ = ["grid"]

_MOVES = np.array([[-1, 0], [1, 0], [0, -1], [0, 1]])


@family(
    "grid",
    tiny={"width": 2, "height": 2, "horizon": 2},
    small={"width": 4, "height": 4, "horizon": 16},
    large={"width": 8, "height": 8, "key": True, "horizon": 100},
)
def grid(
    *,
    width: int = 4,
    height: int = 4,
    key: bool = False,
    horizon: int = 16,
    slip: float = 0.0,
    goal_reward: float = 1.0,
    gamma: float = 1.0,
) -> TabularMDP:
    """Walk a grid from one corner to the goal in the opposite one, actions left, right, up and down.

    Regime: one sparse terminal reward, many ways there, walls that waste moves; with `key` two things in order.

    A move into a wall leaves the agent where it is; with chance `slip` any move does. With `key` the goal's door opens
    only to who holds the key, which lies in the corner (0, height - 1) and is picked up on entering; else the goal's
    cell is a wall. States: cell y width + x without the key, then, with `key`, the same cells holding it. Entering the
    goal pays `goal_reward` and ends the episode. Errors: InputError for a width or height below 2, horizon < 1, slip
    outside [0, 1], numbers that are not finite.
    """
    cells = whole("width", width, 2) * whole("height", height, 2)
    fraction("slip", slip)
    goal, at_key = cells - 1, width * (height - 1)
    x, y = np.arange(cells) % width, np.arange(cells) // width
    to_x = np.clip(x[:, None] + _MOVES[:, 0], 0, width - 1)
    to_y = np.clip(y[:, None] + _MOVES[:, 1], 0, height - 1)
    to = to_y * width + to_x
    if key:
        locked = np.where(to == goal, np.arange(cells)[:, None], to)
        to = np.concatenate([np.where(locked == at_key, locked + cells, locked), to + cells])
    goal += cells * bool(key)
    states = np.arange(to.shape[0])
    successor = np.stack([to, np.broadcast_to(states[:, None], to.shape)], axis=-1)
    pays = (successor == goal) & (states != goal)[:, None, None]
    return TabularMDP.build(
        successor=successor,
        probability=np.broadcast_to([1.0 - slip, slip], successor.shape),
        reward=np.where(pays, finite("goal_reward", goal_reward), 0.0),
        terminal=states == goal,
        horizon=whole("horizon", horizon, 1),
        gamma=gamma,
        name=f"grid(width={width}, height={height}, key={bool(key)}, horizon={horizon}, slip={slip:g})",
    )
