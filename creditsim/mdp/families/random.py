"""Random sparse MDPs, quick enough to draw by the thousand."""

from __future__ import annotations

import numpy as np

from creditsim.mdp.checks import fraction, generator, whole
from creditsim.mdp.families.base import family
from creditsim.mdp.table import TabularMDP

__all__ = ["random"]


@family(
    "random",
    tiny={"states": 4, "actions": 2, "branching": 1, "ending": 0.2, "horizon": 3},
    small={"states": 10, "actions": 3, "branching": 2, "ending": 0.05, "horizon": 10},
    large={"states": 1000, "actions": 4, "branching": 4, "ending": 0.01, "horizon": 50},
)
def random(
    *,
    states: int = 10,
    actions: int = 3,
    branching: int = 2,
    ending: float = 0.05,
    paying: float = 1.0,
    observations: int | None = None,
    forbidden: float = 0.0,
    inner: float = 0.0,
    horizon: int = 10,
    gamma: float = 1.0,
    seed: int = 0,
) -> TabularMDP:
    """Draw a sparse MDP: `branching` successors for each state and action, Dirichlet(1) weights, rewards in [0, 1).

    Regime: stochastic transitions without structure, for calibrations over many MDPs and tests of special cases.

    `ending` is the probability that a move ends the episode (in state `states`); a fraction `paying` of the branches
    pays, the rest gives 0; with `observations`, states share that many observations at random; `forbidden` is the
    chance that an action is not allowed (action 0 always is); `inner` is the chance that a state begins no step (its
    moves to inner states go to higher numbers only, so that steps end). The start is state 0. Errors: InputError for
    counts < 1, branching > states, fractions outside [0, 1].
    """
    rng = generator(seed)
    whole("states", states, 1)
    shape = (states, whole("actions", actions, 1), whole("branching", branching, 1, states))
    # Sums of gaps of at most states // branching stay below `states`: the successors of one move are distinct.
    gaps = rng.integers(1, states // branching + 1, size=shape)
    gaps[..., 0] = rng.integers(states, size=shape[:2])
    successor = np.cumsum(gaps, axis=-1) % states
    weight = rng.standard_exponential(shape)
    reward = rng.random(shape) * (rng.random(shape) < fraction("paying", paying))
    seen = np.arange(states)
    if observations is not None:
        seen = rng.integers(whole("observations", observations, 1), size=states)
    mask = rng.random(shape[:2]) >= fraction("forbidden", forbidden)
    mask[:, 0] = True
    tick = rng.random(states) >= fraction("inner", inner)
    tick[0] = True
    here = np.arange(states)[:, None, None]
    circle = ~tick[here] & ~tick[successor] & (successor <= here)
    successor = np.where(circle, 0, successor)
    end = np.full((*shape[:2], 1), states)
    last_reward = rng.random(end.shape) * (rng.random(end.shape) < paying)
    keep = (1.0 - fraction("ending", ending)) * weight / weight.sum(axis=-1, keepdims=True)
    return TabularMDP.build(
        successor=_with_end(np.concatenate([successor, end], -1), states),
        probability=_with_end(np.concatenate([keep, np.full(end.shape, ending)], -1), 1.0 / (branching + 1)),
        reward=_with_end(np.concatenate([reward, last_reward], -1), 0.0),
        observation=np.append(seen, seen.max() + 1),
        terminal=np.arange(states + 1) == states,
        mask=np.concatenate([mask, np.ones((1, actions), bool)]),
        tick=np.append(tick, True),
        horizon=whole("horizon", horizon, 1),
        gamma=gamma,
        name=f"random(states={states}, actions={actions}, branching={branching}, seed={seed})",
    )


def _with_end(table: np.ndarray, fill: float) -> np.ndarray:
    """Append the row of the terminal state."""
    return np.concatenate([table, np.full((1, *table.shape[1:]), fill, table.dtype)])
