"""Registration of process signals, and what they share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np

from creditsim.errors import InputError
from creditsim.registry import Evidence, Part, Registry
from creditsim.rollouts import Rollouts
from creditsim.segments import reverse_scan

__all__ = ["SIGNALS", "State", "next_steps", "return_to_go", "signal", "state_table"]

State = dict[str, Any]
F = TypeVar("F", bound=Callable[..., Any])

SIGNALS: Registry[Part] = Registry("signal", "creditsim.signals")


def signal(
    name: str,
    *,
    paper: str,
    evidence: Evidence = "inferred",
    needs: tuple[str, ...] = (),
    makes: tuple[str, ...],
    tables: tuple[str, ...] = (),
    presets: Mapping[str, Mapping[str, Any]] | None = None,
) -> Callable[[F], F]:
    """Register `f(rollouts, state, *, parameters) -> columns, state`.

    `columns` maps names (those of `makes`) to arrays (M, ...); `reward` among them replaces the reward. `state` is the
    loop's dict, given back with the signal's own entries and never changed in place. `tables` names entries of the
    state that only the loop can make, because a signal knows no environment: `oracle_value` (R, H+1, S), the exact
    value by steps left; `valid_action` (S, A) bool; `context_of_state` and `observation_of_state` (S,). The
    replicates' numbers `replicate` (R,) are always there.
    """

    def register(function: F) -> F:
        options = {"tables": tables}
        SIGNALS.add(
            Part(
                "signal", name, function, paper=paper, evidence=evidence,
                needs=needs, makes=makes, presets=presets or {}, options=options,
            )
        )  # fmt: skip
        return function

    return register


def state_table(state: State, name: str, signal_name: str) -> np.ndarray:
    """A table that the loop must have put into the state."""
    if name not in state:
        raise InputError(f"signal {signal_name}", f"a state without {name!r}", "a loop that provides it, as train does")
    return state[name]


def return_to_go(rollouts: Rollouts, gamma: float) -> np.ndarray:
    """(M,) sum over k >= t of gamma^(steps from t to k) r_k; decisions of one step share a discount."""
    decay = np.where(next_steps(rollouts) > rollouts.step, gamma, 1.0)
    return reverse_scan(rollouts.reward, decay, rollouts.offsets)


def next_steps(rollouts: Rollouts) -> np.ndarray:
    """(M,) step index of the next row of the trajectory; after its last row, one more than that row's."""
    after = np.empty_like(rollouts.step)
    after[:-1] = rollouts.step[1:]
    ends = rollouts.offsets[1:][rollouts.length > 0] - 1
    after[ends] = rollouts.step[ends] + 1
    return after
