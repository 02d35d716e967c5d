"""Stochastic ascent of a softmax bandit with entropy bonus: simulated in full, and its plateau in closed form."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from creditsim.arrays import Array
from creditsim.jit import kernel
from creditsim.rng import Purpose, key_words, philox

__all__ = ["Bandit", "quadratic_path", "quadratic_plateau"]

_WORD = 2.0**-32
_ARMS, _NOISE = np.uint64(Purpose.BANDIT), np.uint64(Purpose.NOISE)


@dataclass(frozen=True, eq=False)
class Bandit:
    """Arms with mean rewards `reward` (A,) and normal noise of deviation `sd`; J = E[r] + `tau` entropy.

    One iteration draws N arms i from pi = softmax(theta) and moves theta by a g, g = (1/N) sum A_i d log pi(i),
    A_i = r_i + noise - tau log pi(i) - J, with the exact J as baseline.
    """

    reward: tuple[float, ...] = (0.0, 0.25, 0.5, 0.75, 1.0)
    tau: float = 0.3
    sd: float = 1.0

    @cached_property
    def optimum(self) -> np.ndarray:
        """(A,) the policy with the largest J: softmax(r / tau), or the best arm at tau = 0."""
        r = np.array(self.reward)
        if self.tau == 0:
            return (np.arange(r.size) == r.argmax()).astype(np.float64)
        e = np.exp((r - r.max()) / self.tau)
        return e / e.sum()

    @property
    def best(self) -> float:
        """The largest J."""
        pi = self.optimum
        return float(pi @ np.array(self.reward) - self.tau * (pi @ np.log(np.where(pi > 0, pi, 1.0))))

    def plateau(self, step: float, samples: float) -> float:
        """Gap that is left in the long run, linearised at the optimum.

        sum_i a sd^2 f_i / (2 N (2 - a tau f_i)), f_i the eigenvalues of diag(pi) - pi pi^T at the optimum: noise of
        covariance sd^2 F / N against the curvature tau F.
        """
        pi = self.optimum
        f = np.linalg.eigvalsh(np.diag(pi) - np.outer(pi, pi))
        f = f[f > 1e-12]
        return float((step * self.sd**2 * f / (2.0 * samples * (2.0 - step * self.tau * f))).sum())

    def run(
        self, steps: np.ndarray, samples: np.ndarray, *, replicates: int, blocks: int, seed: int, start: np.ndarray
    ) -> np.ndarray:
        """(R, blocks) mean gap in each of `blocks` equal stretches of the iterations, from logits `start` (A,).

        `steps` and `samples` (K,) are a and N of each iteration. Replicate r draws from stream r of the seed.
        """
        gap = np.zeros((replicates, blocks))
        theta = np.tile(np.asarray(start, np.float64), (replicates, 1))
        shape = theta.shape[1]
        _ascend(
            theta, np.array(self.reward), self.tau, self.sd, np.asarray(steps, np.float64),
            np.asarray(samples, np.int64), self.best, *key_words(seed), gap, np.empty(shape), np.empty(shape),
            np.empty(shape + 4),
        )  # fmt: skip
        return gap


@kernel
def _ascend(
    theta: Array, reward: Array, tau: float, sd: float, steps: Array, samples: Array, best: float,
    k0: int, k1: int, gap: Array, pi: Array, pull: Array, noise: Array,
) -> None:  # fmt: skip
    arms, iterations, blocks = reward.shape[0], steps.shape[0], gap.shape[1]
    stretch = iterations // blocks
    for r in range(theta.shape[0]):
        stream = np.uint64(r)
        for k in range(iterations):
            top = theta[r].max()
            total = 0.0
            for i in range(arms):
                pi[i] = np.exp(theta[r, i] - top)
                total += pi[i]
            j = 0.0
            for i in range(arms):
                pi[i] /= total
                pull[i] = 0.0
                if pi[i] > 0.0:
                    j += pi[i] * (reward[i] - tau * np.log(pi[i]))
            if k // stretch < blocks:
                gap[r, k // stretch] += (best - j) / stretch
            n = samples[k]
            when = np.uint64(k)
            for block in range((n + 3) // 4):
                words = philox(np.uint64(block), when, stream, _ARMS, k0, k1)
                for w in range(min(4, n - 4 * block)):
                    u = np.float64(words[w]) * _WORD
                    i = 0
                    while i < arms - 1 and u >= pi[i]:
                        u -= pi[i]
                        i += 1
                    pull[i] += 1.0
            for pair in range((arms + 1) // 2):
                w0, w1, _, _ = philox(np.uint64(pair), when, stream, _NOISE, k0, k1)
                radius = np.sqrt(-2.0 * np.log(1.0 - np.float64(w0) * _WORD))
                noise[2 * pair] = radius * np.cos(2.0 * np.pi * np.float64(w1) * _WORD)
                noise[2 * pair + 1] = radius * np.sin(2.0 * np.pi * np.float64(w1) * _WORD)
            sum_weight = 0.0
            for i in range(arms):
                if pull[i] > 0.0:
                    credit = pull[i] * (reward[i] - tau * np.log(pi[i]) - j) + sd * np.sqrt(pull[i]) * noise[i]
                    pull[i] = credit / n
                    sum_weight += pull[i]
            for i in range(arms):
                theta[r, i] += steps[k] * (pull[i] - pi[i] * sum_weight)


def quadratic_plateau(step: float, samples: float, curvature: float = 1.0, sd: float = 1.0) -> float:
    """E f in the long run for f = lam x^2 / 2 descended with noise: a s^2 / (2 N (2 - a lam)), 0 < a lam < 2."""
    return step * sd**2 / (2.0 * samples * (2.0 - step * curvature))


def quadratic_path(step: float, samples: float, iterations: int, start: float, curvature: float = 1.0) -> np.ndarray:
    """(K+1,) exact E f along the way, from E x^2 <- (1 - a lam)^2 E x^2 + a^2 / N."""
    square = np.empty(iterations + 1)
    square[0] = start**2
    for k in range(iterations):
        square[k + 1] = (1.0 - step * curvature) ** 2 * square[k] + step**2 / samples
    return 0.5 * curvature * square
