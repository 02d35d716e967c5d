"""GRPO: what dividing by the group's standard deviation does to the gradient, and groups that carry none."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from creditsim.estimators import advantage
from creditsim.exact import exact_moments
from creditsim.mdp import LogLinearPolicy, SoftmaxPolicy, TabularMDP, make
from creditsim.rollouts import Rollouts
from creditsim.segments import segment_count
from creditsim.stats.joint import conditional
from creditsim.stats.verdict import Evidence, exact_equality, exact_inequality
from theory.claim import Trial, claim
from theory.mixes import mix_factors
from theory.shared import angle, binary_task, binomial, responses

Credit = Callable[[Rollouts], np.ndarray]


def _grpo(rollouts: Rollouts) -> np.ndarray:
    return advantage(rollouts, "grpo@paper")


def _population(rollouts: Rollouts) -> np.ndarray:
    return advantage(rollouts, "grpo@paper", ddof=0)


def _variance_divided(rollouts: Rollouts) -> np.ndarray:
    """Centred scores over the variance of the group instead of its root."""
    centred, scaled = advantage(rollouts, "dr_grpo@paper"), advantage(rollouts, "grpo@paper")
    return np.divide(scaled**2, centred, out=np.zeros_like(centred), where=centred != 0)


def _factor(credit: Credit, p: float, n: int) -> float:
    """Expected gradient of a binary task over the exact one, through the estimator, all groups enumerated."""
    mdp, policy = binary_task(p)
    law = exact_moments(credit, mdp, policy, group_size=n, covariance=False).gradient
    return float(law.mean[1] / law.exact[1])


def _curve(p: float, n: int) -> float:
    return 1.0 / np.sqrt(p * (1.0 - p))


def _finite(p: float, n: int) -> float:
    return float(mix_factors([p], n, 1, "group")[0])


CHANCES = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5)
ACCEPTED = {"p=0.02": 0.02, "p=0.1": 0.1, "p=0.3": 0.3, "p=0.5": 0.5}


@claim("grpo.std-reweighting", paper="GRPO", source="notes", kind="gradient", figure="std_reweighting")
def std_reweighting(trial: Trial) -> Evidence:
    """Dividing by the group's deviation scales the expected gradient of a task by 1/sqrt(p(1-p)), to within 10 %.

    Binary rewards with success chance p, groups of N. The regime is N min(p, 1-p) >= 10; outside it (at most 2) groups
    with equal scores, which give nothing, keep the factor far below the curve. Exact through the estimator.
    """
    return _check_factor(trial, _grpo, _curve)


@std_reweighting.broken("divide by the variance instead of its root")
def _(trial: Trial) -> Evidence:
    return _check_factor(trial, _variance_divided, _curve)


@std_reweighting.control("the finite sum over success counts, sum_k P(k) k(N-k)/N^2 / std_k, over p(1-p)")
def _(trial: Trial) -> Evidence:
    return _check_factor(trial, _grpo, _finite, tolerance=1e-9)


# To second order the factor is the curve times 1 - 1/(2N) - 1/(8 N p(1-p)): 5 % short where N min(p, 1-p) = 10, less
# beyond; 10 % leaves room for the rest of the series.
NEAR = 0.1


def _check_factor(
    trial: Trial, credit: Credit, prediction: Callable[[float, int], float], tolerance: float = NEAR
) -> Evidence:
    sizes = trial.pick((4, 8, 16, 64, 256), (2, 4, 8, 16, 64, 256), (2, 4, 8, 16, 64, 256, 1024))
    p, n = (grid.reshape(-1) for grid in np.meshgrid(CHANCES, sizes, indexing="ij"))
    factor = np.array([_factor(credit, a, int(b)) for a, b in zip(p, n, strict=True)])
    wanted = np.array([prediction(a, int(b)) for a, b in zip(p, n, strict=True)])
    trial.table(p=p, n=n, factor=factor, curve=1.0 / np.sqrt(p * (1.0 - p)), line=False)
    _finite_lines(trial)
    crowd = n * np.minimum(p, 1.0 - p)
    detail = {name: {str(m): _finite(v, m) for m in (4, 8)} | {"curve": _curve(v, 0)} for name, v in ACCEPTED.items()}
    inside, outside = (
        exact_equality(factor[rows] / wanted[rows], 1.0, tolerance=tolerance, detail=detail)
        for rows in (crowd >= 10, crowd <= 2)
    )
    return conditional(inside, outside, note="Inside: N min(p, 1-p) >= 10. Outside: at most 2.")


def _finite_lines(trial: Trial) -> None:
    """The finite sums on a fine grid, which the figure draws as lines through the estimator's points."""
    p = np.linspace(0.005, 0.5, 60)
    for n in (2, 4, 8, 16, 64):
        factor = np.array([_finite(a, n) for a in p])
        trial.table(p=p, n=n, factor=factor, curve=1.0 / np.sqrt(p * (1.0 - p)), line=True)


