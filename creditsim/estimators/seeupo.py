"""SeeUPO's credit: the whole sequence against its group's mean, scaled by the batch and never by the group."""

from __future__ import annotations

from typing import Literal

from creditsim.arrays import Array, namespace
from creditsim.errors import InputError, choose
from creditsim.estimators.base import estimator
from creditsim.estimators.scores import check_number, episode_score, live_rows, members
from creditsim.rollouts import Rollouts
from creditsim.segments import factorize, segment_count, segment_max, segment_normalise, segment_std
from creditsim.segments.api import Singleton

__all__ = ["seeupo"]

Padding = Literal["exclude", "include"]


@estimator(
    "seeupo",
    paper="arXiv:2602.06554",
    evidence="code",
    makes=("advantage", "global_advantage"),
    presets={
        "paper": {"clamp": None, "singleton": "zero"},
        "code": {"padding": "include"},
        "plain": {"normalize": False, "clamp": None, "singleton": "zero"},
    },
)
def seeupo(
    rollouts: Rollouts,
    *,
    normalize: bool = True,
    ddof: int = 1,
    floor: float = 1e-6,
    clamp: float | None = 3.0,
    padding: Padding = "exclude",
    singleton: Singleton = "raw",
) -> dict[str, Array]:
    """Sequence advantage of SeeUPO: return less the group's mean, then standardised over the batch, turn by turn.

    Ahat_i = S_i - mean_g(S), the trajectory itself included and no deviation of the group;
    A_{i,t} = clip((Ahat_i - mu_t) / sigma_t, -clamp, clamp), mu_t and sigma_t over the batch's trajectories at turn t
    (`step`), divisor n - ddof. The importance correction M multiplies afterwards and is the update's (`sequential`).

    In: rewards (M,). Out, (M,): `advantage`, and `global_advantage` Ahat in units of reward.
    padding     trajectories that ended before turn t: "exclude" leaves them out of mu_t and sigma_t; "include" counts
                each trajectory at every turn, so that all turns share mu and sigma
    clamp       None leaves large values as they are
    Degenerate input: where sigma_t <= floor, or one trajectory is left at turn t, Ahat stays as it is, unclamped; in
    groups of equal scores Ahat is 0, in a group of one 0, or its score with `singleton="raw"`. Rows of weight 0, and
    trajectories without others, enter nothing and get 0.

    preset  scale  padding  clamp  group of one
    paper   batch  exclude  none   zero           (ddof, padding and the group of one: inferred)
    code    batch  include  3      raw
    plain   none   -        none   zero           (Ahat itself)
    Errors: InputError for a batch of one trajectory, which has no deviation; clamp <= 0, floor < 0.
    Source: AgentEvolver's seeupo branch (code); the equation is the paper's.
    """
    choose("padding", padding, ("exclude", "include"))
    check_number("floor", floor, 0.0)
    if clamp is not None and not clamp > 0:
        raise InputError("clamp", clamp, "a number > 0, or None")
    xp = namespace(rollouts.reward)
    inside, live = members(rollouts), live_rows(rollouts)
    centred = segment_normalise(
        episode_score(rollouts), xp.where(inside, rollouts.group, -1), rollouts.n_groups, scale=False,
        singleton=singleton,
    )  # fmt: skip
    centred = xp.where(live, centred[rollouts.trajectory], 0.0)
    if not normalize:
        return {"advantage": centred, "global_advantage": centred}
    _two_in_each_batch(rollouts, inside)
    if padding == "include":
        ids, n, entry = rollouts.batch_rows, rollouts.n_batches, live & _first_live(rollouts, live)
    else:
        ids, n = factorize(rollouts.batch_rows, rollouts.step)
        entry = live
    deviation = segment_std(centred, ids, n, ddof=ddof, where=entry)
    scaled = segment_normalise(centred, ids, n, ddof=ddof, eps=0.0, where=entry)
    if clamp is not None:
        scaled = xp.clip(scaled, -clamp, clamp)
    count = segment_count(centred, ids, n, where=entry)
    good = (deviation > floor) & (count > ddof)
    return {
        "advantage": xp.where(live, xp.where(good[ids], scaled, centred), 0.0),
        "global_advantage": centred,
    }


def _first_live(rollouts: Rollouts, live: Array) -> Array:
    """(M,) bool: one live row of each trajectory."""
    xp = namespace(rollouts.reward)
    rows = xp.arange(rollouts.n_rows)
    last = segment_max(xp.where(live, rows, -1).astype(float), rollouts.trajectory, rollouts.n_trajectories)
    return rows == last[rollouts.trajectory]


def _two_in_each_batch(rollouts: Rollouts, inside: Array) -> None:
    xp = namespace(rollouts.reward)
    count = segment_count(rollouts.length, rollouts.batch, rollouts.n_batches, where=inside)
    if bool((count == 1).any()):
        alone = int(xp.flatnonzero(count == 1)[0])
        raise InputError("batch", f"1 trajectory in batch {alone}", "at least 2, for a deviation over the batch")
