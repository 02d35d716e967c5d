"""REINFORCE and its critic-free variants: plain returns, ReMax, REINFORCE++ and REINFORCE++-baseline."""

from __future__ import annotations

from typing import Literal

from creditsim.arrays import Array, namespace
from creditsim.errors import choose
from creditsim.estimators.base import estimator
from creditsim.estimators.scores import (
    Masked,
    Weighting,
    check_number,
    entries,
    episode_score,
    live_rows,
    token_weight,
)
from creditsim.estimators.whiten import whiten
from creditsim.rollouts import Rollouts
from creditsim.segments import repeat_to_rows, reverse_scan, segment_normalise, segment_sum
from creditsim.segments.api import Singleton

__all__ = ["reinforce", "reinforce_plus_plus", "reinforce_plus_plus_baseline", "remax"]

Returns = Literal["to_go", "episode"]


def returns_of(rollouts: Rollouts, gamma: float, returns: Returns) -> Array:
    """(M,) discounted reward-to-go of each row, or that of the trajectory's first row on all its rows."""
    choose("returns", returns, ("to_go", "episode"))
    check_number("gamma", gamma, 0.0, 1.0)
    to_go = reverse_scan(rollouts.reward, gamma, rollouts.offsets)
    if returns == "to_go":
        return to_go
    start = namespace(to_go).where(rollouts.first_row, to_go, 0.0)
    whole = segment_sum(start, rollouts.trajectory, rollouts.n_trajectories)
    return repeat_to_rows(whole, rollouts.offsets)


@estimator("reinforce", paper="Williams 1992, doi:10.1007/BF00992696", evidence="notes")
def reinforce(
    rollouts: Rollouts, *, gamma: float = 1.0, returns: Returns = "to_go", masked: Masked = "exclude"
) -> Array:
    """REINFORCE: the return itself, without a baseline.

    A_t = sum_{k>=t} gamma^{k-t} r_k (`returns="to_go"`), or sum_k gamma^k r_k on every row ("episode"). Both give an
    unbiased gradient at gamma = 1; "to_go" leaves out rewards that the action cannot have caused. With gamma < 1
    "to_go" is the usual form without the factor gamma^t.

    In: rewards (M,). Out: advantage (M,) in units of reward. A return is cut where the trajectory is: no bootstrap.
    Degenerate input: groups play no part. Rows of weight 0 get 0 unless `masked="include"`. Errors: gamma outside 0..1.
    No presets: the libraries do not have it under this name. Source: notes.
    """
    value = returns_of(rollouts, gamma, returns)
    return namespace(value).where(live_rows(rollouts, masked), value, 0.0)


@estimator(
    "remax",
    paper="arXiv:2310.10505",
    evidence="code",
    needs=("greedy_score",),
    makes=("advantage", "returns"),
    level="decision",
    presets={"paper": {"returns": "episode"}, "verl": {"masked": "include"}},
)
def remax(rollouts: Rollouts, *, returns: Returns = "to_go", masked: Masked = "exclude") -> dict[str, Array]:
    """ReMax: the return less the score of a greedy rollout of the same task.

    A_t = sum_{k>=t} r_k - b, b = trajectory column `greedy_score` (N,); `returns="episode"` takes the whole score.
    Unbiased, because the greedy rollout does not depend on the sample.

    In: rewards (M,), one row per decision. Out: `advantage` (M,) and `returns` (M,), before b is taken off, in units of
    reward. Degenerate input: groups play no part. Rows of weight 0 get 0 unless included.

    Conventions:
      preset  returns   weight 0
      paper   episode   excluded
      verl    to_go     included

    Source: verl (code); the paper's form is from notes. They agree where the only reward is the last.
    """
    value = returns_of(rollouts, 1.0, returns)
    baseline = repeat_to_rows(rollouts.column("greedy_score", needed_by="remax"), rollouts.offsets)
    live = live_rows(rollouts, masked)
    return {"advantage": namespace(value).where(live, value - baseline, 0.0), "returns": value}


