"""What a sample in its own baseline costs: OPO and the optimal token baseline are not leave-one-out."""

from __future__ import annotations

import numpy as np

from creditsim.estimators.base import advantage
from creditsim.exact import exact_moments, score_norm
from creditsim.exact.moments import Credit
from creditsim.mdp import Policy, SoftmaxPolicy, TabularMDP, make
from creditsim.rollouts import Rollouts
from creditsim.segments import scan, segment_sum
from creditsim.stats.joint import all_of
from creditsim.stats.verdict import Evidence, exact_equality
from theory.claim import Trial, claim
from theory.laws import ScoredLaw


def _opo(r: Rollouts) -> np.ndarray:
    return advantage(r, "opo", length="steps")


def _opo_without_itself(r: Rollouts) -> np.ndarray:
    score = segment_sum(r.reward, r.trajectory, r.n_trajectories)
    length = r.length.astype(float)
    paid = segment_sum(length * score, r.group, r.n_groups)[r.group] - length * score
    total = segment_sum(length, r.group, r.n_groups)[r.group] - length
    return (score - paid / total)[r.trajectory]


def _opo_limit(law: ScoredLaw) -> np.ndarray:
    """-E[L (R - b_L) S] / E[L], b_L = E[L R] / E[L]."""
    length = law.rollouts.length.astype(float)
    b = law.mean(length * law.total) / law.mean(length)
    return -law.mean((length * (law.total - b))[:, None] * law.whole) / law.mean(length)


def _otb(mdp: TabularMDP, policy: Policy) -> Credit:
    square = np.square(policy.probabilities(mdp)).sum(axis=1)

    def credit(r: Rollouts) -> np.ndarray:
        return advantage(r.with_columns(sum_pi_squared=square[r.columns["state"]]), "optimal_token_baseline")

    return credit


def _otb_limit(mdp: TabularMDP, policy: Policy, law: ScoredLaw) -> np.ndarray:
    """-sum_t E[W_t (G_t - B_t) s_t] / E[W_t], B_t = E[W_t G_t] / E[W_t]."""
    r = law.rollouts
    so_far = scan(score_norm(mdp, policy)[r.columns["state"], r.action], 1.0, r.offsets)
    weight = law.row_chance * so_far
    total = np.bincount(r.step, weight)
    b = np.bincount(r.step, weight * law.to_go) / total
    return -((weight * (law.to_go - b[r.step]) / total[r.step]) @ law.score)


def _check(trial: Trial, opo: Credit) -> Evidence:
    sizes = trial.pick((2, 4, 8, 16), (2, 4, 8, 16, 32), (2, 4, 8, 16, 24, 48))
    stop = make("stopping", turns=4, stop=(0.2, 0.9, 0.4), go=0.0, last=1.0)
    tree = make("tree", depth=2, branching=2, seed=1)
    parts = {}
    for name, mdp in (("OPO", stop), ("OTB", tree)):
        policy = SoftmaxPolicy.random(mdp, 3)
        law = ScoredLaw.of(mdp, policy)
        credit, limit = (opo, _opo_limit(law)) if name == "OPO" else (_otb(mdp, policy), _otb_limit(mdp, policy, law))
        bias = [exact_moments(credit, mdp, policy, group_size=n).gradient.bias for n in sizes]
        # n bias = limit + c / n + O(1 / n^2): one Richardson step removes c.
        found = 2.0 * sizes[-1] * bias[-1] - sizes[-2] * bias[-2]
        size = float(np.linalg.norm(limit))
        trial.table(estimator=name, n=sizes, bias=[float(np.linalg.norm(b)) for b in bias], limit=size)
        off = float(np.linalg.norm(found - limit)) / size
        # What the step leaves is of the order 1 / n^2, below 2 % from n = 8 on unless the constant is large.
        parts[name] = exact_equality(off, 0.0, tolerance=0.05, detail={"n": sizes, "limit": size})
    return all_of(parts, alpha=trial.alpha, note="statistic: relative distance between n times the bias and its limit")


@claim("opo.self-inclusion-bias", paper="OPO", source="inferred", kind="gradient", figure="baseline_variance")
def self_inclusion_bias(trial: Trial) -> Evidence:
    """OPO and the optimal token baseline contain the sample itself, which biases the gradient by a multiple of 1/n.

    n (E[g] - dJ/dtheta) -> -E[L (R - b_L) S] / E[L] for OPO, and -sum_t E[W_t (G_t - B_t) s_t] / E[W_t] for OTB, as the
    group size n grows: not a multiple of dJ/dtheta, unlike the (n-1)/n of the plain mean.
    """
    return _check(trial, _opo)


@self_inclusion_bias.broken("leave the sample out of its own baseline")
def _(trial: Trial) -> Evidence:
    return _check(trial, _opo_without_itself)
