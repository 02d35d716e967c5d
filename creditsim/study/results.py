"""Finished cells joined to one table, and the few numbers of each that a summary shows."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from creditsim.stats.intervals import t_interval
from creditsim.study.cells import Cell, CellResult
from creditsim.study.store import Store

__all__ = [
    "LABELS", "SHOWN", "collect", "exploration_summary", "learning_summary", "regret_summary", "variance_summary",
]  # fmt: skip

LABELS = (
    "estimator", "method", "rule", "environment", "bandit", "objective", "feedback", "horizon", "policy", "group_size",
    "groups", "learning_rate", "kept", "scale", "episodes",
)  # fmt: skip
"""Entries of a cell's spec that `collect` repeats on each of its rows, where the cell has them."""

SHOWN = (
    "bias_rms", "variance", "mse", "gradient_bias", "gradient_variance", "gradient_cosine", "gradient_snr",
    "gradient_efficiency", "sign_agreement", "degenerate", "singletons",
)  # fmt: skip


def collect(cells: Iterable[Cell], store: Store) -> dict[str, np.ndarray]:
    """One long table of the finished cells: the columns of their labels, then those of their tables."""
    blocks = []
    for cell in cells:
        result = store.get(cell)
        if result is not None:
            named = {name: cell.spec[name] for name in LABELS if cell.spec.get(name) is not None}
            labels = {
                name: np.full(result.n_rows, value, object if isinstance(value, str) else None)
                for name, value in named.items()
            }
            blocks.append({**labels, **result.table})
    if not blocks:
        return {}
    names = [name for name in blocks[0] if all(name in block for block in blocks)]
    return {name: np.concatenate([np.asarray(block[name]) for block in blocks]) for name in names}


def variance_summary(cells: Iterable[Cell], store: Store) -> list[dict[str, Any]]:
    """One entry per finished cell: its labels, replicates, and the quantities over all with their intervals."""
    out = []
    for cell, result in _finished(cells, store):
        table, meta = result.table, result.meta
        at = {str(table["quantity"][i]): i for i in np.flatnonzero(table["scope"] == "all")}
        out.append({
            **_labels(cell),
            "replicates": meta["replicates"],
            "stopped_by": meta["stopped_by"],
            "reached": meta["reached"],
            "estimator_ns_per_row": meta["cost"]["estimator_ns_per_row"],
            "quantities": {
                name: {k: _finite(table[k][i]) for k in ("value", "standard_error", "low", "high", "exact")}
                for name, i in at.items()
            },
            "cell": cell.id,
        })  # fmt: skip
    return out


def learning_summary(cells: Iterable[Cell], store: Store) -> list[dict[str, Any]]:
    """One entry per finished cell: exact return at the start, the end and on average over updates, over replicates.

    Replicates that became NaN or infinite are counted in `failed` and left out of the last two.
    """
    out = []
    for cell, result in _finished(cells, store):
        table, spec = result.table, cell.spec
        j = np.asarray(table["j"]).reshape(spec["updates"] + 1, spec["replicates"])
        alive = np.isfinite(j[-1])
        out.append({
            **_labels(cell),
            "replicates": spec["replicates"],
            "failed": int((~alive).sum()),
            "optimum": result.meta["optimum"],
            "quantities": {
                "j_start": _mean(j[0], spec["alpha"]),
                "j_end": _mean(j[-1, alive], spec["alpha"]),
                "j_average": _mean(j[:, alive].mean(axis=0), spec["alpha"]),
            },
            "cell": cell.id,
        })  # fmt: skip
    return out


def regret_summary(cells: Iterable[Cell], store: Store) -> list[dict[str, Any]]:
    """One entry per finished cell: waste and regret at the end, lock-in, exponent of waste, the Lai-Robbins slope."""
    out = []
    for cell, result in _finished(cells, store):
        table, meta = result.table, result.meta
        last = {str(name): np.flatnonzero(table["quantity"] == name)[-1] for name in ("regret", "waste")}
        ends = {
            name: {"value": float(table["mean"][i]), **{k: _finite(table[k][i]) for k in ("low", "high")}}
            for name, i in last.items()
        }
        out.append({
            **_labels(cell),
            "replicates": cell.spec["replications"],
            "law": meta["law"],
            "quantities": {
                **ends,
                "median_waste": {"value": float(table["median"][last["waste"]])},
                "lock_in": meta["lock_in"],
                "exponent": meta["exponent"] or {"value": None},
                "lai_robbins": {"value": meta["lai_robbins"]},
            },
            "cell": cell.id,
        })  # fmt: skip
    return out


def exploration_summary(cells: Iterable[Cell], store: Store) -> list[dict[str, Any]]:
    """One entry per finished cell: regret at the end, value of the last policy, episodes below the bar and cautious."""
    out = []
    for cell, result in _finished(cells, store):
        spec, meta = cell.spec, result.meta
        regret, value = (np.asarray(result.table[n]).reshape(-1, spec["replicates"])[-1] for n in ("regret", "value"))
        quantities = {"regret": regret, "value_end": value}
        quantities |= {name: np.array(meta[name], float) for name in ("violations", "cautious", "baseline")}
        out.append({
            **_labels(cell),
            "replicates": spec["replicates"],
            "bar": meta["bar"],
            "optimum": meta["optimum"],
            "quantities": {name: _mean(values, spec["alpha"]) for name, values in quantities.items()},
            "cell": cell.id,
        })  # fmt: skip
    return out


def _finished(cells: Iterable[Cell], store: Store) -> Iterable[tuple[Cell, CellResult]]:
    for cell in cells:
        result = store.get(cell)
        if result is not None:
            yield cell, result


def _labels(cell: Cell) -> dict[str, Any]:
    return {name: cell.spec[name] for name in LABELS if name in cell.spec}


def _mean(values: np.ndarray, alpha: float) -> dict[str, float | None]:
    n = values.size
    if n == 0:
        return dict.fromkeys(("value", "standard_error", "low", "high"))
    # Curves of one policy may be equal in all replicates, as they are at the start.
    spread = float(np.square(values - values[0]).sum()) if n > 1 else math.nan
    variance = float(values.var(ddof=1)) if spread > 0 else 0.0
    interval = t_interval(n, values.mean(), variance, alpha=alpha)
    error = math.sqrt(variance / n) if n > 1 else math.nan
    found: Mapping[str, float] = {
        "value": float(values.mean()), "standard_error": error,
        "low": float(interval.low), "high": float(interval.high),
    }  # fmt: skip
    return {name: _finite(value) for name, value in found.items()}


def _finite(value: Any) -> float | None:
    return float(value) if math.isfinite(value) else None
