"""3SPO: the step reward of a branch relative to the branches drawn at the same state."""

from __future__ import annotations

from typing import Literal

from creditsim.arrays import Array, namespace
from creditsim.errors import choose
from creditsim.estimators.base import estimator
from creditsim.estimators.scores import check_number, live_rows
from creditsim.rollouts import Rollouts
from creditsim.segments import segment_normalise

__all__ = ["three_spo"]


@estimator(
    "three_spo",
    paper="arXiv:2606.09961",
    evidence="code",
    needs=("step_reward",),
    presets={"paper": {}, "code": {}, "gui": {"norm": "mean_std"}},
    trees=True,
)
def three_spo(
    rollouts: Rollouts, *, norm: Literal["mean", "mean_std"] = "mean", ddof: int = 1, eps: float = 1e-6
) -> Array:
    """State-Score-Supervised Policy Optimization: the step reward relative to its siblings.

    A_i = R_i - mean over the rows after the same row of R,  divided by (std + eps) with `norm="mean_std"`.

    R is column `step_reward` (M,), made by the signal `state_score`; siblings are `Rollouts.siblings()`, rows that open
    an episode being siblings inside their group. No discount and no credit across steps: w, S(s) and all else that
    siblings share drops out. Out: advantage (M,) in units of R, or in deviations.

    Degenerate groups: one branch gets 0, and so do equal rewards; with "mean_std" differences far below eps stay small
    and those far above it are blown up to order 1. Rows of weight 0 are no members and get 0.
    Errors: an unknown norm, a negative eps.

    preset  norm      preset  norm      preset  norm
    paper   mean      code    mean      gui     mean_std
    Source: 3SPO (code; its normaliser leaves the deviation out by default) and its GUI sibling (code); the paper's own
    choice is unknown, `paper` takes the code's (inferred).
    """
    check_number("eps", eps, 0.0)
    scale = choose("norm", norm, ("mean", "mean_std")) == "mean_std"
    ids, n = rollouts.siblings()
    reward = rollouts.column("step_reward", needed_by="three_spo")
    xp = namespace(reward)
    live = live_rows(rollouts)
    return xp.where(live, segment_normalise(reward, xp.where(live, ids, -1), n, scale=scale, ddof=ddof, eps=eps), 0.0)
