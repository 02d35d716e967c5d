"""Calibration of the whole chain: simulate random MDPs, interval for J, compare with exact J.

1000 MDPs, n = 60 replicates each, intervals at alpha = 0.05. The share that covers leaves [0.925, 0.973] with
probability about 1e-6 when the chain is right; the pivots' empirical law leaves its band with probability 1e-6 at most.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from scipy.special import stdtr

from creditsim.exact.dp import solve
from creditsim.mdp.families import make
from creditsim.mdp.policy import SoftmaxPolicy
from creditsim.sampling.table import TableSampler, limited_threads
from creditsim.stats.intervals import t_interval
from creditsim.stats.moments import Moments

MDPS, REPLICATES = 1000, 60
LOW, HIGH = 0.925, 0.973
TWINS = ("forgotten discount", "last reward lost", "stale policy")


@cache
def calibration() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """For the chain and its broken twins: covered (MDPS,) and the pivots' probabilities (MDPS,)."""
    mean, variance, truth = (np.empty((MDPS, 1 + len(TWINS))) for _ in range(3))
    with limited_threads(1, 0):  # a thousand tiny samples: starting threads would cost more than the work
        for seed in range(MDPS):
            mdp = make("random", states=5, actions=2, branching=2, ending=0.1, horizon=6, gamma=0.8, seed=seed)
            g = np.random.Generator(np.random.Philox(seed))
            old = SoftmaxPolicy.uniform(mdp)
            policy = old.with_theta(g.normal(size=old.theta.shape) * 2.0)
            rollouts = TableSampler(mdp, seed=seed, batches=REPLICATES).extend(policy=policy)
            reward = np.asarray(rollouts.reward)
            right = reward * mdp.gamma ** np.asarray(rollouts.step)
            lost = right.copy()
            lost[np.asarray(rollouts.offsets)[1:] - 1] = 0.0
            columns = [
                np.bincount(np.asarray(rollouts.trajectory), weights=rows, minlength=REPLICATES)
                for rows in (right, reward, lost, right)
            ]
            summary = Moments((4,)).add(np.stack(columns, axis=1), 0).summary()
            j, j_old = (solve(mdp, p.probabilities(mdp)).j for p in (policy, old))
            mean[seed], variance[seed], truth[seed] = summary.mean, summary.variance(), (j, j, j, j_old)
    covered = t_interval(REPLICATES, mean, variance).contains(truth)
    probability = stdtr(REPLICATES - 1, (mean - truth) / np.sqrt(variance / REPLICATES))
    return {name: (covered[:, k], probability[:, k]) for k, name in enumerate(("right", *TWINS))}


def distance_from_uniform(probabilities: np.ndarray) -> float:
    """Largest distance of the empirical distribution function from that of the uniform law."""
    p, n = np.sort(probabilities), probabilities.size
    return float(max((np.arange(1, n + 1) / n - p).max(), (p - np.arange(n) / n).max()))


def test_intervals_for_j_cover_the_exact_value_on_random_mdps() -> None:
    covered, _ = calibration()["right"]
    assert LOW <= covered.mean() <= HIGH


def test_pivots_are_uniform_within_their_band() -> None:
    # Dvoretzky-Kiefer-Wolfowitz: P(distance > d) <= 2 exp(-2 n d^2) = 1e-6.
    limit = np.sqrt(np.log(2e6) / (2 * MDPS))
    results = calibration()
    assert distance_from_uniform(results["right"][1]) <= limit
    for twin in TWINS:
        assert distance_from_uniform(results[twin][1]) > limit


def test_broken_chains_fail_the_same_coverage_check() -> None:
    results = calibration()
    for twin in TWINS:
        assert results[twin][0].mean() < LOW
