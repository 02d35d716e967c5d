"""Turn rewards from information gain: IGPO pools the turns of a group, A2TGPO compares turns of equal depth."""

from __future__ import annotations

from typing import Literal

from creditsim.arrays import Array, namespace
from creditsim.errors import choose
from creditsim.estimators.base import estimator
from creditsim.estimators.scores import check_number, episode_score, live_rows, members
from creditsim.rollouts import Rollouts
from creditsim.segments import factorize, repeat_to_rows, reverse_scan, segment_normalise, segment_std

__all__ = ["a2tgpo", "answer_turns", "igpo"]

Mode = Literal["turn-group-v1d", "turn-group", "separate", "joint"]
Rescale = Literal["terms", "weights", "none"]


@estimator(
    "igpo",
    paper="arXiv:2510.14967",
    evidence="notes",
    needs=("information_gain",),
    level="decision",
    presets={"paper": {"mode": "joint"}, "code": {"mode": "position"}},
)
def igpo(
    rollouts: Rollouts,
    *,
    mode: Literal["joint", "position"] = "joint",
    gamma: float = 1.0,
    ddof: int = 1,
    eps: float = 1e-6,
) -> Array:
    """Information-gain policy optimisation: each turn is paid its gain, the last one the outcome, and rewards add up.

    x_{i,t} = gain of turn t, x_{i,T} = S_i = sum of the rewards of trajectory i (T its last turn)
    mode "joint":     A_{i,t} = sum_{k >= t} gamma^{k-t} (x_{i,k} - mean) / (std + eps), mean and std over all turns of
                      all trajectories of the group, divisor n - ddof (paper, through notes; its ddof is inferred)
    mode "position":  A_{i,t} = G_{i,t} - mean of G over the group's rows at the same place, G_{i,t} = sum_{k >= t}
                      gamma^{k-t} x_{i,k}; a place counts decisions from the start, so tokens where rows are tokens, and
                      turns of unlike depth may share it (code: first snapshot, no division)

    In: rewards and `information_gain` (M,), the same on every decision of a step; the last step of a trajectory is its
    answer, explicitly: its own gain is not looked at, and a gain of exactly 0 is a turn like any other. Out: advantage
    (M,), in deviations of the group, or in units of reward for "position".
    Degenerate input: equal turn rewards give 0, and so does a place that one trajectory alone reaches. Rows of weight 0
    enter nothing and get 0. Errors: InputError for gamma outside [0, 1], a negative eps, an unknown mode.
    """
    choose("mode", mode, ("joint", "position"))
    check_number("gamma", gamma, 0.0, 1.0)
    check_number("eps", eps, 0.0)
    steps, step_row = rollouts.steps()
    xp, live = namespace(rollouts.reward), live_rows(steps)
    paid = _turn_rewards(steps, steps.columns["information_gain"], episode_score(steps))
    if mode == "joint":
        ids = xp.where(live, steps.group_rows, -1)
        z = segment_normalise(paid, ids, steps.n_groups, ddof=ddof, eps=eps)
        advantage = reverse_scan(z, gamma, steps.offsets)[step_row]
        return xp.where(live_rows(rollouts), advantage, 0.0)
    to_go = reverse_scan(xp.where(live, paid, 0.0), gamma, steps.offsets)[step_row]
    place = xp.arange(rollouts.n_rows) - rollouts.offsets[rollouts.trajectory]
    ids, n = factorize(rollouts.group_rows, place)
    return segment_normalise(to_go, xp.where(live_rows(rollouts), ids, -1), n, scale=False)


