"""Two clipped surrogates of two advantages, blended row by row: the loss of COPO."""

from __future__ import annotations

from collections.abc import Mapping

from creditsim.arrays import Array
from creditsim.errors import InputError
from creditsim.updates.losses.base import NO_COLUMNS, Aggregation, LossResult, Rows, loss
from creditsim.updates.losses.terms import check_clip, clipped, row_ratio

__all__ = ["blended"]


@loss("blended", paper="arXiv:2508.04138", evidence="code", needs=("global_advantage", "blend"), presets={"code": {}})
def blended(
    log_prob: Array,
    old_log_prob: Array,
    advantage: Array,
    offsets: Array,
    weight: Array | None = None,
    batch: Array | None = None,
    columns: Mapping[str, Array] = NO_COLUMNS,
    *,
    clip_low: float = 0.2,
    clip_high: float = 0.2,
    dual_clip: float | None = 3.0,
    log_ratio_limit: float = 20.0,
    aggregation: Aggregation = "seq-mean-token-mean",
    norm: float | None = None,
) -> LossResult:
    """Blend of the clipped surrogates of a local and a global advantage, each with its own clips.

    L_t = b_t L(advantage_t) + (1 - b_t) L(global_advantage_t), L and its derivative those of `ppo` with these clips.
    Blending the advantages first clips otherwise: where they differ in sign, one of the two may be cut alone.

    In and out as `ppo`, and `columns["global_advantage"]` (M,), `columns["blend"]` (M,) in [0, 1]. With blend 1 it is
    `ppo`. `clip_fraction` and `clip_fraction_lower` count a row by the share of it that was cut.
    Errors: as `ppo`; MissingColumnError for a missing column, InputError for a blend outside [0, 1].
    Source: the official code.
    """
    check_clip(clip_low, clip_high, log_ratio_limit, dual_clip)
    rows = Rows.read(log_prob, old_log_prob, advantage, offsets, weight, batch)
    blend = rows.column(columns, "blend").astype(float)
    if not bool(((blend >= 0) & (blend <= 1)).all()):
        raise InputError("blend", f"{float(blend.min())} to {float(blend.max())}", "numbers in [0, 1]")
    ratio = row_ratio(rows, log_ratio_limit)
    both = (rows.advantage, rows.column(columns, "global_advantage").astype(float))
    local, whole = (clipped(each, ratio, clip_low, clip_high, dual_clip) for each in both)
    terms = local.blended(whole, blend)
    return terms.result(rows, aggregation, norm)
