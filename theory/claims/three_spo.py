"""3SPO, the per-state bandit: concentration of success rates, separation of scores, share of the other arms.

One state is a bandit whose arms succeed with fixed probabilities; the target is the arm that succeeds least. Arm a has
the score S_i(a) = i^(-alpha p_a) at iteration i, p_a its success rate so far, and the share S_i(a) / sum_b S_i(b).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from creditsim.bandits.exact import log_share, miss_probability, never_again
from creditsim.stats.joint import conditional
from creditsim.stats.verdict import Evidence, exact_equality, exact_inequality
from theory.claim import Trial, claim

ARMS = (0.3, 0.5)
GAP = ARMS[1] - ARMS[0]
ROUNDING = 1e-9


def first_valid(gap: float) -> int:
    """Smallest i with i >= (16 / gap^2) ln i from there on: a rate of i samples misses by gap/4 with 2 i^-2 at most."""
    scale = 16.0 / gap**2
    i = scale
    for _ in range(100):  # i = scale ln i attracts from scale > e on, by a factor scale / i
        i = scale * math.log(i)
    return math.ceil(i)


# --- T1: concentration ------------------------------------------------------------------------------------------------


def _check_concentration(trial: Trial, share_of_gap: float) -> Evidence:
    start = first_valid(GAP)
    times = np.unique(np.geomspace(start, 10 * start, trial.pick(4, 8, 16)).round().astype(int))
    early = np.unique(np.geomspace(10, start, trial.pick(8, 20, 40)).round().astype(int))[:-1]
    bound = 4.0 / times**2.0
    miss = np.array([miss_probability(ARMS, int(i), share_of_gap * GAP) for i in times])
    # A target that is never drawn again keeps the rate of its one pull, 0 or 1, which is off by more than the margin.
    stuck = never_again(ARMS, 50.0, times[:1])
    for feedback, at, value in (
        ("full", early, [miss_probability(ARMS, int(i), share_of_gap * GAP) for i in early]),
        ("full", times, miss),
        ("bandit", times[:1], stuck),
    ):
        trial.table(feedback=feedback, time=at, probability=value, bound=4.0 / np.asarray(at, float) ** 2)
    detail = {
        "first_iteration": start,
        "missed_full": float(miss[0]),
        "missed_bandit_at_least": float(stuck[0]),
        "bound": float(bound[0]),
        "earlier": {str(i): miss_probability(ARMS, i, share_of_gap * GAP) for i in (100, 300, 1000, 2000)},
    }
    return conditional(
        exact_inequality(miss, "<=", bound, detail=detail),
        exact_inequality(stuck, "<=", bound[:1], detail=detail),
        note="Inside: every arm is observed in every iteration, from the first i with i >= (16/gap^2) ln i on. "
        "Outside: only the arm drawn is observed.",
    )


@claim("3spo.concentration", paper="3SPO", source="notes", kind="estimate", figure="lock_in")
def concentration(trial: Trial) -> Evidence:
    """At iteration i all success rates lie within gap/4 of the truth with probability >= 1 - O(i^-2).

    P(not E_i) <= 2 K i^-2 by Hoeffding's inequality, if every arm has N_i >= (16/gap^2) ln i samples: so under full
    information from i = 3233 on (success 0.3 and 0.5). With bandit feedback the premise fails: the target may keep the
    rate of its first pull for ever. The order i^-2 is quoted from the paper; constants and premise are derived here.
    """
    return _check_concentration(trial, 0.25)


@concentration.broken("hold the rates to within gap/8, with the bound for gap/4")
def _(trial: Trial) -> Evidence:
    return _check_concentration(trial, 0.125)


# --- T2, T3: what follows once the rates are close --------------------------------------------------------------------


def _differences(i: int) -> np.ndarray:
    """Rate of the higher arm less that of the lower, for every pair of counts with both rates within gap/4."""
    k = np.arange(i + 1)
    low, high = (k[np.abs(k - i * p) <= i * GAP / 4.0 + ROUNDING] for p in ARMS)
    return (high - low[:, None]).reshape(-1) / i


Bound = Callable[[float], float]
"""From alpha gap to the exponent of i that is claimed."""


def _check_separation(trial: Trial, exponent: Bound) -> Evidence:
    least, bound = [], []
    for i in trial.pick((20, 60, 100, 300), (20, 60, 100, 300, 1000), (20, 60, 100, 300, 1000, 3000)):
        for alpha in (2.0, 10.0, 50.0):
            least.append(alpha * math.log(i) * float(_differences(i).min()))
            bound.append(exponent(alpha * GAP) * math.log(i))
            trial.table(time=i, alpha=alpha, least=least[-1], bound=bound[-1])
    return exact_inequality(least, ">=", bound, tolerance=ROUNDING * 50.0)


@claim("3spo.score-separation", paper="3SPO", source="notes", kind="identity")
def score_separation(trial: Trial) -> Evidence:
    """With all rates within gap/4 of the truth, scores are apart by S_i(b) / S_i(a) >= i^(alpha gap/2) for p_b < p_a.

    The rates then differ by at least gap/2. Every pair of counts that fits is listed; equality occurs on the lattice.
    """
    return _check_separation(trial, lambda x: x / 2.0)


@score_separation.broken("claim the whole gap, i^(alpha gap)")
def _(trial: Trial) -> Evidence:
    return _check_separation(trial, lambda x: x)


def _check_share(trial: Trial, exponent: Bound) -> Evidence:
    most, bound = [], []
    for i in trial.pick((20, 60, 100, 300), (20, 60, 100, 300, 1000), (20, 60, 100, 300, 1000, 3000)):
        for alpha in (2.0, 10.0, 50.0):
            most.append(float((-np.logaddexp(0.0, alpha * math.log(i) * _differences(i))).max()))
            bound.append(-exponent(alpha * GAP) * math.log(i))
            trial.table(time=i, alpha=alpha, most=most[-1], bound=bound[-1])
    return exact_inequality(most, "<=", bound, tolerance=ROUNDING * 50.0)


@claim("3spo.non-worst-share", paper="3SPO", source="notes", kind="identity")
def non_worst_share(trial: Trial) -> Evidence:
    """With all rates within gap/4 of the truth, an arm that is not the target gets a share <= i^(-alpha gap/2).

    q_i(a) <= S_i(a) / S_i(target) = i^(-alpha (rate_a - rate_target)). Every pair of counts that fits is listed.
    """
    return _check_share(trial, lambda x: x / 2.0)


@non_worst_share.broken("claim the whole gap, i^(-alpha gap)")
def _(trial: Trial) -> Evidence:
    return _check_share(trial, lambda x: x)


def _check_exponent(trial: Trial, exponent: Bound) -> Evidence:
    decades = 10 ** np.arange(2, trial.pick(6, 6, 7))
    found, predicted = [], []
    for alpha in (2.0, 5.0, 10.0, 50.0):
        mean = np.array([log_share(ARMS, int(i), alpha) for i in decades])
        slope = np.diff(mean) / math.log(10.0)
        trial.table(alpha=alpha, time=decades[1:], slope=slope, predicted=-alpha * GAP)
        if alpha > 2.0:
            found.append(slope[-1])
            predicted.append(-exponent(alpha * GAP))
    slopes = {str(a): trial.data["slope"][trial.data["alpha"] == a] for a in (2.0, 10.0, 50.0)}
    return exact_equality(found, predicted, tolerance=1e-2 * np.abs(predicted), detail={"slopes": slopes})


@claim("3spo.share-exponent", paper="3SPO", source="inferred", kind="convergence")
def share_exponent(trial: Trial) -> Evidence:
    """Under full information the share of another arm falls like i^(-alpha gap), twice the exponent of the bound.

    d E[ln q_i] / d ln i -> -alpha gap: within 1 % over the last decade, alpha gap >= 1, by sums over the laws of the
    counts. (The logarithm of the mean share follows rare runs instead, which a simulation does not see.)
    """
    return _check_exponent(trial, lambda x: x)


@share_exponent.broken("take the bound's exponent, alpha gap/2, for the rate")
def _(trial: Trial) -> Evidence:
    return _check_exponent(trial, lambda x: x / 2.0)
