"""SCPO: GiGPO whose step level credits failed trajectories for steps that a successful sibling took too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeAlias

import numpy as np

from creditsim.arrays import Array, namespace, numbers, to_numpy
from creditsim.errors import InputError, choose
from creditsim.estimators.base import estimator
from creditsim.estimators.gigpo import Normalise, episode_level, invalid_penalty, step_level
from creditsim.estimators.scores import Weighting, check_number, episode_score, live_rows
from creditsim.ragged import ranges, rows_of
from creditsim.rollouts import Rollouts
from creditsim.segments import factorize, reverse_scan
from creditsim.segments.api import Singleton

__all__ = ["Similarity", "scpo"]

Similarity: TypeAlias = "Array | Callable[[Rollouts, np.ndarray, np.ndarray], Array]"
"""Scores in [0, 1]: an array (O, A, O, A) over (observation, action) ids of a step and of a reference step, or a
function of the rollouts and two arrays (P,) of rows, the failed steps and the reference steps, that returns (P,)."""
Order = Literal["score", "chronological", "none"]

_PAPER = {"weighting": "trajectory", "normalize": "mean_std", "episode_singleton": "zero"}


@estimator(
    "scpo",
    paper="arXiv:2606.25852",
    evidence="notes",
    needs=("observation", "action"),
    makes=(
        "advantage",
        "episode_advantage",
        "step_advantage",
        "episode_score",
        "step_score",
        "discounted_return",
        "step_group",
        "shared_credit",
    ),
    presets={"paper": _PAPER, "notes": {**_PAPER, "step_weight": 0.5}},
    symmetric=False,
)
def scpo(
    rollouts: Rollouts,
    *,
    alpha: float = 0.5,
    threshold: float = 0.5,
    reference: Literal["longest", "shortest"] = "longest",
    order: Order = "score",
    level: Literal["return", "reward"] = "return",
    similarity: Similarity | None = None,
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
    """Semantic consistency policy optimization: a failed step that matches a successful sibling's earns a bonus.

    A_{i,t} = A^E_{i,t} + step_weight * A^S_{i,t}, both of `gigpo`, but A^S of G_{i,t} + alpha r_{i,t}
    r = max(0, M - threshold) / (1 - threshold) of the step's match in the group's reference, M its similarity; the
    reference is the group's longest successful trajectory. A^E stays that of the plain returns, and successful
    trajectories and groups without a success keep GiGPO's advantages to the last bit.

    In: rewards, observations and actions (M,); trajectory column `success` (N,), without it success is a return > 0.
    Out, all (M,): the columns of `gigpo`, `step_score` with the bonus, and `shared_credit` r.

    reference   "longest" or "shortest" success of the group, the first of equals
    order       how matches are made: "score" best pair first, ties by relative position; "chronological" step after
                step; both credit a reference step once and never cross. "none" lets every step take its best match
    level       "return" adds alpha r to that step's return; "reward" to its reward, so that it is discounted back
    similarity  None: 1 for equal observation and action, else 0. An array (O, A, O, A) by ids, or a function of
                (rollouts, rows of failed steps (P,), rows of reference steps (P,)) that gives (P,) numbers in [0, 1]
    others      as in `gigpo`

    Rows of `weight` 0 are no steps here: they neither match nor are matched. Matching is a sequential search and runs
    on the host. The bonus is no difference of potentials: where the matched step leads nowhere it is a bias.

    preset  step_weight  gigpo's   alpha, threshold (examples in notes), order of matching, ties (inferred)
    paper   1            paper     0.5, 0.5
    notes   0.5          paper     0.5, 0.5      the worked example of the notes
    Errors: as `gigpo`; InputError for alpha < 0, threshold outside [0, 1), similarities outside [0, 1] or of another
    shape; UnknownNameError for other choices. Source: abstract and third-party notes.
    """
    check_number("gamma", gamma, 0.0, 1.0)
    check_number("eps", eps, 0.0)
    check_number("alpha", alpha, 0.0)
    if not 0.0 <= threshold < 1.0:
        raise InputError("threshold", threshold, "0 <= threshold < 1")
    choose("reference", reference, ("longest", "shortest"))
    choose("order", order, ("score", "chronological", "none"))
    choose("level", level, ("return", "reward"))
    scale = choose("normalize", normalize, ("mean_std", "mean")) == "mean_std"
    ids, n = factorize(rollouts.group_rows, rollouts.observation)
    off = invalid_penalty(rollouts, penalty)
    discounted = reverse_scan(rollouts.reward, gamma, rollouts.offsets)
    shared = _shared_credit(rollouts, reference == "longest", order, threshold, similarity)
    bonus = alpha * shared
    bonus = bonus if level == "return" else reverse_scan(bonus, gamma, rollouts.offsets)
    step_score = (discounted if off is None else discounted - off) + bonus
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
        "shared_credit": shared,
    }


def _shared_credit(
    rollouts: Rollouts, longest: bool, order: str, threshold: float, similarity: Similarity | None
) -> Array:
    """Soft credit r (M,) of every row, 0 in successful trajectories and in groups without one."""
    # Listing estimators must not wait for Numba.
    from creditsim.sibling_match import match_steps

    live = np.flatnonzero(to_numpy(live_rows(rollouts)))
    offsets = np.searchsorted(live, to_numpy(rollouts.offsets))
    failed, reference = _pairs(rollouts, np.diff(offsets), longest)
    keys = [to_numpy(column)[live] for column in (rollouts.observation, rollouts.action)]
    score = None
    if similarity is not None:
        score = _scores(rollouts, similarity, live, offsets, failed, reference)
    credit = np.zeros(rollouts.n_rows)
    credit[live] = match_steps(offsets, failed, reference, keys, score, threshold=threshold, order=order)
    return namespace(rollouts.reward).asarray(credit)


def _pairs(rollouts: Rollouts, length: np.ndarray, longest: bool) -> tuple[np.ndarray, np.ndarray]:
    """Failed trajectories (F,) of groups with a success, and the reference (F,) of each one's group."""
    if "success" in rollouts.trajectory_columns:
        won = to_numpy(rollouts.trajectory_columns["success"]) != 0
    else:
        won = to_numpy(episode_score(rollouts)) > 0
    group = to_numpy(rollouts.group)
    candidates = np.flatnonzero(won & (length > 0))
    size = length[candidates]
    candidates = candidates[np.lexsort((-size if longest else size, group[candidates]))]
    groups, first = np.unique(group[candidates], return_index=True)
    chosen = np.full(rollouts.n_groups, -1)
    chosen[groups] = candidates[first]
    failed = np.flatnonzero(~won & (chosen[group] >= 0))
    return failed, chosen[group[failed]]


