"""DAPO: groups whose answers all score alike are drawn again; what that selects, and what it costs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from creditsim.estimators import advantage
from creditsim.exact import exact_moments
from creditsim.exact.moments import Moments, moments_of
from creditsim.mdp import SoftmaxPolicy, make
from creditsim.rollouts import Rollouts
from creditsim.sampling import enumerate_design
from creditsim.stats.joint import conditional
from creditsim.stats.verdict import Evidence, exact_equality, exact_inequality
from theory.claim import Trial, claim
from theory.shared import angle, binary_task

Design = Callable[[float, int], tuple[Rollouts, np.ndarray]]
"""Success chance and group size -> every outcome of a sampling design, one batch each, and its probability."""

CHANCES = (0.1, 0.3, 0.5, 0.9)


def filtered(p: float, n: int, last_try: str = "mask", tries: int | None = None) -> tuple[Rollouts, np.ndarray]:
    """All outcomes of dynamic sampling on one binary task; groups all equal in the last try are masked or kept."""
    # The law of what is kept does not depend on the number of tries; two where that many outcomes can be listed.
    tries = (2 if n <= 4 else 1) if tries is None else tries
    return enumerate_design("filtered", *binary_task(p), group_size=n, tries=tries, last_try=last_try)


def kept_mean(p: float | np.ndarray, n: int) -> float | np.ndarray:
    """(p - p^n) / (1 - p^n - (1-p)^n)."""
    return (p - p**n) / (1 - p**n - (1 - p) ** n)


@claim("dapo.filtered-mean", paper="DAPO", source="inferred", kind="bias", figure="dapo_filter")
def filtered_mean(trial: Trial) -> Evidence:
    """The success rate of the groups that dynamic sampling keeps is (p - p^n) / (1 - p^n - (1-p)^n), not p.

    Above p for hard tasks, below p for easy ones, 1/2 always at n = 2. Every outcome of the design is enumerated.
    """
    return _check_mean(trial, filtered)


@filtered_mean.broken("the last try is kept whatever it holds (verl-agent's max_num_gen_batches)")
def _(trial: Trial) -> Evidence:
    return _check_mean(trial, lambda p, n: filtered(p, n, last_try="keep"))


def _check_mean(trial: Trial, design: Design) -> Evidence:
    sizes = trial.pick((2, 4, 8), (2, 4, 8), (2, 4, 8, 12))
    got, want, detail = [], [], {}
    for n in sizes:
        for p in CHANCES:
            rollouts, probability = design(p, n)
            live = probability[rollouts.batch_rows] * rollouts.columns.get("weight", 1.0)
            mean = float(live @ rollouts.reward / live.sum())
            got.append(mean)
            want.append(kept_mean(p, n))
            detail[f"p={p} n={n}"] = mean
            trial.table(p=p, n=n, mean=mean, line=False)
    fine = np.linspace(0.005, 0.995, 199)
    for n in sizes:
        trial.table(p=fine, n=n, mean=kept_mean(fine, n), line=True)
    return exact_equality(np.array(got), np.array(want), tolerance=1e-12, detail=detail)


@claim("dapo.hard-tasks-under-estimated", paper="DAPO", source="notes", kind="bias", figure="dapo_filter")
def hard_tasks_under_estimated(trial: Trial) -> Evidence:
    """In kept groups the advantages of hard tasks (p < 1/2) are under-estimated: E[A_hat | answer, kept] < A.

    True of failures, -p/(1 - (1-p)^(n-1)) against -p, and of the mean over rows, which is 0 against E[r | kept] - p.
    Outside that regime, for the successes themselves, it is false: (1-p)/(1 - p^(n-1)) exceeds 1-p. Leave-one-out
    advantages; the statement is read from an abstract, its regime inferred.
    """
    return _check_under(trial, filtered)


@hard_tasks_under_estimated.broken("no filter: leave-one-out advantages are unbiased")
def _(trial: Trial) -> Evidence:
    return _check_under(trial, lambda p, n: enumerate_design("independent", *binary_task(p), group_size=n))


def _check_under(trial: Trial, design: Design) -> Evidence:
    error: dict[str, list[float]] = {"failure": [], "success": [], "all": []}
    detail = {}
    for n in (4, 8):
        for p in (0.05, 0.1, 0.3):
            law = _moments(design, p, n)
            for name, action in (("failure", 0), ("success", 1)):
                at = law.index(0, action)
                error[name].append(float(law.bias[at]))
                detail[f"{name} p={p} n={n}"] = float(law.mean[at])
                trial.table(p=p, n=n, answer=name, estimate=law.mean[at], exact=law.target[at], line=False)
            pooled = float(law.rows @ law.bias / law.rows.sum())
            error["all"].append(pooled)
        fine = np.linspace(0.02, 0.5, 49)
        failure, success = -fine / (1 - (1 - fine) ** (n - 1)), (1 - fine) / (1 - fine ** (n - 1))
        trial.table(p=fine, n=n, answer="failure", estimate=failure, exact=-fine, line=True)
        trial.table(p=fine, n=n, answer="success", estimate=success, exact=1 - fine, line=True)
    # Strictly below: by more than rounding.
    strict = 1e-9
    inside = exact_inequality(np.array(error["failure"] + error["all"]), "<=", -strict, detail=detail)
    outside = exact_inequality(np.array(error["success"]), "<=", -strict, detail=detail)
    return conditional(inside, outside, note="Inside: failures and the mean over rows. Outside: successes.")


def _moments(design: Design, p: float, n: int) -> Moments:
    rollouts, probability = design(p, n)
    return moments_of(rollouts, probability, lambda r: advantage(r, "rloo@paper"), *binary_task(p))


@claim("dapo.redraw-keeps-direction", paper="DAPO", source="inferred", kind="gradient", figure="dapo_filter")
def redraw_keeps_direction(trial: Trial) -> Evidence:
    """Replacing a silent group by one of another task leaves the direction of the gradient over tasks as it was.

    E[g | filter] = c E[g], c = (1 - q^T)/(1 - q) for T tries and a share q of silent groups over all tasks: what is
    dropped contributed nothing. Redrawing the same task instead scales task i by its own (1 - q_i^T)/(1 - q_i).
    """
    return _check_redraw(trial, "new")


@redraw_keeps_direction.broken("a silent group is redrawn from the same task")
def _(trial: Trial) -> Evidence:
    return _check_redraw(trial, "same")


def _check_redraw(trial: Trial, tasks: str) -> Evidence:
    n, chance = 2, (0.05, 0.3, 0.6)
    mdp = make("answers", p=((0.0, 1.0),) * len(chance))
    policy = SoftmaxPolicy.from_probabilities(mdp, np.array([*((1 - p, p) for p in chance), (0.5, 0.5)]))

    def credit(rollouts: Rollouts) -> np.ndarray:
        return advantage(rollouts, "rloo@paper")

    plain = exact_moments(credit, mdp, policy, group_size=n).gradient.mean
    silent = np.mean([p**n + (1 - p) ** n for p in chance])
    got, want = [], []
    for tries in trial.pick((1, 2, 3), (1, 2, 3, 4), (1, 2, 3, 4)):
        options = {"group_size": n, "tries": tries, "last_try": "mask"}
        laws = {
            kind: moments_of(*enumerate_design("filtered", mdp, policy, tasks=kind, **options), credit, mdp, policy)
            for kind in ("new", "same")
        }
        for kind, law in laws.items():
            trial.table(tries=tries, tasks=kind, degrees=np.degrees(angle(law.gradient.mean, plain)))
        got.append(laws[tasks].gradient.mean)
        want.append((1 - silent**tries) / (1 - silent) * plain)
    return exact_equality(np.array(got), np.array(want), tolerance=1e-12)


@claim("dapo.cost", paper="DAPO", source="notes", kind="cost", figure="dapo_filter")
def cost(trial: Trial) -> Evidence:
    """Each kept group costs 1 / (1 - q) generated ones, q = p^n + (1-p)^n the share of groups that score alike.

    With at most T tries it is (1 - q^T)/(1 - q), counted here by enumeration for T = 1, 2, 3 (n = 3).
    """
    return _check_cost(trial, "generated")


@cost.broken("count only what is handed on")
def _(trial: Trial) -> Evidence:
    return _check_cost(trial, "kept")


def _check_cost(trial: Trial, counted: str) -> Evidence:
    n, got, want = 3, [], []
    for p in CHANCES:
        q = p**n + (1 - p) ** n
        for tries in (1, 2, 3):
            rollouts, probability = filtered(p, n, tries=tries)
            per_group = rollouts.trajectory_columns["generated"] if counted == "generated" else n
            groups = float(probability[rollouts.batch] @ np.broadcast_to(per_group, rollouts.batch.shape)) / n**2
            got.append(groups)
            want.append((1 - q**tries) / (1 - q))
            trial.table(p=p, n=n, tries=tries, groups=groups, line=False)
    fine = np.linspace(0.04, 0.96, 93)
    q = fine**n + (1 - fine) ** n
    for tries in (1, 2, 3, 0):  # 0: as many as it takes
        groups = (1 - q**tries if tries else 1.0) / (1 - q)
        trial.table(p=fine, n=n, tries=tries, groups=groups, line=True)
    at = {"p=0.05 n=8": 1 / (1 - 0.05**8 - 0.95**8), "p=0.02 n=8": 1 / (1 - 0.02**8 - 0.98**8)}
    return exact_equality(np.array(got), np.array(want), tolerance=1e-12, detail=at)
