"""Policies made of others: fixed tables, greedy choices, mixtures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from creditsim.errors import InputError
from creditsim.mdp.policy import Policy
from creditsim.mdp.table import TabularMDP

__all__ = ["FixedPolicy", "MixturePolicy", "check_probabilities", "greedy"]

_TOLERANCE = 1e-9


def check_probabilities(mdp: TabularMDP, pi: np.ndarray, field: str = "policy probabilities") -> np.ndarray:
    """Return pi (..., S, A) as float64 if each row of a state that is not terminal is a distribution over its actions.

    Errors: InputError for another shape, entries that are negative or NaN, mass on forbidden actions, other sums.
    """
    pi = np.asarray(pi, np.float64)
    if pi.ndim < 2 or pi.shape[-2:] != (mdp.n_states, mdp.n_actions):
        raise InputError(field, f"shape {pi.shape}", f"(..., {mdp.n_states}, {mdp.n_actions})")
    if not (pi >= 0).all():
        raise InputError(field, float(pi.min()), "probabilities >= 0")
    if not mdp.mask.all() and (pi[..., ~mdp.mask & ~mdp.terminal[:, None]] > 0).any():
        raise InputError(field, "a forbidden action with positive probability", "0 wherever mask is False")
    off = np.where(mdp.terminal, 0.0, np.abs(pi.sum(axis=-1) - 1.0))
    if not (off <= _TOLERANCE).all():
        state = int(np.argwhere(~(off <= _TOLERANCE))[0, -1])
        raise InputError(field, f"a row of state {state} that is {off.max():.3g} off", "rows that sum to 1")
    return pi


@dataclass(frozen=True, eq=False)
class FixedPolicy:
    """A table (..., S, A) of probabilities without parameters: references, teachers, behaviour policies.

    It is given by state, so it may see what the observation hides. `theta` has no entries.
    """

    table: np.ndarray

    @property
    def theta(self) -> np.ndarray:
        """(..., 0) no parameters."""
        return np.zeros((*self.table.shape[:-2], 0))

    def probabilities(self, mdp: TabularMDP) -> np.ndarray:
        """(..., S, A) the table, checked against the MDP."""
        return check_probabilities(mdp, self.table)

    def pullback(self, mdp: TabularMDP, weight: np.ndarray) -> np.ndarray:
        """(..., 0): nothing to differentiate."""
        lead = np.broadcast_shapes(self.table.shape[:-2], weight.shape[:-2])
        return np.zeros((*lead, 0))

    def with_theta(self, theta: np.ndarray) -> FixedPolicy:
        """The same policy; only an empty `theta` fits."""
        if theta.shape[-1] != 0:
            raise InputError("policy theta", f"{theta.shape[-1]} parameters", "none for a fixed policy")
        return self


def greedy(mdp: TabularMDP, policy: Policy) -> FixedPolicy:
    """Return the policy that takes the most probable action of `policy` in each state; ties: the lowest index."""
    pi = policy.probabilities(mdp)
    return FixedPolicy((np.arange(mdp.n_actions) == pi.argmax(axis=-1)[..., None]).astype(np.float64))


@dataclass(frozen=True, eq=False)
class MixturePolicy:
    """A fresh draw of component k for every decision: pi(a|s) = sum_k weights_k pi_k(a|s).

    `theta` (..., P) joins the parameters of all components, which therefore share their leading axes. The score is
    d log pi = sum_k weights_k (pi_k / pi) d log pi_k.
    """

    components: Sequence[Policy]
    weights: Sequence[float]

    def __post_init__(self) -> None:
        weights = np.asarray(self.weights, np.float64)
        if len(self.components) != weights.size or weights.size == 0:
            raise InputError("mixture weights", f"{weights.size} of them", f"{len(self.components)}, at least one")
        if not (weights >= 0).all() or abs(weights.sum() - 1.0) > _TOLERANCE:
            raise InputError("mixture weights", weights.tolist(), "numbers >= 0 that sum to 1")

    @property
    def theta(self) -> np.ndarray:
        """(..., P) parameters of the components, one after the other."""
        return _join([policy.theta for policy in self.components])

    def probabilities(self, mdp: TabularMDP) -> np.ndarray:
        """(..., S, A) action probabilities."""
        parts = [w * policy.probabilities(mdp) for w, policy in zip(self.weights, self.components, strict=True)]
        return np.sum(np.broadcast_arrays(*parts), axis=0)

    def pullback(self, mdp: TabularMDP, weight: np.ndarray) -> np.ndarray:
        """(..., P): each component's pullback of the weight times its share of the action's probability."""
        pi = self.probabilities(mdp)
        out = []
        for w, policy in zip(self.weights, self.components, strict=True):
            share = np.divide(w * policy.probabilities(mdp), pi, out=np.zeros_like(pi), where=pi > 0)
            out.append(policy.pullback(mdp, weight * share))
        return _join(out)

    def with_theta(self, theta: np.ndarray) -> MixturePolicy:
        """The same components with the parameters (..., P) dealt out in order."""
        sizes = [policy.theta.shape[-1] for policy in self.components]
        if theta.shape[-1] != sum(sizes):
            raise InputError("policy theta", f"{theta.shape[-1]} parameters", f"{sum(sizes)}")
        parts = np.split(theta, np.cumsum(sizes)[:-1], axis=-1)
        moved = [policy.with_theta(part) for policy, part in zip(self.components, parts, strict=True)]
        return replace(self, components=moved)


def _join(parts: list[np.ndarray]) -> np.ndarray:
    lead = np.broadcast_shapes(*(part.shape[:-1] for part in parts))
    return np.concatenate([np.broadcast_to(part, (*lead, part.shape[-1])) for part in parts], axis=-1)