def _scores(
    rollouts: Rollouts,
    similarity: Similarity,
    live: np.ndarray,
    offsets: np.ndarray,
    failed: np.ndarray,
    reference: np.ndarray,
) -> np.ndarray:
    """Similarity of all pairs (P,) of steps of each failed trajectory and its reference, reference steps fastest."""
    length = np.diff(offsets)
    wide = length[reference]
    starts = np.concatenate([[0], np.cumsum(length[failed] * wide)])
    which = rows_of(starts, int(starts[-1]))
    place = ranges(np.zeros(failed.size, np.int64), starts)
    left = live[offsets[failed][which] + place // np.maximum(wide, 1)[which]]
    right = live[offsets[reference][which] + place % np.maximum(wide, 1)[which]]
    if callable(similarity):
        got = to_numpy(similarity(rollouts, left, right))
    else:
        table = to_numpy(similarity) if hasattr(similarity, "shape") else similarity
        got = _looked_up(numbers("similarity", table, "an array (O, A, O, A)"), rollouts, left, right)
    if got.shape != left.shape:
        raise InputError("similarity", f"a result of shape {got.shape}", f"{left.shape}, one number per pair of steps")
    inside = (got >= 0) & (got <= 1)
    if not inside.all():
        raise InputError("similarity", float(got[~inside][0]), "numbers in [0, 1]")
    return got.astype(np.float64)


def _looked_up(table: np.ndarray, rollouts: Rollouts, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    observation, action = to_numpy(rollouts.observation), to_numpy(rollouts.action)
    least = (int(observation.max(initial=-1)) + 1, int(action.max(initial=-1)) + 1) * 2
    if table.ndim != 4 or any(size < need for size, need in zip(table.shape, least, strict=True)):
        raise InputError("similarity", f"an array of shape {table.shape}", f"(O, A, O, A), at least {least}")
    return table[observation[left], action[left], observation[right], action[right]]
