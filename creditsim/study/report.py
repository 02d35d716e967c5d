"""The table of a variance cell: one quantity per row, per key and over all, each with its interval."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from creditsim.exact.moments import Moments as ExactMoments
from creditsim.study.keysums import STREAMS, Ratio
from creditsim.study.looks import Width
from creditsim.study.setting import Setting
from creditsim.study.sums import GRADIENT_STREAMS, Sums

__all__ = ["COLUMNS", "exact_numbers", "precision_reached", "table_of"]

COLUMNS = ("scope", "quantity", "step", "state", "action", "value", "standard_error", "low", "high", "exact")
"""`scope` is key (a row per key and quantity; step -1 where keys have none) or all (step, state, action -1). `exact` is
the enumerated value of the same quantity, NaN where it was not asked for."""

_RATIOS = {
    "mse": ("error2", "rows"),
    "degenerate": ("degenerate", "groups"),
    "singletons": ("singletons", "anchors"),
    "sign_agreement": ("agreeing", "signed"),
    "gradient_along": ("along", None),
    "gradient_mse": ("gradient_error2", None),
    "rows": ("rows", None),
    "steps": ("steps", None),
    "generated_rows": ("generated_rows", None),
}
_SHARES = ("degenerate", "singletons", "sign_agreement")

Line = tuple[float, float, float, float]
"""Value, standard error, low, high."""


def table_of(setting: Setting, sums: Sums, width: Width, exact: ExactMoments | None) -> dict[str, np.ndarray]:
    """All rows: per key rows, target, mean, bias, variance and mse; then the quantities over all."""
    keys = sums.keys.met
    per_key = _key_lines(setting, sums, width, keys)
    overall = _overall(setting, sums, width)
    known = exact_numbers(setting, exact, keys)
    step, state, action = _unravelled(setting, keys)
    n, m = keys.size, len(overall)
    lines = np.array(list(overall.values()))
    nothing = np.full(n, np.nan)
    return {
        "scope": np.array(["key"] * (n * len(per_key)) + ["all"] * m, object),
        "quantity": np.array([name for name in per_key for _ in range(n)] + list(overall), object),
        "step": np.concatenate([np.tile(step, len(per_key)), np.full(m, -1)]),
        "state": np.concatenate([np.tile(state, len(per_key)), np.full(m, -1)]),
        "action": np.concatenate([np.tile(action, len(per_key)), np.full(m, -1)]),
        **{
            name: np.concatenate([*(found[i] for found in per_key.values()), lines[:, i]])
            for i, name in enumerate(("value", "standard_error", "low", "high"))
        },
        "exact": np.concatenate([
            *(known.get(("key", name), nothing) for name in per_key),
            [known.get(("all", name), np.nan) for name in overall],
        ]),
    }  # fmt: skip


def _unravelled(setting: Setting, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    step, entry = np.divmod(keys, setting.n_entries)
    step = step if setting.spec["by"] == "time" else np.full(keys.size, -1)
    return step, entry // setting.mdp.n_actions, entry % setting.mdp.n_actions


def _key_lines(setting: Setting, sums: Sums, width: Width, keys: np.ndarray) -> dict[str, tuple[np.ndarray, ...]]:
    found = {"rows": sums.keys.rows(keys, sums.n), "target": _targets(setting, sums, keys), **sums.keys.moments(keys)}
    half = width.mean(sums.keys.replicates[keys] - 1)
    lines = {}
    for name, ratio in found.items():
        error = ratio.standard_error
        # Met once: nothing is known of the spread. Known exactly: no spread at any number of replicates.
        spread = np.where(np.isnan(error), np.inf, 0.0)
        known = error > 0.0
        spread[known] = (half if name != "rows" else np.full(keys.size, width.mean()))[known] * error[known]
        low, high = ratio.value - spread, ratio.value + spread
        if name in ("rows", "variance", "mse"):
            low = np.maximum(low, 0.0)
        lines[name] = (ratio.value, error, low, high)
    return lines


def _targets(setting: Setting, sums: Sums, keys: np.ndarray) -> Ratio:
    """Mean exact advantage of the rows at each key: known exactly, unless a design changes which rows there are."""
    solution, spec = setting.solution, setting.spec
    by_step = solution.advantage[:0:-1]
    if spec["by"] == "time":
        return Ratio(by_step.reshape(-1)[keys], np.zeros(keys.size))
    if spec["design"] != "independent":
        return sums.keys.combination(keys, np.array([0.0, 0.0, 1.0, 0.0, 0.0]))
    mass = solution.occupancy[:, :, None] * np.broadcast_to(solution.pi, by_step.shape)
    total = mass.sum(axis=0).reshape(-1)[keys]
    return Ratio((mass * by_step).sum(axis=0).reshape(-1)[keys] / total, np.zeros(keys.size))


def _overall(setting: Setting, sums: Sums, width: Width) -> dict[str, Line]:
    summary = sums.summary()
    lines: dict[str, Line] = {}
    streams = min(STREAMS, sums.n)
    jackknife = width.jackknife(streams)
    pooled = sums.pooled()
    lines["bias_rms"] = _root(*pooled["bias2"], jackknife)
    lines["variance"] = _line(*pooled["variance"], jackknife, least=0.0)
    for name, (numerator, denominator) in _RATIOS.items():
        ratio = sums.ratio(summary, numerator, denominator)
        least = -math.inf if name == "gradient_along" else 0.0
        most = 1.0 if name in _SHARES else math.inf
        lines[name] = _line(float(ratio.value), float(ratio.standard_error), float(width.mean()), least, most)
    square = float(np.square(setting.gradient).sum())
    efficiency = sums.efficiency(summary, square)
    half = float(width.mean())
    lines["gradient_efficiency"] = _line(float(efficiency.value), float(efficiency.standard_error), half, -1.0, 1.0)
    if square == 0.0:
        lines["gradient_along"] = (math.nan, math.nan, math.nan, math.nan)
    return lines | _gradient_lines(setting, sums, width)


def _gradient_lines(setting: Setting, sums: Sums, width: Width) -> dict[str, Line]:
    """Length of the gradient's bias, its variance, cosine and signal-to-noise ratio.

    All but the variance come from one ball about the mean that holds E[g] with probability 1 - alpha.
    """
    law, n = sums.gradient(), sums.n
    exact, streams = setting.gradient, min(GRADIENT_STREAMS, n)
    trace = _line(law.trace, law.trace_error, width.jackknife(streams), least=0.0)
    noise = law.trace / n if n > 1 else math.nan
    mean, scale = law.mean + exact, math.sqrt(noise) if n > 1 else math.inf
    radius = width.ball(exact.size) * scale if n > 1 else math.inf
    signal, bias = float(np.linalg.norm(mean)), float(np.linalg.norm(law.mean))
    half = width.halved()
    wide = _line(law.trace, law.trace_error, half.jackknife(streams), least=0.0)
    loose = half.ball(exact.size) * scale if n > 1 else math.inf
    return {
        "gradient_variance": trace,
        "gradient_bias": _length(bias, noise, radius),
        "gradient_cosine": _cosine(mean, exact, noise, radius),
        "gradient_snr": _signal(signal, noise, loose, law.trace, wide),
    }


def _line(value: float, error: float, half: float, least: float = -math.inf, most: float = math.inf) -> Line:
    if math.isnan(value):
        return (math.nan, math.nan, least, most)
    spread = 0.0 if error == 0.0 else half * error if math.isfinite(error) else math.inf
    return value, error, max(value - spread, least), min(value + spread, most)


def _root(square: float, error: float, half: float) -> Line:
    """Square root of a quantity that is not negative, whose estimate may be."""
    value = math.sqrt(max(square, 0.0))
    _, _, low, high = _line(square, error, half, least=0.0)
    return value, error / (2.0 * value) if value > 0.0 else math.nan, math.sqrt(low), math.sqrt(max(high, 0.0))


def _length(length: float, noise: float, radius: float) -> Line:
    """Length of a vector known up to a ball; the estimate is rid of the noise that makes lengths too long."""
    low, high = max(length - radius, 0.0), length + radius
    value = math.sqrt(max(length**2 - noise, 0.0)) if not math.isnan(noise) else length
    return min(max(value, low), high), math.nan, low, high


def _cosine(mean: np.ndarray, exact: np.ndarray, noise: float, radius: float) -> Line:
    """Cosine of the angle between a vector known up to a ball and the exact gradient."""
    length, norm = float(np.linalg.norm(mean)), float(np.linalg.norm(exact))
    if norm == 0.0 or length == 0.0:
        return math.nan, math.nan, -1.0, 1.0
    inner = max(-1.0, min(1.0, float((mean * exact).sum()) / (length * norm)))
    angle = math.acos(inner)
    slack = math.asin(radius / length) if radius < length else math.pi
    low, high = math.cos(min(angle + slack, math.pi)), math.cos(max(angle - slack, 0.0))
    denoised = math.sqrt(max(length**2 - noise, 0.0)) if not math.isnan(noise) else length
    value = inner * length / denoised if denoised > 0.0 else inner
    return min(max(value, low), high), math.nan, low, high


def _signal(length: float, noise: float, radius: float, trace: float, wide: Line) -> Line:
    """|E g| / sqrt(tr Cov g); infinite without noise."""
    if math.isnan(trace):
        return math.nan, math.nan, 0.0, math.inf
    if trace == 0.0:
        value = math.inf if length > 0.0 else math.nan
        return value, math.nan, value if length > 0.0 else 0.0, math.inf
    value = math.sqrt(max(length**2 - noise, 0.0) / trace)
    low = max(length - radius, 0.0) / math.sqrt(wide[3]) if wide[3] > 0.0 else 0.0
    high = (length + radius) / math.sqrt(wide[2]) if wide[2] > 0.0 else math.inf
    return min(max(value, low), high), math.nan, low, high


def precision_reached(setting: Setting, sums: Sums, width: Width) -> dict[str, float | None]:
    """How precisely bias and gradient are known: half-widths relative to what they are held against.

    bias: root mean square over rows of the half-width of each key's bias (keys met in two replicates at least), over
    the root mean square exact advantage. gradient: half-width along the exact gradient, over its length (None where
    that is 0). Where every exact advantage is 0, the estimated advantages' own size is the measure.
    """
    keys = sums.keys.met
    keys = keys[sums.keys.replicates[keys] > 1]
    rows = sums.keys.sums[keys, 0]
    found = sums.keys.moments(keys)
    half = width.mean(sums.keys.replicates[keys] - 1) * found["bias"].standard_error
    scale = float((setting.solution.occupancy[:, :, None] * _policy_mass(setting)).sum())
    if scale == 0.0:
        scale = float((rows * (found["variance"].value + found["mean"].value ** 2)).sum() / max(rows.sum(), 1.0))
    spread = float((rows * half**2).sum() / rows.sum()) if keys.size else math.inf
    bias = math.sqrt(spread / scale) if scale > 0.0 else 0.0 if spread == 0.0 else math.inf
    if not np.any(setting.gradient):
        return {"bias": bias, "gradient": None}
    along = sums.ratio(sums.summary(), "along")
    return {"bias": bias, "gradient": float(width.mean()) * float(along.standard_error)}


def _policy_mass(setting: Setting) -> np.ndarray:
    """(H,S,A) pi A^2 over the expected rows, so that summed by occupancy it is the mean square exact advantage."""
    solution = setting.solution
    by_step = solution.advantage[:0:-1]
    return np.broadcast_to(solution.pi, by_step.shape) * by_step**2 / solution.occupancy.sum()


def exact_numbers(setting: Setting, exact: ExactMoments | None, keys: np.ndarray) -> dict[tuple[str, str], Any]:
    """Enumerated values by (scope, quantity); empty where nothing was enumerated."""
    if exact is None:
        return {}
    flat = np.ravel_multi_index(tuple(exact.keys.T), _axes(setting))
    place = np.searchsorted(flat, keys)

    def per_key(values: np.ndarray) -> np.ndarray:
        return values[place]

    def per_row(values: np.ndarray) -> float:
        return float((exact.rows * values).sum() / exact.rows.sum())

    law = exact.gradient
    norm = float(np.square(law.exact).sum())
    along: Callable[[], float] = lambda: float(law.mean @ law.exact) / norm if norm > 0 else math.nan  # noqa: E731
    return {
        ("key", "rows"): per_key(exact.rows), ("key", "target"): per_key(exact.target),
        ("key", "mean"): per_key(exact.mean), ("key", "bias"): per_key(exact.bias),
        ("key", "variance"): per_key(exact.variance), ("key", "mse"): per_key(exact.mse),
        ("all", "bias_rms"): math.sqrt(per_row(exact.bias**2)), ("all", "variance"): per_row(exact.variance),
        ("all", "mse"): per_row(exact.mse), ("all", "rows"): float(exact.rows.sum()),
        ("all", "degenerate"): exact.degenerate, ("all", "singletons"): exact.singleton_anchors,
        ("all", "gradient_along"): along(), ("all", "gradient_variance"): law.trace,
        ("all", "gradient_bias"): float(np.linalg.norm(law.bias)), ("all", "gradient_cosine"): law.cosine,
        ("all", "gradient_mse"): law.trace + float(np.square(law.bias).sum()),
        ("all", "gradient_snr"): law.signal_to_noise,
        ("all", "gradient_efficiency"): _efficiency(law.mean, law.exact, law.trace),
    }  # fmt: skip


def _efficiency(mean: np.ndarray, exact: np.ndarray, trace: float) -> float:
    inner, square = float(mean @ exact), float(np.square(exact).sum())
    length = float(np.square(mean).sum()) + trace
    return inner * abs(inner) / (square * length) if square > 0.0 and length > 0.0 else math.nan


def _axes(setting: Setting) -> tuple[int, ...]:
    axes = (setting.mdp.n_states, setting.mdp.n_actions)
    return (setting.mdp.horizon, *axes) if setting.spec["by"] == "time" else axes
