"""GRPO in float32: one-pass variances, floors, and leave-one-out deviations of nearly equal groups."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from creditsim.estimators import advantage
from creditsim.stats.joint import conditional
from creditsim.stats.verdict import Evidence, exact_equality
from theory.claim import Trial, claim
from theory.shared import responses

F = np.float32
EPS = F(1e-6)
Normaliser = Callable[[np.ndarray], np.ndarray]


def _sum32(x: np.ndarray) -> np.float32:
    """Sum in float32, one after the other, as a scatter-add does."""
    return np.cumsum(x.astype(F), dtype=F)[-1]


def one_pass(x: np.ndarray, floor: float = 1e-6) -> np.ndarray:
    """Standardised scores (n,) with variance (sum x^2 - (sum x)^2 / n) / (n - 1) in float32, not below `floor`."""
    x, n = x.astype(F), F(x.size)
    total = _sum32(x)
    variance = (_sum32(x * x) - total * total / n) / (n - F(1))
    return (x - total / n) / (np.sqrt(max(variance, F(floor))) + EPS)


def _without_bessel(x: np.ndarray) -> np.ndarray:
    return one_pass(x) * np.sqrt(x.size / (x.size - 1))


def two_pass(x: np.ndarray) -> np.ndarray:
    """Standardised scores (n,) with deviations from the mean squared, in float32."""
    x = x.astype(F)
    away = x - _sum32(x) / F(x.size)
    return away / (np.sqrt(_sum32(away * away) / F(x.size - 1)) + EPS)


@claim("grpo.vectorised-agrees", paper="GRPO", source="code", kind="identity")
def vectorised_agrees(trial: Trial) -> Evidence:
    """The vectorised GRPO of verl (one-pass float32 variance, floored at 1e-6) gives the advantages of its loop form.

    To 1 % of the largest advantage. The regime is what its equivalence test draws, scores around 0 with spread 1;
    outside it are 1000 + 0.1 N(0,1), where sum x^2 cancels, and 1e-4 N(0,1), where the floor makes the deviation 1e-3.
    """
    return _check_vectorised(trial, one_pass)


@vectorised_agrees.broken("the divisor n instead of n - 1")
def _(trial: Trial) -> Evidence:
    return _check_vectorised(trial, _without_bessel)


@vectorised_agrees.control("two passes without a floor, also in float32")
def _(trial: Trial) -> Evidence:
    return _check_vectorised(trial, two_pass)


def _check_vectorised(trial: Trial, normalise: Normaliser) -> Evidence:
    groups = trial.pick(200, 2000, 20_000)
    draws = np.random.Generator(np.random.Philox(key=trial.seed)).standard_normal((groups, 8))
    found = {}
    for name, scores in (("spread 1", draws), ("1000 + 0.1 N", 1000 + 0.1 * draws), ("1e-4 N", 1e-4 * draws)):
        # float32 scores are the data; the loop form is judged on them in exact-enough arithmetic.
        scores = scores.astype(F).astype(np.float64)
        loop = advantage(responses(scores.tolist()), "grpo@verl").reshape(scores.shape)
        fast = np.array([normalise(x) for x in scores], np.float64)
        largest = np.abs(loop).max(axis=1)
        relative = np.abs(fast - loop).max(axis=1) / largest
        trial.table(scores=name, loop=largest, vectorised=np.abs(fast).max(axis=1), relative=relative)
        detail = {"largest": float(np.abs(fast).max()), "largest of the loop form": float(largest.max())}
        found[name] = exact_equality(relative, 0.0, tolerance=0.01, detail=detail)
    outside = max(found["1000 + 0.1 N"], found["1e-4 N"], key=lambda e: abs(e.statistic))
    notes = [
        f"{e.detail['largest']:.3g} where {e.detail['largest of the loop form']:.3g} is right ({name})"
        for name, e in found.items()
    ]
    return conditional(found["spread 1"], outside, note="Largest advantage " + ", ".join(notes) + ".")


NEARLY_EQUAL = np.array([0.0] + [0.95] * 7)
"""One failure among equal successes: what is left out of the failure's baseline has no spread at all."""


