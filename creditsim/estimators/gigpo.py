"""GiGPO: a trajectory against its group, plus each step against the group's other steps from the same observation."""

from __future__ import annotations

from typing import Literal

from creditsim.arrays import Array, namespace
from creditsim.errors import choose
from creditsim.estimators.anchors import similar_anchors
from creditsim.estimators.base import estimator
from creditsim.estimators.scores import Weighting, check_number, episode_score, live_rows
from creditsim.rollouts import Rollouts
from creditsim.segments import factorize, repeat_to_rows, reverse_scan, scan, segment_count, segment_normalise
from creditsim.segments.api import Singleton

__all__ = ["Normalise", "episode_level", "gigpo", "gigpo_similarity", "invalid_penalty", "step_level"]

Normalise = Literal["mean_std", "mean"]

_MAKES = (
    "advantage",
    "episode_advantage",
    "step_advantage",
    "episode_score",
    "step_score",
    "discounted_return",
    "step_group",
)
_CODE = {"weighting": "step", "normalize": "mean"}
_PRESETS = {
    "paper": {"weighting": "trajectory", "normalize": "mean_std", "episode_singleton": "zero"},
    "verl-agent": _CODE,
    "verl-agent-alfworld": {**_CODE, "normalize": "mean_std", "penalty": 0.1},
    "verl-agent-webshop": {**_CODE, "penalty": 0.1},
}


@estimator("gigpo", paper="arXiv:2505.10978", evidence="code", needs=("observation",), makes=_MAKES, presets=_PRESETS)
def gigpo(
    rollouts: Rollouts,
    *,
    gamma: float = 0.95,
    step_weight: float = 1.0,
    weighting: Weighting = "trajectory",
    normalize: Normalise = "mean_std",
    ddof: int = 1,
    eps: float = 1e-6,
    episode_singleton: Singleton = "raw",
    step_singleton: Singleton = "zero",
    penalty: float = 0.0,
) -> dict[str, Array]:
    """Group-in-group policy optimization: episode advantage plus an advantage among steps from one observation.

    A_{i,t} = A^E_{i,t} + step_weight * A^S_{i,t}  (eq. 8 of the paper, as the code numbers it)
    A^E = (S - mean) / (std + eps) over the task group, S_i = sum_t r_{i,t}  (eq. 3)
    A^S = (G - mean) / (std + eps) over the rows of the group with the same observation, G_{i,t} = sum_{k >= t}
    gamma^{k-t} r_{i,k}  (eqs. 5 to 7); std has divisor n - ddof, and `normalize="mean"` leaves the division out.
    Revisits of an observation inside one trajectory are members of their own.

    In: rewards and observations (M,), column `valid` (M,) where there is a penalty. Out, all (M,): `advantage`,
    `episode_advantage`, `step_advantage`, and what they come from: `episode_score` S, `step_score`, `discounted_return`
    G, `step_group` (dense ids in order of first appearance).

    weighting          entries of the episode statistics: one per "trajectory", or one per "step", so that mean and
                       std are length-weighted
    penalty            c > 0 takes c from S and G of rows with `valid` 0, after discounting: earlier steps and other
                       rows of the trajectory keep theirs; trajectory statistics then see the score of the first row
    episode_singleton  a group of one entry: "raw" keeps its S (over 1 + eps), "zero" gives 0
    step_singleton     the same for an observation seen once
    Groups of equal members get exactly 0. Rows of `weight` 0, and trajectories without other rows, enter nothing and
    get 0.

    preset               weighting   normalize  gamma  penalty  episode / step group of one
    paper                trajectory  mean_std   0.95   0        zero / zero   (singletons inferred)
    verl-agent           step        mean       0.95   0        raw / zero    (the code's own default gamma is 1)
    verl-agent-alfworld  step        mean_std   0.95   0.1      raw / zero
    verl-agent-webshop   step        mean       0.95   0.1      raw / zero
    Errors: InputError for gamma outside [0, 1], a negative eps or penalty; MissingColumnError without `valid`.
    Source: verl-agent (code); statistics over trajectories in the paper through notes.
    """
    ids, n = factorize(rollouts.group_rows, rollouts.observation)
    choices = (weighting, normalize, ddof, eps, episode_singleton, step_singleton)
    return _gigpo(rollouts, ids, n, gamma, step_weight, penalty, *choices)


