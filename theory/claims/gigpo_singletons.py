"""What GiGPO gives a group of one, at its two levels, and what that does to the gradient."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from creditsim.exact.gradient import policy_gradient
from creditsim.exact.moments import exact_moments
from creditsim.mdp.families import make
from creditsim.mdp.policy import SoftmaxPolicy
from creditsim.rollouts import Rollouts
from creditsim.stats.joint import conditional
from creditsim.stats.verdict import Evidence, exact_equality, exact_inequality
from theory.claim import Trial, claim
from theory.claims.gigpo import PAPER, TOLERANCE, episode_level
from theory.shared import alignment, credit_column

# --- The conventions ---------------------------------------------------------------------------------------------

CONVENTIONS = {
    "GRPO, verl": ("grpo@verl", "advantage"),
    "RLOO, verl loop": ("rloo@verl", "advantage"),
    "RLOO, verl vectorised": ("rloo@verl-vectorized", "advantage"),
    "GRPO, TRL": ("grpo@trl", "advantage"),
    "GiGPO episode, rows": ("gigpo@verl-agent", "episode_advantage"),
    "GiGPO episode, trajectories": ("gigpo", "episode_advantage"),
    "GiGPO step": ("gigpo@verl-agent", "step_advantage"),
    "HGPO": ("hgpo@verl-agent", "advantage"),
}
"""Estimator and column of each convention that is drawn; what the conventions are is the estimators' affair."""


@claim("gigpo.singleton-rules-agree", paper=PAPER, source="code", kind="identity", figure="singleton_rules")
def singleton_rules_agree(trial: Trial) -> Evidence:
    """The official code treats a group of one alike at both levels: a lone trajectory of one step and reward 1 has |A^E
    - A^S| = 0. (Both functions stand in one file: the episode level takes mean 0 and std 1, so the raw score stays; the
    step level takes the member itself as mean, so 0 stays.)
    """
    return _agree(trial, {})


@singleton_rules_agree.broken("raw at the step level, zero at the episode level")
def _(trial: Trial) -> Evidence:
    return _agree(trial, {"episode_singleton": "zero", "step_singleton": "raw"})


@singleton_rules_agree.control("zero at both levels")
def _(trial: Trial) -> Evidence:
    return _agree(trial, {"episode_singleton": "zero", "step_singleton": "zero"})


def _agree(trial: Trial, rule: dict[str, Any]) -> Evidence:
    for length in (1, 2):
        for name, (spec, column) in CONVENTIONS.items():
            trial.table(convention=name, length=length, advantage=credit_column(spec, column)(_alone(length))[0])
    levels = [
        credit_column("gigpo@verl-agent", f"{level}_advantage", **rule)(_alone(1))[0] for level in ("episode", "step")
    ]
    two = credit_column("gigpo@verl-agent", "episode_advantage", **rule)(_alone(2))[0]
    detail = {"episode": levels[0], "step": levels[1], "episode_of_two_steps": two}
    return exact_equality(levels[0], levels[1], tolerance=TOLERANCE, detail=detail)


def _alone(length: int) -> Rollouts:
    """One trajectory that sees a new observation at every step and gets 1 at the end."""
    return Rollouts.flat(
        offsets=np.array([0, length]),
        group=np.zeros(1, np.int64),
        observation=np.arange(length),
        action=np.zeros(length, np.int64),
        reward=np.eye(1, length, length - 1)[0],
    )


# --- One rollout per task ----------------------------------------------------------------------------------------


@claim("gigpo.singleton-group-gradient", paper=PAPER, source="inferred", kind="gradient", figure="singleton_rules")
def singleton_group_gradient(trial: Trial) -> Evidence:
    """With one rollout per task the raw score makes the episode level REINFORCE without a baseline: |E[g] - dJ/dtheta|
    = 0 for N = 1. Holds for statistics over trajectories. With the code's statistics over rows it fails: a lone
    trajectory of two or more steps has two or more equal rows and gets 0, only one-step trajectories keep their score.
    Checked where an agent stops for 0.6 after one step, or goes on and gets 0.3 + 0.5 in two.
    """
    return _alone_gradient(trial, "raw")


