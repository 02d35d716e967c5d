"""Clipped surrogates: PPO and its kin, GSPO, CISPO."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from creditsim.arrays import Array, namespace
from creditsim.updates.losses.base import Aggregation, LossResult, Rows, loss
from creditsim.updates.losses.terms import LogRatio, check_clip, clipped, row_ratio, unit_ratio

__all__ = ["cispo", "gspo", "ppo", "sequence_ppo"]


@loss(
    "ppo",
    paper="arXiv:1707.06347",
    evidence="code",
    presets={
        "paper": {"dual_clip": None},
        "grpo": {"dual_clip": None, "aggregation": "seq-mean-token-mean"},
        "dr-grpo": {"dual_clip": None, "aggregation": "seq-mean-token-norm"},
        "dapo": {"clip_high": 0.28, "dual_clip": None},
        "verl": {},
        "verl-agent": {},
        "verl-agent-dynamic": {"clip_high": 0.28},
        "verl-dr-grpo": {"aggregation": "seq-mean-token-sum-norm"},
        "trl-grpo": {"dual_clip": None, "log_ratio_limit": 700.0, "aggregation": "seq-mean-token-mean"},
        "trl-bnpo": {"dual_clip": None, "log_ratio_limit": 700.0},
        "trl-dapo": {"dual_clip": None, "log_ratio_limit": 700.0},
        "trl-dr_grpo": {"dual_clip": None, "log_ratio_limit": 700.0, "aggregation": "seq-mean-token-norm"},
    },
)
def ppo(
    log_prob: Array,
    old_log_prob: Array,
    advantage: Array,
    offsets: Array,
    weight: Array | None = None,
    batch: Array | None = None,
    *,
    clip_low: float = 0.2,
    clip_high: float = 0.2,
    dual_clip: float | None = 3.0,
    log_ratio_limit: float = 20.0,
    aggregation: Aggregation = "token-mean",
    norm: float | None = None,
) -> LossResult:
    """Clipped surrogate with a ratio per row: PPO, and GRPO, DAPO (clip-higher), Dr.GRPO by preset.

    L = max(-A r, -A clip(r, 1 - clip_low, 1 + clip_high)),  r = exp(log_prob - old_log_prob)
    dual clip: where A < 0, L = min(L, -A dual_clip). dL/dlog_prob = -A r where neither clip is strictly beyond the
    plain term, else 0: on a boundary the plain side counts. The log-ratio is cut at +-log_ratio_limit, derivative 0
    outside.

    In: all (M,) but `offsets` (N+1,) of the sequences and `batch` (N,), replicates with a loss each; `weight` of rows.
    aggregation, sums weighted:  token-mean (sum over rows / rows), seq-mean-token-sum, seq-mean-token-mean (mean over
    sequences of the sum or mean over rows), seq-mean-token-norm (of the sum over rows / norm; Dr.GRPO, TRL),
    seq-mean-token-sum-norm (sum over all rows / norm; verl). Sequences without weight are no sequences.
    Out: value, derivative (M,), metrics over rows: `ppo_kl` mean of old - new log-probability, `clip_fraction` rows
    whose clipped term is strictly larger, `clip_fraction_lower` rows cut by the dual clip.

    preset      clip      dual  aggregation              preset        clip      dual  aggregation
    paper       .2 / .2   -     token-mean               verl          .2 / .2   3     token-mean
    grpo        .2 / .2   -     seq-mean-token-mean      verl-agent    .2 / .2   3     token-mean (-dynamic: .2 / .28)
    dapo        .2 / .28  -     token-mean               verl-dr-grpo  .2 / .2   3     seq-mean-token-sum-norm
    dr-grpo     .2 / .2   -     seq-mean-token-norm      trl-*         .2 / .2   -     by loss type, ratio uncut
    Errors: InputError for shapes, clips or limits out of range, a missing norm.
    Source: verl, verl-agent and TRL (code); dual clip arXiv:1912.09729.
    """
    check_clip(clip_low, clip_high, log_ratio_limit, dual_clip)
    rows = Rows.read(log_prob, old_log_prob, advantage, offsets, weight, batch)
    terms = clipped(rows.advantage, row_ratio(rows, log_ratio_limit), clip_low, clip_high, dual_clip)
    return terms.result(rows, aggregation, norm)


@loss(
    "gspo",
    paper="arXiv:2507.18071",
    evidence="code",
    presets={"paper": {}, "verl": {"clip_low": 0.2, "clip_high": 0.2}},
)
def gspo(
    log_prob: Array,
    old_log_prob: Array,
    advantage: Array,
    offsets: Array,
    weight: Array | None = None,
    batch: Array | None = None,
    *,
    clip_low: float = 3e-4,
    clip_high: float = 4e-4,
    log_ratio_limit: float = 10.0,
    aggregation: Aggregation = "seq-mean-token-mean",
    norm: float | None = None,
) -> LossResult:
    """Clipped surrogate with one ratio per sequence: Group Sequence Policy Optimization.

    L_t = max(-A_t s, -A_t clip(s, 1 - clip_low, 1 + clip_high)),  s = exp(mean over the sequence of the log-ratio)
    The gradient of s flows through each row's own log-probability: dL_t/dlog_prob_t = -A_t s where the clip is not
    strictly beyond the plain term. With A constant over a sequence this is the derivative of the sequence's loss:
    -A s / (B |o|) at each of its |o| rows, B sequences. The log of s is cut from above at log_ratio_limit, derivative 0
    beyond; there is no dual clip.

    In and out as `ppo`; `ppo_kl` is over rows, `clip_fraction_lower` 0. Rows of weight 0 do not enter s.
    preset  clip            paper  3e-4 / 4e-4            verl  0.2 / 0.2 (its common default for all losses)
    Errors: InputError for shapes, clips or limits out of range, a missing norm. Source: verl (code).
    """
    check_clip(clip_low, clip_high, log_ratio_limit)
    rows = Rows.read(log_prob, old_log_prob, advantage, offsets, weight, batch)
    terms = clipped(rows.advantage, unit_ratio(rows, rows.sequences, log_ratio_limit), clip_low, clip_high)
    return terms.result(rows, aggregation, norm)


@loss("sequence_ppo", paper="arXiv:1707.06347", evidence="inferred")
def sequence_ppo(
    log_prob: Array,
    old_log_prob: Array,
    advantage: Array,
    offsets: Array,
    weight: Array | None = None,
    batch: Array | None = None,
    *,
    clip_low: float = 0.2,
    clip_high: float = 0.2,
    dual_clip: float | None = None,
    log_ratio_limit: float = 20.0,
) -> LossResult:
    """Clipped surrogate with the full importance ratio of each sequence: PPO with a whole sequence as its action.

    L_i = mean over t of max(-A_t s, -A_t clip(s, 1 - clip_low, 1 + clip_high)),  s = exp(sum over t of the log-ratio)
    L = mean over sequences of L_i. Every row of a sequence moves s alike: dL_i/dlog_prob_t = mean over u of -A_u s,
    rows where a clip is strictly beyond the plain term counting 0. Unlike the geometric mean of `gspo` it is unbiased
    off policy, E_old[s] = 1, and its variance grows exponentially with the sum's.

    In and out as `ppo`; means and sums over a sequence are weighted, those of weight 0 are none. `dual_clip` as `ppo`;
    the log of s is cut at +-log_ratio_limit, derivative 0 outside.
    Errors: InputError for shapes, clips or limits out of range. Source: inferred, PPO's objective with sequences as
    actions.
    """
    check_clip(clip_low, clip_high, log_ratio_limit, dual_clip)
    rows = Rows.read(log_prob, old_log_prob, advantage, offsets, weight, batch)
    log_s = rows.sum_over(rows.weight * (rows.log_prob - rows.old_log_prob), rows.sequences)
    ratio = LogRatio(log_s, None, -log_ratio_limit, log_ratio_limit)
    terms = clipped(rows.advantage, ratio, clip_low, clip_high, dual_clip)
    found = terms.result(rows, "seq-mean-token-mean")
    # A row moves the ratio of all rows of its sequence, not only its own.
    moved = rows.sum_over(found.share * terms.slope, rows.sequences)
    return replace(found, derivative=rows.finish(rows.weight * moved))


@loss(
    "cispo",
    paper="arXiv:2506.13585",
    evidence="code",
    presets={"trl": {"clip_low": None, "clip_high": 4.0, "log_ratio_limit": 700.0}},
)
def cispo(
    log_prob: Array,
    old_log_prob: Array,
    advantage: Array,
    offsets: Array,
    weight: Array | None = None,
    batch: Array | None = None,
    *,
    clip_low: float | None = None,
    clip_high: float = 4.0,
    log_ratio_limit: float = 20.0,
    aggregation: Aggregation = "token-mean",
    norm: float | None = None,
) -> LossResult:
    """Policy gradient weighted by a clipped importance ratio that is held constant: CISPO.

    L = -c A log_prob,  c = clip(r, 1 - clip_low, 1 + clip_high) taken as a constant, r = exp(log_prob - old_log_prob)
    dL/dlog_prob = -c A: unlike in `ppo` no row loses its gradient. `clip_low=None` leaves small ratios uncut.

    In and out as `ppo`; the value has no meaning beyond its derivative. `clip_fraction` is the share of rows with r
    outside the range. TRL writes its upper bound as a ratio: its epsilon_high = 1 + clip_high.
    Errors: InputError for shapes, clips or limits out of range, a missing norm.
    Source: TRL (code); clip_high=4 is an example there, the paper tunes it (inferred default).
    """
    check_clip(1.0 if clip_low is None else clip_low, clip_high, log_ratio_limit)
    rows = Rows.read(log_prob, old_log_prob, advantage, offsets, weight, batch)
    xp = namespace(rows.log_prob)
    ratio = xp.exp(xp.clip(row_ratio(rows, log_ratio_limit).value, -log_ratio_limit, log_ratio_limit))
    held = xp.clip(ratio, 0.0 if clip_low is None else 1.0 - clip_low, 1.0 + clip_high)
    slope = -held * rows.advantage

    def measure() -> dict[str, Any]:
        outside = (held != ratio).astype(float)
        return {"ppo_kl": rows.mean(rows.old_log_prob - rows.log_prob), "clip_fraction": rows.mean(outside)}

    return rows.result(lambda: slope * rows.log_prob, slope, aggregation, norm, measure=measure)
