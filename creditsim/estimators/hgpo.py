"""HGPO: each step against the steps of its group that share the last one, two, ... observations."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from creditsim.arrays import Array, namespace
from creditsim.errors import InputError, choose
from creditsim.estimators.base import estimator
from creditsim.estimators.gigpo import Normalise, episode_level, invalid_penalty
from creditsim.estimators.scores import check_number, episode_score, live_rows
from creditsim.rollouts import Rollouts
from creditsim.segments import factorize, repeat_to_rows, reverse_scan, segment_count, segment_normalise

__all__ = ["hgpo"]

Weights = Literal["code", "paper"]
ZeroLevels = Literal["drop", "keep"]


@estimator(
    "hgpo",
    paper="arXiv:2602.22817",
    evidence="code",
    needs=("observation",),
    makes=("advantage", "base_advantage", "levels", "episode_score", "step_score", "discounted_return"),
    presets={
        "paper": {"weights": "paper", "zero_levels": "keep"},
        "verl-agent": {},
        "verl-agent-alfworld": {"penalty": 0.1},
        "verl-agent-webshop": {"normalize": "mean", "penalty": 0.1},
    },
)
def hgpo(
    rollouts: Rollouts,
    *,
    K: int = 2,
    gamma: float = 0.95,
    alpha: float = 1.0,
    weights: Weights = "code",
    normalize: Normalise = "mean_std",
    ddof: int = 0,
    eps: float = 1e-6,
    zero_levels: ZeroLevels = "drop",
    zero_tolerance: float = 1e-10,
    base_group: bool = False,
    penalty: float = 0.0,
) -> dict[str, Array]:
    """Hierarchy-of-groups policy optimization: a weighted mean of step advantages over nested groups of contexts.

    A = sum_L w_L a_L,  w_L = v_L / (sum over the levels present of v_L [+ eps, code only])
    a_L = (G - mean) / (std + eps) over the rows of the task group that share their last L observations, L = 1..K+1,
    G_{i,t} = sum_{k >= t} gamma^{k-t} r_{i,k}; std has divisor n - ddof; `normalize="mean"` leaves the division out.
    weights "code": v_L = (L+1)^alpha (2, 3, ..., K+2 at alpha = 1); "paper": v_L = L^alpha, its k being L - 1.

    A level is present where the window of L observations lies inside the episode and has at least two members, and,
    with `zero_levels="drop"` (code), where |a_L| > zero_tolerance: a row exactly on its mean loses that level. "keep"
    counts such levels with their 0. Without any level A = 0. A window has no time index: windows of several times of
    several trajectories meet. Keys hold observations only, no actions.
    `base_group=True` (code) adds GiGPO's episode advantage as level 0 with weight 1: one entry per row, ddof 1, a group
    of one entry raw; it is dropped at 0 too. `penalty` as in `gigpo`.

    In: rewards and observations (M,), column `valid` with a penalty. Out, all (M,): `advantage`, `base_advantage` (0
    without `base_group`), `levels` (how many are present), `episode_score`, `step_score`, `discounted_return` G. Rows
    of `weight` 0 enter nothing and get 0. In float64: in float32 a group of equal members is often not exactly 0.

    preset               weights  zero levels  normalize  penalty
    paper                paper    keep         mean_std   0        (zero levels, singletons and ddof inferred)
    verl-agent           code     drop         mean_std   0
    verl-agent-alfworld  code     drop         mean_std   0.1
    verl-agent-webshop   code     drop         mean       0.1
    Errors: InputError for K < 0, gamma outside [0, 1], a negative alpha, eps, tolerance or penalty, and base_group with
    the paper's weights, which have none for it; MissingColumnError without `valid`.
    Source: verl-agent (code); the paper's weights through notes.
    """
    check_number("K", K, 0)
    check_number("gamma", gamma, 0.0, 1.0)
    for name, number in (("alpha", alpha), ("eps", eps), ("zero_tolerance", zero_tolerance)):
        check_number(name, number, 0.0)
    choose("weights", weights, ("code", "paper"))
    scale = choose("normalize", normalize, ("mean_std", "mean")) == "mean_std"
    choose("zero_levels", zero_levels, ("drop", "keep"))
    if base_group and weights == "paper":
        raise InputError("base_group", "True with weights='paper'", "weights='code', which has a weight for it")
    xp = namespace(rollouts.reward)
    off = invalid_penalty(rollouts, penalty)
    discounted = reverse_scan(rollouts.reward, gamma, rollouts.offsets)
    step_score = discounted if off is None else discounted - off
    total, mass, levels = xp.zeros(rollouts.n_rows), xp.zeros(rollouts.n_rows), xp.zeros(rollouts.n_rows, xp.int64)

    def add(a: Array, present: Array, weight: float) -> None:
        nonlocal total, mass, levels
        total += xp.where(present, weight * a, 0.0)
        mass += weight * present
        levels += present

    def away(a: Array) -> Array:
        return abs(a) > zero_tolerance

    base = None
    if base_group:
        score, base = episode_level(rollouts, off, "step", scale, 1, eps, "raw")
        add(base, away(base) if zero_levels == "drop" else live_rows(rollouts), 1.0)
    else:
        score = repeat_to_rows(episode_score(rollouts), rollouts.offsets)
        score = score if off is None else score - off
    for length, (ids, n) in enumerate(_windows(rollouts, K), start=1):
        a = segment_normalise(step_score, ids, n, scale=scale, ddof=ddof, eps=eps)
        if zero_levels == "drop":
            # Windows that are no level, and those of one member, have got 0 already.
            present = away(a)
        else:
            present = (ids >= 0) & (segment_count(step_score, ids, n)[ids] >= 2)
        add(a, present, float(length + (weights == "code")) ** alpha)
    mass = mass + (eps if weights == "code" else 0.0)
    return {
        "advantage": total / xp.where(levels > 0, mass, 1.0),
        "base_advantage": xp.zeros(rollouts.n_rows) if base is None else base,
        "levels": levels,
        "episode_score": score,
        "step_score": step_score,
        "discounted_return": discounted,
    }


def _windows(rollouts: Rollouts, k: int) -> Iterator[tuple[Array, int]]:
    """Ids (M,) of the last 1, 2, ..., k+1 observations inside the group; -1 for rows without so many or of weight 0."""
    xp = namespace(rollouts.reward)
    live = live_rows(rollouts) if "weight" in rollouts.columns else None
    ids, n = factorize(rollouts.group_rows, rollouts.observation)
    for length in range(1, k + 2):
        if length > 1:
            previous = rollouts.previous
            before = xp.where(previous >= 0, ids[previous], -1)
            ids, n = factorize(before, rollouts.observation)
            ids = xp.where(before >= 0, ids, -1)
        yield ids if live is None else xp.where(live, ids, -1), n