@estimator(
    "gigpo_similarity",
    paper="arXiv:2505.10978",
    evidence="code",
    needs=("observation",),
    makes=_MAKES,
    presets={name: preset for name, preset in _PRESETS.items() if name != "paper"},
    symmetric=False,
)
def gigpo_similarity(
    rollouts: Rollouts,
    *,
    threshold: float = 0.95,
    gamma: float = 0.95,
    step_weight: float = 1.0,
    weighting: Weighting = "step",
    normalize: Normalise = "mean",
    ddof: int = 1,
    eps: float = 1e-6,
    episode_singleton: Singleton = "raw",
    step_singleton: Singleton = "zero",
    penalty: float = 0.0,
) -> dict[str, Array]:
    """GiGPO whose step groups are clusters of similar observation texts instead of equal observations.

    Rows of a task group are walked in the order of the rollouts; a row joins the first cluster whose first member is
    similar to it, difflib.SequenceMatcher(None, row, member).ratio() >= threshold, or opens a new one (code:
    verl-agent). The rest, all columns and conventions included, is `gigpo`.
    The search is sequential and runs on the host, also for arrays on a GPU; its result depends on the order of rows.
    In: as `gigpo`, and `rollouts.labels["observation"]`, the text of each observation id.
    Errors: as `gigpo`; InputError for a threshold outside (0, 1] and for observations that are no texts.
    """
    ids, n = similar_anchors(rollouts, threshold)
    choices = (weighting, normalize, ddof, eps, episode_singleton, step_singleton)
    return _gigpo(rollouts, ids, n, gamma, step_weight, penalty, *choices)


def _gigpo(
    rollouts: Rollouts,
    ids: Array,
    n: int,
    gamma: float,
    step_weight: float,
    penalty: float,
    weighting: Weighting,
    normalize: Normalise,
    ddof: int,
    eps: float,
    episode_singleton: Singleton,
    step_singleton: Singleton,
) -> dict[str, Array]:
    check_number("gamma", gamma, 0.0, 1.0)
    check_number("eps", eps, 0.0)
    scale = choose("normalize", normalize, ("mean_std", "mean")) == "mean_std"
    off = invalid_penalty(rollouts, penalty)
    discounted = reverse_scan(rollouts.reward, gamma, rollouts.offsets)
    step_score = discounted if off is None else discounted - off
    step = step_level(rollouts, step_score, ids, n, scale, ddof, eps, step_singleton)
    score, episode = episode_level(rollouts, off, weighting, scale, ddof, eps, episode_singleton)
    advantage = step_weight * step
    advantage += episode
    return {
        "advantage": advantage,
        "episode_advantage": episode,
        "step_advantage": step,
        "episode_score": score,
        "step_score": step_score,
        "discounted_return": discounted,
        "step_group": ids,
    }


def invalid_penalty(rollouts: Rollouts, penalty: float) -> Array | None:
    """(M,) what an invalid action costs its row: `penalty` where column `valid` is 0; None where nothing is charged."""
    check_number("penalty", penalty, 0.0)
    if penalty == 0.0:
        return None
    valid = rollouts.column("valid", needed_by=f"penalty={penalty:g}")
    return namespace(rollouts.reward).where(valid != 0, 0.0, penalty)


def step_level(
    rollouts: Rollouts, score: Array, ids: Array, n: int, scale: bool, ddof: int, eps: float, singleton: Singleton
) -> Array:
    """Step advantage (M,): each row's `score` (M,) among the live rows of its step group `ids` (M,); see `gigpo`."""
    members = namespace(score).where(live_rows(rollouts), ids, -1) if "weight" in rollouts.columns else ids
    return segment_normalise(score, members, n, scale=scale, ddof=ddof, eps=eps, singleton=singleton)


def episode_level(
    rollouts: Rollouts,
    off: Array | None,
    weighting: Weighting,
    scale: bool,
    ddof: int,
    eps: float,
    singleton: Singleton,
) -> tuple[Array, Array]:
    """Episode score (M,) of each row, less `off` (M,) where given, and its episode advantage (M,); see `gigpo`."""
    choose("weighting", weighting, ("trajectory", "step"))
    xp = namespace(rollouts.reward)
    options = {"scale": scale, "ddof": ddof, "eps": eps, "singleton": singleton}
    score = episode_score(rollouts)
    score_rows = repeat_to_rows(score, rollouts.offsets)
    score_rows = score_rows if off is None else score_rows - off
    live = live_rows(rollouts) if "weight" in rollouts.columns else None
    if weighting == "trajectory" and off is None:
        group = rollouts.group
        if live is not None:
            count = segment_count(score_rows, rollouts.trajectory, rollouts.n_trajectories, where=live)
            group = xp.where(count > 0, group, -1)
        advantage = repeat_to_rows(segment_normalise(score, group, rollouts.n_groups, **options), rollouts.offsets)
        return score_rows, advantage if live is None else xp.where(live, advantage, 0.0)
    group = rollouts.group_rows if live is None else xp.where(live, rollouts.group_rows, -1)
    entry = None
    if weighting == "trajectory":
        inside = xp.ones(rollouts.n_rows, bool) if live is None else live
        entry = inside & (scan(xp.where(inside, 1.0, 0.0), 1.0, rollouts.offsets) == 1.0)
    return score_rows, segment_normalise(score_rows, group, rollouts.n_groups, where=entry, **options)
