"""KL penalties: per-row estimators of KL(policy || reference), their derivatives, and the penalty as a loss."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from creditsim.arrays import Array, namespace, native, restorer
from creditsim.errors import InputError
from creditsim.registry import Evidence, Part, Registry
from creditsim.updates.losses.base import Aggregation, LossResult, Rows

__all__ = ["KL_ESTIMATORS", "kl_estimate", "kl_estimator", "kl_loss"]

Estimate = Callable[[Array], tuple[Array, Array]]
F = TypeVar("F", bound=Estimate)

KL_ESTIMATORS: Registry[Part] = Registry("KL estimator")


def kl_estimator(name: str, *, paper: str, evidence: Evidence) -> Callable[[F], F]:
    """Register `f(d) -> value, derivative by d`, d = log pi - log pi_ref (M,) of rows drawn by pi."""

    def register(function: F) -> F:
        KL_ESTIMATORS.add(Part("KL estimator", name, function, paper=paper, evidence=evidence))
        return function

    return register


@kl_estimator("k1", paper="Schulman 2020, Approximating KL divergence", evidence="code")
def k1(d: Array) -> tuple[Array, Array]:
    """The log-ratio itself, d: unbiased, of either sign; its derivative is 1."""
    return d, namespace(d).ones(d.shape)


@kl_estimator("abs", paper="verl", evidence="code")
def absolute(d: Array) -> tuple[Array, Array]:
    """The size of the log-ratio, |d|; its derivative is the sign of d, 0 at 0."""
    return abs(d), namespace(d).sign(d)


@kl_estimator("k2", paper="Schulman 2020, Approximating KL divergence", evidence="code")
def k2(d: Array) -> tuple[Array, Array]:
    """Half the squared log-ratio, d^2 / 2; its derivative is d, whose mean is the gradient of the KL divergence."""
    return d * d / 2.0, d


@kl_estimator("k3", paper="Schulman 2020, Approximating KL divergence", evidence="code")
def k3(d: Array) -> tuple[Array, Array]:
    """exp(-d) + d - 1: unbiased and never negative; cut at 10 as in the code, derivative 1 - exp(-d), 0 where cut."""
    xp = namespace(d)
    # Far out the value is cut anyway; the exponent must not overflow on the way there.
    e = xp.exp(-xp.clip(d, -20.0, 20.0))
    value = e + xp.clip(d, -20.0, 20.0) - 1.0
    return xp.minimum(value, 10.0), xp.where(value > 10.0, 0.0, 1.0 - e)


def kl_estimate(log_prob: Array, ref_log_prob: Array, kind: str = "k3") -> tuple[Array, Array]:
    """Value and derivative by `log_prob` of the KL penalty of each row, both (M,) in nats, in the caller's library.

    With d = log_prob - ref_log_prob: k1 = d, abs = |d|, k2 = d^2 / 2, k3 = exp(-d) + d - 1 cut at 10. The derivative is
    that of the row's number, not of the divergence it estimates: k1 has the constant derivative 1.
    Errors: UnknownNameError for the kind, InputError for shapes that differ. Source: verl (code).
    """
    back, x = restorer(log_prob), native(log_prob)
    xp = namespace(x)
    ref = xp.asarray(native(ref_log_prob))
    if x.shape != ref.shape:
        raise InputError("ref_log_prob", f"shape {tuple(ref.shape)}", f"shape {tuple(x.shape)}, that of log_prob")
    value, slope = KL_ESTIMATORS[kind].function(x.astype(float) - ref.astype(float))
    return back(value.astype(x.dtype)), back(slope.astype(x.dtype))


def kl_loss(
    log_prob: Array,
    ref_log_prob: Array,
    offsets: Array,
    weight: Array | None = None,
    batch: Array | None = None,
    *,
    kind: str = "k3",
    coefficient: float = 1.0,
    aggregation: Aggregation = "token-mean",
    norm: float | None = None,
) -> LossResult:
    """KL penalty as a loss: coefficient times the aggregate of `kl_estimate` over rows; arguments as `ppo`.

    Its derivative adds to that of a surrogate loss. Metric: `kl`, the weighted mean over rows.
    """
    rows = Rows.read(log_prob, ref_log_prob, namespace(native(log_prob)).zeros(log_prob.shape), offsets, weight, batch)
    value, slope = kl_estimate(rows.log_prob, rows.old_log_prob, kind)
    return rows.result(
        lambda: coefficient * value, coefficient * slope, aggregation, norm, measure=lambda: {"kl": rows.mean(value)}
    )
