"""ReMax: unbiased always, less variance than REINFORCE in a regime whose border two arms give in closed form."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from creditsim.estimators.base import advantage
from creditsim.exact import exact_moments
from creditsim.exact.moments import Credit, moments_of
from creditsim.mdp import SoftmaxPolicy, make
from creditsim.rollouts import Rollouts
from creditsim.sampling.enumerate import enumerate_design
from creditsim.segments import segment_max, segment_sum
from creditsim.stats.joint import conditional
from creditsim.stats.verdict import Evidence, exact_equality, exact_inequality
from theory.claim import Trial, claim
from theory.laws import bandit, policy_of

ROUNDING = 1e-12


# --- Bias -----------------------------------------------------------------------------------------------------------


def _remax(r: Rollouts) -> np.ndarray:
    return advantage(r, "remax@paper")


def _best_of_group(r: Rollouts) -> np.ndarray:
    score = segment_sum(r.reward, r.trajectory, r.n_trajectories)
    return (score - segment_max(score, r.group, r.n_groups)[r.group])[r.trajectory]


def _check_unbiased(trial: Trial, credit: Credit) -> Evidence:
    found, exact = [], []
    for seed in range(trial.pick(1, 10, 50)):
        mdp = make("chain", length=2, horizon=2, slip=0.25, step_reward=-0.1)
        policy = SoftmaxPolicy.random(mdp, seed)
        rollouts, probability = enumerate_design("independent_with_greedy", mdp, policy, group_size=2)
        law = moments_of(rollouts, probability, credit, mdp, policy).gradient
        found.append(law.mean)
        exact.append(law.exact)
        trial.table(policy=seed, expected=law.mean, exact=law.exact)
    return exact_equality(np.concatenate(found), np.concatenate(exact), tolerance=ROUNDING)


@claim("remax.unbiased", paper="ReMax", source="notes", kind="gradient")
def unbiased(trial: Trial) -> Evidence:
    """The return of a greedy rollout is a baseline that leaves the gradient unbiased, for any policy and any noise.

    E[(R - R_greedy) S] = dJ/dtheta: the greedy rollout is drawn apart from the sample, so E[R_greedy S] = 0. All draws
    of a slipping chain are listed, those of the greedy rollout included. Recalled from the paper.
    """
    return _check_unbiased(trial, _remax)


@unbiased.broken("take the best return of the sampled group for the baseline")
def _(trial: Trial) -> Evidence:
    return _check_unbiased(trial, _best_of_group)


# --- Variance -------------------------------------------------------------------------------------------------------


def border(p: np.ndarray) -> np.ndarray:
    """Reward of the other arm, per reward of the greedy arm, below which ReMax has more variance than no baseline."""
    return 1.0 - 1.0 / (2.0 * p)


def limit_border(p: np.ndarray) -> np.ndarray:
    """The border of a nearly greedy policy, p -> 1, taken for all p."""
    return np.full_like(p, 0.5)


def _trace(p: float, other: float, baseline: float) -> float:
    """Gradient variance in a bandit with a greedy arm (chance p, reward 1) and another (reward `other`)."""
    mdp = bandit((1.0, other))
    return exact_moments(
        lambda r: r.reward - baseline, mdp, policy_of(mdp, [[p, 1.0 - p]]), group_size=1
    ).gradient.trace


def _check_variance(trial: Trial, baseline: float) -> Evidence:
    count = trial.pick(10, 25, 60)
    p, other = np.meshgrid(np.linspace(0.52, 0.98, count), np.linspace(0.0, 1.2, count), indexing="ij")
    p, other = p.reshape(-1), other.reshape(-1)
    pairs = list(zip(p.tolist(), other.tolist(), strict=True))
    none = np.array([_trace(*pair, 0.0) for pair in pairs])
    with_greedy = np.array([_trace(*pair, baseline) for pair in pairs])
    # Both variances are 2 p (1-p) (b - b*)^2 with b* = (1-p) + p r.
    best = (1.0 - p) + p * other
    trial.table(
        p=p, other=other, border=border(p), variance_none=none, variance_remax=with_greedy,
        ratio_formula=np.square((baseline - best) / best),
    )  # fmt: skip
    inside = other >= border(p)
    binary = other == 0.0
    detail = {
        "share_worse_outside": float((with_greedy > none + ROUNDING)[~inside].mean()),
        "binary_reward_ratio": (with_greedy + ROUNDING)[binary] / (none + ROUNDING)[binary],
        "binary_reward_p": p[binary],
    }
    excess = with_greedy - none
    return conditional(
        exact_inequality(excess[inside], "<=", 0.0, tolerance=ROUNDING, detail=detail),
        exact_inequality(excess[~inside], "<=", 0.0, tolerance=ROUNDING),
        note="Inside: the other arm pays at least 1 - 1/(2p) of the greedy arm's reward.",
    )


@claim("remax.less-variance", paper="ReMax", source="notes", kind="variance", figure="remax_regime")
def less_variance(trial: Trial) -> Evidence:
    """A greedy baseline has no more gradient variance than no baseline: Var[(R - R_greedy) S] <= Var[R S].

    With two arms, greedy chance p and rewards 1 and r, it holds if and only if r >= 1 - 1/(2p). With rewards 0 and 1
    and a greedy arm that is right (r = 0) it never does, and the better the policy, the worse. Recalled from the paper.
    """
    return _check_variance(trial, 1.0)


@less_variance.broken("take twice the greedy return for the baseline")
def _(trial: Trial) -> Evidence:
    return _check_variance(trial, 2.0)


def _check_border(trial: Trial, predicted: Callable[[np.ndarray], np.ndarray]) -> Evidence:
    p = np.linspace(0.55, 0.98, trial.pick(6, 20, 100))

    def crossing(chance: float) -> float:
        # Below 1 the difference of the two variances changes its sign once; at 1 the greedy baseline is exact.
        low, high = -1.0, 1.0
        for _ in range(36):
            middle = (low + high) / 2.0
            greedy_is_worse = _trace(chance, middle, 1.0) > _trace(chance, middle, 0.0)
            low, high = (middle, high) if greedy_is_worse else (low, middle)
        return (low + high) / 2.0

    found = [crossing(chance) for chance in p.tolist()]
    trial.table(p=p, crossing=found, border=border(p))
    return exact_equality(found, predicted(p), tolerance=1e-9)


@claim("remax.border", paper="ReMax", source="inferred", kind="variance", figure="remax_regime")
def two_armed_border(trial: Trial) -> Evidence:
    """With two arms the greedy baseline stops paying where the other arm's reward falls below 1 - 1/(2p).

    Var[(R - 1) S] = Var[R S] at r = 1 - 1/(2p), the reward at which the baseline 1 is twice the best one,
    b* = (1 - p) + p r. Derived here.
    """
    return _check_border(trial, border)


@two_armed_border.broken("take the border of a nearly greedy policy, r = 1/2, for every p")
def _(trial: Trial) -> Evidence:
    return _check_border(trial, limit_border)
