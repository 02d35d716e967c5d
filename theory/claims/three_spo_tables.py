"""3SPO's score and step reward on tables: what they come to, what they tell apart, what truncation does to a trap."""

from __future__ import annotations

import math
from functools import cache

import numpy as np

from creditsim.estimators import advantage
from creditsim.exact import enumerate_trajectories
from creditsim.mdp import SoftmaxPolicy, TabularMDP, make
from creditsim.rollouts import Rollouts
from creditsim.sampling import DESIGNS, TableSampler, enumerate_design
from creditsim.score_table import ScoreRule, branches
from creditsim.signals import SIGNALS
from creditsim.stats.joint import conditional
from creditsim.stats.verdict import Evidence, exact_equality, exact_inequality
from theory.claim import Trial, claim

OMEGA = 0.1


def _known(
    mdp: TabularMDP, total: np.ndarray, success: np.ndarray, clock: int, replicates: int = 1
) -> dict[str, object]:
    """A loop's state in which every replicate has this history (observations,)."""
    counts = {"score_total": total, "score_success": success}
    return {
        "replicate": np.arange(replicates),
        "observation_of_state": mdp.observation,
        "horizon": mdp.horizon,
        "score_clock": np.full(replicates, clock),
        **{name: np.tile(np.asarray(values, np.int64), (replicates, 1)) for name, values in counts.items()},
    }


@claim("3spo.score-telescopes", paper="3SPO", source="inferred", kind="identity", figure="score_over_visits")
def score_telescopes(trial: Trial) -> Evidence:
    """With frozen scores and a constant w the score term is potential shaping: it sums to (1/2 - w)(S(s_0) - S(s_T)).

    Over every trajectory sum_t [R_t - w R_novel - R_success/2] = (1/2 - w)(S(s_0) - S(s_T)): potential -(1/2 - w) S at
    gamma = 1, so it moves no credit between policies but through the last state. In 3SPO itself w(N) and S move.
    """
    return _check_telescope(trial, constant=True)


@score_telescopes.broken("w(N) follows the visits of each state, as published")
def _(trial: Trial) -> Evidence:
    return _check_telescope(trial, constant=False)


def _check_telescope(trial: Trial, constant: bool) -> Evidence:
    got, want = [], []
    for name in ("chain@tiny", "trap@tiny", "grid@tiny"):
        mdp = make(name)
        law = enumerate_trajectories(mdp, SoftmaxPolicy.random(mdp, trial.seed).probabilities(mdp))
        rollouts = law.rollouts
        rng = np.random.default_rng(trial.seed)
        total = np.full(mdp.n_observations, 7) if constant else rng.integers(1, 40, mdp.n_observations)
        success = rng.integers(0, total + 1)
        state = _known(mdp, total, success, clock=3, replicates=rollouts.n_batches)
        columns, _ = SIGNALS.bind("state_score", alpha=1.0, omega=OMEGA, learn=False)(rollouts, state)
        w = 0.5 * np.exp(-OMEGA * columns["visits"])
        shaping = columns["step_reward"] - w * columns["novel"] - 0.5 * columns["success"]
        first, last = rollouts.offsets[:-1], rollouts.offsets[1:] - 1
        got.append(np.add.reduceat(shaping, first))
        want.append((0.5 - w[first]) * (columns["score"][first] - columns["next_score"][last]))
    if constant:
        _tabulate_scores(trial)
    return exact_equality(np.concatenate(got), np.concatenate(want), tolerance=1e-12)


def _tabulate_scores(trial: Trial) -> None:
    visits = np.unique(np.round(np.geomspace(1, 1000, 60)).astype(int))
    for alpha in (1.0, 10.0, 50.0):
        for rate in (0.02, 0.1, 0.3):
            score = ScoreRule(alpha, xi=math.inf).score(visits, rate * visits, visits)
            trial.table(alpha=alpha, rate=rate, visits=visits, score=score, n=branches(score, 8))


@claim("3spo.only-next-state-matters", paper="3SPO", source="inferred", kind="identity")
def only_next_state_matters(trial: Trial) -> Evidence:
    """Inside a branch group w and S(s) drop out: A = centred w R_novel(s') - (1/2 - w) S(s') + R_success(s')/2.

    So the score of the state branched at, which decides how many branches there are, gives them no credit. Equal to
    rounding on every row of trees grown by the search itself.
    """
    return _check_within(trial, by_state=True)


