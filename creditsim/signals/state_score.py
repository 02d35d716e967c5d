"""3SPO's state score: a history of visits and successes per observation, and the step reward made from it."""

from __future__ import annotations

from typing import Literal

import numpy as np

from creditsim.errors import InputError, choose
from creditsim.rollouts import Rollouts
from creditsim.score_table import Schedule, ScoreRule, lookup, next_observation
from creditsim.signals.base import State, signal, state_table

__all__ = ["state_score"]

Clock = Literal["trajectories", "iterations", "depth"]
Novel = Literal["changed", "unseen", "first"]
Counts = Literal["trajectory", "visit"]


@signal(
    "state_score",
    paper="arXiv:2606.09961",
    evidence="code",
    needs=("next_state",),
    makes=("score", "next_score", "visits", "novel", "success", "step_reward"),
    tables=("observation_of_state",),
    presets={
        "paper": {"counts": "visit", "clock": "depth", "novel": "first"},
        "code": {},
        "gui": {
            "schedule": "saturating", "alpha": 0.1, "xi": 8.0, "zeta": 1.0, "clock": "iterations", "omega": 1.0,
        },
    },
)  # fmt: skip
def state_score(
    rollouts: Rollouts,
    state: State,
    *,
    clock: Clock = "trajectories",
    schedule: Schedule = "log",
    alpha: float = 50.0,
    scale: float = 1.0,
    span: float = 1000.0,
    xi: float = 10.0,
    zeta: float = 0.1,
    eps: float = 1e-6,
    omega: float = 0.1,
    novel: Novel = "changed",
    counts: Counts = "trajectory",
    truncated: float = 0.0,
    learn: bool = True,
) -> tuple[dict[str, np.ndarray], State]:
    """Score of each row's state and of the next, and 3SPO's step reward (eq. 2).

    R(s,s') = w R_novel(s') + (1/2 - w)(S(s) - S(s')) + R_success(s')/2,  w = exp(-omega N_total(s)) / 2,
    S as in `creditsim.score_table.ScoreRule` (eq. 1), over all groups of a replicate together.

    In: `next_state` with the loop's table `observation_of_state` (S,), or a column `next_observation`; trees and plain
    rollouts alike. Out, all (M,): `score` S(s), `next_score` S(s'), `visits` N_total(s), `novel`, `success` (the row
    ends its episode and pays: the success flag, inferred for tables), `step_reward` R. Columns are made from the
    history before this call's trajectories enter it.

    clock      t is 1 + trajectories finished ("trajectories"; code), 1 + calls ("iterations"; GUI code), or 1 + the
               state's step ("depth"; one reading note). With t = 1 every score is 1 or 0
    novel      R_novel(s') = 1 where s' differs from s ("changed"; code), was never counted ("unseen"), or is first met
               on its path ("first"); the last two are readings of the paper's wording
    counts     "trajectory": a path that ended adds one visit, and one success if it succeeded, to each distinct
               observation on it (code). "visit": a branch group adds one visit to its observation before anything is
               read, and successes come as before, at most one per visit (Algorithm 1 through notes; inferred)
    truncated  what a truncated state scores in the step reward: 0 as published, like a mastered one
    learn      False freezes the history

    A path has ended where trajectory column `ended` says so; without that column every leaf has. Rows of weight 0 get
    columns like any other and count no visit. State: `score_total`, `score_success` (R, O) int64, `score_clock` (R,),
    `score` (R, D, O) for the next call's allocation (with "visit": the visit to come included), and `score_reward`
    (R, most rows), R by replicate in row order, for ranking. Presets paper | code | gui; what the paper's text leaves
    open (t, R_novel, the order of counting) is inferred in `paper`. Errors: InputError for numbers out of range.
    """
    rule = ScoreRule(alpha, xi, zeta, eps, schedule, scale, span)
    choose("clock", clock, ("trajectories", "iterations", "depth"))
    choose("counts", counts, ("trajectory", "visit"))
    if not omega >= 0:
        raise InputError("signal state_score omega", omega, "a number >= 0")
    replicates = state_table(state, "replicate", "state_score").shape[0]
    here, after = rollouts.observation, next_observation(rollouts, state, "signal state_score")
    history = _history(state, replicates, int(max(here.max(initial=-1), after.max(initial=-1))) + 1)
    total, success, ticks = history
    batch, won = rollouts.batch_rows, _won(rollouts)
    if counts == "visit" and learn:
        total = total + _visits(rollouts, total.shape)
    depths = int(state.get("horizon", rollouts.step.max(initial=0) + 1)) + 1 if clock == "depth" else 1
    now = {"score": _table(rule, total, success, ticks, depths, clock)}
    score, next_score = (lookup(now, batch, rollouts.step + k, seen) for k, seen in enumerate((here, after)))
    visits = total[batch, here]
    fresh = _novel(rollouts, here, after, total[batch, after], novel)
    w = 0.5 * np.exp(-omega * visits)
    told, next_told = (np.where(s > 0, s, truncated) for s in (score, next_score))
    reward = w * fresh + (0.5 - w) * (told - next_told) + 0.5 * won
    if learn:
        seen, solved, finished = _outcomes(rollouts, after, won, total.shape)
        total = total + seen if counts == "trajectory" else total
        success = np.minimum(success + solved, total)
        ticks = ticks + (finished if clock == "trajectories" else 1)
    ahead = _table(rule, total + (counts == "visit"), success, ticks, depths, clock)
    columns = {"score": score, "next_score": next_score, "visits": visits, "novel": fresh, "success": won}
    return {**columns, "step_reward": reward}, {
        **state,
        "score_total": total,
        "score_success": success,
        "score_clock": ticks,
        "score": ahead,
        "score_reward": _by_replicate(reward, batch, replicates),
    }


