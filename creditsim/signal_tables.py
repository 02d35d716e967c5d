"""The tables of an environment that only the loop can make for the parts that ask for them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from creditsim.exact.dp import solve
from creditsim.mdp.rows import TablePolicy
from creditsim.mdp.table import TabularMDP
from creditsim.planning_tables import planning_tables

__all__ = ["fixed_tables", "moving_tables", "signal_tables", "valid_actions"]

_MOVING: dict[str, Callable[[TablePolicy], np.ndarray]] = {
    "oracle_value": lambda learner: np.stack([solve(learner.mdp, pi).value for pi in learner.table]),
}
"""Tables of the policy at hand, made anew for each update; all others are the environment's, made once."""


def signal_tables(names: Iterable[str], learner: TablePolicy) -> dict[str, Any]:
    """The tables that parts ask for, by name; see `creditsim.signals.base.signal` and `planning_tables`."""
    names = tuple(names)
    return {**fixed_tables(names, learner.mdp), **moving_tables(names, learner)}


def fixed_tables(names: Iterable[str], mdp: TabularMDP) -> dict[str, Any]:
    """Those of `names` that are the environment's alone."""
    make_table: dict[str, Callable[[], Any]] = {
        "context_of_state": lambda: mdp.context,
        "observation_of_state": lambda: mdp.observation,
        "valid_action": lambda: valid_actions(mdp),
        **planning_tables(mdp),
    }
    return {name: make_table[name]() for name in names if name not in _MOVING}


def moving_tables(names: Iterable[str], learner: TablePolicy) -> dict[str, np.ndarray]:
    """Those of `names` that depend on the policies (R, ...)."""
    return {name: _MOVING[name](learner) for name in names if name in _MOVING}


def valid_actions(mdp: TabularMDP) -> np.ndarray:
    """(S, A) bool: False where an action surely leaves the state as it is and pays nothing."""
    possible = mdp.probability > 0
    stays = (mdp.successor == np.arange(mdp.n_states)[:, None, None]) & (mdp.scalar_reward == 0)
    return (possible & ~stays).any(axis=-1)
