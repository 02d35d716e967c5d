"""Clipped surrogates: PPO and its kin, GSPO, CISPO."""

from __future__ import annotations

from creditsim.arrays import Array, namespace
from creditsim.errors import InputError
from creditsim.updates.losses.base import Aggregation, LossResult, Rows, loss

__all__ = ["cispo", "gspo", "ppo"]


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
    _check_clip(clip_low, clip_high)
    if dual_clip is not None and not dual_clip > 1.0:
        raise InputError("dual_clip", dual_clip, "a number > 1, or None")
    if not 0.0 < log_ratio_limit <= 700.0:
        raise InputError("log_ratio_limit", log_ratio_limit, "0 < log_ratio_limit <= 700")
    rows = Rows.read(log_prob, old_log_prob, advantage, offsets, weight, batch)
    xp, a = namespace(rows.log_prob), rows.advantage
    log_ratio = rows.log_prob - rows.old_log_prob
    inside = abs(log_ratio) <= log_ratio_limit
    log_ratio = xp.clip(log_ratio, -log_ratio_limit, log_ratio_limit)
    ratio = xp.exp(log_ratio)
    plain, clipped = -a * ratio, -a * xp.clip(ratio, 1.0 - clip_low, 1.0 + clip_high)
    term, cut = xp.maximum(plain, clipped), clipped > plain
    lower = xp.zeros(term.shape, bool)
    if dual_clip is not None:
        lower = (a < 0) & (term > -a * dual_clip)
        term = xp.where(lower, -a * dual_clip, term)
    slope = xp.where(cut | lower | ~inside, 0.0, plain)
    metrics = {
        "ppo_kl": rows.mean(-log_ratio),
        "clip_fraction": rows.mean(cut.astype(float)),
        "clip_fraction_lower": rows.mean(lower.astype(float)),
    }
    return rows.result(term, slope, aggregation, norm, **metrics)


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
    _check_clip(clip_low, clip_high)
    if not 0.0 < log_ratio_limit <= 700.0:
        raise InputError("log_ratio_limit", log_ratio_limit, "0 < log_ratio_limit <= 700")
    rows = Rows.read(log_prob, old_log_prob, advantage, offsets, weight, batch)
    xp, a = namespace(rows.log_prob), rows.advantage
    log_ratio = rows.log_prob - rows.old_log_prob
    log_s = rows.sequence_mean(log_ratio)
    s = xp.exp(xp.minimum(log_s, log_ratio_limit))
    plain, clipped = -a * s, -a * xp.clip(s, 1.0 - clip_low, 1.0 + clip_high)
    cut = clipped > plain
    slope = xp.where(cut | (log_s > log_ratio_limit), 0.0, plain)
    metrics = {
        "ppo_kl": rows.mean(-log_ratio),
        "clip_fraction": rows.mean(cut.astype(float)),
        "clip_fraction_lower": rows.mean(xp.zeros(a.shape)),
    }
    return rows.result(xp.maximum(plain, clipped), slope, aggregation, norm, **metrics)


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
    _check_clip(0.0 if clip_low is None else clip_low, clip_high)
    if not 0.0 < log_ratio_limit <= 700.0:
        raise InputError("log_ratio_limit", log_ratio_limit, "0 < log_ratio_limit <= 700")
    rows = Rows.read(log_prob, old_log_prob, advantage, offsets, weight, batch)
    xp = namespace(rows.log_prob)
    log_ratio = rows.log_prob - rows.old_log_prob
    ratio = xp.exp(xp.clip(log_ratio, -log_ratio_limit, log_ratio_limit))
    held = xp.clip(ratio, 0.0 if clip_low is None else 1.0 - clip_low, 1.0 + clip_high)
    slope = -held * rows.advantage
    metrics = {"ppo_kl": rows.mean(-log_ratio), "clip_fraction": rows.mean((held != ratio).astype(float))}
    return rows.result(slope * rows.log_prob, slope, aggregation, norm, **metrics)


def _check_clip(low: float, high: float) -> None:
    if not 0.0 <= low <= 1.0:
        raise InputError("clip_low", low, "0 <= clip_low <= 1")
    if not high >= 0.0:
        raise InputError("clip_high", high, "a number >= 0")
