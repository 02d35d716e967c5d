"""The cell of a variance study: replicates drawn chunk by chunk until the budget or the precision is reached."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from creditsim.exact.moments import Moments as ExactMoments
from creditsim.exact.moments import exact_moments
from creditsim.study.cells import CellResult
from creditsim.study.looks import Width, looks
from creditsim.study.replicates import replicate_block
from creditsim.study.report import precision_reached, table_of
from creditsim.study.setting import Setting
from creditsim.study.sums import Sums

__all__ = ["CHUNK_ROWS", "default_chunk", "enumerated", "measure", "run_cell"]

CHUNK_ROWS = 1 << 18
"""Rows that a chunk holds unless told otherwise: enough that calls cost nothing, few enough to stay interruptible."""


def default_chunk(setting: Setting) -> int:
    """Replicates per estimator call: about `CHUNK_ROWS` rows, or as many numbers in gradients where these are more."""
    per_replicate = max(setting.rows_per_replicate, setting.n_entries + setting.gradient.size)
    return max(1, int(CHUNK_ROWS / per_replicate))


def run_cell(spec: Mapping[str, Any], seed: int, *, chunk: int | None = None) -> CellResult:
    """Bias, variance and gradients of one estimator in one setting; see `measure`."""
    return measure(Setting.of(spec, seed), chunk=chunk)


def measure(setting: Setting, *, chunk: int | None = None) -> CellResult:
    """Bias, variance and gradients of a setting's estimator; columns as in `report.COLUMNS`.

    The bits depend on the setting only: not on `chunk` (replicates per estimator call), threads or the machine's
    memory. Where memory gives out a chunk is halved and drawn again; MemoryError below one replicate. Errors:
    InputError from the estimator, TooLargeError where exact moments were asked for and are too many to enumerate.
    """
    spec = setting.spec
    exact = enumerated(setting) if spec["exact"] else None
    sums, sequential = Sums(setting), spec["precision"] is not None
    chunk, seconds, rows = chunk or default_chunk(setting), 0.0, 0
    width, reached = Width(1, spec["replicates"], spec["alpha"], sequential), {}
    begin = time.perf_counter()
    for look in looks(spec["replicates"], sequential):
        while sums.n < look:
            try:
                block = replicate_block(setting, sums.n, min(chunk, look - sums.n))
                sums.add(block)
            except MemoryError:
                if chunk == 1:
                    raise
                chunk = max(1, min(chunk, look - sums.n) // 2)
                continue
            seconds, rows = seconds + block.seconds, rows + block.key.size
        width = Width(look, spec["replicates"], spec["alpha"], sequential)
        if sequential:
            reached = precision_reached(setting, sums, width)
            if all(value is None or value <= spec["precision"] for value in reached.values()):
                break
    facts = _facts(setting, sums, width, reached)
    facts["cost"] = {
        "estimator_ns_per_row": round(1e9 * seconds / max(rows, 1), 1),
        "seconds": round(time.perf_counter() - begin, 3),
        "chunk": chunk,
    }
    return CellResult(table_of(setting, sums, width, exact), facts)


def enumerated(setting: Setting) -> ExactMoments:
    """Exact moments of the setting's estimator under independent groups."""
    spec = setting.spec
    return exact_moments(
        lambda rollouts: setting.credit(setting.signalled(rollouts)),
        setting.mdp,
        setting.policy,
        group_size=spec["group_size"],
        groups=spec["groups"],
        by=spec["by"],
        symmetric=setting.symmetric,
        gamma=spec["gamma"],
        covariance=False,
    )


def _facts(setting: Setting, sums: Sums, width: Width, reached: Mapping[str, float | None]) -> dict[str, Any]:
    spec, plan = setting.spec, setting.plan
    wanted = spec["precision"]
    met = wanted is not None and all(value is None or value <= wanted for value in reached.values())
    return {
        "environment_name": setting.mdp.name,
        "parts": {
            "design": _expanded(plan.design), "signals": [_expanded(bound) for bound in plan.signals],
            "estimator": _expanded(plan.estimator),
        },
        "replicates": sums.n,
        "rows": int(sums.keys.sums[:, 0].sum()),
        "intervals": width.method,
        "stopped_by": "precision" if met else "budget",
        "reached": {name: _finite(value) for name, value in reached.items()},
        "exact_gradient_norm": float(np.linalg.norm(setting.gradient)),
        "exact_return": setting.solution.j,
    }  # fmt: skip


def _expanded(bound: Any) -> dict[str, Any]:
    """A part with its preset spelled out."""
    return {"name": bound.label, "params": {name: _json(value) for name, value in bound.params.items()}}


def _json(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_json(inner) for inner in value]
    if isinstance(value, float) and not np.isfinite(value):
        return repr(value)
    return value if value is None or isinstance(value, (bool, int, float, str)) else repr(value)


def _finite(value: float | None) -> float | None:
    return value if value is not None and np.isfinite(value) else None
