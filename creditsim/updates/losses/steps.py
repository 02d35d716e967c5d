"""Clipped surrogates with one ratio per step: StepPO's, and the adaptive turn-level clip of A2TGPO."""

from __future__ import annotations

from collections.abc import Mapping

from creditsim.arrays import Array
from creditsim.errors import InputError
from creditsim.updates.losses.base import NO_COLUMNS, LossResult, Rows, StepAggregation, loss
from creditsim.updates.losses.terms import check_clip, clipped, unit_ratio

__all__ = ["step_ppo", "turn_clip"]


@loss(
    "step_ppo",
    paper="arXiv:2604.18401",
    evidence="code",
    needs=("step",),
    presets={"paper": {"aggregation": "seq-mean-step-mean"}, "code": {}},
)
def step_ppo(
    log_prob: Array,
    old_log_prob: Array,
    advantage: Array,
    offsets: Array,
    weight: Array | None = None,
    batch: Array | None = None,
    columns: Mapping[str, Array] = NO_COLUMNS,
    *,
    clip_low: float = 3e-4,
    clip_high: float = 4e-4,
    log_ratio_limit: float = 10.0,
    aggregation: StepAggregation = "step-mean",
    norm: float | None = None,
) -> LossResult:
    """Clipped surrogate with one ratio and one clip per step: Step-Aligned Policy Optimization.

    L_t = max(-A_t w, -A_t clip(w, 1 - clip_low, 1 + clip_high)),  w = exp(mean over the step's rows of the log-ratio)
    dL_t/dlog_prob_t = -A_t w where the clip is not strictly beyond the plain term: each row passes on its own part.
    Averaged over the rows of a step whose rows share A, that is the derivative of the step's loss, -A w / L at each of
    its L rows. So steps weigh 1/L of their score, and the gradient is the policy gradient only where L is constant.

    In and out as `ppo`, and `columns["step"]` (M,): neighbouring rows of one sequence with equal `step` are one step.
    Rows of weight 0 do not enter w, steps without weight are none. The log of w is cut from above at log_ratio_limit.
    aggregation: those of `ppo`, and  seq-mean-step-mean  each trajectory counts alike, (1/T) sum over its T steps
                                      step-mean           each step of the batch counts alike, so long trajectories more
    preset  paper  seq-mean-step-mean        code  step-mean: its sequences are steps, averaged as seq-mean-token-mean
    Errors: InputError for shapes, clips or limits out of range, a missing norm; MissingColumnError without `step`.
    Source: the official code; the paper's average over steps is from notes.
    """
    check_clip(clip_low, clip_high, log_ratio_limit)
    rows = Rows.read(log_prob, old_log_prob, advantage, offsets, weight, batch)
    steps = rows.steps(columns)
    terms = clipped(rows.advantage, unit_ratio(rows, steps, log_ratio_limit), clip_low, clip_high)
    return terms.result(rows, aggregation, norm, steps)


@loss("turn_clip", paper="arXiv:2605.06200", evidence="code", needs=("step", "clip_scale"), presets={"code": {}})
def turn_clip(
    log_prob: Array,
    old_log_prob: Array,
    advantage: Array,
    offsets: Array,
    weight: Array | None = None,
    batch: Array | None = None,
    columns: Mapping[str, Array] = NO_COLUMNS,
    *,
    clip_low: float = 3e-3,
    clip_high: float = 4e-3,
    log_ratio_limit: float = 10.0,
    aggregation: StepAggregation = "seq-mean-token-mean",
    norm: float | None = None,
) -> LossResult:
    """Clipped surrogate with one ratio per turn whose clip range widens with the turn's information: A2TGPO.

    L_t = max(-A_t w, -A_t clip(w, 1 - c_t clip_low, 1 + c_t clip_high)), w the geometric mean of the turn's ratios
    dL_t/dlog_prob_t = -A_t w where the clip is not strictly beyond the plain term. c_t is the column `clip_scale`.

    In and out as `step_ppo`, a turn being a step, and `columns["clip_scale"]` (M,) > 0; with 1 everywhere it is
    `step_ppo` with this clip. Turns are told apart by `step`, not by a change of the advantage as in the code, where
    equal neighbours merge.
    Errors: as `step_ppo`, and InputError for a clip_scale that is not above 0.
    Source: the official code (ratio, clip, multiplier); the aggregation is inferred.
    """
    check_clip(clip_low, clip_high, log_ratio_limit)
    rows = Rows.read(log_prob, old_log_prob, advantage, offsets, weight, batch)
    scale = rows.column(columns, "clip_scale").astype(float)
    if not bool((scale > 0).all()):
        raise InputError("clip_scale", f"{float(scale.min())}", "numbers > 0")
    steps = rows.steps(columns)
    ratio = unit_ratio(rows, steps, log_ratio_limit)
    terms = clipped(rows.advantage, ratio, scale * clip_low, scale * clip_high)
    return terms.result(rows, aggregation, norm, steps)
