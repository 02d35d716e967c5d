"""Combination lock: one right action in every state."""

from __future__ import annotations

import numpy as np

from creditsim.errors import choose
from creditsim.mdp.checks import finite, generator, whole
from creditsim.mdp.families.base import family
from creditsim.mdp.table import TabularMDP

__all__ = ["lock"]


@family(
    "lock",
    tiny={"length": 3, "actions": 2, "horizon": 4},
    small={"length": 5, "actions": 3, "horizon": 15},
    large={"length": 20, "actions": 4, "horizon": 100},
)
def lock(
    *,
    length: int = 5,
    actions: int = 3,
    wrong: str = "restart",
    goal_reward: float = 1.0,
    horizon: int = 15,
    gamma: float = 1.0,
    seed: int = 0,
) -> TabularMDP:
    """Enter a secret code of `length` digits in order; a wrong digit restarts the code or ends the episode.

    Regime: delayed reward of exponentially small probability, one right action per state, the code drawn by `seed`.

    States 0..length-1 count right digits, `length` is open (pays `goal_reward`), `length + 1` is the alarm that ends
    the episode when `wrong="end"`; with "restart" a wrong digit leads back to state 0. Errors: InputError for
    length < 1, actions < 2, horizon < 1; UnknownNameError for another `wrong`.
    """
    choose("wrong", wrong, ("restart", "end"))
    code = generator(seed).integers(whole("actions", actions, 2), size=whole("length", length, 1))
    here = np.arange(length + 2)
    back = 0 if wrong == "restart" else length + 1
    successor = np.full((length + 2, actions, 1), back)
    successor[here[:length], code, 0] = here[1 : length + 1]
    return TabularMDP.build(
        successor=successor,
        probability=np.ones(successor.shape),
        reward=np.where(successor == length, finite("goal_reward", goal_reward), 0.0),
        terminal=here >= length,
        horizon=whole("horizon", horizon, 1),
        gamma=gamma,
        name=f"lock(length={length}, actions={actions}, wrong={wrong}, horizon={horizon}, seed={seed})",
    )