@only_next_state_matters.broken("branches are compared with all of their task, not with their siblings")
def _(trial: Trial) -> Evidence:
    return _check_within(trial, by_state=False)


def _check_within(trial: Trial, by_state: bool) -> Evidence:
    mdp = make("grid", width=3, height=3, horizon=8)
    policy = SoftmaxPolicy.random(mdp, trial.seed)
    search, signal = DESIGNS.bind("dfs", group_size=4), SIGNALS.bind("state_score", alpha=1.0, xi=math.inf, omega=OMEGA)
    state: dict[str, object] = {
        "replicate": np.arange(4), "observation_of_state": mdp.observation, "horizon": mdp.horizon,
    }  # fmt: skip
    got, want = [], []
    for number in range(trial.pick(40, 200, 1000)):
        rollouts, state = search(TableSampler(mdp, seed=number, batches=4, groups=2), policy, state)
        columns, state = signal(rollouts, state)
        w = 0.5 * np.exp(-OMEGA * columns["visits"])
        reduced = w * columns["novel"] - (0.5 - w) * columns["next_score"] + 0.5 * columns["success"]
        got.append(_centred(rollouts, columns["step_reward"], by_state))
        want.append(_centred(rollouts, reduced, by_state))
    if by_state:
        rows = int(sum((x != 0).sum() for x in got))
        trial.table(rows_with_credit=rows, largest_error=np.abs(np.concatenate(got) - np.concatenate(want)).max())
    return exact_equality(np.concatenate(got), np.concatenate(want), tolerance=1e-12)


def _centred(rollouts: Rollouts, reward: np.ndarray, by_state: bool) -> np.ndarray:
    if by_state:
        return advantage(rollouts.with_columns(step_reward=reward), "three_spo")
    mean = np.bincount(rollouts.group_rows, reward) / np.bincount(rollouts.group_rows)
    return reward - mean[rollouts.group_rows]


@claim("3spo.one-branch-threshold", paper="3SPO", source="inferred", kind="identity", figure="score_over_visits")
def one_branch_threshold(trial: Trial) -> Evidence:
    """A state gets one branch, and so no update, exactly from the success rate ln G / (alpha ln t) on.

    With alpha = 50 and G = 8 that is 6.0 % at t = 2, 1.8 % at 10, 0.9 % at 100 and 0.36 % at 1e5: the score tells
    "never succeeded yet" from the rest and little more. Found by bisection on n(s) = ceil(G S) = 1.
    """
    return _check_threshold(trial, 8.0)


@one_branch_threshold.broken("two branches left out of the logarithm: ln (G/2)")
def _(trial: Trial) -> Evidence:
    return _check_threshold(trial, 4.0)


def _check_threshold(trial: Trial, g: float) -> Evidence:
    many = 10**12
    got, want, detail = [], [], {}
    for alpha in (1.0, 10.0, 35.0, 50.0, 70.0):
        for t in (2, 10, 100, 100_000):
            low, high = 0.0, 1.0
            rule = ScoreRule(alpha, xi=math.inf)
            for _ in range(60):
                middle = (low + high) / 2
                low, high = (low, middle) if branches(rule.score(many, middle * many, t), 8) == 1 else (middle, high)
            border = math.log(g) / (alpha * math.log(t))
            got.append(high)
            want.append(min(border, 1.0))
            detail[f"alpha={alpha:g} t={t}"] = high
            trial.table(alpha=alpha, t=t, found=high, formula=want[-1])
    return exact_equality(np.array(got), np.array(want), tolerance=1e-9, detail=detail)


@claim("3spo.graded-rollouts", paper="3SPO", source="notes", kind="estimate", figure="score_over_visits")
def graded_rollouts(trial: Trial) -> Evidence:
    """By its tenth visit a state that has had a success can still score 0.3 and get 3 of 8 branches (README, fig. 9).

    Needs max over N <= 10, 1 <= N_success <= N and t >= 2 of S >= 0.3. At the default alpha = 50 that maximum is
    2^-5 = 0.031, one branch; before the first success S is 1, all eight. Nothing in between exists.
    """
    return _check_graded(trial, 50.0)


@graded_rollouts.broken("alpha ten times the default")
def _(trial: Trial) -> Evidence:
    return _check_graded(trial, 500.0)


@graded_rollouts.control("alpha = 1, the default of the published class")
def _(trial: Trial) -> Evidence:
    return _check_graded(trial, 1.0)