def _leave_one_out(deviation: Callable[[np.ndarray], float]) -> Normaliser:
    """(S_i - mean_{-i}) / (std_{-i} + eps) with this deviation of the others; float32."""

    def normalise(x: np.ndarray) -> np.ndarray:
        x = x.astype(F)
        others = [np.delete(x, i) for i in range(x.size)]
        return np.array([(x[i] - _sum32(o) / F(o.size)) / (F(deviation(o)) + EPS) for i, o in enumerate(others)])

    return normalise


def _moment_deviation(x: np.ndarray) -> float:
    mean = _sum32(x) / F(x.size)
    variance = (_sum32(x * x) / F(x.size) - mean * mean) * F(x.size) / F(x.size - 1)
    return float(np.sqrt(max(variance, F(0))))


def _two_pass_deviation(x: np.ndarray) -> float:
    away = x - _sum32(x) / F(x.size)
    return float(np.sqrt(_sum32(away * away) / F(x.size - 1)))


def _masked(x: np.ndarray) -> np.ndarray:
    """Two passes, undivided where the others are equal: found by comparing them, not from a deviation near 0."""
    x = x.astype(F)
    others = [np.delete(x, i) for i in range(x.size)]
    scale = np.array([F(1) if o.max() == o.min() else F(_two_pass_deviation(o)) + EPS for o in others])
    return np.array([x[i] - _sum32(o) / F(o.size) for i, o in enumerate(others)]) / scale


def _right(x: np.ndarray) -> np.ndarray:
    """The same in float64."""
    others = [np.delete(x, i) for i in range(x.size)]
    scale = np.array([1.0 if o.max() == o.min() else float(o.std(ddof=1)) + 1e-6 for o in others])
    return np.array([x[i] - o.mean() for i, o in enumerate(others)]) / scale


@claim("grpo.leave-one-out-deviation", paper="GRPO", source="code", kind="identity")
def leave_one_out_deviation(trial: Trial) -> Evidence:
    """(S_i - mean_{-i}) / (std_{-i} + 1e-6) with std^2 = E[x^2] - mean^2 in float32 is right to 1 %.

    Right is the same in float64, undivided where the others are equal. The regime is that the others of every sample
    differ; outside it (0, then seven times 0.95) the deviation of the failure's others is 0, the computed one 4.6e-4,
    the advantage -2075. An accurate variance makes it worse, not better.
    """
    return _check_leave_one_out(trial, _leave_one_out(_moment_deviation))


@leave_one_out_deviation.broken("the variance in place of the deviation")
def _(trial: Trial) -> Evidence:
    return _check_leave_one_out(trial, _leave_one_out(lambda x: _moment_deviation(x) ** 2))


@leave_one_out_deviation.control("compare the others for equality and leave the division out where they are equal")
def _(trial: Trial) -> Evidence:
    return _check_leave_one_out(trial, _masked)


def _check_leave_one_out(trial: Trial, normalise: Normaliser) -> Evidence:
    forms = {
        "moments": _leave_one_out(_moment_deviation),
        "two passes": _leave_one_out(_two_pass_deviation),
        "masked": _masked,
        "checked": normalise,
    }
    groups = {"others differ": np.array([0.0, 0.1, 0.5, 0.95, 0.95, 0.3, 1.0, 0.2]), "others equal": NEARLY_EQUAL}
    found, largest = {}, {}
    for name, x in groups.items():
        right = _right(x)
        for form, f in forms.items():
            largest[name, form] = float(np.abs(f(x)).max())
        found[name] = exact_equality(
            np.abs(normalise(x) - right).max() / np.abs(right).max(),
            0.0,
            tolerance=0.01,
            detail={form: largest["others equal", form] for form in forms} if name == "others equal" else {},
        )
    trial.table(
        group=np.array([k[0] for k in largest]),
        form=np.array([k[1] for k in largest]),
        largest=np.array(list(largest.values())),
    )
    at = {form: largest["others equal", form] for form in forms}
    return conditional(
        found["others differ"],
        found["others equal"],
        note=f"Largest |A| of (0, seven times 0.95): {at['moments']:.0f} from moments, {at['two passes']:.0f} from two "
        f"passes, {at['masked']:.2f} with a mask.",
    )
