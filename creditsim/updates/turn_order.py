"""The order in which the turns of an episode are updated."""

from __future__ import annotations

from typing import Literal

import numpy as np

from creditsim.errors import choose
from creditsim.rng import Purpose, uniforms
from creditsim.updates.base import State

__all__ = ["ORDERS", "Order", "turn_order"]

Order = Literal["reverse", "forward", "random", "simultaneous"]
ORDERS: tuple[Order, ...] = ("reverse", "forward", "random", "simultaneous")


def turn_order(order: Order, turns: int, replicates: int, state: State) -> np.ndarray:
    """(R, T) the turn that each replicate updates at each stage; `simultaneous` gives the turns in time order.

    "random" is a permutation for each replicate and update, drawn from the state's `seed` and `replicate`.
    """
    choose("order", order, ORDERS)
    here = np.broadcast_to(np.arange(turns), (replicates, turns))
    if order == "reverse":
        return here[:, ::-1]
    if order == "random":
        return np.argsort(uniforms(int(state["seed"]), state["replicate"], Purpose.RESAMPLE, turns), axis=1)
    return here
