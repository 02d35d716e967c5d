"""Registration of update rules, and what they ask of a policy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar

import numpy as np

from creditsim.registry import Evidence, Part, Registry
from creditsim.rollouts import Rollouts

__all__ = ["UPDATES", "RowPolicy", "State", "row_weight", "update"]

State = dict[str, Any]
F = TypeVar("F", bound=Callable[..., Any])
P = TypeVar("P", bound="RowPolicy")


class RowPolicy(Protocol):
    """A policy as an update rule sees it: log-probabilities of rows, and the way back from rows to parameters.

    `theta` is (R, P), one parameter vector for each replicate; replicate r drew the rows of batch r.
    """

    @property
    def theta(self) -> np.ndarray:
        """(R, P) parameters."""
        ...

    def log_prob(self, rollouts: Rollouts) -> np.ndarray:
        """(M,) log-probability of each row's action."""
        ...

    def entropy(self, rollouts: Rollouts) -> np.ndarray:
        """(M,) entropy in nats of the policy where each row was drawn."""
        ...

    def pullback(self, rollouts: Rollouts, weight: np.ndarray) -> np.ndarray:
        """(R, P) sum over the rows of each batch of weight_i d log pi(a_i | s_i) / d theta, for weight (M,)."""
        ...

    def entropy_pullback(self, rollouts: Rollouts, weight: np.ndarray) -> np.ndarray:
        """(R, P) sum over the rows of each batch of weight_i d H(pi(. | s_i)) / d theta, for weight (M,)."""
        ...

    def with_theta(self: P, theta: np.ndarray) -> P:
        """The same policy with other parameters."""
        ...


UPDATES: Registry[Part] = Registry("update", "creditsim.updates")


def update(
    name: str,
    *,
    paper: str,
    evidence: Evidence = "inferred",
    needs: tuple[str, ...] = (),
    tables: tuple[str, ...] = (),
    parts: Mapping[str, Registry[Part]] | None = None,
    min_groups: int = 1,
    presets: Mapping[str, Mapping[str, Any]] | None = None,
) -> Callable[[F], F]:
    """Register `f(policy, rollouts, credit, state, *, parameters) -> policy, state`.

    `policy` is a RowPolicy, `credit` the estimator's columns with `advantage` among them, `state` the loop's dict
    (given back with the rule's own entries, never changed in place). `needs` names columns of rollouts or credit,
    `tables` entries of the state that only the loop can make, as for signals; `parts` parameters that name a part of
    another registry (a loss), which is found, and whose needs are the rule's too, before anything runs; `min_groups`
    as for estimators.
    """

    def register(function: F) -> F:
        part = Part(
            "update", name, function, paper=paper, evidence=evidence, needs=needs, presets=presets or {},
            options={"tables": tables, "parts": parts or {}, "min_groups": min_groups},
        )  # fmt: skip
        UPDATES.add(part)
        return function

    return register


def row_weight(rollouts: Rollouts) -> np.ndarray:
    """(M,) weight of each row in the loss; 1 where the rollouts carry none."""
    weight = rollouts.columns.get("weight")
    return np.ones(rollouts.n_rows) if weight is None else np.asarray(weight, np.float64)
