"""SeeUPO's order of turns: who improves when, and what is left when the dust has settled."""

from __future__ import annotations

from itertools import islice
from typing import Any

import numpy as np

from creditsim.exact import objective
from creditsim.mdp import SoftmaxPolicy, TabularMDP, make
from creditsim.mdp.rows import TablePolicy
from creditsim.planning_tables import planning_tables
from creditsim.rollouts import Rollouts
from creditsim.stats.intervals import Interval, proportion_interval
from creditsim.stats.joint import conditional
from creditsim.stats.verdict import Evidence, exact_inequality, inequality
from creditsim.updates import UPDATES
from theory.claim import Trial, claim
from theory.turn_trees import ORDERS, Sweeper, random_leaves

PAPER = "SeeUPO"
ROUNDING = 1e-12
TURNS, ACTIONS = 4, 3
SOFT_TURNS = 3
NEAR = 0.99
"""Share of the best J that counts as found by soft updates, which reach it in the limit only."""


# --- Hard best responses --------------------------------------------------------------------------------------------


def hard_runs(n: int, sweeps: int, seed: int) -> dict[str, np.ndarray]:
    """Order -> (sweeps + 1, n) J on the same random trees; `best` -> (n,)."""
    trees = Sweeper(random_leaves(n, TURNS, ACTIONS, seed), TURNS, ACTIONS)
    runs = {order: np.stack(list(islice(trees.run(order, seed + 1), sweeps + 1))) for order in ORDERS}
    return {**runs, "best": trees.best}


@claim("seeupo.reverse-optimal", paper=PAPER, source="paper", kind="convergence", figure="turn_orders")
def reverse_optimal(trial: Trial) -> Evidence:
    """From the last turn to the first, one sweep of best responses finds the best policy of a multi-turn bandit in
    which each turn sees all before it: max J - J = 0 in every tree (backward induction). Random trees of 4 turns and 3
    actions, from the uniform policy.
    """
    return _check_reverse(trial, "reverse")


@reverse_optimal.broken("from the first turn to the last")
def _(trial: Trial) -> Evidence:
    return _check_reverse(trial, "forward")


def _check_reverse(trial: Trial, order: str) -> Evidence:
    n, sweeps = trial.pick(400, 4_000, 60_000), 8
    runs = hard_runs(n, sweeps, trial.seed)
    detail = {}
    for name in ORDERS:
        found = (runs[name] >= runs["best"] - ROUNDING).sum(axis=1)
        share = proportion_interval(found, n, alpha=trial.alpha)
        trial.table(
            order=name, sweep=np.arange(sweeps + 1), share=share.estimate, low=share.low, high=share.high,
            gap=(runs["best"] - runs[name]).mean(axis=1),
        )  # fmt: skip
        detail[name] = np.asarray(share.estimate)[[1, 2, 3, 4, sweeps]].tolist()
    return exact_inequality((runs["best"] - runs[order][1]).max(), "<=", 0.0, tolerance=ROUNDING, detail=detail)


@claim("seeupo.other-orders-stuck", paper=PAPER, source="inferred", kind="convergence", figure="turn_orders")
def other_orders_stuck(trial: Trial) -> Evidence:
    """In any order but the reverse a part of the trees stays short of the best policy: share of trees that reach 99 %
    of the best J <= 0.9, in the forward, the random and the simultaneous order. Inside, hard best responses: contexts
    that are no longer met are no longer updated. Outside, exponentiated updates of every context: all orders arrive.
    """
    return _check_stuck(trial, ("forward", "random", "simultaneous"))


@other_orders_stuck.broken("the reverse order among them")
def _(trial: Trial) -> Evidence:
    return _check_stuck(trial, ("reverse", "forward"))


