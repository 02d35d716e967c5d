"""A set of rollouts in numbers: success with its interval, lengths, validity, and how honest the anchors are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from creditsim.rollouts import Rollouts
from creditsim.segments import segment_mean
from creditsim.stats.intervals import proportion_interval, t_interval
from llm_bridge.collect.purity import anchor_purity, anchor_sizes, context_inconsistency

__all__ = ["success_interval", "summarise"]


def summarise(rollouts: Rollouts, *, history: int, alpha: float = 0.05) -> dict[str, Any]:
    """Numbers of rollouts, for a table or JSON; None where one is not defined.

    In: what a `TextSampler` drew, with its outcomes (`records.with_outcomes`). Of a tree, each path from the start to
    a leaf is one episode, and one that stands in the middle has not succeeded; shares of rows are of the rows
    generated. `history` is the window of the context inconsistency.
    """
    paths = rollouts.paths()[0] if rollouts.is_tree else rollouts
    success, score = (paths.column(name, "a summary") for name in ("success", "task_score"))
    mean, low, high = success_interval(success, paths.group, alpha=alpha)
    columns = rollouts.columns
    sizes = anchor_sizes(rollouts)
    return {
        "episodes": paths.n_trajectories,
        "groups": paths.n_groups,
        "rows": rollouts.n_rows,
        "success": mean,
        "success_low": low,
        "success_high": high,
        "alpha": alpha,
        "task_score": float(score.mean()),
        "mean_length": float(paths.length.mean()),
        "terminated": float(paths.terminated.mean()),
        "valid": float(columns["valid"].mean()),
        "admissible": float(columns["admissible"].mean()),
        "tokens_per_step": float(columns["tokens"].mean()),
        "entropy": float(columns["entropy"].mean()),
        "anchor_group_size": float(sizes.mean()) if sizes.size else None,
        "anchors": {
            "state": _plain(anchor_purity(rollouts).as_dict()) if "state" in columns else None,
            f"history_{history}": _plain(context_inconsistency(rollouts, history).as_dict()),
        },
    }


def success_interval(success: np.ndarray, group: np.ndarray, *, alpha: float = 0.05) -> tuple[float, float, float]:
    """Success rate with its interval, tasks as the independent units: (mean, low, high).

    One episode per task: Clopper-Pearson. Several: a t interval over the tasks' means, as episodes of one task are
    alike; where all tasks have one mean that shows no spread, Clopper-Pearson with one trial per task, which is safe.
    """
    per_task = segment_mean(np.asarray(success, np.float64), group, int(group.max()) + 1)
    n, mean = per_task.size, float(np.mean(per_task))
    single = success.size == n
    if single or np.ptp(per_task) == 0:
        interval = proportion_interval(np.array(round(mean * n)), np.array(n), alpha=alpha)
    else:
        interval = t_interval(np.array(n), np.array(mean), np.array(per_task.var(ddof=1)), alpha=alpha)
    return float(np.mean(success)) if single else mean, max(float(interval.low), 0.0), min(float(interval.high), 1.0)


def _plain(values: Mapping[str, float]) -> dict[str, float | None]:
    return {name: None if value != value else value for name, value in values.items()}
