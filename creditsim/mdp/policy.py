"""Tabular policies: softmax tables over contexts, and log-linear in features. Leading axes are replicates."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

import numpy as np

from creditsim.errors import InputError
from creditsim.mdp.table import TabularMDP

__all__ = ["LogLinearPolicy", "Policy", "SoftmaxPolicy", "masked_softmax"]

Self = TypeVar("Self", bound="Policy")


class Policy(Protocol):
    """What samplers, exact solvers and update rules ask of a policy."""

    theta: np.ndarray
    """(..., P) parameters; leading axes are replicates that share the MDP."""

    def probabilities(self, mdp: TabularMDP) -> np.ndarray:
        """(..., S, A) action probabilities; 0 at forbidden actions."""
        ...

    def pullback(self, mdp: TabularMDP, weight: np.ndarray) -> np.ndarray:
        """(..., P) sum over (s, a) of weight_{s,a} d log pi(a|s) / d theta, for weight (..., S, A)."""
        ...

    def with_theta(self: Self, theta: np.ndarray) -> Self:
        """The same policy class with other parameters."""
        ...


def masked_softmax(logits: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Softmax over the last axis among allowed entries; rows without any are uniform (terminal states)."""
    open_rows = mask.any(axis=-1, keepdims=True)
    allowed = mask | ~open_rows
    z = np.where(allowed, logits, -np.inf)
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


@dataclass(frozen=True, eq=False)
class SoftmaxPolicy:
    """Softmax table: pi(a|s) = softmax(theta[context(s)])_a over the allowed actions of s.

    `theta` (..., C, A) flattened to (..., C*A) as `theta`; `temperature` divides the logits.
    """

    theta: np.ndarray
    n_actions: int
    temperature: float = 1.0

    @classmethod
    def uniform(cls, mdp: TabularMDP, replicates: int | None = None) -> SoftmaxPolicy:
        """All logits zero; with `replicates`, one copy for each."""
        shape = (mdp.n_contexts * mdp.n_actions,)
        return cls(np.zeros(shape if replicates is None else (replicates, *shape)), mdp.n_actions)

    @classmethod
    def from_probabilities(cls, mdp: TabularMDP, table: np.ndarray) -> SoftmaxPolicy:
        """Table (..., C, A) of probabilities per context, all positive where allowed."""
        with np.errstate(divide="ignore"):
            logits = np.log(np.asarray(table, float))
        logits = np.maximum(logits, -700.0)
        return cls(logits.reshape(*logits.shape[:-2], -1), mdp.n_actions)

    @property
    def table(self) -> np.ndarray:
        """(..., C, A) logits."""
        return self.theta.reshape(*self.theta.shape[:-1], -1, self.n_actions)

    def probabilities(self, mdp: TabularMDP) -> np.ndarray:
        """(..., S, A) action probabilities."""
        table = self.table
        if table.shape[-2] < mdp.n_contexts or table.shape[-1] != mdp.n_actions:
            raise InputError("policy table", f"shape {table.shape[-2:]}", f"({mdp.n_contexts}, {mdp.n_actions})")
        return masked_softmax(table[..., mdp.context, :] / self.temperature, mdp.mask)

    def pullback(self, mdp: TabularMDP, weight: np.ndarray) -> np.ndarray:
        """(..., C*A): for logits, d log pi(a|s) / d theta[c, a'] = 1{a' = a} - pi(a'|s), c the context of s."""
        pi = self.probabilities(mdp)
        per_state = (weight - pi * weight.sum(axis=-1, keepdims=True)) / self.temperature
        per_state = np.where(mdp.mask, per_state, 0.0)
        out = np.zeros((*per_state.shape[:-2], self.table.shape[-2], self.n_actions))
        moved = np.moveaxis(out, -2, 0)
        np.add.at(moved, mdp.context, np.moveaxis(per_state, -2, 0))
        return out.reshape(*out.shape[:-2], -1)

    def with_theta(self, theta: np.ndarray) -> SoftmaxPolicy:
        """The same table shape with other logits."""
        return replace(self, theta=theta)


@dataclass(frozen=True, eq=False)
class LogLinearPolicy:
    """Log-linear: pi(a|s) proportional to exp(features[s, a] . theta) over the allowed actions; features (S, A, P)."""

    theta: np.ndarray
    features: np.ndarray
    temperature: float = 1.0

    def probabilities(self, mdp: TabularMDP) -> np.ndarray:
        """(..., S, A) action probabilities."""
        if self.features.shape[:2] != (mdp.n_states, mdp.n_actions):
            raise InputError("policy features", f"shape {self.features.shape}", f"({mdp.n_states}, {mdp.n_actions}, P)")
        logits = np.einsum("sap,...p->...sa", self.features, self.theta)
        return masked_softmax(logits / self.temperature, mdp.mask)

    def pullback(self, mdp: TabularMDP, weight: np.ndarray) -> np.ndarray:
        """(..., P): d log pi(a|s) / d theta = features[s,a] - sum_a' pi(a'|s) features[s,a']."""
        pi = self.probabilities(mdp)
        centred = (weight - pi * weight.sum(axis=-1, keepdims=True)) / self.temperature
        return np.einsum("...sa,sap->...p", np.where(mdp.mask, centred, 0.0), self.features)

    def with_theta(self, theta: np.ndarray) -> LogLinearPolicy:
        """The same features with other weights."""
        return replace(self, theta=theta)
