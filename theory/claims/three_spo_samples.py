"""3SPO, the per-state bandit: samples to know the target, what the score can tell apart, whom truncation hits."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from creditsim.bandits.exact import binomial, identification_error, samples_needed
from creditsim.bandits.truncation import cut_at, kept_at, simulated_truncation, truncation_probability
from creditsim.stats.intervals import normal_quantile, proportion_interval
from creditsim.stats.joint import all_of, conditional
from creditsim.stats.verdict import Evidence, exact_equality, exact_inequality
from theory.claim import Trial, claim

PAIRS = ((0.3, 0.5), (0.05, 0.1), (0.4, 0.6), (0.2, 0.8))
XI, ZETA = 10, 0.1

Pair = tuple[float, float]


# --- T5: samples to know the target -----------------------------------------------------------------------------------


def pairwise(p: Pair, delta: float) -> int:
    """Samples per arm by Hoeffding's inequality on the difference of two rates: ln(1/delta) / gap^2."""
    return math.ceil(math.log(1.0 / delta) / (p[1] - p[0]) ** 2)


def each_arm(p: Pair, delta: float) -> int:
    """Samples per arm that hold each of two rates within gap/2: (2/gap^2) ln(4/delta)."""
    return math.ceil(2.0 * math.log(4.0 / delta) / (p[1] - p[0]) ** 2)


def _check_identification(trial: Trial, samples: Callable[[Pair, float], int]) -> Evidence:
    error, allowed = [], []
    needed: dict[str, list[int]] = {}
    for p in PAIRS:
        for delta in (0.1, 0.05, 0.01, 0.001):
            bounds = (samples(p, delta), each_arm(p, delta))
            error += [identification_error(p, n) for n in bounds]
            allowed += [delta, delta]
            least = samples_needed(p, delta)
            needed.setdefault(f"{p[0]:g}, {p[1]:g}", []).append(least)
            trial.table(low=p[0], high=p[1], delta=delta, needed=least, pairwise=bounds[0], each_arm=bounds[1])
    return exact_inequality(error, "<=", allowed, detail={"needed": needed})


@claim("3spo.identification", paper="3SPO", source="inferred", kind="estimate")
def identification(trial: Trial) -> Evidence:
    """With n samples per arm the target is named with error <= delta.

    So it is once n >= ln((K-1)/delta) / gap^2, or n >= (2/gap^2) ln(2K/delta).

    The abstract announces such a guarantee; this is its natural form (Hoeffding on differences, and on each rate). The
    exact error, by binomial sums with ties decided by a coin, is held against delta. At small p the bounds are loose.
    """
    return _check_identification(trial, pairwise)


