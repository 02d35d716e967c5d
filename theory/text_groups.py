"""Step groups of text rollouts: how large they are and what they mix, task by task."""

from __future__ import annotations

import numpy as np

from creditsim.rollouts import Rollouts
from creditsim.segments import context_ids, factorize
from creditsim.stats.intervals import Interval, t_interval

__all__ = ["grouped_share", "history_ids", "mixed_share", "over_tasks", "row_sizes"]


def history_ids(rollouts: Rollouts, k: int) -> np.ndarray:
    """(M,) id of each row's last k+1 observations; shorter at the start of an episode. k = 0: the anchor."""
    return np.asarray(context_ids(rollouts, k)[0])


def row_sizes(rollouts: Rollouts, key: np.ndarray) -> np.ndarray:
    """(M,) members of each row's step group: rows of its task with the same key, itself included."""
    ids, n = factorize(rollouts.group_rows, key)
    return np.bincount(ids, minlength=n)[ids]


def grouped_share(rollouts: Rollouts, key: np.ndarray) -> np.ndarray:
    """(G,) by task: share of the rows that have company in their step group."""
    return _by_task(rollouts, row_sizes(rollouts, key) >= 2, np.ones(rollouts.n_rows, bool))


def mixed_share(rollouts: Rollouts, key: np.ndarray, kind: np.ndarray) -> np.ndarray:
    """(G,) by task: of the rows with company, the share whose step group holds rows of another kind.

    NaN for a task in which no row has company.
    """
    ids, n = factorize(rollouts.group_rows, key)
    cells, _ = factorize(ids, kind)
    size = np.bincount(ids, minlength=n)[ids]
    alike = np.bincount(cells)[cells]
    return _by_task(rollouts, alike < size, size >= 2)


def over_tasks(share: np.ndarray, alpha: float) -> Interval:
    """T interval for the mean of a share over tasks, which are the independent units; tasks without one left out."""
    known = share[~np.isnan(share)]
    return t_interval(np.array(known.size), known.mean(), known.var(ddof=1), alpha=alpha)


def _by_task(rollouts: Rollouts, part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    group = np.asarray(rollouts.group_rows)
    all_rows = np.bincount(group[whole], minlength=rollouts.n_groups).astype(np.float64)
    all_rows[all_rows == 0] = np.nan
    return np.bincount(group[part & whole], minlength=rollouts.n_groups) / all_rows
