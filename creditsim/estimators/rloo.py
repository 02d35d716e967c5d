"""REINFORCE leave-one-out: each trajectory against the mean of the others of its group."""

from __future__ import annotations

from creditsim.arrays import Array, namespace
from creditsim.estimators.base import estimator
from creditsim.estimators.scores import Masked, Weighting, check_number, entries, episode_score
from creditsim.rollouts import Rollouts
from creditsim.segments import segment_count, segment_normalise
from creditsim.segments.api import Singleton

__all__ = ["rloo"]


@estimator(
    "rloo",
    paper="arXiv:2402.14740",
    evidence="code",
    presets={
        "paper": {},
        "verl": {"singleton": "raw", "masked": "include"},
        "verl-vectorized": {"masked": "include"},
        "verl-agent": {"weighting": "step", "singleton": "raw", "masked": "include"},
        "trl": {},
        "trl-normalized": {"normalize": True},
    },
)
def rloo(
    rollouts: Rollouts,
    *,
    weighting: Weighting = "trajectory",
    singleton: Singleton = "zero",
    masked: Masked = "exclude",
    normalize: bool = False,
    eps: float = 1e-4,
) -> Array:
    """REINFORCE leave-one-out: the score less the mean score of the other trajectories of the group.

    A_i = S_i - 1/(n-1) sum_{j != i} S_j = n/(n-1) (S_i - mean_g), the same for every row of trajectory i; unbiased,
    because the baseline does not contain S_i. With `weighting="step"` each row is an entry and n counts rows: the
    "others" then hold rows of the same trajectory, and the estimator leaves nothing out. `normalize` standardises the
    result over the entries of the batch, (A - mean) / (std + eps), ddof 1.

    In: rewards (M,). Out: advantage (M,) in units of reward (in deviations of the batch with `normalize`).

    Degenerate input: equal scores give 0. A group of one has no others: 0 (`singleton="zero"`) or its score ("raw").
    Rows of weight 0, and trajectories of such rows only, enter nothing and get 0 unless `masked="include"`.

    Conventions:
      preset          weighting   group of one  weight 0  normalize
      paper           trajectory  zero          excluded  no
      verl            trajectory  raw           included  no
      verl-vectorized trajectory  zero          included  no
      verl-agent      step        raw           included  no
      trl             trajectory  zero          excluded  no
      trl-normalized  trajectory  zero          excluded  yes, eps 1e-4

    Source: verl, verl-agent and TRL (code).
    """
    check_number("eps", eps, 0.0)
    entry = entries(rollouts, episode_score(rollouts), weighting, masked)
    ids, n_groups = entry.group, rollouts.n_groups
    centred = segment_normalise(entry.score, ids, n_groups, scale=False, singleton=singleton)
    count = segment_count(entry.score, ids, n_groups)
    xp = namespace(centred)
    others = xp.maximum(count - 1, 1)
    result = centred * xp.where(count > 1, count / others, 1.0)[ids]
    if normalize:
        result = segment_normalise(result, entry.batch, rollouts.n_batches, eps=eps)
    return entry.to_rows(result)