@estimator(
    "reinforce_plus_plus",
    paper="arXiv:2501.03262",
    evidence="code",
    makes=("advantage", "returns"),
    level="decision",
    presets={"paper": {}, "verl": {"masked": "include"}},
)
def reinforce_plus_plus(
    rollouts: Rollouts,
    *,
    gamma: float = 1.0,
    ddof: int = 1,
    eps_inside: float = 1e-8,
    masked: Masked = "exclude",
) -> dict[str, Array]:
    """REINFORCE++: returns whitened over the batch, no group needed.

    G_t = sum_{k>=t} gamma^{k-t} r_k, gamma per row; A_t = (G_t - m) / sqrt(v + eps_inside), m and v over the rows of
    the batch, each counted as often as it has tokens (column `tokens`, else once), v with divisor W - ddof.

    In: rewards (M,), one row per decision: for a language model a token, so that gamma is per token. Out: `advantage`
    (M,) in deviations of the batch, and `returns` (M,) before whitening.

    Degenerate input: a batch of equal returns, or of one token, gets 0. Rows of weight 0 enter no statistics and get 0
    unless included. Errors: gamma outside 0..1.

    Conventions:
      preset  gamma  ddof  eps under the root  weight 0
      paper   1      1     1e-8                excluded
      verl    1      1     1e-8                included

    Source: verl (code); the paper's constants were not re-read (inferred equal).
    """
    check_number("eps_inside", eps_inside, 0.0)
    value = returns_of(rollouts, gamma, "to_go")
    return {"advantage": _whiten_batch(rollouts, value, ddof, eps_inside, masked), "returns": value}


@estimator(
    "reinforce_plus_plus_baseline",
    paper="arXiv:2501.03262",
    evidence="code",
    presets={
        "paper": {},
        "verl": {"singleton": "raw", "masked": "include"},
        "verl-agent": {"weighting": "step", "singleton": "raw", "masked": "include"},
    },
)
def reinforce_plus_plus_baseline(
    rollouts: Rollouts,
    *,
    weighting: Weighting = "trajectory",
    ddof: int = 1,
    eps_inside: float = 1e-8,
    singleton: Singleton = "zero",
    masked: Masked = "exclude",
) -> Array:
    """REINFORCE++-baseline: scores centred inside the group, then whitened over the tokens of the batch.

    z_i = S_i - mean_g; A_i = (z_i - m) / sqrt(v + eps_inside), m and v over the rows of the batch, each counted as
    often as it has tokens (column `tokens`, else once), v with divisor W - ddof: long trajectories weigh more. mean_g
    is over trajectories, or over rows with `weighting="step"`.

    In: rewards (M,). Out: advantage (M,), in deviations of the batch, the same for every row of trajectory i.

    Degenerate input: a group of one has z = 0, or z = S with `singleton="raw"`; a batch of equal z gets 0. Rows of
    weight 0, and trajectories of such rows only, enter nothing and get 0 unless included.

    Conventions:
      preset      weighting   ddof  eps under the root  group of one  weight 0
      paper       trajectory  1     1e-8                zero          excluded
      verl        trajectory  1     1e-8                raw           included
      verl-agent  step        1     1e-8                raw           included

    Source: verl and verl-agent (code); the paper's constants were not re-read (inferred equal).
    """
    check_number("eps_inside", eps_inside, 0.0)
    entry = entries(rollouts, episode_score(rollouts), weighting, masked)
    centred = segment_normalise(entry.score, entry.group, rollouts.n_groups, scale=False, singleton=singleton)
    return _whiten_batch(rollouts, entry.to_rows(centred), ddof, eps_inside, masked)


def _whiten_batch(rollouts: Rollouts, x: Array, ddof: int, eps_inside: float, masked: Masked) -> Array:
    batch = namespace(x).where(live_rows(rollouts, masked), rollouts.batch_rows, -1)
    return whiten(x, batch, rollouts.n_batches, token_weight(rollouts), ddof=ddof, eps_inside=eps_inside)
