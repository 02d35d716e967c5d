"""3SPO against GRPO, GiGPO and uniform branching at equal numbers of transitions; and its sensitivity."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from creditsim.stats.intervals import Interval, t_interval
from creditsim.stats.joint import conditional
from creditsim.stats.verdict import Evidence, inequality
from theory.claim import Trial, claim
from theory.three_spo_runs import WAYS, run

SPARSE: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "chain of 10": ("chain", ("env.length=10", "env.horizon=20")),
    "grid with key": ("grid", ("env.width=4", "env.height=4", "env.key=true", "env.horizon=20")),
}
WIDE: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "grid 12 x 12": ("grid", ("env.width=12", "env.height=12", "env.horizon=30")),
    "tree of 1093": ("tree", ("env.depth=6", "env.branching=3")),
}
SHOWN = ("3SPO", "3SPO, α=1, no truncation", "uniform branching", "GRPO", "GiGPO")


REPLICATES = (20, 40, 64)
"""By size; eight were too few in a pilot: at the ledger's level their t quantile is about 10."""


@claim("3spo.success-at-equal-transitions", paper="3SPO", source="notes", kind="convergence", figure="three_spo_vs")
def success_at_equal_transitions(trial: Trial) -> Evidence:
    """At an equal number of transitions 3SPO reaches at least the success of GRPO: J(3SPO) - J(GRPO) >= 0.

    The paper's main tables are after training to the end; equal transitions is the comparison that its cost table asks
    for. Sparse chain and key grid, exact J of each replicate's policy, defaults of the published script, one
    optimiser and step size for all. All tasks share a start whose success is rarer than zeta, so it is truncated.
    """
    return _check_budget(trial, "j", "3SPO", "GRPO", _sparse(trial))


@success_at_equal_transitions.broken("a policy that never learns")
def _(trial: Trial) -> Evidence:
    return _check_budget(trial, "j", "no learning", "GRPO", _sparse(trial))


@success_at_equal_transitions.control("the other way round: GRPO reaches at least the success of 3SPO")
def _(trial: Trial) -> Evidence:
    return _check_budget(trial, "j", "GRPO", "3SPO", _sparse(trial))


def _sparse(trial: Trial) -> Mapping[str, tuple[str, tuple[str, ...]]]:
    chosen = trial.pick(("chain of 10",), tuple(SPARSE), tuple(SPARSE))
    return {place: SPARSE[place] for place in chosen}


@claim("3spo.states-at-equal-transitions", paper="3SPO", source="notes", kind="cost", figure="three_spo_vs")
def states_at_equal_transitions(trial: Trial) -> Evidence:
    """At an equal number of transitions 3SPO meets more distinct states than GRPO: met(3SPO) - met(GRPO) >= 0.

    The paper reports 1.8 times as many states per rollout (9720 in 4.5e5 against 4020 in 3.4e5); whether a rollout is a
    step or an episode there is not said. Inside: a tree, where every branch leads to a state of its own. Outside: a
    grid, where branches lead back to the same cells. Counted over all tasks of a replicate, which share their start, at
    2500 transitions (quick); in the tree too 3SPO is behind up to about 1800, while its searches are near the start.
    """
    return _check_states(trial, "3SPO", "GRPO")


@states_at_equal_transitions.broken("eight branches everywhere, whatever the score")
def _(trial: Trial) -> Evidence:
    return _check_states(trial, "uniform branching", "GRPO")


@states_at_equal_transitions.control("against uniform branching of the same search")
def _(trial: Trial) -> Evidence:
    return _check_states(trial, "3SPO", "uniform branching")


def _check_states(trial: Trial, left: str, right: str) -> Evidence:
    inside, outside = (
        _check_budget(trial, "met", left, right, {place: WIDE[place]}) for place in ("tree of 1093", "grid 12 x 12")
    )
    return conditional(inside, outside, note="Inside: the tree. Outside: the grid.")


def _check_budget(
    trial: Trial, column: str, left: str, right: str, where: Mapping[str, tuple[str, tuple[str, ...]]]
) -> Evidence:
    budget = trial.pick(3000, 6000, 20_000) if column == "j" else trial.pick(2500, 2500, 6000)
    replicates = trial.pick(*REPLICATES)
    marks = np.linspace(0, budget, 11)
    differences, detail = [], {}
    for place, (env, params) in where.items():
        curves = {w: run(w, env, params, budget, replicates, trial.seed) for w in _ways(left, right)}
        for way, curve in curves.items():
            if len(curves) < len(SHOWN):
                continue
            for mark in marks:
                found = curve.at(mark)
                for name in ("j", "met", "silent"):
                    half = t_interval(replicates, found[name].mean(), found[name].var(ddof=1), alpha=0.05)
                    trial.table(
                        environment=place, way=way, transitions=mark, quantity=name, value=found[name].mean(),
                        low=half.low, high=half.high, check=column,
                    )  # fmt: skip
        at = {way: curves[way].at(budget) for way in (left, right)}
        differences.append(at[left][column] - at[right][column])
        detail[place] = {way: {name: float(x.mean()) for name, x in found.items()} for way, found in at.items()}
    values = np.stack(differences)

    def interval(alpha: float) -> Interval:
        # Each environment at a share of alpha, so that together they hold at alpha.
        return t_interval(replicates, values.mean(axis=1), values.var(axis=1, ddof=1), alpha=alpha / len(values))

    return inequality(interval, ">=", 0.0, alpha=trial.alpha, detail=detail)