def _history(state: State, replicates: int, observations: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Counts (R, O), widened to the observations met by now, and the clock (R,)."""
    width = max(observations, state["score_total"].shape[1] if "score_total" in state else 0)
    counts = []
    for name in ("score_total", "score_success"):
        table = np.zeros((replicates, width), np.int64)
        if name in state:
            table[:, : state[name].shape[1]] = state[name]
        counts.append(table)
    return counts[0], counts[1], state.get("score_clock", np.ones(replicates, np.int64))


def _table(
    rule: ScoreRule, total: np.ndarray, success: np.ndarray, ticks: np.ndarray, depths: int, clock: Clock
) -> np.ndarray:
    """(R, D, O) scores."""
    t = 1 + np.arange(depths)[None, :, None] if clock == "depth" else ticks[:, None, None]
    return rule.score(total[:, None], success[:, None], t)


def _won(rollouts: Rollouts) -> np.ndarray:
    """(M,) bool: rows that end their episode and pay."""
    won = np.zeros(rollouts.n_rows, bool)
    ends = rollouts.offsets[1:][rollouts.terminated & (rollouts.length > 0)] - 1
    won[ends] = rollouts.reward[ends] > 0
    return won


def _novel(rollouts: Rollouts, here: np.ndarray, after: np.ndarray, counted: np.ndarray, novel: Novel) -> np.ndarray:
    """(M,) bool R_novel."""
    if choose("novel", novel, ("changed", "unseen", "first")) == "unseen":
        return counted == 0
    new = after != here
    if novel == "first":
        at = rollouts.previous
        while (at >= 0).any():
            new &= (at < 0) | (rollouts.observation[at] != after)
            at = np.where(at >= 0, rollouts.previous[at], -1)
    return new


def _visits(rollouts: Rollouts, shape: tuple[int, ...]) -> np.ndarray:
    """(R, O) branch groups that rows with weight belong to, by the observation they branch at."""
    ids, _ = rollouts.siblings()
    live = np.flatnonzero(rollouts.columns.get("weight", np.ones(rollouts.n_rows)) > 0)
    first = live[np.unique(ids[live], return_index=True)[1]]
    cell = rollouts.batch_rows[first] * shape[1] + rollouts.observation[first]
    return np.bincount(cell, minlength=shape[0] * shape[1]).reshape(shape)


def _outcomes(
    rollouts: Rollouts, after: np.ndarray, won: np.ndarray, shape: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Paths that ended: how many pass each observation (R, O), how many of these succeeded, how many there are (R,)."""
    leaf = _ended(rollouts)
    batch = rollouts.batch[leaf]
    at = last = rollouts.offsets[1:][leaf] - 1
    path = np.arange(leaf.size)
    pairs = [path * shape[1] + after[last]]
    while at.size:
        pairs.append(path * shape[1] + rollouts.observation[at])
        at = rollouts.previous[at]
        path, at = path[at >= 0], at[at >= 0]
    path, seen = np.divmod(np.unique(np.concatenate(pairs)), shape[1])
    cell, size = batch[path] * shape[1] + seen, shape[0] * shape[1]
    solved = won[last][path]
    return (
        np.bincount(cell, minlength=size).reshape(shape),
        np.bincount(cell[solved], minlength=size).reshape(shape),
        np.bincount(batch, minlength=shape[0]),
    )


def _ended(rollouts: Rollouts) -> np.ndarray:
    """Trajectories whose last row is the end of a path that is over."""
    if "ended" in rollouts.trajectory_columns:
        return np.flatnonzero(rollouts.trajectory_columns["ended"])
    goes_on = np.zeros(rollouts.n_rows, bool)
    goes_on[rollouts.parent[rollouts.parent >= 0]] = True
    filled = np.flatnonzero(rollouts.length > 0)
    return filled[~goes_on[rollouts.offsets[1:][filled] - 1]]


def _by_replicate(values: np.ndarray, batch: np.ndarray, replicates: int) -> np.ndarray:
    """(R, most rows) values of each replicate in row order, 0 after its last."""
    count = np.bincount(batch, minlength=replicates)
    order = np.argsort(batch, kind="stable")
    out = np.zeros((replicates, int(count.max(initial=0))))
    out[batch[order], np.arange(batch.size) - np.repeat(np.cumsum(count) - count, count)] = values[order]
    return out