@singleton_group_gradient.broken("zero for a group of one: nothing is learned")
def _(trial: Trial) -> Evidence:
    return _alone_gradient(trial, "zero")


def _alone_gradient(trial: Trial, singleton: str) -> Evidence:
    mdp = make("stopping", turns=2, stop=0.6, go=0.3, last=0.5)
    chances = np.linspace(0.1, 0.9, trial.pick(5, 9, 17))
    got: dict[str, list[float]] = {"trajectory": [], "step": []}
    exact: list[float] = []
    for q in chances:
        policy = SoftmaxPolicy.from_probabilities(mdp, np.array([[1.0 - q, q], [1.0, 0.0], [1.0, 0.0]]))
        for weighting, values in got.items():
            credit = episode_level(weighting=weighting, episode_singleton=singleton)
            law = exact_moments(credit, mdp, policy, group_size=1, covariance=False).gradient
            # By the chain rule dJ/dq is the derivative by the logit of going on, over q (1 - q).
            values.append(float(law.mean[1]) / (q * (1.0 - q)))
        exact.append(float(policy_gradient(mdp, policy)[1]) / (q * (1.0 - q)))
    for weighting, values in got.items():
        trial.table(weighting=weighting, q=chances, gradient=values, exact=exact)
    detail = {"exact": exact[0], "trajectories": got["trajectory"][0], "rows": got["step"][0]}
    inside = exact_equality(got["trajectory"], exact, tolerance=TOLERANCE, detail=detail, note="over trajectories")
    outside = exact_equality(
        got["step"], exact, tolerance=TOLERANCE, detail=detail, note="over rows, the code's default"
    )
    return conditional(inside, outside, note="the code's default statistics turn the gradient round")


# --- Observations seen once --------------------------------------------------------------------------------------

OFFSETS = (0.0, 0.25, 0.5, 1.0)
"""Reward added to every step; all episodes have equally many steps, so the task stays the same."""


@claim("gigpo.singleton-step-zero", paper=PAPER, source="inferred", kind="variance", figure="singleton_rules")
def singleton_step_zero(trial: Trial) -> Evidence:
    """Zero for an observation seen once, the code's rule, gives a step-level gradient at least as well aligned with the
    exact one as keeping the raw return: alignment(zero) >= alignment(raw), alignment = E[g . u] / sqrt(E|g|^2) with u
    the exact direction. Neither turns a state's part of the gradient; raw keeps a signal that zero throws away, and
    pays for it with the return's offset. Checked where every step pays 1 more than nothing, and, outside, where rewards
    are sparse.
    """
    return _zero_or_raw(trial, 0)


@singleton_step_zero.broken("hand every step advantage to the row before it")
def _(trial: Trial) -> Evidence:
    return _zero_or_raw(trial, -1)


def _zero_or_raw(trial: Trial, by: int) -> Evidence:
    mdp = make("layered@tiny", paying=0.2)
    policy = SoftmaxPolicy.uniform(mdp)
    n = trial.pick(2, 3, 4)
    found: dict[str, list[float]] = {"zero": [], "raw": []}
    share = 0.0
    for offset in OFFSETS:
        shifted = replace(mdp, reward=mdp.reward + offset)
        for rule, values in found.items():
            column = credit_column("gigpo", "step_advantage", normalize="mean", gamma=1.0, step_singleton=rule)
            shift = by if rule == "zero" else 0
            law = exact_moments(lambda r, c=column, s=shift: np.roll(c(r), s), shifted, policy, group_size=n)
            values.append(alignment(law.gradient))
            share = law.singleton_anchors
    for rule, values in found.items():
        trial.table(rule=rule, offset=OFFSETS, n=n, alignment=values, singletons=share)
    zero, raw = found["zero"], found["raw"]
    detail = {
        "zero": zero[0], "raw_sparse": raw[0], "raw_offset_1": raw[-1], "singleton_anchors": share, "n": n
    }  # fmt: skip
    inside = exact_inequality(zero[-1], ">=", raw[-1], detail=detail, note="every step pays 1 more")
    outside = exact_inequality(zero[0], ">=", raw[0], detail=detail, note="sparse rewards")
    return conditional(inside, outside, note="with sparse rewards the raw return of a singleton helps")