def _check_graded(trial: Trial, alpha: float) -> Evidence:
    total, success = (x.ravel() for x in np.meshgrid(np.arange(1, 11), np.arange(1, 11)))
    keep = success <= total
    scores = np.stack([ScoreRule(alpha).score(total[keep], success[keep], t) for t in (2, 3, 5, 10, 100)])
    top = float(scores.max())
    trial.table(alpha=alpha, score=top, n=int(branches(top, 8)))
    return exact_inequality(top, ">=", 0.3, detail={"largest score": top, "branches": int(branches(top, 8))})


FAILURES = np.arange(0, 21)
GROUP = 4


@claim("3spo.truncation-keeps-penalty", paper="3SPO", source="inferred", kind="gradient", figure="trap_defect")
def truncation_keeps_penalty(trial: Trial) -> Evidence:
    """The expected update never makes a trap more likely: E[d ln P(enter trap)/d(enter logit)] <= 0 at every visit.

    Corridor with a pit beside it, states branched at known (N = 50, half of them solved), every group of 4 branches
    enumerated. It holds while the pit has S = 1, up to 9 failures; from the tenth on S(pit) = 0, like a mastered
    state's, so (1/2 - w)(S(s) - S(s')) rewards entering it: the drift is positive.
    """
    return _check_trap(trial, 0.0, 1.0)


@truncation_keeps_penalty.broken("the score term has its sign turned round")
def _(trial: Trial) -> Evidence:
    return _check_trap(trial, 0.0, -1.0)


@truncation_keeps_penalty.control("in the step reward a truncated state scores 1, as hopeless as it is")
def _(trial: Trial) -> Evidence:
    return _check_trap(trial, 1.0, 1.0)


def _check_trap(trial: Trial, truncated: float, sign: float) -> Evidence:
    alphas = (1.0, 50.0)
    drift = np.array([[trap_drift(alpha, int(f), truncated, sign) for f in FAILURES] for alpha in alphas])
    if sign > 0:
        for alpha, values in zip(alphas, drift, strict=True):
            trial.table(
                alpha=alpha, failures=FAILURES, drift=values, truncated=truncated,
                score=ScoreRule(alpha).score(FAILURES, 0, 50),
            )  # fmt: skip
        if truncated == 0.0:
            for alpha in alphas:
                repaired = [trap_drift(alpha, int(f), 1.0, 1.0) for f in FAILURES]
                trial.table(
                    alpha=alpha, failures=FAILURES, drift=repaired, truncated=1.0,
                    score=ScoreRule(alpha).score(FAILURES, 0, 50),
                )  # fmt: skip
    before = FAILURES < 10
    detail = {f"alpha={a:g} failures={f}": float(drift[i, f]) for i, a in enumerate(alphas) for f in (9, 10)}
    inside = exact_inequality(drift[:, before].ravel(), "<=", 0.0, detail=detail)
    outside = exact_inequality(drift[:, ~before].ravel(), "<=", 0.0, detail=detail)
    return conditional(inside, outside, note="Inside: up to nine failures of the pit. Outside: from the tenth on.")


@cache
def _groups_at_the_pit() -> tuple[TabularMDP, Rollouts, np.ndarray]:
    mdp = make("trap", length=2, horizon=4)
    return mdp, *enumerate_design("dfs", mdp, SoftmaxPolicy.uniform(mdp), group_size=GROUP, adaptive=False)


def trap_drift(alpha: float, failures: int, truncated: float, sign: float) -> float:
    """Expected derivative by the pit's logit at the start of a corridor of two, over all groups of four branches."""
    mdp, rollouts, probability = _groups_at_the_pit()
    # Observations: start, next on the way, goal, pit.
    state = _known(mdp, np.array([50, 50, 25, failures]), np.array([25, 25, 25, 0]), 50, rollouts.n_batches)
    columns, _ = SIGNALS.bind("state_score", alpha=alpha, learn=False, truncated=truncated)(rollouts, state)
    w = 0.5 * np.exp(-OMEGA * columns["visits"])
    other = w * columns["novel"] + 0.5 * columns["success"]
    reward = other + sign * (columns["step_reward"] - other)
    credit = advantage(rollouts.with_columns(step_reward=reward), "three_spo")
    score = (rollouts.action == 1) - 0.5
    return float(probability[rollouts.batch_rows] @ (credit * score)) / GROUP