def _check_stuck(trial: Trial, orders: tuple[str, ...]) -> Evidence:
    n, sweeps = trial.pick(600, 3_000, 20_000), 6
    shares = {}
    for rule, step in (("hard", None), ("soft", 5.0)):
        turns = TURNS if rule == "hard" else SOFT_TURNS
        trees = Sweeper(random_leaves(n, turns, ACTIONS, trial.seed), turns, ACTIONS, step)
        for order in orders:
            *_, last = islice(
                trees.run(order, trial.seed + 1), (sweeps if rule == "hard" else trial.pick(60, 80, 80)) + 1
            )
            shares[rule, order] = int((last >= NEAR * trees.best).sum())
            trial.table(rule=rule, order=order, share=shares[rule, order] / n)

    def at_most(rule: str) -> Evidence:
        counts = np.array([shares[rule, order] for order in orders])

        def interval(alpha: float) -> Interval:
            return proportion_interval(counts, n, alpha=alpha)

        return inequality(interval, "<=", 0.9, alpha=trial.alpha, detail={o: shares[rule, o] / n for o in orders})

    return conditional(at_most("hard"), at_most("soft"), note="hard best responses inside, soft updates outside")


# --- Soft updates ---------------------------------------------------------------------------------------------------


@claim("seeupo.soft-updates-arrive", paper=PAPER, source="inferred", kind="convergence", figure="turn_orders")
def soft_updates_arrive(trial: Trial) -> Evidence:
    """With exponentiated updates every order finds the best policy, and the reverse one is merely first: min over trees
    of J / max J >= 0.99 after 100 sweeps, in the reverse, forward and simultaneous order. Inside, every history takes
    the whole step exp(5 Q); outside, the step is weighed by the chance of meeting the history, as a policy gradient
    weighs it, and branches left early starve.
    """
    return _check_soft(trial, reach=False)


@soft_updates_arrive.broken("the step weighed by the chance of meeting the history, inside too")
def _(trial: Trial) -> Evidence:
    return _check_soft(trial, reach=True)


def _check_soft(trial: Trial, *, reach: bool) -> Evidence:
    n, sweeps = trial.pick(150, 2_000, 2_000), trial.pick(100, 400, 400)
    leaves = random_leaves(n, SOFT_TURNS, ACTIONS, trial.seed + 2)
    worst, detail = {}, {}
    for name, weighed in (("whole", reach), ("weighed", True)):
        trees = Sweeper(leaves, SOFT_TURNS, ACTIONS, 5.0, weighed)
        low = []
        for order in ("reverse", "forward", "simultaneous"):
            ratio = np.stack(list(islice(trees.run(order), sweeps + 1))) / trees.best
            near = ratio >= NEAR
            first = np.where(near.any(axis=0), near.argmax(axis=0), np.inf)
            low.append(float(ratio[-1].min()))
            detail[f"{name}, {order}"] = {"median": float(np.median(first)), "short": float(1.0 - near[-1].mean())}
            shown = np.unique(np.geomspace(1, sweeps, 24).astype(int))
            trial.table(step=name, order=order, sweep=shown, share=near[shown].mean(axis=1))
        worst[name] = low
    return conditional(
        exact_inequality(worst["whole"], ">=", NEAR, detail=detail),
        exact_inequality(worst["weighed"], ">=", NEAR, detail=detail),
        note="whole steps inside, steps weighed by reach outside",
    )


# --- Monotone improvement -------------------------------------------------------------------------------------------


def improved(mdp: TabularMDP, policy: SoftmaxPolicy, rule: str, order: str) -> SoftmaxPolicy:
    """The policy after one update by a registered exact rule."""
    tables = planning_tables(mdp)
    bound = UPDATES.bind(rule, order=order)
    state: dict[str, Any] = {name: tables[name]() for name in bound.part.options["tables"] if name in tables}
    state |= {"context_of_state": mdp.context, "seed": 0, "replicate": np.arange(policy.theta.shape[0])}
    nothing = Rollouts.flat(offsets=np.array([0, 1]), group=np.array([0]), reward=np.zeros(1))
    moved, _ = bound(TablePolicy(policy, mdp), nothing, {}, state)
    return moved.policy


