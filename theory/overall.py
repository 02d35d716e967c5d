"""One setting of a built-in study in a few numbers: the usual ones, and what is left of them on one scale."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from creditsim.errors import InputError
from creditsim.stats.intervals import t_quantile
from creditsim.study.cells import Cell, CellResult
from creditsim.study.grid import variance_cells
from creditsim.study.looks import Width
from creditsim.study.replicates import Block, replicate_block
from creditsim.study.report import table_of
from creditsim.study.setting import Setting
from creditsim.study.spec import VarianceStudy
from creditsim.study.sums import Sums
from theory.sources import modules_behind

__all__ = ["RELATIVE", "SCALED", "cells", "jackknife", "run_cell", "scaled"]

BLOCKS = 10
"""Parts of a cell's replicates; the spread between them gives the intervals of scaled numbers."""

RELATIVE = ("relative_bias", "relative_deviation", "relative_mse")
"""Root mean square bias, root mean variance and mean squared error, over sqrt(E[A^2]), sqrt(E[A^2]) and E[A^2]."""

SCALED = ("scaled_bias", "scaled_deviation", "scaled_mse", "gradient_noise")
"""Numbers free of scale, over rows, A the exact advantage and c = E[A^2] / E[estimate A], which gives the estimate the
signal of A: root mean square of E[c estimate] - A per key, and root mean variance of c estimate, over sqrt(E[A^2]); the
sum of their squares, which is 1 / cos^2 - 1 with cos = E[estimate A] / sqrt(E[estimate^2] E[A^2]); and tr Cov g /
(E[g] . u)^2 times the rollouts of a batch, u along dJ/dtheta."""


def cells(study: VarianceStudy) -> list[Cell]:
    """The cells of a variance study, each reduced to `quantity`, `value`, `low`, `high`."""
    sources = modules_behind("theory.overall")
    return [
        Cell("theory.overall:run_cell", cell.spec, cell.seed, sources, cell.title) for cell in variance_cells(study)
    ]


def run_cell(spec: Mapping[str, Any], seed: int) -> CellResult:
    """Numbers over all rows as in `creditsim.study.report`, and those of `RELATIVE` and `SCALED`.

    Keys are (step, state, action), where A is one number; an environment whose A is 0 throughout is refused. Intervals
    of scaled numbers are the jackknife's over ten blocks of replicates, which also takes off the noise of squares.
    """
    setting = Setting.of({**spec, "by": "time"}, seed)
    sums, size = Sums(setting), spec["replicates"] // BLOCKS
    rows, gradients = np.zeros((BLOCKS, 3, setting.n_keys)), []
    for i in range(BLOCKS):
        block = replicate_block(setting, i * size, size)
        sums.add(block)
        rows[i] = _row_sums(block, setting.n_keys)
        gradients.append(block.gradient + setting.gradient)
    table = table_of(setting, sums, Width(sums.n, sums.n, spec["alpha"], False), None)
    whole = table["scope"] == "all"
    names = [*table["quantity"][whole], *RELATIVE, *SCALED]
    lines = np.stack([table[column][whole] for column in ("value", "low", "high")], axis=1)
    target = setting.solution.advantage[:0:-1].reshape(-1)
    if not np.any(target):
        raise InputError("environment", f"{spec['environment']}, whose exact advantages are all 0", "one with a choice")
    square = rows[:, 0].sum(axis=0) @ target**2 / rows[:, 0].sum()
    bias, variance, mse = (lines[names.index(name)] for name in ("bias_rms", "variance", "mse"))
    relative = np.stack([bias / square**0.5, np.sqrt(variance / square), mse / square])
    exact, rollouts = setting.gradient, spec["groups"] * spec["group_size"]

    def numbers(kept: np.ndarray) -> np.ndarray:
        noise = _gradient_noise(np.concatenate([gradients[i] for i in kept]), exact)
        return np.array([*scaled(rows[kept].sum(axis=0), target), rollouts * noise])

    free = jackknife(numbers, BLOCKS, spec["alpha"])
    # Roots are drawn from squares at the end: the jackknife wants something smooth at 0.
    free[:2] = np.sqrt(np.maximum(free[:2], 0.0))
    values = np.concatenate([lines, relative, free])
    return CellResult(
        {"quantity": np.array(names, object), "value": values[:, 0], "low": values[:, 1], "high": values[:, 2]},
        {"environment_name": setting.mdp.name, "exact_return": setting.solution.j, "replicates": sums.n},
    )


def _row_sums(block: Block, n: int) -> np.ndarray:
    """(3, K) sums over rows of 1, the estimate and its square, by weight."""
    w, value = block.weight, block.value
    return np.stack([np.bincount(block.key, x, n) for x in (w, w * value, w * value**2)])


def scaled(sums: np.ndarray, target: np.ndarray) -> tuple[float, float, float]:
    """Scaled bias^2, variance and their sum, from (3, K) sums per key and the exact advantage (K,).

    NaN where the estimate carries no signal of A.
    """
    met = sums[0] > 0
    w, mean, square = sums[0, met], sums[1, met] / sums[0, met], sums[2, met] / sums[0, met]
    a = target[met]
    power, signal = float(w @ a**2), float(w @ (mean * a))
    if signal == 0.0:
        return np.nan, np.nan, np.nan
    c = power / signal
    bias2 = float(w @ (c * mean - a) ** 2) / power
    variance = c**2 * float(w @ np.maximum(square - mean**2, 0.0)) / power
    return bias2, variance, bias2 + variance


def _gradient_noise(g: np.ndarray, exact: np.ndarray) -> float:
    """Tr Cov g / (E[g] . u)^2 of gradients (R, P), u along `exact` (P,); NaN where that is 0."""
    mean, norm = g.mean(axis=0), float(np.linalg.norm(exact))
    signal = float(mean @ exact) / norm if norm > 0.0 else 0.0
    return float(np.square(g - mean).sum()) / (len(g) - 1) / signal**2 if signal != 0.0 else np.nan


def jackknife(numbers: Any, blocks: int, alpha: float) -> np.ndarray:
    """(Q, 3) value, low and high of `numbers(indices of blocks) -> (Q,)` from leaving one block out, Student's t."""
    everything = np.arange(blocks)
    whole = numbers(everything)
    without = np.array([numbers(np.delete(everything, i)) for i in everything])
    value = blocks * whole - (blocks - 1) * without.mean(axis=0)
    error = np.sqrt((blocks - 1) / blocks * np.square(without - without.mean(axis=0)).sum(axis=0))
    half = float(t_quantile(alpha, blocks - 1)) * error
    return np.stack([value, value - half, value + half], axis=1)
