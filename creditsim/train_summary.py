"""What a training run comes to: numbers at its start and end, and its exact curve with a band over replicates."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy import special

from creditsim.train import TrainResult

__all__ = ["band", "failures", "summarise"]

_LEVEL = 0.95


def summarise(result: TrainResult) -> dict[str, Any]:
    """The run in numbers: J over replicates at its start and end, with standard errors, and the optimum.

    Means are over replicates that did not fail; `failed` tells how many did, their numbers and the first update.
    """
    config = result.config
    updates = result.generated.shape[0]
    return {
        "method": config.method,
        "environment": result.mdp.name,
        "parts": parts(result),
        "replicates": config.replicates,
        "updates": config.updates,
        "updates_made": updates,
        "trajectories_per_update": config.groups * config.group_size,
        "failed": failures(result),
        "j_start": _mean(result.j[0]),
        "j_end": _mean(result.j[-1]),
        "optimum": float(result.optimum),
        "success_start": _mean(result.success[0]) if updates else None,
        "success_end": _mean(result.success[-1]) if updates else None,
        "rows_generated": float(result.generated.sum(axis=0).mean()),
        "states_met": float(result.met[-1].mean()) if updates else None,
    }


def parts(result: TrainResult) -> dict[str, Any]:
    """The parts of the run's method as a user would write them."""
    plan = result.plan
    return {
        "design": plan.design.label,
        "signals": [bound.label for bound in plan.signals],
        "estimator": plan.estimator.label,
        "update": plan.update.label,
    }


def failures(result: TrainResult) -> dict[str, Any]:
    """How many replicates became NaN or infinite, their numbers, and the first update in which one did (or None)."""
    lost = np.flatnonzero(result.failed_at >= 0)
    return {
        "number": int(lost.size),
        "replicates": [int(r) + result.config.first_replicate for r in lost],
        "first_update": int(result.failed_at[lost].min()) if lost.size else None,
    }


def band(result: TrainResult) -> dict[str, np.ndarray]:
    """The exact curve over replicates that have not failed by then, each column (U+1,).

    `update`; `j` mean, `low` and `high` its 95 % interval (Student's t), `least` and `most` of all replicates, `alive`
    how many there are. Where one is left the interval is NaN, where none is all of it.
    """
    alive = np.isfinite(result.j).sum(axis=1)
    kept = np.where(np.isfinite(result.j), result.j, 0.0)
    some, several = np.maximum(alive, 1), np.maximum(alive - 1, 1)
    mean = np.where(alive > 0, kept.sum(axis=1) / some, np.nan)
    apart = np.where(np.isfinite(result.j), result.j - mean[:, None], 0.0)
    error = np.sqrt((apart**2).sum(axis=1) / several / some)
    wide = np.where(alive > 1, special.stdtrit(several, 0.5 + _LEVEL / 2) * error, np.nan)
    least = np.where(np.isfinite(result.j), result.j, np.inf).min(axis=1)
    most = np.where(np.isfinite(result.j), result.j, -np.inf).max(axis=1)
    return {
        "update": np.arange(result.j.shape[0]),
        "j": mean,
        "low": mean - wide,
        "high": mean + wide,
        "least": np.where(alive > 0, least, np.nan),
        "most": np.where(alive > 0, most, np.nan),
        "alive": alive,
    }


def _mean(values: np.ndarray) -> dict[str, float | None]:
    # A search that ended no path in an update has no success to tell, a replicate that failed nothing at all.
    values = values[np.isfinite(values)]
    n = len(values)
    if n == 0:
        return {"mean": None, "standard_error": None}
    error = float(values.std(ddof=1)) / math.sqrt(n) if n > 1 else None
    return {"mean": float(values.mean()), "standard_error": error}
