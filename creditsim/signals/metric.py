"""A number per trajectory by which a group can be split: entropy, length, a feature of the answer, or chance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from creditsim.arrays import numbers
from creditsim.errors import InputError, choose
from creditsim.rng import Purpose, normals
from creditsim.rollouts import Rollouts
from creditsim.segments import segment_mean, segment_sum
from creditsim.signals.base import State, signal, state_table

__all__ = ["metric"]

Kind = Literal["entropy", "length", "action"]


@signal("metric", paper="CANON, arXiv:2509.23962", evidence="inferred", needs=("entropy",), makes=("metric",))
def metric(
    rollouts: Rollouts,
    state: State,
    *,
    kind: Kind = "entropy",
    values: Sequence[float] | None = None,
    noise: float = 0.0,
) -> tuple[dict[str, np.ndarray], State]:
    """`metric` (M,), the same for all rows of a trajectory: the training metric that splits its group.

    metric_i = f_i + noise z_i, z_i standard normal, one draw per trajectory and update, with f_i by `kind`:
    entropy  mean entropy of the policy over the trajectory's rows, in nats
    length   its tokens: the sum of column `tokens`, or its rows
    action   the mean of values[a] over its actions; `values` has one number per action (a feature of the answer)
    With noise far above the spread of f the split is by chance, the paper's control.
    State used where there is noise: `seed` and `replicate` (R,). Errors: InputError for an unknown kind, `values`
    missing, too short or not finite, a negative noise.
    """
    n = rollouts.n_trajectories
    if choose("signal metric kind", kind, ("entropy", "length", "action")) == "entropy":
        found = segment_mean(rollouts.column("entropy", "metric"), rollouts.trajectory, n)
    elif kind == "length":
        tokens = rollouts.columns.get("tokens", np.ones(rollouts.n_rows))
        found = segment_sum(np.asarray(tokens, np.float64), rollouts.trajectory, n)
    else:
        actions = int(rollouts.action.max(initial=-1)) + 1
        allowed = f"at least {actions} finite numbers, one per action"
        table = numbers("signal metric values", () if values is None else values, allowed)
        if table.ndim != 1 or table.size < actions or not np.isfinite(table).all():
            raise InputError("signal metric values", values, allowed)
        found = segment_mean(table[rollouts.action], rollouts.trajectory, n)
    if not (np.isfinite(noise) and noise >= 0):
        raise InputError("signal metric noise", noise, "a finite number >= 0")
    if noise > 0:
        found = found + noise * _chance(rollouts, state)
    return {"metric": found[rollouts.trajectory]}, state


def _chance(rollouts: Rollouts, state: State) -> np.ndarray:
    """(N,) a standard normal for each trajectory, by its replicate's number and its place in the batch."""
    replicate, seed = (state_table(state, name, "metric") for name in ("replicate", "seed"))
    count = np.bincount(rollouts.batch, minlength=replicate.shape[0])
    order = np.argsort(rollouts.batch, kind="stable")
    place = np.empty(rollouts.n_trajectories, np.int64)
    place[order] = np.arange(rollouts.n_trajectories) - np.repeat(np.cumsum(count) - count, count)
    draws = normals(int(seed), replicate, Purpose.NOISE, int(count.max(initial=0)))
    return draws[rollouts.batch, place]
