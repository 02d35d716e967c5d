"""3SPO's truncation of a state: the law of its first passage, by recursion over (visits, successes)."""

from __future__ import annotations

import numpy as np

from creditsim.bandits.exact import binomial
from creditsim.errors import InputError
from creditsim.jit import kernel

__all__ = ["cut_at", "kept_at", "simulated_truncation", "truncation_probability"]


def _check(xi: int, zeta: float, horizon: int) -> None:
    if xi < 1:
        raise InputError("xi", xi, "an integer >= 1")
    if not 0.0 <= zeta < 1.0:
        raise InputError("zeta", zeta, "a number in [0, 1)")
    if horizon < 1:
        raise InputError("horizon", horizon, "an integer >= 1")


def _chances(p: np.ndarray | float) -> np.ndarray:
    p = np.atleast_1d(np.asarray(p, np.float64))
    if not ((p >= 0) & (p <= 1)).all():
        raise InputError("p", p.tolist(), "probabilities in [0, 1]")
    return p


def truncation_probability(
    p: np.ndarray | float, *, xi: int = 10, zeta: float = 0.1, horizon: int = 2000, eps: float = 1e-6
) -> np.ndarray:
    """(P, horizon) probability that a state of success chance p has been truncated by visit N = 1..horizon.

    It is truncated, for good, at the first N with N - S >= xi and S / (N + eps) <= zeta, S the successes so far: what
    makes the score of paper eq. 1 zero. Counts start at 0. Errors: InputError for p, xi or zeta out of range.
    """
    _check(xi, zeta, horizon)
    p = _chances(p)[:, None]
    law, out = np.zeros((p.size, horizon + 1)), np.zeros((p.size, horizon))
    law[:, 0], done = 1.0, np.zeros(p.size)
    successes = np.arange(horizon + 1)
    for n in range(1, horizon + 1):
        moved = law[:, :n] * p
        law[:, :n] *= 1.0 - p
        law[:, 1 : n + 1] += moved
        out_now = (n - successes[: n + 1] >= xi) & (successes[: n + 1] <= zeta * (n + eps))
        done = done + law[:, : n + 1][:, out_now].sum(axis=1)
        law[:, : n + 1][:, out_now] = 0.0
        out[:, n - 1] = done
    return np.minimum(out, 1.0)


def _test(p: float, n: int, xi: int, zeta: float, eps: float) -> tuple[np.ndarray, np.ndarray]:
    _check(xi, zeta, n)
    s = np.arange(n + 1)
    return binomial(n, float(_chances(p)[0])), (n - s >= xi) & (s <= zeta * (n + eps))


def cut_at(p: float, n: int, *, xi: int = 10, zeta: float = 0.1, eps: float = 1e-6) -> float:
    """P(the test fails a state at visit n taken alone), whatever it said before."""
    law, cut = _test(p, n, xi, zeta, eps)
    return float(law[cut].sum())


def kept_at(p: float, n: int, *, xi: int = 10, zeta: float = 0.1, eps: float = 1e-6) -> float:
    """P(the test lets a state live at visit n taken alone), the complement of `cut_at`, summed by itself."""
    law, cut = _test(p, n, xi, zeta, eps)
    return float(law[~cut].sum())


@kernel
def _first_passages(out, uniforms, p, xi, zeta, eps):
    for r in range(out.shape[0]):
        s = 0
        out[r] = 0
        for n in range(1, uniforms.shape[1] + 1):
            s += 1 if uniforms[r, n - 1] < p else 0
            if n - s >= xi and s <= zeta * (n + eps):
                out[r] = n
                break


def simulated_truncation(
    p: float,
    replications: int,
    *,
    xi: int = 10,
    zeta: float = 0.1,
    horizon: int = 2000,
    eps: float = 1e-6,
    seed: int = 0,
) -> np.ndarray:
    """(N,) visit at which each simulated state was truncated, 0 where it lived to the horizon."""
    from creditsim.rng import Purpose, uniforms

    _check(xi, zeta, horizon)
    (chance,) = _chances(p)
    out = np.zeros(replications, np.int64)
    draws = uniforms(seed, np.arange(replications), Purpose.BANDIT, horizon)
    _first_passages(out, draws, chance, xi, zeta, eps)
    return out
