"""Optimal token baseline (OTB): its identity for the score, and where its cumulative weights are the best ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from creditsim.exact import score_norm
from creditsim.mdp import Policy, SoftmaxPolicy, TabularMDP, make
from creditsim.segments import scan
from creditsim.stats.joint import conditional
from creditsim.stats.verdict import Evidence, exact_equality, exact_inequality
from theory.claim import Trial, claim
from theory.laws import ScoredLaw

ROUNDING = 1e-9
Weight = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Weights (R,) of rows in the baseline of their position, from |s_t|^2 (R,) and the offsets of trajectories."""


def cumulative(square: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """The squared scores up to and with the position, as OTB takes them."""
    return scan(square, 1.0, offsets)


def own(square: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """The squared score of the position alone."""
    return square


def even(square: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Every row alike: the mean return-to-go of the position."""
    return np.ones_like(square)


# --- The identity ---------------------------------------------------------------------------------------------------


def _check_identity(trial: Trial, temperature: float) -> Evidence:
    found, formula = [], []
    for seed in range(trial.pick(5, 20, 100)):
        mdp = make("random@small", seed=seed)
        policy = replace(SoftmaxPolicy.random(mdp, seed), temperature=temperature)
        pi = policy.probabilities(mdp)
        acting = ~mdp.terminal[:, None] & mdp.mask
        found.append(score_norm(mdp, policy)[acting])
        formula.append((1.0 - 2.0 * pi + np.square(pi).sum(axis=1, keepdims=True))[acting])
    squared, identity = np.concatenate(found), np.concatenate(formula)
    trial.table(squared_score=squared, identity=identity)
    return exact_equality(squared, identity, tolerance=1e-12)


@claim("otb.score-identity", paper="Optimal token baseline", source="code", kind="identity")
def score_identity(trial: Trial) -> Evidence:
    """The squared score of a token by its logits needs no backward pass.

    |d log pi(a) / d logits|^2 = 1 - 2 pi(a) + sum_b pi(b)^2. Exact for a softmax at temperature 1; at temperature T the
    score is 1/T as long.
    """
    return _check_identity(trial, 1.0)


@score_identity.broken("probabilities taken at temperature 2, the identity left as it is")
def _(trial: Trial) -> Evidence:
    return _check_identity(trial, 2.0)


# --- Against every constant -----------------------------------------------------------------------------------------

REGIMES = ("orthogonal scores", "shared logits", "intermediate rewards", "variable length")


def _task(regime: str, seed: int) -> tuple[TabularMDP, Policy]:
    """Two tokens out of three, every history with logits of its own and a terminal reward, one thing changed."""
    rng = np.random.Generator(np.random.Philox(key=seed))
    mdp = make("tree", depth=2, branching=3, seed=seed)
    if regime == "shared logits":
        mdp = replace(mdp, context=np.zeros(mdp.n_states, np.int64))
    elif regime == "intermediate rewards":
        mdp = replace(mdp, reward=rng.random(mdp.reward.shape))
    elif regime == "variable length":
        # The first and third token end the answer, the second goes on.
        ends = mdp.terminal | np.isin(np.arange(mdp.n_states), (1, 3))
        pay = rng.random(mdp.n_states)
        mdp = replace(mdp, terminal=ends, reward=np.where(ends, pay, 0.0)[mdp.successor])
    return mdp, SoftmaxPolicy.random(mdp, seed)


def _excess(regime: str, seed: int, weight: Weight) -> float:
    """Variance beyond that of the best constant on the same returns-to-go, per mean square of the gradient there."""
    mdp, policy = _task(regime, seed)
    law = ScoredLaw.of(mdp, policy)
    each = law.sum_rows(law.to_go[:, None] * law.score)
    constant = law.mean((each * law.whole).sum(axis=1)) / law.mean(np.square(law.whole).sum(axis=1))
    exact, least = law.gradient(law.to_go - constant)
    _, found = law.gradient(law.to_go - _position_baseline(mdp, policy, law, weight))
    return (found - least) / (least + float(exact @ exact))


def _position_baseline(mdp: TabularMDP, policy: Policy, law: ScoredLaw, weight: Weight) -> np.ndarray:
    """(R,) B_t = E[W_t G_t] / E[W_t], the baseline of a large group."""
    r = law.rollouts
    w = law.row_chance * weight(score_norm(mdp, policy)[r.columns["state"], r.action], r.offsets)
    return (np.bincount(r.step, w * law.to_go) / np.bincount(r.step, w))[r.step]


def _check_constant(trial: Trial, weight: Weight) -> Evidence:
    count = trial.pick(25, 200, 1000)
    excess = {regime: np.array([_excess(regime, seed, weight) for seed in range(count)]) for regime in REGIMES}
    for regime, values in excess.items():
        trial.table(regime=regime, excess=np.sort(values), share=(np.arange(count) + 1.0) / count)
    worse = {regime: float((values > ROUNDING).mean()) for regime, values in excess.items()}
    inside, outside = excess[REGIMES[0]], np.concatenate([excess[regime] for regime in REGIMES[1:]])
    return conditional(
        exact_inequality(inside, "<=", 0.0, tolerance=ROUNDING, detail={"share_worse": worse, "tasks": count}),
        exact_inequality(outside, "<=", 0.0, tolerance=ROUNDING),
        note="Inside: terminal reward, one fixed length, logits of its own for every history.",
    )


@claim(
    "otb.no-worse-than-any-constant",
    paper="Optimal token baseline",
    source="inferred",
    kind="variance",
    figure="baseline_variance",
)
def no_worse_than_any_constant(trial: Trial) -> Evidence:
    """The optimal token baseline of a large group has no more gradient variance than any constant baseline.

    Var[sum_t (G_t - B_t) s_t] <= min_b Var[sum_t (G_t - b) s_t], B_t = E[W_t G_t] / E[W_t], W_t = sum_{k<=t} |s_k|^2.
    True for a terminal reward, one length and orthogonal scores: B_t minimises the loss summed up to t, and following
    such minimisers never loses to a fixed choice. Shared logits, intermediate rewards or variable lengths break it.
    """
    return _check_constant(trial, cumulative)


@no_worse_than_any_constant.broken("take the plain mean of each position")
def _(trial: Trial) -> Evidence:
    return _check_constant(trial, even)


# --- Among baselines by position ------------------------------------------------------------------------------------


def _check_position(trial: Trial, weight: Weight) -> Evidence:
    ratio = []
    for seed in range(trial.pick(25, 200, 1000)):
        mdp, policy = _task(REGIMES[0], seed)
        law = ScoredLaw.of(mdp, policy)
        # The trace is a quadratic form in the baselines of the positions; its minimiser solves the normal equations.
        part = [law.sum_rows(np.where(law.rollouts.step == t, 1.0, 0.0)[:, None] * law.score) for t in (0, 1)]
        each = law.sum_rows(law.to_go[:, None] * law.score)
        gram = np.array([[law.mean((a * b).sum(axis=1)) for b in part] for a in part])
        push = np.array([law.mean((a * each).sum(axis=1)) for a in part])
        least = law.gradient(law.to_go - np.linalg.solve(gram, push)[law.rollouts.step])[1]
        ratio.append(law.gradient(law.to_go - _position_baseline(mdp, policy, law, weight))[1] / least)
    trial.table(ratio=ratio)
    worse = float(np.mean(np.array(ratio) > 1.0 + ROUNDING))
    detail = {"median": np.median(ratio), "share_worse": worse}
    return exact_inequality(ratio, "<=", 1.0, tolerance=ROUNDING, detail=detail)


@claim("otb.best-by-position", paper="Optimal token baseline", source="code", kind="variance")
def best_by_position(trial: Trial) -> Evidence:
    """The optimal token baseline has the least gradient variance among baselines that depend on the position only.

    Var[B] <= min over b_1, ..., b_L of Var[sum_t (G_t - b_t) s_t], where scores are orthogonal. Its name says so; its
    weights are cumulative, W_t = sum_{k<=t} |s_k|^2, where the minimiser takes |s_t|^2 alone.
    """
    return _check_position(trial, cumulative)


@best_by_position.broken("take the plain mean of each position")
def _(trial: Trial) -> Evidence:
    return _check_position(trial, even)


@best_by_position.control("weigh by the squared score of the position alone")
def _(trial: Trial) -> Evidence:
    return _check_position(trial, own)