def _ways(left: str, right: str) -> tuple[str, ...]:
    """What is run: all that the figure shows where the claim itself is checked."""
    return SHOWN if (left, right) == ("3SPO", "GRPO") else (left, right)


ALPHAS = (1.0, 10.0, 50.0, 200.0)
LIMITS = ((5.0, 0.05), (10.0, 0.1), (20.0, 0.2), (50.0, 0.3))
PLACE = ("chain", ("env.length=6", "env.horizon=12"))


@claim("3spo.inverted-u-alpha", paper="3SPO", source="notes", kind="convergence", figure="inverted_u")
def inverted_u_alpha(trial: Trial) -> Evidence:
    """Success is best at a middle alpha: J(50) >= J(alpha) for the smaller and the larger ones (paper: 35, 50, 70).

    Checked on a chain at equal transitions, alpha in 1, 10, 50, 200, without truncation, which would end most runs
    whatever alpha is. From alpha = 10 on the score is an indicator there and the runs do not differ; alpha = 1 goes on
    updating states that have had a success.
    """
    return _check_best(trial, "alpha", 50.0)


@inverted_u_alpha.broken("the largest alpha is best")
def _(trial: Trial) -> Evidence:
    return _check_best(trial, "alpha", 200.0)


@inverted_u_alpha.control("the smallest alpha is best")
def _(trial: Trial) -> Evidence:
    return _check_best(trial, "alpha", 1.0)


@claim("3spo.default-truncation", paper="3SPO", source="notes", kind="convergence", figure="inverted_u")
def inverted_u_truncation(trial: Trial) -> Evidence:
    """No other truncation succeeds more: J(10, 0.1) >= J(xi, zeta) - 0.02 for (5, .05), (20, .2), (50, .3).

    The paper reports an inverted U over these four. On the same chain at equal transitions and alpha = 50 they do not
    differ: updates end, with n = 1, long before truncation would end them. So there is no loss, and no inverted U.
    """
    return _check_best(trial, "truncation", 10.0)


@inverted_u_truncation.broken("at the default truncation the policy never learns")
def _(trial: Trial) -> Evidence:
    return _check_best(trial, "truncation", 10.0, way="no learning")


def _check_best(trial: Trial, swept: str, chosen: float, way: str = "3SPO") -> Evidence:
    budget, replicates = trial.pick(2500 if swept == "alpha" else 1200, 4000, 10_000), trial.pick(*REPLICATES)
    env, params = PLACE
    alphas = trial.pick((1.0, 50.0, 200.0), ALPHAS, ALPHAS)
    points = [(a, math.inf, 0.1) for a in alphas] if swept == "alpha" else [(50.0, x, z) for x, z in LIMITS]
    best = [point[0 if swept == "alpha" else 1] for point in points].index(chosen)
    reached = []
    for index, (alpha, xi, zeta) in enumerate(points):
        own = (f"state_score.alpha={alpha}", f"state_score.xi={xi}", f"state_score.zeta={zeta}")
        here = way if index == best else "3SPO"
        given = (*params, *own) if here == "3SPO" else params
        j = run(here, env, given, budget, replicates, trial.seed).at(budget)["j"]
        reached.append(j)
        found = t_interval(replicates, j.mean(), j.var(ddof=1), alpha=0.05)
        xi = min(xi, 1e9)  # tables hold finite numbers; so many failures never come
        trial.table(swept=swept, place=index, alpha=alpha, xi=xi, zeta=zeta, j=j.mean(), low=found.low, high=found.high)
    others = [i for i in range(len(points)) if i != best]
    values = np.stack([reached[best] - reached[i] for i in others])

    def interval(alpha: float) -> Interval:
        return t_interval(replicates, values.mean(axis=1), values.var(axis=1, ddof=1), alpha=alpha / len(values))

    detail = {str(points[i]): float(reached[i].mean()) for i in range(len(points))}
    return inequality(interval, ">=", 0.0, margin=0.02, alpha=trial.alpha, detail=detail)


assert set(SHOWN) <= set(WAYS)  # noqa: S101 # a name misspelt here would be a curve missing in the figure
