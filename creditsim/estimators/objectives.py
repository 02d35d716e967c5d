"""Several rewards: combine and normalise (RC), normalise and combine (AC, GDPO), or weigh by spread (DVAO)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from creditsim.arrays import Array, namespace, numbers
from creditsim.errors import InputError
from creditsim.estimators.base import estimator
from creditsim.estimators.scores import Entries, check_number, entries, episode_score, reward_table
from creditsim.rollouts import Rollouts
from creditsim.segments import segment_normalise, segment_std

__all__ = ["ac", "dvao", "gdpo", "rc"]

_DVAO = "arXiv:2605.25604"
_PRESETS = {"paper": {"eps": 0.0}}


@estimator("dvao", paper=_DVAO, evidence="notes", presets=_PRESETS)
def dvao(rollouts: Rollouts, *, weights: Sequence[float] | None = None, ddof: int = 0, eps: float = 1e-6) -> Array:
    """Dynamic variance-adaptive advantages: each objective weighs by its deviation inside the group.

    A_i = sum_k v_k A_{i,k},  v_k = w_k s_k / sum_l w_l s_l,  A_{i,k} = (r_{i,k} - mean_k) / s_k, over the group, s with
    divisor n - ddof. It is computed as what it equals, A_i = (R_i - mean R) / (sum_l w_l s_l + eps), R_i = sum_k w_k
    r_{i,k}: the combined reward over the weighted sum of deviations instead of over its own.

    In: K rewards per trajectory, column `rewards_K` (N, K) or sums of the row column `reward_K` (M, K); without either
    the return is the one objective. `weights` (K,) >= 0, None: even, 1/K each. Out: advantage (M,), without unit, the
    same for every row of a trajectory.
    Degenerate input: an objective that does not deviate in the group weighs nothing; where none does, all get 0; so do
    groups of one, and rows of weight 0, which enter nothing. Errors: InputError for another number of weights than
    rewards, negative weights or weights that are all 0, a negative eps.
    The propositions need ddof 0 and weights that sum to 1. Source: two write-ups that agree (notes); eps is inferred.
    """
    at = _Objectives.of(rollouts, weights, "dvao")
    check_number("eps", eps, 0.0)
    xp = namespace(at.table)
    centred = segment_normalise(at.entry.score, at.entry.group, rollouts.n_groups, scale=False)
    n = rollouts.n_groups * at.weight.size
    deviation = segment_std(at.table.reshape(-1), at.cell, n, ddof=ddof).reshape(-1, at.weight.size)
    spread = (deviation * at.weight).sum(axis=1)
    scale = xp.where(spread > 0, 1.0 / xp.where(spread > 0, spread + eps, 1.0), 0.0)
    return at.entry.to_rows(centred * scale[at.entry.group])


@estimator("rc", paper=_DVAO, evidence="notes", presets=_PRESETS)
def rc(rollouts: Rollouts, *, weights: Sequence[float] | None = None, ddof: int = 0, eps: float = 1e-6) -> Array:
    """Reward combination: the weighted sum of the rewards, standardised inside its group.

    A_i = (R_i - mean R) / (std R + eps), R_i = sum_k w_k r_{i,k}: GRPO on the combined reward.
    Columns, weights, degenerate input and errors as in `dvao`. Source: write-ups of DVAO, its baseline (notes).
    """
    at = _Objectives.of(rollouts, weights, "rc")
    check_number("eps", eps, 0.0)
    entry = at.entry
    return entry.to_rows(segment_normalise(entry.score, entry.group, rollouts.n_groups, ddof=ddof, eps=eps))


@estimator("ac", paper=_DVAO, evidence="notes", presets=_PRESETS)
def ac(rollouts: Rollouts, *, weights: Sequence[float] | None = None, ddof: int = 0, eps: float = 1e-6) -> Array:
    """Advantage combination: each reward is standardised inside its group, then they are summed with fixed weights.

    A_i = sum_k w_k A_{i,k},  A_{i,k} = (r_{i,k} - mean_k) / (s_k + eps).
    Columns, weights, degenerate input and errors as in `dvao`. Source: write-ups of DVAO, its baseline (notes).
    """
    at = _Objectives.of(rollouts, weights, "ac")
    check_number("eps", eps, 0.0)
    return at.entry.to_rows(at.standardised(ddof, eps))


@estimator("gdpo", paper="verl and TRL: GDPO, normalize_then_sum", evidence="code", presets={"trl": {"eps": 1e-4}})
def gdpo(rollouts: Rollouts, *, weights: Sequence[float] | None = None, ddof: int = 1, eps: float = 1e-6) -> Array:
    """Decoupled normalisation: advantage combination, standardised once more over the batch.

    A_i = (C_i - mean_B C) / (std_B C + eps),  C_i = sum_k w_k (r_{i,k} - mean_k) / (s_k + eps), B the batch; what
    `grpo` gives with aggregation "normalize_then_sum". A factor common to all weights drops out.
    Columns, weights, degenerate input and errors as in `dvao`. Source: TRL, multi-reward aggregation (code); that this
    is the baseline which DVAO's tables call GDPO is from notes.
    """
    at = _Objectives.of(rollouts, weights, "gdpo")
    check_number("eps", eps, 0.0)
    combined = at.standardised(ddof, eps)
    whitened = segment_normalise(combined, at.entry.batch, rollouts.n_batches, ddof=ddof, eps=eps)
    return at.entry.to_rows(whitened)


@dataclass(frozen=True, eq=False)
class _Objectives:
    """K rewards of the N trajectories: `table` (N, K), `weight` (K,), and one segment for each (group, reward)."""

    entry: Entries
    table: Array
    weight: Array
    cell: Array

    @classmethod
    def of(cls, rollouts: Rollouts, weights: Sequence[float] | None, name: str) -> _Objectives:
        xp = namespace(rollouts.reward)
        if "rewards_K" in rollouts.trajectory_columns:
            k = rollouts.trajectory_columns["rewards_K"].shape[-1]
        else:
            k = rollouts.columns["reward_K"].shape[-1] if "reward_K" in rollouts.columns else 0
        allowed = "finite numbers >= 0, at least one above 0"
        told = numbers(f"{name} weights", () if weights is None else weights, allowed)
        given = [1.0 / max(k, 1)] * max(k, 1) if weights is None else told.reshape(-1).tolist()
        if told.ndim != 1 or not (all(w >= 0 and math.isfinite(w) for w in given) and any(given)):
            raise InputError(f"{name} weights", given, allowed)
        if k:
            table = reward_table(rollouts, given, needed_by=name)
        elif len(given) == 1:
            table = episode_score(rollouts)[:, None]
        else:
            raise InputError(f"{name} weights", f"{len(given)} weights", "one: these rollouts have a single reward")
        weight = xp.asarray(given)
        entry = entries(rollouts, (table * weight).sum(axis=1), "trajectory", "exclude")
        cell = xp.where(entry.group[:, None] >= 0, entry.group[:, None] * len(given) + xp.arange(len(given)), -1)
        return cls(entry, table, weight, cell.reshape(-1))

    def standardised(self, ddof: int, eps: float) -> Array:
        """(N,) weighted sum of the rewards, each standardised inside its group."""
        k = self.weight.size
        n = self.entry.rollouts.n_groups * k
        each = segment_normalise(self.table.reshape(-1), self.cell, n, ddof=ddof, eps=eps)
        return (each.reshape(-1, k) * self.weight).sum(axis=1)