@claim("grpo.std-factor-bound", paper="GRPO", source="inferred", kind="gradient", figure="std_reweighting")
def std_factor_bound(trial: Trial) -> Evidence:
    """However hard the task, the factor stays <= min((N-1)/sqrt(N), (N-1)/N / sqrt(p(1-p))).

    The first bound is the limit p -> 0 (k(N-k) >= N-1 for mixed groups), the second is Jensen's inequality; so at N = 8
    no task is scaled up by more than 2.48, whatever the curve says.
    """
    return _check_bound(trial, _grpo)


@std_factor_bound.broken("the deviation with divisor N (ddof = 0)")
def _(trial: Trial) -> Evidence:
    return _check_bound(trial, _population)


def _check_bound(trial: Trial, credit: Credit) -> Evidence:
    p = np.array((1e-4, 0.001, 0.02, 0.1, 0.3, 0.5))
    sizes = np.array((2, 3, 4, 8, 16, 64))
    factor = np.array([[_factor(credit, a, int(n)) for n in sizes] for a in p])
    bound = np.minimum((sizes - 1) / np.sqrt(sizes), (sizes - 1) / sizes / np.sqrt(p * (1 - p))[:, None])
    trial.table(
        p=np.repeat(p, sizes.size), n=np.tile(sizes, p.size), factor=factor.reshape(-1), bound=bound.reshape(-1)
    )
    detail = {"bound at N=8": 7 / np.sqrt(8), "largest factor at N=8": factor[:, 3].max()}
    return exact_inequality(factor, "<=", bound, tolerance=1e-9, detail=detail)


@claim("grpo.direction-within-a-task", paper="GRPO", source="inferred", kind="gradient")
def direction_within_a_task(trial: Trial) -> Evidence:
    """Within one task the division keeps the direction of the expected gradient: its angle to dJ/dtheta is 0.

    The regime is a binary reward, where E[A | r] takes two values and so E[g] is a positive multiple of dp/dtheta.
    Outside it, with three reward levels, E[A | r] bends (r = 0, 1, 5), and even one task's gradient turns.
    """
    return _check_within(trial, _grpo)


@direction_within_a_task.broken("copies of one answer in a group share one vote")
def _(trial: Trial) -> Evidence:
    return _check_within(trial, _one_vote_per_answer)


@direction_within_a_task.control("leave the division out: the direction is kept for graded rewards as well")
def _(trial: Trial) -> Evidence:
    return _check_within(trial, lambda r: advantage(r, "dr_grpo@paper"))


def _one_vote_per_answer(rollouts: Rollouts) -> np.ndarray:
    key = rollouts.group_rows * (rollouts.action.max() + 1) + rollouts.action
    return _grpo(rollouts) / segment_count(rollouts.reward, key, int(key.max()) + 1)[key]


def _check_within(trial: Trial, credit: Credit) -> Evidence:
    chance = np.array(((0.5, 0.3, 0.2), (0.2, 0.7, 0.1), (0.85, 0.0, 0.15)))
    found = {}
    for regime, levels in (("binary", (0.0, 1.0, 1.0)), ("graded", (0.0, 1.0, 5.0))):
        mdp = _graded_prompt(chance, np.array(levels))
        policy = SoftmaxPolicy.random(mdp, 4)
        degrees = []
        for n in (sizes := trial.pick((2, 4, 8), (2, 4, 8), (2, 4, 8, 12))):
            law = exact_moments(credit, mdp, policy, group_size=n, covariance=False).gradient
            degrees.append(float(np.degrees(angle(law.mean, law.exact))))
        trial.table(regime=regime, n=np.array(sizes), degrees=np.array(degrees))
        detail = {"degrees": dict(zip(map(str, sizes), degrees, strict=True))}
        found[regime] = exact_equality(np.array(degrees), 0.0, tolerance=1e-8, detail=detail)
    return conditional(found["binary"], found["graded"], note="Binary rewards inside, rewards 0, 1 and 5 outside.")


