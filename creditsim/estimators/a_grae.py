"""A-GRAE: GRPO's credit reweighted by difficulty and by sign, and the one-sided rules it is compared with."""

from __future__ import annotations

import math
from typing import Any, Literal

from creditsim.arrays import Array, namespace
from creditsim.errors import InputError, choose
from creditsim.estimators.base import estimator
from creditsim.estimators.scores import check_number, entries, episode_score
from creditsim.rollouts import Rollouts
from creditsim.segments import segment_mean, segment_normalise
from creditsim.segments.api import Singleton

__all__ = ["a_grae"]

Focus = Literal["adaptive", "hard", "easy", "none"]
Easy = Literal["one-minus-p", "one-minus-root"]
_END = 1e-9
"""Means nearer to 0 or 1 are at that end: of rewards that are not binary a mean of 1 may be rounded to below 1."""


@estimator(
    "a_grae",
    paper="arXiv:2602.05548",
    evidence="paper",
    presets={
        "paper": {"eps": 0.0},
        "code": {"easy": "one-minus-root", "pool": "groups", "singleton": "raw"},
        "hard-focused": {"focus": "hard", "alpha": None},
        "easy-focused": {"focus": "easy", "alpha": None},
        "positive-dominant": {"focus": "none", "alpha": None, "positive": 10.0},
        "negative-dominant": {"focus": "none", "alpha": None, "positive": 0.1},
    },
)
def a_grae(
    rollouts: Rollouts,
    *,
    focus: Focus = "adaptive",
    alpha: float | None = 1.0,
    positive: float = 1.0,
    easy: Easy = "one-minus-p",
    pool: Literal["rollouts", "groups"] = "rollouts",
    scale: bool = True,
    ddof: int = 1,
    eps: float = 1e-6,
    singleton: Singleton = "zero",
) -> Array:
    """Asymmetric group relative advantage: easy tasks first, hard ones later, and praise held back while little works.

    A_i = (omega / 2) A0_i / sqrt(p) + ((1 - omega) / 2) A0_i / sqrt(1 - p)   (eq. 12)
    A*_i = A_i min(1, omega / alpha) where A_i > 0, else A_i                 (eq. 13)
    A0 is GRPO's advantage, p the group's mean return, omega the batch's (eq. 11); returns are 0 or 1.

    focus     "adaptive" is eq. 12; "hard" A0 / (2 sqrt(p)), "easy" A0 / (2 sqrt(1 - p)), "none" A0
    alpha     eq. 13; None leaves it out. The code's comments say 1 for maths, 0.5 for geometry and medicine
    positive  factor of what is above 0 in the end: 10 is the paper's positive-dominant control, 0.1 its negative one
    easy      "one-minus-p" divides by sqrt(1 - p) as eq. 12 says, "one-minus-root" by 1 - sqrt(p) + eps
    pool      omega is the mean over "rollouts", or over the means of "groups"; the same for groups of one size
    scale     False: A0 without a deviation, for Dr.GRPO as host

    In: rewards (M,). Out: advantage (M,), without unit, the same for all rows of a trajectory.
    Degenerate input: equal scores give 0; where p is 0 or 1 its factor is 1. Means outside [0, 1] count as the nearer
    end. A group of one gets 0, or what A0 = S / (1 + eps) makes with `singleton="raw"`. Rows of weight 0 enter
    nothing and get 0. Errors: InputError for an unknown choice, alpha outside (0, 1], a positive or eps below 0.

    preset             focus     alpha  positive  easy            ddof  eps   group of one
    paper              adaptive  1      1         one-minus-p     1     0     zero          (ddof: code; proofs have 0)
    code               adaptive  1      1         one-minus-root  1     1e-6  raw
    hard-focused       hard      -      1
    easy-focused       easy      -      1         one-minus-p
    positive-dominant  none      -      10
    negative-dominant  none      -      0.1
    Source: paper, all of it; in the code as read the branch is never taken, because a weight that it compares with 2
    has already moved on.
    """
    choose("focus", focus, ("adaptive", "hard", "easy", "none"))
    choose("easy", easy, ("one-minus-p", "one-minus-root"))
    choose("pool", pool, ("rollouts", "groups"))
    if alpha is not None and not 0 < alpha <= 1:
        raise InputError("alpha", alpha, "a number in (0, 1], or None")
    if not (positive >= 0 and math.isfinite(positive)):
        raise InputError("positive", positive, "a finite number >= 0")
    check_number("eps", eps, 0.0)
    xp = namespace(rollouts.reward)
    entry = entries(rollouts, episode_score(rollouts), "trajectory", "exclude")
    group, n = entry.group, rollouts.n_groups
    at = xp.maximum(group, 0)
    value = segment_normalise(entry.score, group, n, scale=scale, ddof=ddof, eps=eps, singleton=singleton)
    means = segment_mean(entry.score, group, n)
    if pool == "rollouts":
        mean = segment_mean(entry.score, entry.batch, rollouts.n_batches)
    else:
        mean = segment_mean(means, entry.batch_of_groups(), rollouts.n_batches)
    omega = xp.clip(mean, 0.0, 1.0)[xp.maximum(entry.batch, 0)]
    if focus != "none":
        p = xp.clip(means, 0.0, 1.0)[at]
        share = {"adaptive": omega, "hard": 1.0, "easy": 0.0}[focus]
        root = xp.sqrt(1.0 - p) if easy == "one-minus-p" else 1.0 - xp.sqrt(p) + eps
        value = value * (share * _over(xp.sqrt(p), p > _END, xp) + (1.0 - share) * _over(root, p < 1 - _END, xp)) / 2.0
    if alpha is not None:
        value = xp.where(value > 0, value * xp.minimum(1.0, omega / alpha), value)
    return entry.to_rows(xp.where(value > 0, positive * value, value))


def _over(root: Array, inside: Array, xp: Any) -> Array:
    """1 / root, and 1 where p is at that end."""
    return 1.0 / xp.where(inside, root, 1.0)