def worst_changes(trial: Trial, parameters: str, order: str, rule: str = "best_response") -> float:
    """The smallest change of J that one update makes, over random games and policies."""
    low = np.inf
    for seed in range(trial.pick(12, 60, 400)):
        mdp = make("turns", turns=2 + seed % 2, actions=2 + (seed // 2) % 2, parameters=parameters, seed=seed)
        policy = SoftmaxPolicy.random(mdp, seed + 1, replicates=trial.pick(3, 8, 8))
        change = objective(mdp, improved(mdp, policy, rule, order).probabilities(mdp)) - objective(
            mdp, policy.probabilities(mdp)
        )
        low = min(low, float(change.min()))
    trial.table(parameters=parameters, order=order, rule=rule, worst=low)
    return low


@claim("seeupo.sequential-monotone", paper=PAPER, source="paper", kind="convergence")
def sequential_monotone(trial: Trial) -> Evidence:
    """Turn after turn, no update lowers the return: J(new) - J(old) >= 0 for exact best responses and natural steps in
    reverse and forward order. Inside, each turn has parameters of its own, even where it does not see what was done
    before; outside, all turns share one row of parameters, as the turns of one network do.
    """
    return _check_sequential(trial, ("reverse", "forward"))


@sequential_monotone.broken("all turns at once")
def _(trial: Trial) -> Evidence:
    return _check_sequential(trial, ("simultaneous",))


def _check_sequential(trial: Trial, orders: tuple[str, ...]) -> Evidence:
    worst = {
        kind: [worst_changes(trial, kind, order) for order in orders]
        + [worst_changes(trial, kind, orders[0], "natural")]
        for kind in ("separate", "aliased", "shared")
    }
    return conditional(
        exact_inequality([*worst["separate"], *worst["aliased"]], ">=", 0.0, tolerance=1e-12, detail=worst),
        exact_inequality(worst["shared"], ">=", 0.0, tolerance=1e-12, detail=worst),
        note="a row for each turn inside, one row for all turns outside",
    )


@claim("seeupo.simultaneous-monotone", paper=PAPER, source="inferred", kind="convergence")
def simultaneous_monotone(trial: Trial) -> Evidence:
    """Updating all turns at once is monotone too, so that the order is not what keeps J from falling: J(new) - J(old)
    >= 0 for simultaneous exact best responses. Inside, every turn sees all before it and has parameters for each
    history (policy iteration); outside, it does not see: with r = 1 iff a_1 != a_2 and both turns at (0.6, 0.4) the
    return falls from 0.48 to 0.
    """
    return _check_simultaneous(trial, inside="separate")


@simultaneous_monotone.broken("aliased turns inside")
def _(trial: Trial) -> Evidence:
    return _check_simultaneous(trial, inside="aliased")


def _check_simultaneous(trial: Trial, *, inside: str) -> Evidence:
    mdp = make("turns", turns=2, actions=2, parameters="aliased", leaves=(0.0, 1.0, 1.0, 0.0))
    table = np.tile([0.6, 0.4], (mdp.n_contexts, 1))[None]
    before = SoftmaxPolicy.from_probabilities(mdp, table)
    detail = {"before": float(objective(mdp, before.probabilities(mdp))[0])}
    for order in ("simultaneous", "reverse"):
        after = improved(mdp, before, "best_response", order)
        detail[order] = float(objective(mdp, after.probabilities(mdp))[0])
    seen = worst_changes(trial, inside, "simultaneous")
    blind = min(worst_changes(trial, "aliased", "simultaneous"), detail["simultaneous"] - detail["before"])
    detail |= {"worst_seen": seen, "worst_blind": blind}
    return conditional(
        exact_inequality(seen, ">=", 0.0, tolerance=1e-12, detail=detail),
        exact_inequality(blind, ">=", 0.0, tolerance=1e-12, detail=detail),
        note="histories seen inside, not seen outside",
    )