def _graded_prompt(chance: np.ndarray, levels: np.ndarray) -> TabularMDP:
    """One prompt whose answer a pays `levels[b]` with probability `chance[a, b]`."""
    return TabularMDP.build(
        successor=np.ones((2, *chance.shape)),
        probability=np.stack([chance, chance]),
        reward=np.broadcast_to(levels, (2, *chance.shape)),
        terminal=np.array([False, True]),
        horizon=1,
    )


@claim("grpo.std-can-reverse", paper="GRPO", source="inferred", kind="gradient")
def std_can_reverse(trial: Trial) -> Evidence:
    """Across tasks that share a parameter, dividing by the group's deviation can turn the update against dJ/dtheta.

    E[g] . dJ/dtheta < 0 for five hard tasks (p = 0.05) that want the parameter up and one even task (p = 0.5) that
    wants it down slightly more; groups of N = 8.
    """
    return _check_reverse(trial, _grpo)


@std_can_reverse.broken("leave the division out (Dr.GRPO): the product is positive")
def _(trial: Trial) -> Evidence:
    return _check_reverse(trial, lambda r: advantage(r, "dr_grpo@paper"))


def _check_reverse(trial: Trial, credit: Credit) -> Evidence:
    mdp = make("answers", p=((0.0, 0.1),) * 5 + ((0.76, 0.24),))
    # One shared logit: the second answer in every prompt.
    shared = np.zeros((mdp.n_states, 2, 1))
    shared[:, 1] = 1.0
    policy = LogLinearPolicy(np.zeros(1), shared)
    law = exact_moments(credit, mdp, policy, group_size=8, covariance=False).gradient
    trial.table(quantity=np.array(["expected", "exact"]), derivative=np.array([law.mean[0], law.exact[0]]))
    # Below zero by more than rounding: one percent of the squared exact gradient.
    return exact_inequality(
        law.mean @ law.exact,
        "<=",
        -0.01 * float(law.exact @ law.exact),
        detail={"expected": law.mean[0], "exact": law.exact[0]},
    )


@claim("grpo.degenerate-groups", paper="GRPO", source="notes", kind="cost", figure="degenerate_share")
def degenerate_groups(trial: Trial) -> Evidence:
    """A group of n binary rewards gives all its members advantage 0 with probability p^n + (1-p)^n.

    So on hard tasks most generation is without effect: at p = 0.05 two groups in three of n = 8.
    """
    return _check_degenerate(trial, _grpo)


@degenerate_groups.broken("no group baseline (REINFORCE): a group that succeeded throughout keeps its scores")
def _(trial: Trial) -> Evidence:
    return _check_degenerate(trial, lambda r: advantage(r, "reinforce"))


def _check_degenerate(trial: Trial, credit: Credit) -> Evidence:
    points, fine = np.array((0.01, 0.05, 0.1, 0.3, 0.5, 0.7, 0.9)), np.linspace(0.005, 0.995, 100)
    got, want = [], []
    for n in (2, 4, 8, 16, 64):
        silent = [not credit(responses([[1.0] * k + [0.0] * (n - k)])).any() for k in range(n + 1)]
        share = np.array([binomial(n, p) @ silent for p in points])
        got.append(share)
        want.append(points**n + (1 - points) ** n)
        trial.table(p=points, n=n, share=share, line=False)
        trial.table(p=fine, n=n, share=fine**n + (1 - fine) ** n, line=True)
    detail = {"p=0.05, n=8": float(got[2][1]), "p=0.5, n=8": float(got[2][4])}
    return exact_equality(np.array(got), np.array(want), tolerance=1e-12, detail=detail)