@identification.broken("a quarter of the samples")
def _(trial: Trial) -> Evidence:
    return _check_identification(trial, lambda p, delta: max(1, pairwise(p, delta) // 4))


def _check_rate(trial: Trial, power: float) -> Evidence:
    gaps = np.array(trial.pick((0.2, 0.1, 0.05), (0.2, 0.1, 0.05, 0.025), (0.2, 0.1, 0.05, 0.025, 0.0125)))
    delta = 0.05
    needed = np.array([samples_needed((0.5 - g / 2.0, 0.5 + g / 2.0), delta) for g in gaps.tolist()])
    constant = normal_quantile(2.0 * delta) ** 2 / 2.0
    trial.table(gap=gaps, needed=needed, constant=constant)
    # One sample more or less is gap^2.
    scaled = needed * gaps**power
    return exact_equality(scaled, constant, tolerance=gaps**2, detail={"needed": needed, "scaled": scaled})


@claim("3spo.identification-rate", paper="3SPO", source="inferred", kind="estimate")
def identification_rate(trial: Trial) -> Evidence:
    """The samples needed grow like 1/gap^2: n gap^2 = z^2/2 around p = 1/2, z the normal quantile of delta = 0.05.

    To within one sample, by exact binomial sums, as the gap halves with its middle held at 1/2.
    """
    return _check_rate(trial, 2.0)


@identification_rate.broken("a rate of 1/gap")
def _(trial: Trial) -> Evidence:
    return _check_rate(trial, 1.0)


# --- T6: what the score can tell apart --------------------------------------------------------------------------------


def told_apart(p: Pair, n: int, alpha: float, group: int) -> float:
    """P(ceil(group S) differs between two arms of n samples each), S = n^(-alpha rate)."""
    count = np.ceil(group * np.exp(-alpha * math.log(n) * np.arange(n + 1) / n))
    first, second = ([float(binomial(n, q)[count == k].sum()) for k in range(1, group + 1)] for q in p)
    return 1.0 - float(np.dot(first, second))


def _check_score(trial: Trial, samples: Callable[[Pair, float], int]) -> Evidence:
    delta, group, wrong, apart = 0.05, 8, [], []
    for p in PAIRS:
        n = samples(p, delta)
        wrong.append(identification_error(p, n))
        for alpha in (0.1, 1.0, 10.0, 50.0):
            seen = told_apart(p, n, alpha, group)
            trial.table(low=p[0], high=p[1], alpha=alpha, samples=n, wrong_order=wrong[-1], told_apart=seen)
            if alpha == 50.0:
                apart.append(seen)
    detail = {"told_apart": apart, "wrong_order": wrong}
    return conditional(
        exact_inequality(wrong, "<=", delta, detail=detail),
        exact_inequality(apart, ">=", 1.0 - delta, detail=detail),
        note="Inside: the order of two scores. Outside: the rollouts ceil(8 S) that they buy, at alpha = 50.",
    )


@claim("3spo.score-distinguishable", paper="3SPO", source="inferred", kind="estimate")
def score_distinguishable(trial: Trial) -> Evidence:
    """Two states are told apart with probability >= 1 - delta from (2/gap^2) ln(4/delta) visits.

    The gap is between their success rates.

    The order of their scores is. What the score buys is not: with alpha = 50 both scores lie below 1/8, so both states
    get ceil(8 S) = 1 rollout. The abstract announces the guarantee; form and constants are derived here.
    """
    return _check_score(trial, each_arm)


@score_distinguishable.broken("a twentieth of the visits")
def _(trial: Trial) -> Evidence:
    return _check_score(trial, lambda p, delta: each_arm(p, delta) // 20)


# --- T7: whom truncation hits -----------------------------------------------------------------------------------------


def _check_filter(trial: Trial, stretch: float) -> Evidence:
    horizon, replications = 2000, trial.pick(500, 4000, 20_000)
    p = np.array([0.05, 0.1, 0.12, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5])
    for xi, zeta in ((5, 0.05), (10, 0.1), (20, 0.2), (50, 0.3)):
        ever = truncation_probability(p, xi=xi, zeta=zeta, horizon=horizon)[:, -1]
        for chance, exact in zip(p.tolist(), ever.tolist(), strict=True):
            hit = simulated_truncation(
                chance, replications, xi=xi, zeta=zeta, horizon=trial.pick(300, 2000, 2000), seed=trial.seed
            )
            within = truncation_probability(chance, xi=xi, zeta=zeta, horizon=trial.pick(300, 2000, 2000))[0, -1]
            found = proportion_interval(int((hit > 0).sum()), replications, alpha=trial.alpha)
            trial.table(
                p=chance, xi=xi, zeta=zeta, ever=exact, within=within, simulated=found.estimate, low=found.low,
                high=found.high,
            )  # fmt: skip
    above, below = p[p > ZETA], np.array([0.01, 0.02, 0.05])
    gap = stretch * (above - ZETA)
    visits = np.array([10, 11, 20, 50, 100, 200])
    killed = np.array([[cut_at(q, int(n), xi=XI, zeta=ZETA) for n in visits] for q in above])
    fixed = np.exp(-2.0 * visits * gap[:, None] ** 2)
    # Before visit xi / (1 - zeta), too few failures can keep a state whose rate is low.
    late = visits[visits >= XI / (1.0 - ZETA)]
    kept = np.array([[kept_at(q, int(n), xi=XI, zeta=ZETA) for n in late] for q in below])
    spared = np.exp(-2.0 * late * (stretch * (ZETA - below))[:, None] ** 2)
    ever = truncation_probability(above, xi=XI, zeta=ZETA, horizon=horizon)[:, -1]
    union = np.minimum(np.exp(-2.0 * XI * gap**2) / -np.expm1(-2.0 * gap**2), 1.0)
    detail = {"p": above, "ever": ever, "union": union, "ever_at_twice_zeta": float(ever[above == 2.0 * ZETA][0])}
    return all_of(
        {
            "at one visit": exact_inequality(killed, "<=", fixed, detail=detail),
            "kept": exact_inequality(kept, "<=", spared, tolerance=1e-12),
            "ever": exact_inequality(ever, "<=", union, detail=detail),
        },
        alpha=trial.alpha,
    )


@claim("3spo.filter-stability", paper="3SPO", source="inferred", kind="estimate", figure="false_truncation")
def filter_stability(trial: Trial) -> Evidence:
    """Truncation errs at a given visit N >= xi with probability <= exp(-2 N g^2), g the distance of p from zeta.

    A state with p >= zeta + g is cut, and one with p <= zeta - g kept (from N = xi / (1 - zeta) on), no more often;
    some time or other a state is cut with probability <= exp(-2 xi g^2) / (1 - exp(-2 g^2)). The abstract announces
    such a guarantee, this is its natural form. It holds, and is little comfort: the last bound exceeds 1 up to p =
    0.4, and a state that succeeds in a fifth of its visits is cut for good in 39 % of runs.
    """
    return _check_filter(trial, 1.0)


@filter_stability.broken("take twice the distance")
def _(trial: Trial) -> Evidence:
    return _check_filter(trial, 2.0)
