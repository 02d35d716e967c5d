"""Objectives: one decision per episode, several Bernoulli rewards of chosen correlation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from creditsim.arrays import numbers
from creditsim.errors import InputError
from creditsim.mdp.checks import finite, fraction, generator, number_rows, whole
from creditsim.mdp.families.base import family
from creditsim.mdp.table import TabularMDP

__all__ = ["objectives"]


@family(
    "objectives",
    tiny={"p": ((0.2, 0.7), (0.6, 0.3))},
    small={"prompts": 4, "arms": 4, "objectives": 2, "correlation": -0.5},
    large={"prompts": 64, "arms": 16, "objectives": 4, "correlation": -0.5},
)
def objectives(
    *,
    p: Sequence[Sequence[float]] | None = None,
    prompts: int = 1,
    arms: int = 4,
    objectives: int = 2,
    correlation: float = 0.0,
    scale: Sequence[float] | None = None,
    noise: float = 0.0,
    gamma: float = 1.0,
    seed: int = 0,
) -> TabularMDP:
    """Pull one arm once; objective k pays `scale[k]` with chance `p[k][a]`, else 0, and all pay together.

    Regime: single-step with K rewards, where methods differ by how they weigh objectives, correlated or noisy ones.

    `p` has one row of chances per objective; without it those of `prompts` bandits are drawn evenly by `seed`, and an
    episode meets one of them. `correlation` c in [-1, 1] is between the rewards of one pull: with probability |c| all
    objectives follow one uniform draw, each paying where the draw lies below its chance, else they are independent; for
    c < 0 every second objective follows the draw from the other end. For two objectives whose chances add up to 1
    (c < 0) or agree (c > 0) it is Pearson's; in general it is the share of the most, or least, that chances allow.
    `noise` > 0 adds an objective that no arm changes, a fair coin that pays `noise`; it comes last in the reward (K,).
    Errors: InputError for chances or correlation out of range, rows of unlike length, another number of scales than
    objectives, more than 10 objectives.
    """
    if p is None:
        shape = (whole("prompts", prompts, 1), whole("objectives", objectives, 1, 10), whole("arms", arms, 1))
        table = generator(seed).random(shape)
    else:
        table = _table(p)[None]
    n, k, width = table.shape
    sizes = np.ones(k) if scale is None else numbers("scale", scale, f"{k} numbers, one per objective")
    if sizes.shape != (k,):
        raise InputError("scale", f"shape {sizes.shape}", f"{k} numbers, one per objective")
    for size in sizes:
        finite("scale", size)
    outcome = np.array(list(np.ndindex(*([2] * k))))
    chance = np.stack([_chance(each, outcome, finite("correlation", correlation)) for each in table])
    pay = outcome * sizes
    if finite("noise", noise) != 0.0:
        coin = np.array([0.0, noise])
        pay = np.concatenate([np.repeat(pay, 2, axis=0), np.tile(coin, len(pay))[:, None]], axis=1)
        chance = np.repeat(chance, 2, axis=2) / 2.0
    branches = len(pay)
    idle = np.full((1, width, branches), 1.0 / branches)
    return TabularMDP.build(
        successor=np.full((n + 1, width, branches), n),
        probability=np.concatenate([chance, idle]),
        reward=np.broadcast_to(pay, (n + 1, width, *pay.shape)),
        start=np.append(np.full(n, 1.0 / n), 0.0),
        terminal=np.arange(n + 1) == n,
        horizon=1,
        gamma=gamma,
        name=f"objectives(prompts={n}, arms={width}, objectives={k}, correlation={correlation:g}, noise={noise:g})",
    )


def _table(p: Sequence[Sequence[float]]) -> np.ndarray:
    allowed = "1 to 10 rows of chances, one per objective, with one chance per arm"
    rows = number_rows("p", p, allowed)
    if not rows or len(rows) > 10 or any(row.ndim != 1 or row.size == 0 or row.size != rows[0].size for row in rows):
        raise InputError("p", repr(p), allowed)
    for row in rows:
        for chance in row:
            fraction("p", float(chance))
    return np.stack(rows)


def _chance(table: np.ndarray, outcome: np.ndarray, correlation: float) -> np.ndarray:
    """(arms, outcomes) probabilities, `outcome` (outcomes, K) in 0 and 1."""
    if not -1.0 <= correlation <= 1.0:
        raise InputError("correlation", correlation, "a number in [-1, 1]")
    paid = outcome[None] == 1
    alone = np.where(paid, table.T[:, None], 1.0 - table.T[:, None]).prod(axis=-1)
    if correlation == 0.0:
        return alone
    # Objective k pays on an interval of the common draw; an outcome's chance is what its intervals share.
    flip = (np.arange(table.shape[0]) % 2 == 1) & (correlation < 0)
    first = np.where(flip, 1.0 - table.T, 0.0)
    last = np.where(flip, 1.0, table.T)
    edges = np.sort(np.concatenate([first, last], axis=1), axis=1)
    edges = np.concatenate([np.zeros((len(edges), 1)), edges, np.ones((len(edges), 1))], axis=1)
    middle, length = (edges[:, 1:] + edges[:, :-1]) / 2.0, np.diff(edges, axis=1)
    pays = (middle[:, :, None] > first[:, None]) & (middle[:, :, None] < last[:, None])
    same = (pays[:, :, None, :] == paid[:, None]).all(axis=-1)
    together = (length[:, :, None] * same).sum(axis=1)
    return abs(correlation) * together + (1.0 - abs(correlation)) * alone
