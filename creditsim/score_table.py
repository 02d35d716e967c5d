"""3SPO's state score: how unresolved a state is, and how many rollouts that earns it.

Shared by the signal that keeps the table and by the sampling design that reads it; neither imports the other.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from creditsim.errors import InputError, choose
from creditsim.rollouts import Rollouts

__all__ = ["Allocation", "Schedule", "ScoreRule", "branches", "lookup", "next_observation"]

Schedule = Literal["log", "saturating"]
Allocation = Literal["ceil", "sigmoid"]

_SMALLEST = np.finfo(float).tiny


@dataclass(frozen=True)
class ScoreRule:
    """S(s) = exp(-lambda(t) p(s)) 1{N_fail < xi or p > zeta}, p = N_success / (N_total + eps) (paper, eq. 1).

    lambda(t) = alpha ln t (`schedule="log"`; paper), or scale (1 - exp(-alpha t / span)) (`"saturating"`; code of the
    GUI sibling, which has no way out by zeta: `zeta=1`). A state never counted has S = 1. t below 1 counts as 1.
    Errors: InputError for numbers out of range.
    """

    alpha: float = 50.0
    xi: float = 10.0
    zeta: float = 0.1
    eps: float = 1e-6
    schedule: Schedule = "log"
    scale: float = 1.0
    span: float = 1000.0

    def __post_init__(self) -> None:
        choose("schedule", self.schedule, ("log", "saturating"))
        for name in ("alpha", "scale", "span"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise InputError(name, value, "a finite number > 0")
        if not self.xi >= 1:
            raise InputError("xi", self.xi, "a number of failures >= 1, inf for no truncation")
        if not 0.0 <= self.zeta <= 1.0:
            raise InputError("zeta", self.zeta, "0 <= zeta <= 1")
        if not 0.0 <= self.eps < 1.0:
            raise InputError("eps", self.eps, "0 <= eps < 1")

    def slope(self, t: Any) -> np.ndarray:
        """lambda(t), of the shape of t."""
        t = np.maximum(np.asarray(t, float), 1.0)
        if self.schedule == "log":
            return self.alpha * np.log(t)
        return self.scale * -np.expm1(-self.alpha * t / self.span)

    def rate(self, total: Any, success: Any) -> np.ndarray:
        """Success rate p = N_success / (N_total + eps); 0 where nothing was counted."""
        total, success = np.asarray(total, float), np.asarray(success, float)
        return np.divide(success, total + self.eps, out=np.zeros(np.shape(total)), where=total > 0)

    def keeps(self, total: Any, success: Any) -> np.ndarray:
        """Whether the state is not truncated; both comparisons are strict, and eps pulls the rate down."""
        return (np.subtract(total, success) < self.xi) | (self.rate(total, success) > self.zeta)

    def score(self, total: Any, success: Any, t: Any) -> np.ndarray:
        """S for counts and clock of one shape; 0 where truncated and nowhere else, however small it gets."""
        raw = np.exp(-self.slope(t) * self.rate(total, success))
        # An underflow to 0 would read as a truncation.
        return np.where(self.keeps(total, success), np.maximum(raw, _SMALLEST), 0.0)


def branches(score: Any, most: int, allocation: Allocation = "ceil") -> np.ndarray:
    """Number of branches n(s) at a state of score S, int64.

    "ceil": n = ceil(most S), so 0 where truncated and at least 1 elsewhere (paper); "sigmoid": n = max(1, floor(most
    / (1 + exp(-S)))), never 0 (code of the GUI sibling). Errors: InputError for `most` below 1.
    """
    if most < 1:
        raise InputError("group_size", most, "at least 1 branch")
    s = np.asarray(score, float)
    if choose("allocation", allocation, ("ceil", "sigmoid")) == "ceil":
        return np.ceil(most * s).astype(np.int64)
    return np.maximum(1, np.floor(most / (1.0 + np.exp(-s)))).astype(np.int64)


def lookup(state: Mapping[str, Any], replicate: np.ndarray, step: np.ndarray, observation: np.ndarray) -> np.ndarray:
    """Score of each (replicate, step, observation) in the table `score` (R, D, O) of the state; 1 where it has none.

    D is 1, or one more than the last step where the score depends on the depth.
    """
    out = np.ones(np.shape(observation))
    if "score" in state:
        table = state["score"]
        known = observation < table.shape[2]
        depth = np.minimum(step, table.shape[1] - 1)
        out[known] = table[replicate[known], depth[known], observation[known]]
    return out


def next_observation(rollouts: Rollouts, state: Mapping[str, Any], needed_by: str) -> np.ndarray:
    """(M,) what is seen after each row: column `next_observation`, else the loop's table of the row's `next_state`."""
    if "next_observation" in rollouts.columns:
        return rollouts.columns["next_observation"]
    if "observation_of_state" not in state:
        raise InputError(needed_by, "neither column nor table for what is seen next", "a loop that provides one")
    return state["observation_of_state"][rollouts.column("next_state", needed_by)]
