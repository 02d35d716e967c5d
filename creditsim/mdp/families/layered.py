"""Layered: a new layer of states at every step."""

from __future__ import annotations

import numpy as np

from creditsim.mdp.checks import fraction, generator, whole
from creditsim.mdp.families.base import family
from creditsim.mdp.table import TabularMDP

__all__ = ["layered"]


@family(
    "layered",
    tiny={"layers": 3, "width": 2, "actions": 2, "branching": 2},
    small={"layers": 6, "width": 4, "actions": 3, "branching": 2},
    large={"layers": 30, "width": 50, "actions": 4, "branching": 4},
)
def layered(
    *,
    layers: int = 6,
    width: int = 4,
    actions: int = 3,
    branching: int = 2,
    paying: float = 1.0,
    gamma: float = 1.0,
    seed: int = 0,
) -> TabularMDP:
    """Move through `layers` layers of `width` states to random states of the next; rewards in [0, 1) on every move.

    Regime: shared states without revisits, so members of an anchor group are conditionally independent given the state.

    The first layer is the single start state 0, layer i >= 1 holds the states 1 + (i-1) width and on, the last state
    ends the episode. Each move has `branching` successors with Dirichlet(1) weights (the last move has one); a
    fraction `paying` of the (state, action, successor) moves pays. All is drawn by `seed`. Errors: InputError for
    counts < 1, branching > width, paying outside [0, 1].
    """
    rng = generator(seed)
    whole("width", width, 1)
    end = 1 + (whole("layers", layers, 1) - 1) * width
    shape = (end + 1, whole("actions", actions, 1), whole("branching", branching, 1, width))
    here = np.arange(end + 1)
    layer = np.where(here == 0, 0, (here - 1) // width + 1)
    place = np.argsort(rng.random((*shape[:2], width)), axis=-1)[..., :branching]
    successor = np.minimum(1 + layer[:, None, None] * width + place, end)
    weight = rng.standard_exponential(shape)
    weight[layer >= layers - 1, :, 1:] = 0.0
    return TabularMDP.build(
        successor=successor,
        probability=weight / weight.sum(axis=-1, keepdims=True),
        reward=rng.random(shape) * (rng.random(shape) < fraction("paying", paying)),
        terminal=here == end,
        horizon=layers,
        gamma=gamma,
        name=f"layered(layers={layers}, width={width}, actions={actions}, branching={branching}, seed={seed})",
    )
