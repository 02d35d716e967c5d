"""Batches of binary prompts in closed form: what a credit between prompts does to each prompt's gradient.

A prompt with success chance p has k successes among its n rollouts. Whatever the policy's parameters are, the mean
score of rollouts given k is (k/n - p) / (p (1 - p)) times grad p, so the expected gradient of a prompt whose rollouts
all get the credit A is grad p times one number, its factor E[(k/n - p) A] / (p (1 - p)).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from creditsim.estimators.base import credit
from creditsim.rollouts import Rollouts
from theory.shared import binomial

__all__ = ["Outcomes", "credited", "expected_spread", "global_factors"]

EPS = 1e-6
"""What COPO's code adds to the deviation."""


def credited(columns: dict[str, np.ndarray]) -> np.ndarray:
    """(M,) what the blended loss credits a row with where the policy is the one that sampled it."""
    blend = columns["blend"]
    return blend * columns["advantage"] + (1.0 - blend) * columns["global_advantage"]


@dataclass(frozen=True, eq=False)
class Outcomes:
    """All (n+1)^B outcomes of a batch of B binary prompts with n rollouts each.

    `count` (O, B) successes, `law` (O,) their probabilities, `chance` (B,) those of success, `n` the rollouts.
    """

    count: np.ndarray
    law: np.ndarray
    chance: np.ndarray
    n: int

    @classmethod
    def of(cls, chance: Sequence[float], n: int) -> Outcomes:
        """List them."""
        count = np.array(list(product(range(n + 1), repeat=len(chance))))
        law = np.prod([binomial(n, p)[count[:, q]] for q, p in enumerate(chance)], axis=0)
        return cls(count, law, np.asarray(chance, np.float64), n)

    def columns(self, spec: str, *, offset: float = 0.0, **params: Any) -> dict[str, np.ndarray]:
        """Columns (O, B, n) of COPO; successes come first and pay 1 + offset, failures pay offset.

        A success is answer 0, and failures agree on answer 1.
        """
        won = np.arange(self.n) < self.count[:, :, None]
        batches, prompts = self.count.shape
        rollouts = Rollouts.flat(
            offsets=np.arange(won.size + 1),
            group=np.repeat(np.arange(batches * prompts), self.n),
            batch=np.repeat(np.arange(batches), prompts * self.n),
            reward=won.reshape(-1) + offset,
            trajectory_columns={"answer": 1 - won.reshape(-1)},
        )
        found = credit(rollouts, spec, **params)
        assert isinstance(found, dict)  # noqa: S101 # COPO makes columns
        return {name: values.reshape(won.shape) for name, values in found.items()}

    @property
    def lead(self) -> np.ndarray:
        """(O, B) k/n - p."""
        return self.count / self.n - self.chance

    def factors(self, value: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(B,) mean and variance of the number that multiplies grad p_q, for credit (O, B, n) by rollout."""
        won = np.arange(self.n) < self.count[:, :, None]
        score = (won - self.chance[:, None]) / (self.chance * (1.0 - self.chance))[:, None]
        each = (value * score).mean(axis=2)
        mean = self.law @ each
        return mean, self.law @ np.square(each - mean)


def _sums(chance: Sequence[float], n: int, copies: int) -> tuple[list[np.ndarray], tuple[int, int]]:
    """Transforms of the joint law of (k, k(k-1)/2) of each prompt, on a grid that holds the sums of the batch."""
    prompts = copies * len(chance)
    shape = (n * prompts + 1, n * (n - 1) // 2 * prompts + 1)
    k = np.arange(n + 1)
    first = np.exp(-2j * np.pi * np.outer(np.arange(shape[0]), k) / shape[0])
    second = np.exp(-2j * np.pi * np.outer(np.arange(shape[1] // 2 + 1), k * (k - 1) // 2) / shape[1])
    return [(first * binomial(n, p)) @ second.T for p in chance], shape


def _deviation(one: np.ndarray, two: np.ndarray, prompts: int) -> np.ndarray:
    """Deviation of the B counts from their sum and the sum of k(k-1)/2."""
    square = (2.0 * two + one) - one**2 / prompts
    return np.sqrt(np.maximum(square, 0.0) / (prompts - 1))


def expected_spread(chance: Sequence[float], n: int, copies: int) -> float:
    """E[s_B], the deviation (divisor B - 1) of the prompts' mean returns; `copies` prompts of each chance."""
    laws, shape = _sums(chance, n, copies)
    law = np.fft.irfft2(np.prod([each**copies for each in laws], axis=0), shape)
    one, two = np.ogrid[: shape[0], : shape[1]]
    return float((law * _deviation(one, two, copies * len(chance))).sum()) / n


def global_factors(chance: Sequence[float], n: int, copies: int, *, scale: bool = True) -> np.ndarray:
    """(T,) factors f_q of COPO's global credit, E[g_q] = f_q grad p_q; `copies` prompts of each of T chances.

    The credit depends on the other prompts through the sums of their k and k(k-1)/2, whose joint law is a convolution.
    """
    laws, shape = _sums(chance, n, copies)
    prompts = copies * len(chance)
    one, two = np.ogrid[: shape[0], : shape[1]]
    out = []
    for i, p in enumerate(chance):
        others = np.prod([each ** (copies - (i == j)) for j, each in enumerate(laws)], axis=0)
        rest = np.fft.irfft2(others, shape)
        factor = 0.0
        for k, chance_k in enumerate(binomial(n, p)):
            value = k - (one + k) / prompts
            if scale:
                spread = _deviation(one + k, two + k * (k - 1) // 2, prompts)
                # Rounding leaves some 1e-7 where all counts are equal; two unequal ones deviate by more than 1 / B.
                same = spread < 0.5 / prompts
                value = np.where(same, 0.0, value / (np.where(same, 1.0, spread) + n * EPS))
            factor += chance_k * (k / n - p) * float((rest * value).sum()) / (1 if scale else n)
        out.append(factor / (p * (1.0 - p)))
    return np.array(out)
