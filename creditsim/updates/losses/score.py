"""Score-function losses without a ratio: REINFORCE and GPG."""

from __future__ import annotations

from typing import Any

from creditsim.arrays import Array
from creditsim.updates.losses.base import Aggregation, LossResult, Rows, loss

__all__ = ["gpg", "reinforce"]


@loss("reinforce", paper="doi:10.1007/BF00992696", evidence="paper", presets={"paper": {}})
def reinforce(
    log_prob: Array,
    old_log_prob: Array,
    advantage: Array,
    offsets: Array,
    weight: Array | None = None,
    batch: Array | None = None,
    *,
    aggregation: Aggregation = "seq-mean-token-sum",
    norm: float | None = None,
) -> LossResult:
    """Score-function loss: its derivative is the policy-gradient estimate, mean over sequences of the sum over rows.

    L = -A log_prob,  dL/dlog_prob = -A. `old_log_prob` enters the metric `ppo_kl` only. In and out as `ppo`; the value
    has no meaning beyond its derivative.
    Errors: InputError for shapes or a missing norm.
    """
    return _score(Rows.read(log_prob, old_log_prob, advantage, offsets, weight, batch), aggregation, norm)


@loss("gpg", paper="arXiv:2504.02546", evidence="code", presets={"verl": {}})
def gpg(
    log_prob: Array,
    old_log_prob: Array,
    advantage: Array,
    offsets: Array,
    weight: Array | None = None,
    batch: Array | None = None,
    *,
    aggregation: Aggregation = "token-mean",
    norm: float | None = None,
) -> LossResult:
    """Group Policy Gradient: the loss of `reinforce`, averaged over tokens by default, no ratio and no clip.

    L = -A log_prob,  dL/dlog_prob = -A. In, out and errors as `reinforce`. Source: verl (code).
    """
    return _score(Rows.read(log_prob, old_log_prob, advantage, offsets, weight, batch), aggregation, norm)


def _score(rows: Rows, aggregation: Aggregation, norm: float | None) -> LossResult:
    slope = -rows.advantage

    def measure() -> dict[str, Any]:
        return {"ppo_kl": rows.mean(rows.old_log_prob - rows.log_prob)}

    return rows.result(lambda: slope * rows.log_prob, slope, aggregation, norm, measure=measure)
