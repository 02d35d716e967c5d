"""What group estimators share: the score of a trajectory, who is a member of statistics, and the way back to rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from creditsim.arrays import Array, namespace
from creditsim.errors import InputError, choose
from creditsim.rollouts import Rollouts
from creditsim.segments import repeat_to_rows, segment_count, sum_rows

__all__ = [
    "Entries",
    "Masked",
    "Weighting",
    "check_number",
    "entries",
    "episode_score",
    "has_mask",
    "live_rows",
    "members",
    "reward_table",
    "token_weight",
    "weighted_score",
]

Weighting = Literal["trajectory", "step"]
Masked = Literal["exclude", "include"]


def check_number(field: str, value: float, low: float, high: float = math.inf) -> None:
    """Raise InputError unless low <= value <= high."""
    if not low <= value <= high:
        raise InputError(field, value, f"{low:g} <= {field}" + (f" <= {high:g}" if high < math.inf else ""))


def episode_score(rollouts: Rollouts) -> Array:
    """Undiscounted return of each trajectory, S_i = sum_t r_{i,t}, shape (N,); 0 for a trajectory without rows."""
    return sum_rows(rollouts.reward, rollouts.offsets)


def weighted_score(rollouts: Rollouts, weights: Sequence[float], needed_by: str) -> Array:
    """Weighted sum of the trajectory column `rewards_K`, S_i = sum_k w_k r_{i,k}, shape (N,)."""
    return (reward_table(rollouts, weights, needed_by) * namespace(rollouts.reward).asarray(weights)).sum(axis=1)


def reward_table(rollouts: Rollouts, weights: Sequence[float], needed_by: str) -> Array:
    """K rewards of each trajectory (N, K): column `rewards_K`, else the sums of row column `reward_K` (M, K)."""
    if "rewards_K" not in rollouts.trajectory_columns and "reward_K" in rollouts.columns:
        xp, rows = namespace(rollouts.reward), rollouts.columns["reward_K"]
        sums = [sum_rows(rows[:, k], rollouts.offsets) for k in range(rows.shape[1])]
        table = xp.stack(sums, axis=1)
    else:
        table = rollouts.column("rewards_K", needed_by=needed_by)
    if table.ndim != 2 or table.shape[1] != len(weights):
        raise InputError("reward_weights", f"{len(weights)} weights", f"one per column of rewards_K {table.shape}")
    return table


def live_rows(rollouts: Rollouts, masked: Masked = "exclude") -> Array:
    """(M,) bool: rows that enter statistics; `exclude` leaves out rows of `weight` 0, `include` keeps all."""
    if not has_mask(rollouts, masked):
        return namespace(rollouts.reward).ones(rollouts.n_rows, bool)
    return rollouts.columns["weight"] != 0


def has_mask(rollouts: Rollouts, masked: Masked) -> bool:
    """Whether any row may be left out of statistics."""
    choose("masked", masked, ("exclude", "include"))
    return masked == "exclude" and "weight" in rollouts.columns


def members(rollouts: Rollouts, masked: Masked = "exclude") -> Array:
    """(N,) bool: trajectories that enter statistics, those with at least one live row."""
    if not has_mask(rollouts, masked):
        return rollouts.length > 0
    live = live_rows(rollouts, masked)
    return segment_count(rollouts.reward, rollouts.trajectory, rollouts.n_trajectories, where=live) > 0


def token_weight(rollouts: Rollouts) -> Array:
    """(M,) tokens of each row: column `tokens` where there is one, else 1."""
    if "tokens" in rollouts.columns:
        return rollouts.columns["tokens"]
    return namespace(rollouts.reward).ones(rollouts.n_rows)


@dataclass(frozen=True, eq=False)
class Entries:
    """The E entries of group statistics: one per trajectory, or one per row, each with its trajectory's score.

    ========= ============= ==========================================================================
    field     shape         meaning
    ========= ============= ==========================================================================
    `score`   (E,) float    score of the entry's trajectory
    `group`   (E,) int64    segment ids; -1 for entries that enter no statistics
    `batch`   (E,) int64    the same for batches
    `live`    (M,) bool     rows that get credit; None where all do
    ========= ============= ==========================================================================
    """

    rollouts: Rollouts
    score: Array
    group: Array
    batch: Array
    live: Array | None
    per_row: bool

    @property
    def tokens(self) -> Array:
        """(E,) tokens of the live rows of each entry."""
        return self.total(token_weight(self.rollouts))

    def total(self, values: Array) -> Array:
        """Sum of a value per row over the live rows of each entry, (M,) -> (E,)."""
        if self.live is not None:
            values = namespace(values).where(self.live, values, 0.0)
        return values if self.per_row else sum_rows(values, self.rollouts.offsets)

    def batch_of_groups(self) -> Array:
        """(G,) batch of each group; -1 for groups without entries."""
        inside = self.group >= 0
        batch = namespace(self.score).full(self.rollouts.n_groups, -1)
        batch[self.group[inside]] = self.batch[inside]
        return batch

    def to_rows(self, values: Array) -> Array:
        """Repeat a value per entry to rows, (E,) -> (M,); rows that are not live get 0."""
        rows = values if self.per_row else repeat_to_rows(values, self.rollouts.offsets)
        return rows if self.live is None else namespace(rows).where(self.live, rows, 0.0)


def entries(rollouts: Rollouts, score: Array, weighting: Weighting, masked: Masked) -> Entries:
    """Make the entries of group statistics from a score per trajectory (N,).

    `weighting="trajectory"` makes one entry of each trajectory; "step" one of each row, so that a long trajectory
    counts once per step. Under `masked="exclude"` rows of weight 0, and trajectories with no other rows, are left out.
    """
    choose("weighting", weighting, ("trajectory", "step"))
    xp = namespace(rollouts.reward)
    per_row = weighting == "step"
    live = live_rows(rollouts, masked) if has_mask(rollouts, masked) else None
    if per_row:
        score, group, batch = score[rollouts.trajectory], rollouts.group_rows, rollouts.batch_rows
    else:
        group, batch = rollouts.group, rollouts.batch
    keep = live if per_row else members(rollouts, masked)
    if keep is not None:
        group, batch = xp.where(keep, group, -1), xp.where(keep, batch, -1)
    return Entries(rollouts, score, group, batch, live, per_row)
