"""Tabular policies: softmax tables over contexts, and log-linear in features. Leading axes are replicates."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

import numpy as np

from creditsim.errors import InputError
from creditsim.mdp.checks import generator, whole
from creditsim.mdp.table import TabularMDP

__all__ = ["LogLinearPolicy", "Policy", "SoftmaxPolicy", "masked_softmax"]

Self = TypeVar("Self", bound="Policy")

# Far below any logit that underflows, so that exp() is exactly zero at any temperature up to 1000, and yet finite.
_NEVER = -1e6
_TOLERANCE = 1e-9


class Policy(Protocol):
    """What samplers, exact solvers and update rules ask of a policy."""

    @property
    def theta(self) -> np.ndarray:
        """(..., P) parameters; leading axes are replicates that share the MDP."""
        ...

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


def _logit_weight(pi: np.ndarray, mask: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """(..., S, A) what a weight on d log pi(a|s) puts on the logits: w_a - pi_a sum_a' w_a', allowed actions only."""
    weight = np.where(mask, weight, 0.0)
    return np.where(mask, weight - pi * weight.sum(axis=-1, keepdims=True), 0.0)


def _positive(temperature: float) -> None:
    if not temperature > 0:
        raise InputError("temperature", temperature, "a number > 0 (see `greedy` for the limit 0)")


@dataclass(frozen=True, eq=False)
class SoftmaxPolicy:
    """Softmax table: pi(a|s) = softmax(theta[context(s)] / temperature)_a over the allowed actions of s.

    `theta` (..., C*A) is the table (..., C, A) of logits, flattened; leading axes are replicates. States that share a
    context share their row, so the gradient of an aliased table adds over the states behind it.
    """

    theta: np.ndarray
    n_actions: int
    temperature: float = 1.0

    def __post_init__(self) -> None:
        _positive(self.temperature)
        if self.theta.ndim < 1 or self.theta.shape[-1] % whole("n_actions", self.n_actions, 1):
            raise InputError("policy theta", f"shape {self.theta.shape}", f"(..., contexts * {self.n_actions})")

    @classmethod
    def uniform(cls, mdp: TabularMDP, replicates: int | None = None) -> SoftmaxPolicy:
        """All logits zero; with `replicates`, one copy for each."""
        shape = (mdp.n_contexts * mdp.n_actions,)
        return cls(np.zeros(shape if replicates is None else (replicates, *shape)), mdp.n_actions)

    @classmethod
    def random(cls, mdp: TabularMDP, seed: int, scale: float = 1.0, replicates: int | None = None) -> SoftmaxPolicy:
        """Independent normal logits with standard deviation `scale`; equal seeds give equal policies."""
        shape = (mdp.n_contexts * mdp.n_actions,)
        draws = generator(seed).standard_normal(shape if replicates is None else (replicates, *shape))
        return cls(scale * draws, mdp.n_actions)

    @classmethod
    def from_probabilities(cls, mdp: TabularMDP, table: np.ndarray) -> SoftmaxPolicy:
        """Table (..., C, A) of probabilities per context; zeros stay exactly zero (and no finite step moves them).

        Rows of contexts that only terminal states have are not looked at. Where a state forbids an action, the rest of
        its row is scaled up. Errors: InputError for another shape, negative entries and rows that do not sum to 1.
        """
        table = np.asarray(table, np.float64)
        if table.ndim < 2 or table.shape[-2:] != (mdp.n_contexts, mdp.n_actions):
            raise InputError("policy table", f"shape {table.shape}", f"(..., {mdp.n_contexts}, {mdp.n_actions})")
        rows = table[..., np.unique(mdp.context[~mdp.terminal]), :]
        if not (rows >= 0).all():
            raise InputError("policy table", float(rows.min()), "probabilities >= 0")
        off = np.abs(rows.sum(axis=-1) - 1.0)
        if not (off <= _TOLERANCE).all():
            raise InputError("policy table", f"a row that is {off.max():.3g} off", "rows that sum to 1")
        with np.errstate(divide="ignore", invalid="ignore"):
            logits = np.where(table > 0, np.log(table), _NEVER)
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
        return masked_softmax(table.take(mdp.context, axis=-2) / self.temperature, mdp.mask)

    def pullback(self, mdp: TabularMDP, weight: np.ndarray) -> np.ndarray:
        """(..., C*A): for logits, d log pi(a|s) / d theta[c, a'] = 1{a' = a} - pi(a'|s), c the context of s."""
        per_state = _logit_weight(self.probabilities(mdp), mdp.mask, weight) / self.temperature
        order = np.argsort(mdp.context, kind="stable")
        sorted_context = mdp.context[order]
        first = np.flatnonzero(np.diff(sorted_context, prepend=-1))
        out = np.zeros((*per_state.shape[:-2], self.table.shape[-2], self.n_actions))
        out[..., sorted_context[first], :] = np.add.reduceat(per_state[..., order, :], first, axis=-2)
        return out.reshape(*out.shape[:-2], -1)

    def with_theta(self, theta: np.ndarray) -> SoftmaxPolicy:
        """The same table shape with other logits."""
        return replace(self, theta=theta)


@dataclass(frozen=True, eq=False)
class LogLinearPolicy:
    """Log-linear: pi(a|s) proportional to exp(features[s, a] . theta / temperature) over the allowed actions.

    `theta` (..., P), `features` (S, A, P). Features that differ between states of one context see more than the
    observation does: `from_contexts` keeps to what the policy may see.
    """

    theta: np.ndarray
    features: np.ndarray
    temperature: float = 1.0

    def __post_init__(self) -> None:
        _positive(self.temperature)
        if self.features.ndim != 3 or self.theta.ndim < 1 or self.theta.shape[-1] != self.features.shape[-1]:
            got = f"features {self.features.shape}, theta {self.theta.shape}"
            raise InputError("policy features", got, "features (S, A, P) and theta (..., P)")

    @classmethod
    def from_contexts(cls, mdp: TabularMDP, features: np.ndarray) -> LogLinearPolicy:
        """Features (C, A, P) per context and action, weights zero (the uniform policy)."""
        features = np.asarray(features, np.float64)
        if features.ndim != 3 or features.shape[:2] != (mdp.n_contexts, mdp.n_actions):
            raise InputError("policy features", f"shape {features.shape}", f"({mdp.n_contexts}, {mdp.n_actions}, P)")
        return cls(np.zeros(features.shape[-1]), features[mdp.context])

    @classmethod
    def random(cls, mdp: TabularMDP, seed: int, dimension: int, scale: float = 1.0) -> LogLinearPolicy:
        """Normal features of `dimension` per context and action and normal weights of deviation `scale`."""
        rng = generator(seed)
        features = rng.standard_normal((mdp.n_contexts, mdp.n_actions, whole("dimension", dimension, 1)))
        return cls.from_contexts(mdp, features).with_theta(scale * rng.standard_normal(dimension))

    @classmethod
    def tabular(cls, mdp: TabularMDP) -> LogLinearPolicy:
        """One indicator feature per (context, action): the softmax table written as a log-linear policy."""
        size = mdp.n_contexts * mdp.n_actions
        return cls.from_contexts(mdp, np.eye(size).reshape(mdp.n_contexts, mdp.n_actions, size))

    def probabilities(self, mdp: TabularMDP) -> np.ndarray:
        """(..., S, A) action probabilities."""
        if self.features.shape[:2] != (mdp.n_states, mdp.n_actions):
            raise InputError("policy features", f"shape {self.features.shape}", f"({mdp.n_states}, {mdp.n_actions}, P)")
        logits = np.einsum("sap,...p->...sa", self.features, self.theta)
        return masked_softmax(logits / self.temperature, mdp.mask)

    def pullback(self, mdp: TabularMDP, weight: np.ndarray) -> np.ndarray:
        """(..., P): d log pi(a|s) / d theta = (features[s,a] - sum_a' pi(a'|s) features[s,a']) / temperature."""
        per_state = _logit_weight(self.probabilities(mdp), mdp.mask, weight) / self.temperature
        return np.einsum("...sa,sap->...p", per_state, self.features)

    def with_theta(self, theta: np.ndarray) -> LogLinearPolicy:
        """The same features with other weights."""
        return replace(self, theta=theta)
