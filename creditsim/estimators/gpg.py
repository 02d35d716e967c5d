"""GPG: group-centred scores, scaled up by the share of the batch that carries a signal."""

from __future__ import annotations

from typing import Literal

from creditsim.arrays import Array, namespace
from creditsim.errors import choose
from creditsim.estimators.base import estimator
from creditsim.estimators.scores import Masked, check_number, entries, episode_score
from creditsim.rollouts import Rollouts
from creditsim.segments import segment_count, segment_max, segment_min, segment_normalise
from creditsim.segments.api import Singleton

__all__ = ["gpg"]


@estimator(
    "gpg",
    paper="arXiv:2504.02546",
    evidence="code",
    presets={"paper": {}, "verl": {"rescale": "nonzero_scores", "singleton": "raw", "masked": "include"}},
)
def gpg(
    rollouts: Rollouts,
    *,
    rescale: Literal["mixed_groups", "nonzero_scores", "none"] = "mixed_groups",
    f_norm: float = 1.0,
    singleton: Singleton = "zero",
    masked: Masked = "exclude",
) -> Array:
    """Group policy gradient: A_i = alpha (S_i - mean_g) / f_norm, the same for every row of trajectory i.

    alpha makes up for trajectories without a signal in the batch of B: `rescale="mixed_groups"` takes
    alpha = B / max(B - M, 1), M the members of groups with equal scores; "nonzero_scores" takes
    alpha = B / max(number of scores that are not 0, 1), so that adding a constant to every reward changes alpha; "none"
    takes 1.

    In: rewards (M,). Out: advantage (M,) in units of reward over `f_norm`.

    Degenerate input: equal scores give 0. A group of one gets 0 and counts among M; with `singleton="raw"` it gets
    alpha S / f_norm. Rows of weight 0, and trajectories of such rows only, enter neither B nor a mean and get 0 unless
    included. Errors: f_norm that is not positive.

    Conventions:
      preset  alpha                     group of one  weight 0
      paper   B / (B - M)               zero          excluded
      verl    B / #{scores not 0}       raw           included

    Source: verl (code); the paper's alpha is from notes.
    """
    choose("rescale", rescale, ("mixed_groups", "nonzero_scores", "none"))
    check_number("f_norm", f_norm, 1e-300)
    entry = entries(rollouts, episode_score(rollouts), "trajectory", masked)
    x, ids, n = entry.score, entry.group, rollouts.n_groups
    xp = namespace(x)
    result = segment_normalise(x, ids, n, scale=False, singleton=singleton) / f_norm
    if rescale != "none":
        mixed = segment_max(x, ids, n) != segment_min(x, ids, n)
        signal = mixed[ids] if rescale == "mixed_groups" else x != 0
        total = segment_count(x, entry.batch, rollouts.n_batches)
        carrying = segment_count(x, entry.batch, rollouts.n_batches, where=signal)
        result = result * (total / xp.maximum(carrying, 1))[entry.batch]
    return entry.to_rows(result)
