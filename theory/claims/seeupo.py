"""SeeUPO on its rivals: what group credit does to the gradient, to the order of actions and to monotone improvement."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np

from creditsim.estimators import advantage
from creditsim.exact import exact_moments, policy_gradient
from creditsim.mdp import SoftmaxPolicy, TabularMDP, make
from creditsim.rollouts import Rollouts
from creditsim.stats.joint import conditional
from creditsim.stats.verdict import Evidence, exact_equality, exact_inequality
from theory.claim import Trial, claim
from theory.expected_updates import Backbone, Games, random_games, signed_credit

PAPER = "SeeUPO"
ROUNDING = 1e-9
DROP = 1e-6
"""A fall of J that is no rounding, in units of a reward between 0 and 2.5."""

# --- The gradient ---------------------------------------------------------------------------------------------------


def short_or_long(gamma: float) -> TabularMDP:
    """Stop at once for 0.6, or go on for three steps and get 1; gamma = 0.8 makes stopping the better choice."""
    successor = np.array([[[4], [1]], [[2], [2]], [[3], [3]], [[4], [4]], [[4], [4]]])
    reward = np.zeros(successor.shape)
    reward[0, 0], reward[3, :] = 0.6, 1.0
    return TabularMDP.build(
        successor=successor, probability=np.ones(successor.shape), reward=reward, terminal=np.arange(5) == 4,
        horizon=4, gamma=gamma, name="short or long",
    )  # fmt: skip


@claim("seeupo.grae-gradient", paper=PAPER, source="paper", kind="gradient", figure="backbones")
def grae_gradient(trial: Trial) -> Evidence:
    """REINFORCE with the return less the group's mean follows the undiscounted objective, in many turns as in one:
    E[g] = (1 - 1/G) dJ/dtheta at gamma = 1, whatever the discount of the task. The abstract says that it converges
    without discounting; the equation is derived here.
    """
    return _check_gradient(trial, lambda r: advantage(r, "seeupo@plain"))


@grae_gradient.broken("divide by the group's deviation")
def _(trial: Trial) -> Evidence:
    return _check_gradient(trial, lambda r: advantage(r, "grpo@paper", eps=0.0))


def _check_gradient(trial: Trial, credit: Callable[[Rollouts], np.ndarray]) -> Evidence:
    games = {
        "1 turn": make("turns", turns=1, actions=3, seed=1),
        "2 turns": make("turns", turns=2, actions=2, seed=2),
        "2 turns, aliased": make("turns", turns=2, actions=2, parameters="aliased", seed=3),
        "2 turns, shared": make("turns", turns=2, actions=2, parameters="shared", seed=4),
        "short or long": short_or_long(0.8),
    } | trial.pick({}, {"3 turns": make("turns", turns=3, actions=2, seed=5)}, {})
    got, want, detail = [], [], {}
    for name, mdp in games.items():
        policy = SoftmaxPolicy.random(mdp, 7)
        exact = policy_gradient(mdp, policy, gamma=1.0)
        for size in trial.pick((2, 3), (2, 3, 4), (2, 3, 4, 5)):
            law = exact_moments(credit, mdp, policy, group_size=size, gamma=1.0, covariance=False).gradient
            got.append(law.mean)
            want.append((1.0 - 1.0 / size) * exact)
            trial.table(
                game=name, group=size, ratio=float(law.mean @ exact) / float(exact @ exact), predicted=1.0 - 1.0 / size
            )
        if name == "short or long":
            discounted = policy_gradient(mdp, policy, gamma=0.8)
            # Entry 1 is the logit of going on: what counts later wins, though the discounted task would stop.
            detail = {
                "estimate": float(got[-1][1]),
                "undiscounted": float(exact[1]),
                "discounted": float(discounted[1]),
            }
    return exact_equality(np.concatenate(got), np.concatenate(want), tolerance=ROUNDING, detail=detail)


# --- The order of actions -------------------------------------------------------------------------------------------

SIZES = (4, 8, 16, 32, 64)


def action_credit(levels: tuple[float, ...], law: np.ndarray, group: int, *, std: bool, ddof: int = 1) -> np.ndarray:
    """(A,) E[A | action] of one prompt with even actions whose rewards have law (A, L)."""
    values, chance = np.array(levels), law.mean(axis=0)
    plus, minus = signed_credit(values, chance[None], group, std, ddof)
    return law @ (plus - minus)[0]


RARE = np.array([[0.0, 1.0, 0.0], [0.9, 0.0, 0.1]])
"""Action 1 always pays 1; action 2 pays 15 one time in ten, 1.5 on average."""
BINARY = np.array([[0.4, 0.6], [0.3, 0.7]])


@claim("seeupo.group-std-order", paper=PAPER, source="inferred", kind="bias", figure="monotonicity")
def group_std_order(trial: Trial) -> Evidence:
    """Dividing by the group's deviation keeps the order of actions: E[A | a] < E[A | b] wherever Q(a) < Q(b). With
    rewards 0 or 1 it holds, because E[A | a] is affine and rising in Q(a). Outside, action 1 pays 1 and action 2 pays
    15 with chance 0.1: E[A | a_1] - E[A | a_2] > 0 in small groups, though Q is 1 against 1.5.
    """
    return _check_order(trial, BINARY, (0.0, 1.0))


@group_std_order.broken("count the rare reward of 15 as binary")
def _(trial: Trial) -> Evidence:
    return _check_order(trial, RARE, (0.0, 1.0, 15.0))


def _check_order(trial: Trial, law: np.ndarray, levels: tuple[float, ...]) -> Evidence:
    rows: dict[str, list[float]] = {"binary": [], "rare": []}
    detail: dict[str, list[float]] = {}
    for name, table, values in (("binary", law, levels), ("rare", RARE, (0.0, 1.0, 15.0))):
        for how, std, ddof in (("std", True, 1), ("population std", True, 0), ("mean", False, 1)):
            first, second = np.array([action_credit(values, table, g, std=std, ddof=ddof) for g in SIZES]).T
            detail[f"{name}, {how}"] = first.tolist()
            trial.table(rewards=name, how=how, group=np.array(SIZES), first=first, second=second)
            if how == "std":
                rows[name] = list(first - second)
    grid = [
        action_credit((0.0, 1.0), np.array([[1 - p, p], [1 - q, q]]), g, std=True)
        for g in (2, 4, 8) for p in (0.1, 0.5) for q in (p + 0.05, 0.95)
    ]  # fmt: skip
    inside = [*rows["binary"], *(float(a - b) for a, b in grid)]
    return conditional(
        exact_inequality(inside, "<=", -ROUNDING, detail=detail),
        exact_inequality(rows["rare"], "<=", -ROUNDING, detail=detail),
        note="rewards of 0 and 1 inside; 1 against 15 one time in ten outside",
    )


# --- Monotone improvement -------------------------------------------------------------------------------------------

MECHANISMS: dict[str, tuple[Backbone, int, str, str]] = {
    "critic": (Backbone("value", "turn"), 2, "rare", "separate"),
    "group mean": (Backbone("mean", "turn"), 2, "rare", "separate"),
    "group std, 0/1 rewards": (Backbone("std", "turn"), 2, "binary", "separate"),
    "group std, rare rewards": (Backbone("std", "turn"), 2, "rare", "separate"),
    "critic, shared rows": (Backbone("value", "turn"), 2, "rare", "shared"),
    "group mean, shared rows": (Backbone("mean", "turn"), 2, "rare", "shared"),
    "group std, rare, shared rows": (Backbone("std", "turn"), 2, "rare", "shared"),
    "SeeUPO": (Backbone("batch", "turn", "reverse"), 2, "rare", "separate"),
    "SeeUPO, aliased rows": (Backbone("batch", "turn", "reverse"), 2, "rare", "aliased"),
    "SeeUPO, shared rows": (Backbone("batch", "turn", "reverse"), 2, "binary", "shared"),
}
"""Algorithm, turns, rewards and parameters."""
SAMPLED = "group mean, one group of 8"


def changes(algorithm: Backbone, games: Games, seed: int, *, sampled: bool = False) -> np.ndarray:
    """(n,) change of J by one iteration from a random policy."""
    logits = games.logits(seed, 1.5)
    moved = algorithm.sampled(games, logits, seed) if sampled else algorithm.updated(games, logits)
    return games.objective(moved) - games.objective(logits)


def shared_logit(weight: float, gaps: tuple[float, float], group: int | None) -> tuple[float, float]:
    """dJ/dtheta of two prompts with one shared logit at 0, and what dividing by the deviation makes of it.

    Prompt 1 has `weight` and wants the logit up by gaps[0], prompt 2 wants it down by gaps[1]; `group` None takes the
    population's deviation, a number that of groups of that size with divisor G - 1.
    """
    exact = 0.25 * (weight * gaps[0] - (1.0 - weight) * gaps[1])
    if group is None:
        size = 0.5
    else:
        # E[A+ of the better answer] for rewards 0 and gap is the same for every gap.
        plus, minus = signed_credit(np.array([0.0, 1.0]), np.array([[0.5, 0.5]]), group, True)
        size = 0.25 * float((plus - minus)[0] @ np.array([-1.0, 1.0]))
    return exact, size * (2.0 * weight - 1.0)


@claim("seeupo.grae-loses-monotonicity", paper=PAPER, source="paper", kind="convergence", figure="monotonicity")
def grae_loses_monotonicity(trial: Trial) -> Evidence:
    """Without a critic the clipped update loses monotone improvement: some expected update has J(new) < J(old). Inside,
    the advantage is divided by the group's deviation and rewards are not binary (0, 1 or rarely 15); outside it is the
    return less the group's mean, and no update of any game lowers J. Groups of 8, random trees and policies, the
    surrogate climbed by natural-gradient steps.
    """
    return _check_drops(trial, "group std, rare rewards")


@grae_loses_monotonicity.broken("the exact advantage of a true critic in the place of the group's")
def _(trial: Trial) -> Evidence:
    return _check_drops(trial, "critic")


def _check_drops(trial: Trial, suspect: str) -> Evidence:
    n = trial.pick(200, 2_000, 20_000)
    found: dict[str, np.ndarray] = {}
    for name, (algorithm, turns, rewards, parameters) in MECHANISMS.items():
        games = random_games(n, turns, 3, trial.seed, rewards, parameters)
        found[name] = changes(algorithm, games, trial.seed + 1)
    games = random_games(n, 2, 3, trial.seed, "rare")
    found[SAMPLED] = changes(Backbone("mean", "turn"), games, trial.seed + 1, sampled=True)
    for name, change in found.items():
        trial.table(
            mechanism=name, share=float((change < -ROUNDING).mean()), games=n, worst=float(change.min()),
            mean=float(change.mean()),
        )  # fmt: skip
    detail: dict[str, object] = {name: float((change < -ROUNDING).mean()) for name, change in found.items()}
    detail["shared logit"] = {
        str(group): shared_logit(0.6, (0.1, 1.0), group) for group in (None, 4, 8, 16)
    }  # fmt: skip
    return conditional(
        exact_inequality(-found[suspect].min(), ">=", DROP, detail=detail),
        exact_inequality(-found["group mean"].min(), ">=", DROP, detail=detail),
        note="the group's deviation costs monotony where rewards are not binary; the missing critic does not",
    )


# --- The table of backbones -----------------------------------------------------------------------------------------

BACKBONES = {
    "PPO": Backbone("value", "turn", inner=5),
    "GRPO": Backbone("std", "turn", inner=5),
    "RLOO": Backbone("mean", "none"),
    "GSPO": Backbone("std", "sequence", inner=5),
    "GSPO, no std": Backbone("mean", "sequence", inner=5),
    "SeeUPO": Backbone("batch", "turn", "reverse", inner=5),
}
README = {
    ("PPO", "single"): True, ("PPO", "multi"): True, ("GRPO", "single"): False, ("GRPO", "multi"): False,
    ("RLOO", "single"): True, ("RLOO", "multi"): False, ("GSPO", "single"): True, ("GSPO", "multi"): False,
    ("SeeUPO", "multi"): True,
}  # fmt: skip
"""Whether the authors' table says that the row converges, in single and in multi turn."""
FOUND = {**README, ("RLOO", "multi"): True, ("GSPO", "single"): False}
CONVERGED = 0.02
"""Largest gap, relative to the best J, that counts as converged."""


