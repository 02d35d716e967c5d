"""OPO: the length-weighted group mean as baseline."""

from __future__ import annotations

from typing import Literal

from creditsim.arrays import Array, namespace
from creditsim.errors import choose
from creditsim.estimators.base import estimator
from creditsim.estimators.scores import Masked, entries, episode_score
from creditsim.estimators.whiten import weighted_centre
from creditsim.rollouts import Rollouts
from creditsim.segments import segment_count
from creditsim.segments.api import Singleton

__all__ = ["opo"]


@estimator(
    "opo",
    paper="arXiv:2505.23585",
    evidence="code",
    presets={"paper": {}, "verl": {"singleton": "raw", "masked": "include"}},
)
def opo(
    rollouts: Rollouts,
    *,
    length: Literal["tokens", "steps"] = "tokens",
    singleton: Singleton = "zero",
    masked: Masked = "exclude",
) -> Array:
    """On-policy optimal baseline: the score less the group mean weighted by length.

    A_i = S_i - sum_j L_j S_j / sum_j L_j, the same for every row of trajectory i. It is the variance-minimal constant
    baseline E[|score function|^2 S] / E[|score function|^2] if the squared score function grows like the length L; the
    mean contains S_i itself, which leaves a bias of order 1/n.

    In: rewards (M,). L_i counts tokens (column `tokens`, one per row where there is none) or rows (`length="steps"`).
    Out: advantage (M,) in units of reward.

    Degenerate input: equal scores give 0. A group of one gets 0, or its score with `singleton="raw"`. Lengths that sum
    to 0 weigh alike. Rows of weight 0, and trajectories of such rows only, enter nothing and get 0 unless included.

    Conventions:
      preset  length  group of one  weight 0
      paper   tokens  zero          excluded
      verl    tokens  raw           included

    Source: verl (code).
    """
    choose("length", length, ("tokens", "steps"))
    choose("singleton", singleton, ("zero", "raw"))
    entry = entries(rollouts, episode_score(rollouts), "trajectory", masked)
    xp = namespace(entry.score)
    weight = entry.tokens if length == "tokens" else entry.total(xp.ones(rollouts.n_rows))
    result = weighted_centre(entry.score, entry.group, rollouts.n_groups, weight)
    if singleton == "raw":
        alone = segment_count(entry.score, entry.group, rollouts.n_groups) == 1
        result = xp.where((entry.group >= 0) & alone[entry.group], entry.score, result)
    return entry.to_rows(result)
