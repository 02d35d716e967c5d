"""Exact mean and variance of an estimator, per state and action and of its gradient, beside the exact targets."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from creditsim.arrays import Array, to_numpy
from creditsim.errors import InputError, NumericalError, choose
from creditsim.exact.accumulate import GradientSums, GroupSums, RowSums
from creditsim.exact.compositions import LIMIT, compositions
from creditsim.exact.dp import solve
from creditsim.exact.gradient import policy_gradient
from creditsim.exact.trajectories import enumerate_trajectories
from creditsim.mdp.policy import Policy
from creditsim.mdp.table import TabularMDP
from creditsim.rollouts import Rollouts

__all__ = ["Credit", "GradientMoments", "Keys", "Moments", "by_anchor_size", "exact_moments", "moments_of"]

Credit: TypeAlias = Callable[[Rollouts], Array]
"""An estimator with its parameters bound: rollouts -> one advantage per row (M,)."""

Keys: TypeAlias = Callable[[Rollouts], tuple[Array, int]]
"""Rollouts -> integer key of each row (M,) and the number of possible keys, the same for any rollouts."""

_TOLERANCE = 1e-12
_MOST_TRAJECTORIES = 200_000


@dataclass(frozen=True, eq=False)
class GradientMoments:
    """Law of g = (1/N) sum over rows of weight * advantage * dlog pi(a|context)/dtheta, N trajectories in the loss.

    `mean` (P,) = E[g]; `exact` (P,) = dJ/dtheta; `trace` = tr Cov[g]; `covariance` (P,P), or None if not asked for.
    """

    mean: np.ndarray
    exact: np.ndarray
    trace: float
    covariance: np.ndarray | None

    @property
    def bias(self) -> np.ndarray:
        """(P,) E[g] - dJ/dtheta."""
        return self.mean - self.exact

    @property
    def cosine(self) -> float:
        """Cosine of the angle between E[g] and dJ/dtheta; NaN if either is zero."""
        lengths = float(np.linalg.norm(self.mean) * np.linalg.norm(self.exact))
        return float(self.mean @ self.exact) / lengths if lengths > 0 else float("nan")

    @property
    def signal_to_noise(self) -> float:
        """|E[g]| / sqrt(tr Cov[g]); infinite without noise, NaN if there is neither signal nor noise."""
        signal = float(np.linalg.norm(self.mean))
        if self.trace > 0:
            return signal / self.trace**0.5
        return float("inf") if signal > 0 else float("nan")


@dataclass(frozen=True, eq=False)
class Moments:
    """Exact law of an estimator's advantage, pooled per key; K keys, those that some row can have.

    ============ ======= =============================================================================
    `keys`       (K, k)  (state, action); (step, state, action); or the caller's key
    `rows`       (K,)    expected number of rows per batch, weighted by column `weight` where there is one
    `mean`       (K,)    E[sum of advantages of the key's rows] / `rows`
    `variance`   (K,)    E[sum of their squares] / `rows` - `mean`^2
    `target`     (K,)    the same mean of the exact advantage A(s,a) with the steps left at each row
    `mse`        (K,)    E[sum of (advantage - exact)^2] / `rows`
    ============ ======= =============================================================================

    `degenerate`: expected degenerate groups (all returns equal to 1e-12, relative) per expected group.
    `singleton_anchors`: expected anchor groups (rows of a group that share an observation) of one row, per expected
    anchor group. `batches`: number of batches enumerated.
    """

    keys: np.ndarray
    rows: np.ndarray
    mean: np.ndarray
    variance: np.ndarray
    target: np.ndarray
    mse: np.ndarray
    gradient: GradientMoments
    degenerate: float
    singleton_anchors: float
    batches: int

    @property
    def bias(self) -> np.ndarray:
        """(K,) `mean` - `target`."""
        return self.mean - self.target

    @property
    def second_moment(self) -> np.ndarray:
        """(K,) E[sum of squared advantages] / `rows`."""
        return self.variance + self.mean**2

    def index(self, *key: int) -> int:
        """Position of a key; InputError if no row can have it."""
        found = np.flatnonzero((self.keys == np.asarray(key)).all(axis=1))
        if found.size != 1:
            raise InputError("key", key, f"one of the {self.keys.shape[0]} keys met")
        return int(found[0])


def exact_moments(
    credit: Credit,
    mdp: TabularMDP,
    policy: Policy,
    *,
    group_size: int,
    groups: int = 1,
    by: str | Keys = "state",
    symmetric: bool = True,
    limit: int = LIMIT,
    gamma: float | None = None,
    covariance: bool = True,
    chunk_rows: int = 1 << 18,
) -> Moments:
    """Exact moments of an estimator under independent groups, by enumerating all group compositions.

    E[f] = sum over compositions c of P(c) f(c): a batch holds `groups` groups of `group_size` trajectories, and the
    estimator is called once per chunk with batch = composition. Keep `groups` = 1 unless the estimator uses statistics
    of the whole batch. `by`: "state" pools rows per (s,a), "time" per (step,s,a); a function gives keys of its own.
    `symmetric` False lists ordered tuples, for estimators that look at the order of trajectories. `gamma` (default
    `mdp.gamma`) discounts the exact targets, not the estimator. `chunk_rows` bounds the rows in memory.
    Errors: TooLargeError with the count past `limit` compositions; InputError for a result that is not (M,) finite
    numbers, or a policy with replicates. (inferred)
    """
    pi = _table(mdp, policy)
    law = enumerate_trajectories(mdp, pi, limit=min(limit, _MOST_TRAJECTORIES))
    longest = int(law.rollouts.length.max())
    chunk = max(chunk_rows // (groups * group_size * longest), 1)
    parts = compositions(law, group_size=group_size, groups=groups, symmetric=symmetric, limit=limit, chunk=chunk)
    batches = ((law.compose(index, groups), probability) for index, probability in parts)
    return _moments(batches, credit, mdp, policy, pi, by, gamma, covariance)


def moments_of(
    rollouts: Rollouts,
    probability: Array,
    credit: Credit,
    mdp: TabularMDP,
    policy: Policy,
    *,
    by: str | Keys = "state",
    gamma: float | None = None,
    covariance: bool = True,
) -> Moments:
    """Exact moments of an estimator over listed outcomes: batch b of `rollouts` occurs with `probability[b]` (B,).

    For sampling designs that were enumerated: any tree, truncation or selection. Rows carry columns `state` and
    `action` of `mdp`; rows of weight 0 (column `weight`) and trajectories of such rows only do not count.
    Errors: as `exact_moments`; NumericalError if the probabilities miss 1 by more than 1e-12. (inferred)
    """
    chance = to_numpy(probability).astype(np.float64)
    if chance.shape != (rollouts.n_batches,):
        raise InputError("probability", f"shape {chance.shape}", f"({rollouts.n_batches},), one entry per batch")
    return _moments([(rollouts, chance)], credit, mdp, policy, _table(mdp, policy), by, gamma, covariance)


def by_anchor_size(mdp: TabularMDP, largest: int) -> Keys:
    """Keys (state, action, n) as the integer (state * A + action) * (largest + 1) + n, n the row's anchor-group size.

    An anchor group is the rows of a group that share an observation; sizes above `largest` count as `largest`. With it
    `exact_moments` gives E[advantage | s, a, n].
    """

    def keys(rollouts: Rollouts) -> tuple[np.ndarray, int]:
        anchor = rollouts.group_rows * mdp.n_observations + rollouts.observation
        size = np.minimum(np.bincount(anchor)[anchor], largest)
        entry = _entries(mdp, rollouts)
        return entry * (largest + 1) + size, mdp.n_states * mdp.n_actions * (largest + 1)

    return keys


def _moments(
    batches: Iterable[tuple[Rollouts, np.ndarray]],
    credit: Credit,
    mdp: TabularMDP,
    policy: Policy,
    pi: np.ndarray,
    by: str | Keys,
    gamma: float | None,
    covariance: bool,
) -> Moments:
    keys, axes = _keys(mdp, by)
    solution = solve(mdp, pi, gamma)
    n = mdp.n_states * mdp.n_actions
    score = policy.pullback(mdp, np.eye(n).reshape(n, mdp.n_states, mdp.n_actions))
    per_key: RowSums | None = None
    gradient, group = GradientSums(score, covariance), GroupSums(mdp.n_observations)
    count = 0
    for rollouts, probability in batches:
        value = _advantage(credit, rollouts)
        key, size = keys(rollouts)
        per_key = RowSums(size) if per_key is None else per_key
        row_weight = rollouts.columns.get("weight", np.ones(rollouts.n_rows))
        weight = probability[rollouts.batch_rows] * row_weight
        per_key.add(np.asarray(key, np.int64), value, solution.row_advantage(rollouts), weight)
        gradient.add(rollouts, _entries(mdp, rollouts), value * row_weight, probability)
        group.add(rollouts, probability)
        count += probability.size
    total, degenerate, singletons = group.result()
    if per_key is None or abs(total - 1.0) > _TOLERANCE:
        raise NumericalError(f"probabilities of the batches sum to {total:.15g}, allowed 1 to within {_TOLERANCE:g}")
    met, rows, mean, variance, target, mse = per_key.result()
    law = gradient.result()
    return Moments(
        keys=np.stack(np.unravel_index(met, axes), axis=1) if axes else met[:, None],
        rows=rows,
        mean=mean,
        variance=variance,
        target=target,
        mse=mse,
        gradient=GradientMoments(law[0], policy_gradient(mdp, policy, gamma), law[1], law[2]),
        degenerate=degenerate,
        singleton_anchors=singletons,
        batches=count,
    )


def _keys(mdp: TabularMDP, by: str | Keys) -> tuple[Keys, tuple[int, ...]]:
    """The function that gives rows their keys, and the axes that a key unravels to (none: it is the caller's)."""
    if callable(by):
        return by, ()
    n = mdp.n_states * mdp.n_actions
    if choose("by", by, ("state", "time")) == "state":
        return lambda rollouts: (_entries(mdp, rollouts), n), (mdp.n_states, mdp.n_actions)
    axes = (mdp.horizon, mdp.n_states, mdp.n_actions)
    return lambda rollouts: (rollouts.step * n + _entries(mdp, rollouts), mdp.horizon * n), axes


def _entries(mdp: TabularMDP, rollouts: Rollouts) -> np.ndarray:
    return rollouts.column("state", needed_by="exact moments") * mdp.n_actions + rollouts.action


def _advantage(credit: Credit, rollouts: Rollouts) -> np.ndarray:
    value = to_numpy(credit(rollouts))
    if value.shape != (rollouts.n_rows,):
        raise InputError("credit", f"a result of shape {value.shape}", f"({rollouts.n_rows},), one number per row")
    if not np.isfinite(value).all():
        raise InputError("credit", "NaN or infinity", "finite numbers")
    return value.astype(np.float64)


def _table(mdp: TabularMDP, policy: Policy) -> np.ndarray:
    pi = policy.probabilities(mdp)
    if pi.ndim != 2:
        raise InputError("policy", f"replicates of shape {pi.shape[:-2]}", "one policy")
    return pi
