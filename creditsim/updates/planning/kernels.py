"""Backward induction on counts, every replicate by itself.

A place is a state at its step, so one sweep over places in `order` (latest steps first) is the whole induction. Counts
of branches are all that is read of an outcome: what was never seen has no weight, whatever the tables say of it.
"""

from __future__ import annotations

import numpy as np

from creditsim.arrays import Array
from creditsim.jit import kernel

__all__ = ["best", "certify", "count"]


@kernel
def count(
    batch: Array, state: Array, action: Array, reached: Array, paid: Array, successor: Array, reward: Array,
    counts: Array,
) -> int:  # fmt: skip
    """Add each row's outcome to counts (R,S,A,B); the first row whose outcome is not in the tables, -1 if all are."""
    for i in range(state.shape[0]):
        s, a = state[i], action[i]
        found = False
        for b in range(counts.shape[3]):
            if successor[s, a, b] == reached[i] and reward[s, a, b] == paid[i]:
                counts[batch[i], s, a, b] += 1
                found = True
                break
        if not found:
            return i
    return -1


@kernel(inline=True)
def _bound(
    counts: Array, successor: Array, reward: Array, value: Array, left: float, gamma: float, sign: float,
    level: float, spread: float, scale: float,
) -> float:  # fmt: skip
    """Bound one action's value from above (sign +1) or below (-1); counts, successor, reward (B,), value (S,)."""
    n, mean, square = 0.0, 0.0, 0.0
    for b in range(counts.shape[0]):
        if counts[b] > 0:
            x = reward[b] + gamma * value[successor[b]]
            n += counts[b]
            mean += counts[b] * x
            square += counts[b] * x * x
    if n == 0.0:
        return left if sign > 0.0 else 0.0
    mean /= n
    variance = max(square / n - mean * mean, 0.0)
    ratio = (level + spread * (1.0 + np.log1p(n / spread))) / n
    bound = mean + sign * scale * (np.sqrt(2.0 * variance * ratio) + 7.0 / 3.0 * left * ratio)
    return min(max(bound, 0.0), left)


@kernel
def best(
    counts: Array, successor: Array, reward: Array, left: Array, order: Array, allowed: Array, gamma: float,
    sign: float, level: float, spread: float, scale: float, value: Array, choice: Array,
) -> None:  # fmt: skip
    """Fill value (R,S) and choice (R,S) with the largest bound of each place and its lowest best action.

    counts (R,S,A,B), successor and reward (S,A,B), left (S,) steps left (0: nobody acts), order (S,), allowed (S,A).
    """
    for r in range(counts.shape[0]):
        for s in order:
            value[r, s], choice[r, s] = 0.0, 0
            if left[s] > 0.0:
                top = -1.0
                for a in range(counts.shape[2]):
                    if allowed[s, a]:
                        q = _bound(
                            counts[r, s, a], successor[s, a], reward[s, a], value[r], left[s], gamma, sign,
                            level, spread, scale,
                        )  # fmt: skip
                        if q > top:
                            top = q
                            choice[r, s] = a
                value[r, s] = top


@kernel
def certify(
    counts: Array, successor: Array, reward: Array, left: Array, order: Array, allowed: Array, gamma: float,
    level: float, spread: float, scale: float, choice: Array, other: Array, handed: Array, start: Array,
    value: Array, lower: Array,
) -> None:  # fmt: skip
    """Fill lower (R,J) with lower bounds on the value of policies that play `choice` where handed, `other` elsewhere.

    choice (R,S) actions, other (R,S,A) probabilities, handed (J,S) bool, start (S,), value (S,) scratch; the rest as
    in `best`.
    """
    for r in range(counts.shape[0]):
        for j in range(handed.shape[0]):
            for s in order:
                value[s] = 0.0
                if left[s] > 0.0:
                    total = 0.0
                    for a in range(counts.shape[2]):
                        if handed[j, s]:
                            weight = 1.0 if a == choice[r, s] else 0.0
                        else:
                            weight = other[r, s, a] if allowed[s, a] else 0.0
                        if weight > 0.0:
                            total += weight * _bound(
                                counts[r, s, a], successor[s, a], reward[s, a], value, left[s], gamma, -1.0,
                                level, spread, scale,
                            )  # fmt: skip
                    value[s] = total
            lower[r, j] = 0.0
            for s in range(start.shape[0]):
                lower[r, j] += start[s] * value[s]
