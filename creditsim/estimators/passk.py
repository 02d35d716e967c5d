"""GRPO for pass@k: only the best member of a group is credited, with its lead over the second best."""

from __future__ import annotations

from typing import Literal

from creditsim.arrays import Array, namespace
from creditsim.errors import InputError, choose
from creditsim.estimators.base import estimator
from creditsim.estimators.scores import Masked, Weighting, check_number, entries, episode_score
from creditsim.rollouts import Rollouts
from creditsim.segments import segment_count, segment_max, segment_std

__all__ = ["grpo_passk"]


@estimator(
    "grpo_passk",
    paper="arXiv:2503.19595",
    evidence="code",
    presets={
        "paper": {},
        "verl": {"scale": "std", "singleton": "raise", "masked": "include"},
        "verl-agent": {"scale": "std", "singleton": "raise", "masked": "include", "weighting": "step"},
    },
)
def grpo_passk(
    rollouts: Rollouts,
    *,
    scale: Literal["std", "none"] = "none",
    weighting: Weighting = "trajectory",
    ddof: int = 1,
    eps: float = 1e-6,
    singleton: Literal["zero", "raise"] = "zero",
    masked: Masked = "exclude",
) -> Array:
    """Best-of-group credit: the lead of the best trajectory over the second best; all others get 0.

    A_i = (S_(1) - S_(2)) 1{i is the best} [/ (std_g + eps)], S_(k) the k-th largest score of the group. Without the
    division it is the leave-one-out estimator of the gradient of E[max_i S_i]: the best's score less what the group's
    maximum would be without it (and 0 for all whose removal changes nothing).

    In: rewards (M,). Out: advantage (M,), in units of reward (`scale="none"`) or of the group's deviation ("std").

    Degenerate input: a tie for the best leaves no lead, so all get 0 (all-equal groups too). A group of one has no
    second best: 0, or an InputError with `singleton="raise"`. With `weighting="step"` each row is an entry, and a best
    trajectory of two or more rows ties with itself. Rows of weight 0 enter nothing and get 0 unless included.

    Conventions:
      preset      scale  weighting   ddof  eps   group of one  weight 0
      paper       none   trajectory  -     -     zero          excluded
      verl        std    trajectory  1     1e-6  error         included
      verl-agent  std    step        1     1e-6  error         included

    Source: verl and verl-agent (code); that the paper divides by nothing is from notes.
    """
    choose("scale", scale, ("std", "none"))
    choose("singleton", singleton, ("zero", "raise"))
    check_number("eps", eps, 0.0)
    entry = entries(rollouts, episode_score(rollouts), weighting, masked)
    x, ids, n = entry.score, entry.group, rollouts.n_groups
    xp = namespace(x)
    count = segment_count(x, ids, n)
    if singleton == "raise" and bool((count == 1).any()):
        raise InputError("group", f"a group of one (group {int(xp.argmax(count == 1))})", "groups of two or more")
    best = (ids >= 0) & (x == segment_max(x, ids, n)[ids])
    second = segment_max(x, xp.where(best, -1, ids), n)
    leads = (segment_count(x, ids, n, where=best) == 1) & (count > 1)
    lead = xp.where(best & leads[ids], x - second[ids], 0.0)
    if scale == "std":
        deviation = segment_std(x, ids, n, ddof=ddof) + eps
        lead = lead / xp.where(deviation > 0, deviation, 1.0)[ids]
    return entry.to_rows(lead)
