"""Turns: one choice in each of T turns, paid at the end, by policies that see all, the turn, or nothing."""

from __future__ import annotations

from typing import Literal

import numpy as np

from creditsim.arrays import numbers
from creditsim.errors import InputError, choose
from creditsim.mdp.checks import fraction, generator, whole
from creditsim.mdp.families.base import family
from creditsim.mdp.table import TabularMDP

__all__ = ["turns"]

Parameters = Literal["separate", "aliased", "shared"]
Law = Literal["uniform", "normal", "binary"]


@family(
    "turns",
    tiny={"turns": 2, "actions": 2},
    small={"turns": 4, "actions": 3},
    large={"turns": 7, "actions": 4},
    paper="arXiv:2602.06554",
)
def turns(
    *,
    turns: int = 4,
    actions: int = 3,
    parameters: Parameters = "separate",
    leaves: tuple[float, ...] | None = None,
    law: Law = "uniform",
    good: float = 0.25,
    gamma: float = 1.0,
    seed: int = 0,
) -> TabularMDP:
    """Choose one of `actions` in each of `turns` turns; the sequence of choices decides one reward at the end.

    Regime: the multi-turn contextual bandit with a team reward, in which turns are agents that act after each other.

    parameters   "separate": each history of choices has parameters of its own; "aliased": a turn does not see the
                 choices before it, so that histories of one turn are one observation; "shared": what was chosen is
                 seen, but all turns have one row of parameters
    leaves       the reward of each sequence, the first choice being the leading digit; default: drawn by `seed`
    law          of drawn rewards: uniform on [0, 1), standard normal, or binary: 1 with chance `good`, at least one
    Histories are numbered level by level from the empty one, 0; the last state is the end.
    `turns(turns=2, actions=2, parameters="aliased", leaves=(0, 1, 1, 0))` is the smallest game in which turns that
    answer each other all at once undo each other's gain. Errors: InputError for turns < 1, actions < 2, leaves of
    another number, `good` outside [0, 1], more than 2 million histories.
    """
    choose("parameters", parameters, ("separate", "aliased", "shared"))
    whole("turns", turns, 1, 20)
    count = whole("leaves of turns and actions", whole("actions", actions, 2, 64) ** turns, 2, 2_000_000)
    histories = (count - 1) // (actions - 1)
    payoff = _payoff(leaves, law, count, good, seed)
    here = np.arange(histories)
    child = here[:, None] * actions + 1 + np.arange(actions)
    reward = np.zeros((histories + 1, actions, 1))
    last = child >= histories
    reward[:-1, :, 0][last] = payoff[(child - histories)[last]]
    successor = np.vstack([np.minimum(child, histories), np.full(actions, histories)])[:, :, None]
    turn = np.append(np.repeat(np.arange(turns), actions ** np.arange(turns)), turns)
    seen = np.arange(histories + 1) if parameters != "aliased" else turn
    context = {"separate": seen, "aliased": turn, "shared": (turn == turns).astype(np.int64)}[parameters]
    return TabularMDP.build(
        successor=successor,
        probability=np.ones(successor.shape),
        reward=reward,
        observation=seen,
        terminal=turn == turns,
        context=context,
        horizon=turns,
        gamma=gamma,
        name=f"turns(turns={turns}, actions={actions}, parameters={parameters}, seed={seed})",
    )


def _payoff(leaves: tuple[float, ...] | None, law: Law, count: int, good: float, seed: int) -> np.ndarray:
    choose("law", law, ("uniform", "normal", "binary"))
    fraction("good", good)
    if leaves is not None:
        table = numbers("leaves", leaves, f"{count} numbers")
        if table.shape != (count,) or not np.isfinite(table).all():
            raise InputError("leaves", f"shape {table.shape}", f"{count} finite numbers, one for each sequence")
        return table
    rng = generator(seed)
    if law == "normal":
        return rng.standard_normal(count)
    draws = rng.random(count)
    if law == "uniform":
        return draws
    return (np.argsort(np.argsort(draws)) < max(1, round(good * count))).astype(np.float64)
