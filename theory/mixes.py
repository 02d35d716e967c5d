"""What normalisation does to the expected gradient over a mix of tasks, in closed form."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product

import numpy as np

from creditsim.errors import choose
from creditsim.estimators import advantage
from creditsim.rollouts import Rollouts
from creditsim.segments import segment_normalise
from theory.shared import angle, binomial

__all__ = ["CREDITS", "MIX", "MIX_SCALES", "Credit", "enumerated_factors", "mix_degrees", "mix_factors", "standardised"]

Credit = Callable[[Rollouts], np.ndarray]

MIX = (0.02, 0.1, 0.3, 0.5, 0.9)
"""Success chances of the tasks of a mix, each with parameters of its own."""

MIX_SCALES = ("none", "group", "batch", "group, then batch", "whiten", "centre, then whiten")


def standardised(x: np.ndarray, ids: np.ndarray, n: int) -> np.ndarray:
    """Scores (M,) centred and divided by the deviation of their segment, without eps."""
    return segment_normalise(x, ids, n, eps=0.0)


CREDITS: dict[str, Credit] = {
    "none": lambda r: advantage(r, "dr_grpo@paper"),
    "group": lambda r: advantage(r, "grpo@paper"),
    "batch": lambda r: advantage(r, "grpo@paper", scale="batch", eps=0.0),
    "group, then batch": lambda r: standardised(advantage(r, "grpo@paper"), r.batch_rows, r.n_batches),
    "whiten": lambda r: advantage(r, "reinforce_plus_plus@paper", eps_inside=0.0),
    "centre, then whiten": lambda r: advantage(r, "reinforce_plus_plus_baseline@paper", eps_inside=0.0),
}
"""The estimators behind the scales of `mix_factors`, without eps."""


def mix_factors(chance: Sequence[float], n: int, copies: int, scale: str) -> np.ndarray:
    """(T,) factors f_i with E[gradient of task i] = f_i p_i (1 - p_i), the exact gradient times f_i, exactly.

    A batch holds `copies` groups of n answers for each of T binary tasks with success chances p_i; deviations have
    divisor count - 1 and no eps. A group with k successes adds c = k(n-k)/n^2 over the deviation of `scale`: "none"; of
    its "group"; of the raw scores of the "batch"; of the group and then of the batch of results; "whiten" centres by
    the batch mean instead of the group's; "centre, then whiten" divides what is centred inside the group. What is
    divided by depends on the rest of the batch through one sum, whose law is a convolution.
    """
    choose("scale", scale, MIX_SCALES)
    k = np.arange(n + 1)
    m = n * copies * len(chance)
    mixed = (k > 0) & (k < n)
    none = np.zeros(n + 1, np.int64)
    of_batch = {"group, then batch": mixed.astype(int), "centre, then whiten": k * (n - k), "batch": k, "whiten": k}
    statistic = of_batch.get(scale, none)
    pmf = [binomial(n, p) for p in chance]
    size = int(statistic.max()) * copies * len(chance) + 1
    # Convolutions as products of transforms: rounding of some 1e-15 in each probability.
    law = [np.fft.rfft(np.bincount(statistic, weights=w), 2 * size) for w in pmf]
    out = []
    for i, p in enumerate(chance):
        others = [other ** (copies - (i == j)) for j, other in enumerate(law)]
        rest = np.fft.irfft(np.prod(others, axis=0), 2 * size)[:size]
        total = statistic[:, None] + np.arange(size)
        push = _push(scale, k[:, None], total, p, n, m)
        out.append(float(pmf[i] @ (push @ rest)) / (p * (1.0 - p)))
    return np.array(out)


def _push(scale: str, k: np.ndarray, total: np.ndarray, p: float, n: int, m: int) -> np.ndarray:
    """What a group with k successes adds to the gradient by its task's logit, the batch's sum being `total`."""
    own = k * (n - k) / n**2 + 0.0 * total
    group = np.sqrt(k * (n - k) / (n * max(n - 1, 1)))
    if scale == "none":
        return own
    if scale == "group":
        return _over(own, group)
    if scale == "group, then batch":
        return _over(_over(own, group), np.sqrt(total * (n - 1) / (m - 1)))
    if scale == "centre, then whiten":
        return _over(own, np.sqrt(total / n / (m - 1)))
    # Sums beyond all successes occur with probability 0.
    total = np.minimum(total, m)
    deviation = np.sqrt(total * (m - total) / (m * (m - 1.0)))
    if scale == "whiten":
        own = (k * (1.0 - total / m) * (1.0 - p) + (n - k) * (total / m) * p) / n
    return _over(own, deviation)


def _over(x: np.ndarray, deviation: np.ndarray) -> np.ndarray:
    """Quotient x / deviation, 0 where nothing deviates."""
    return np.divide(x, deviation, out=np.zeros(np.broadcast_shapes(x.shape, deviation.shape)), where=deviation > 0)


def mix_degrees(n: int, copies: int, scale: str, chance: Sequence[float] = MIX) -> float:
    """Angle in degrees between the expected gradient over a mix of tasks and the exact one."""
    exact = np.array([p * (1.0 - p) for p in chance])
    return float(np.degrees(angle(mix_factors(chance, n, copies, scale) * exact, exact)))


def enumerated_factors(credit: Credit, chance: Sequence[float], n: int) -> np.ndarray:
    """(T,) the factors of `mix_factors` at one group per task, from an estimator run on every outcome of the batch."""
    counts = np.array(list(product(range(n + 1), repeat=len(chance))))
    won = np.arange(n) < counts[:, :, None]
    batches, tasks = counts.shape
    rollouts = Rollouts.flat(
        offsets=np.arange(won.size + 1),
        group=np.repeat(np.arange(batches * tasks), n),
        batch=np.repeat(np.arange(batches), tasks * n),
        reward=won.reshape(-1).astype(np.float64),
    )
    probability = np.prod([binomial(n, p)[counts[:, i]] for i, p in enumerate(chance)], axis=0)
    p = np.array(chance)
    # The score of a binary softmax by the logit of success is (success - p).
    push = credit(rollouts).reshape(won.shape) * (won - p[:, None])
    return probability @ push.mean(axis=2) / (p * (1 - p))