@estimator(
    "a2tgpo",
    paper="arXiv:2605.06200",
    evidence="code",
    needs=("information_gain",),
    makes=("advantage", "outcome_advantage", "information_advantage", "gain_score", "clip_scale"),
    presets={"code": {}, "turn-group": {"mode": "turn-group"}},
)
def a2tgpo(
    rollouts: Rollouts,
    *,
    mode: Mode = "turn-group-v1d",
    alpha: float = 0.3,
    gamma: float = 1.0,
    rescale: Rescale = "terms",
    clip_span: float = 0.3,
    ddof: int = 0,
    eps: float = 1e-6,
    eps_inside: float = 1e-8,
) -> dict[str, Array]:
    """Agentic turn-group policy optimisation: gains are standardised among turns of one prompt and one depth.

    With norm(x) = (x - mean) / (sqrt(v + eps_inside) + eps), v with divisor n - ddof, t the turn (`step`), n_i the
    turns of trajectory i before its answer, and A^o = norm of the outcomes S_i of the group:
    z_{i,t} = norm of the gains of cell (group, t);  D_{i,t} = sum_{j=t}^{n_i} gamma^{j-t} z_{i,j}
    mode "turn-group-v1d":  A_{i,t} = alpha D_{i,t} / sqrt(n_i - t + 1) + A^o_i before the answer, A^o_i on it
    mode "turn-group":      gains times std(outcomes) / std(gains) of the batch, discounted sum to the end with the
                            outcome on the answer, then norm of each cell (group, t)
    mode "separate":        sum_{j >= t} gamma^{j-t} y_{i,j}, y = norm of the gains of the group, A^o on the answer
    mode "joint":           the same with gains and outcomes in one norm
    clip_scale = 1 + clip_span (2 sigmoid(z) - 1), 1 on the answer: what the clip range of a turn is multiplied by

    rescale   "terms" divides by the root of the number of summed terms (code); "weights" by sqrt(sum_j gamma^{2(j-t)}),
              which keeps the variance at 1 for any gamma; "none" by nothing (both inferred)
    In: rewards and `information_gain` (M,), turns numbered by `step`; the last step of a trajectory is its answer. Out,
    all (M,): `advantage`; `outcome_advantage` A^o; `information_advantage`, what the gains add (mode "turn-group-v1d");
    `gain_score` z; `clip_scale`.
    Degenerate input: a cell or group of one member, or of equal ones, gives 0. Rows of weight 0 enter nothing and get 0
    (clip_scale 1). Errors: InputError for gamma or clip_span outside [0, 1], a negative alpha or eps, unknown choices.
    Source: stored copy of the official core file (code); clip scales outside mode "turn-group-v1d" are inferred.
    """
    choose("mode", mode, ("turn-group-v1d", "turn-group", "separate", "joint"))
    choose("rescale", rescale, ("terms", "weights", "none"))
    for field, value in (("gamma", gamma), ("clip_span", clip_span)):
        check_number(field, value, 0.0, 1.0)
    for field, value in (("alpha", alpha), ("eps", eps), ("eps_inside", eps_inside)):
        check_number(field, value, 0.0)
    xp = namespace(rollouts.reward)
    options = {"ddof": ddof, "eps": eps, "eps_inside": eps_inside}
    live, gain = live_rows(rollouts), rollouts.columns["information_gain"]
    told = live & ~answer_turns(rollouts)
    cell, cells = factorize(rollouts.group_rows, rollouts.step)
    z = segment_normalise(gain, xp.where(told, cell, -1), cells, **options)
    score = episode_score(rollouts)
    group = xp.where(members(rollouts), rollouts.group, -1)
    outcome = repeat_to_rows(segment_normalise(score, group, rollouts.n_groups, **options), rollouts.offsets)
    columns = {"outcome_advantage": xp.where(live, outcome, 0.0), "gain_score": z}
    columns["clip_scale"] = 1.0 + clip_span * xp.tanh(z / 2.0)
    if mode == "turn-group-v1d":
        terms = reverse_scan(xp.where(told, 1.0, 0.0), gamma**2 if rescale == "weights" else 1.0, rollouts.offsets)
        divisor = 1.0 if rescale == "none" else xp.sqrt(xp.maximum(terms, 1.0))
        added = xp.where(told, alpha * reverse_scan(z, gamma, rollouts.offsets) / divisor, 0.0)
        columns["information_advantage"] = added
        return {"advantage": added + columns["outcome_advantage"], **columns}
    whole = xp.where(live, rollouts.group_rows, -1)
    if mode == "turn-group":
        paid = _turn_rewards(rollouts, gain * _gain_scale(rollouts, gain, told, score, ddof), score)
        summed = reverse_scan(xp.where(live, paid, 0.0), gamma, rollouts.offsets)
        return {"advantage": segment_normalise(summed, xp.where(live, cell, -1), cells, **options), **columns}
    if mode == "joint":
        y = segment_normalise(_turn_rewards(rollouts, gain, score), whole, rollouts.n_groups, **options)
    else:
        y = segment_normalise(gain, xp.where(told, whole, -1), rollouts.n_groups, **options)
        y = xp.where(told, y, columns["outcome_advantage"])
    return {"advantage": xp.where(live, reverse_scan(y, gamma, rollouts.offsets), 0.0), **columns}


def answer_turns(rollouts: Rollouts) -> Array:
    """(M,) bool: the last row of each trajectory, the turn that answers."""
    last = namespace(rollouts.reward).zeros(rollouts.n_rows, bool)
    last[rollouts.offsets[1:][rollouts.length > 0] - 1] = True
    return last


def _turn_rewards(rollouts: Rollouts, gain: Array, score: Array) -> Array:
    """(M,) gain of each turn, and the outcome (N,) on the answer."""
    return namespace(gain).where(answer_turns(rollouts), repeat_to_rows(score, rollouts.offsets), gain)


def _gain_scale(rollouts: Rollouts, gain: Array, told: Array, score: Array, ddof: int) -> Array:
    """(M,) deviation of the batch's outcomes over that of its gains; 0 where gains do not deviate."""
    xp = namespace(gain)
    n = rollouts.n_batches
    gains = segment_std(gain, rollouts.batch_rows, n, ddof=ddof, where=told)
    outcomes = segment_std(score, xp.where(members(rollouts), rollouts.batch, -1), n, ddof=ddof)
    return xp.where(gains > 0, outcomes / xp.where(gains > 0, gains, 1.0), 0.0)[rollouts.batch_rows]