@claim("seeupo.backbones", paper=PAPER, source="code", kind="convergence", figure="backbones")
def backbones(trial: Trial) -> Evidence:
    """The authors' table of backbones: PPO converges in single and multi turn, GRPO in neither, RLOO and GSPO in single
    turn only, SeeUPO in multi turn. Each row in expectation on random games with every history seen and rewards
    binary or rare: converged where gap <= 2 % of the best J in every game. Statement: entries that differ = 0.
    """
    return _check_table(trial, README)


@backbones.broken("the table turned round")
def _(trial: Trial) -> Evidence:
    return _check_table(trial, {entry: not says for entry, says in README.items()})


@backbones.control("as found: what divides by the group's deviation fails in single turn too, all else converges")
def _(trial: Trial) -> Evidence:
    return _check_table(trial, FOUND)


def _check_table(trial: Trial, table: dict[tuple[str, str], bool]) -> Evidence:
    n, rounds = trial.pick((6, 90), (24, 200), (60, 300))
    turns = {"single": 1, "multi": trial.pick(2, 3, 3)}
    wrong, detail = 0, {}
    for name in BACKBONES:
        for kind, t in turns.items():
            gaps, drops = _run(name, t, n, rounds, trial.seed)
            for rewards in gaps:
                trial.table(
                    backbone=name, turns=kind, rewards=rewards, gap=gaps[rewards].mean(), worst=gaps[rewards].max(),
                    drops=drops[rewards], says={True: "yes", False: "no", None: "-"}[table.get((name, kind))],
                )  # fmt: skip
            worst = max(float(gap.max()) for gap in gaps.values())
            detail[f"{name}, {kind}"] = {"worst_gap": worst, "drops": max(drops.values())}
            if (name, kind) in table:
                wrong += (worst <= CONVERGED) != table[name, kind]
    return exact_equality(float(wrong), 0.0, tolerance=0.0, detail=detail)


@cache
def _run(name: str, turns: int, n: int, rounds: int, seed: int) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """Relative gaps (n,) after so many iterations from the uniform policy, and the share of them in which J fell."""
    kinds = ("binary", "rare")
    each = [random_games(n, turns, 3, seed, rewards) for rewards in kinds]
    law = np.concatenate([np.pad(g.law, ((0, 0), (0, 0), (0, 3 - g.levels.size))) for g in each])
    games, algorithm = Games(each[1].levels, law, turns, 3), BACKBONES[name]
    logits = games.logits()
    path = [games.objective(logits)]
    for _ in range(rounds):
        logits = algorithm.updated(games, logits)
        path.append(games.objective(logits))
    gap = (1.0 - path[-1] / games.best()).reshape(2, n)
    drops = (np.diff(np.stack(path), axis=0) < -ROUNDING).reshape(rounds, 2, n).mean(axis=(0, 2))
    return dict(zip(kinds, gap, strict=True)), dict(zip(kinds, drops.tolist(), strict=True))
