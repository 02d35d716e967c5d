"""SeeUPO's running importance product: how its variance grows with the turns, and what clipping it costs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from creditsim.rng import Purpose, normals, uniforms
from creditsim.stats.joint import conditional
from creditsim.stats.verdict import Evidence, exact_equality, exact_inequality
from theory.claim import Trial, claim

PAPER = "SeeUPO"
ACTIONS = 3
WIDTH = 0.2
"""Half-width of the clips of the code, around 1."""


@dataclass(frozen=True, eq=False)
class Play:
    """T turns that do not see each other; all but the first have been moved by exp(step x), x a normal number each."""

    turns: int
    step: float
    seed: int = 0

    @cached_property
    def old(self) -> np.ndarray:
        """(T, A) policy of the iteration."""
        e = np.exp(0.5 * normals(self.seed, 1, Purpose.INIT, (self.turns, ACTIONS)))
        return e / e.sum(axis=1, keepdims=True)

    @cached_property
    def new(self) -> np.ndarray:
        """(T, A) policy after the later turns' updates; the first turn is yet to be updated."""
        e = self.old * np.exp(self.step * normals(self.seed, 2, Purpose.INIT, (self.turns, ACTIONS)))
        moved = e / e.sum(axis=1, keepdims=True)
        moved[0] = self.old[0]
        return moved

    @cached_property
    def path(self) -> np.ndarray:
        """(A^T, T) choices of every sequence."""
        return np.indices((ACTIONS,) * self.turns).reshape(self.turns, -1).T

    @cached_property
    def chance(self) -> np.ndarray:
        """(A^T,) chance of each sequence under the policy that sampled."""
        return self.old[np.arange(self.turns), self.path].prod(axis=1)

    @cached_property
    def factors(self) -> np.ndarray:
        """(A^T, T) ratio of each turn's choice, new to old."""
        return (self.new / self.old)[np.arange(self.turns), self.path]

    def product(self, *, factor: float | None = None, product: float | None = None) -> np.ndarray:
        """(A^T,) C before the first turn, from the last turn down, factors and product clipped to 1 +- their width."""
        c = np.ones(self.chance.size)
        for turn in range(self.turns - 1, 0, -1):
            c = _clip(c * _clip(self.factors[:, turn], factor), product)
        return c

    def variance(self, c: np.ndarray) -> float:
        """Variance of C over sampled sequences."""
        mean = float(self.chance @ c)
        return float(self.chance @ np.square(c - mean))

    @property
    def chi_squares(self) -> np.ndarray:
        """(T - 1,) chi-square divergence of each later turn's new policy from its old one."""
        return (np.square(self.new[1:]) / self.old[1:]).sum(axis=1) - 1.0

    def gradient(self, c: np.ndarray) -> tuple[np.ndarray, float]:
        """Mean (A,) and variance of the first turn's gradient C r S, S the score of its logits, rewards uniform."""
        reward = uniforms(self.seed, 3, Purpose.DATA, self.chance.size)
        reward = reward - self.chance @ reward
        score = np.eye(ACTIONS)[self.path[:, 0]] - self.old[0]
        g = (c * reward)[:, None] * score
        mean = self.chance @ g
        return mean, float(self.chance @ np.square(g - mean).sum(axis=1))

    def exact(self) -> np.ndarray:
        """(A,) gradient of the first turn's logits where the later turns follow their new policy, by values."""
        reward = uniforms(self.seed, 3, Purpose.DATA, self.chance.size)
        value = (reward - self.chance @ reward).reshape((ACTIONS,) * self.turns)
        for turn in range(self.turns - 1, 0, -1):
            value = value @ self.new[turn]
        return self.old[0] * (value - self.old[0] @ value)


def _clip(x: np.ndarray, width: float | None) -> np.ndarray:
    return x if width is None else np.clip(x, 1.0 - width, 1.0 + width)


STEPS = (0.02, 0.1, 0.3, 1.0)


@claim("seeupo.product-variance", paper=PAPER, source="inferred", kind="variance", figure="product_clip")
def product_variance(trial: Trial) -> Evidence:
    """The running product is the noisier the more turns it spans: with turns that do not see each other Var(C) =
    prod_u (1 + chi2_u) - 1 over the turns updated before, chi2_u the chi-square divergence of turn u's new policy from
    its old one, so that every turn multiplies E[C^2] by 1 + chi2_u >= 1.
    """
    return _check_variance(trial, None)


@product_variance.broken("factors and product clipped to [0.8, 1.2]")
def _(trial: Trial) -> Evidence:
    return _check_variance(trial, WIDTH)


def _check_variance(trial: Trial, width: float | None) -> Evidence:
    got, want = [], []
    for turns in range(2, trial.pick(6, 8, 9)):
        for step in STEPS:
            for seed in range(trial.pick(3, 8, 8)):
                play = Play(turns, step, seed + 10 * trial.seed)
                plain, cut = play.product(), play.product(factor=WIDTH, product=WIDTH)
                got.append(play.variance(play.product(factor=width, product=width)))
                want.append(np.prod(1.0 + play.chi_squares) - 1.0)
                exact = play.exact()
                size = float(np.linalg.norm(exact))
                (mean, variance), (whole, spread) = play.gradient(cut), play.gradient(plain)
                trial.table(
                    turns=turns, step=step, seed=seed, predicted=want[-1], variance=play.variance(plain),
                    clipped=play.variance(cut), bias=float(np.linalg.norm(mean - exact)) / size,
                    plain_bias=float(np.linalg.norm(whole - exact)) / size, noise_ratio=variance / spread,
                )  # fmt: skip
    rows = trial.data
    detail = {
        f"step {step}, {turns} turns": float(rows["variance"][(rows["turns"] == turns) & (rows["step"] == step)].mean())
        for step in STEPS for turns in (2, 5)
    }  # fmt: skip
    return exact_equality(got, want, tolerance=1e-9, detail=detail)


@claim("seeupo.product-clip", paper=PAPER, source="inferred", kind="bias", figure="product_clip")
def product_clip(trial: Trial) -> Evidence:
    """Clipping factors and product to [0.8, 1.2] costs no bias: |E[C r S] - exact| = 0 for the first turn's gradient,
    the later turns following their new policy. Inside, updates so small that no ratio leaves the range (steps of 0.02);
    outside, steps of 1: the clip buys variance with bias.
    """
    return _check_clip(trial, use_product=True)


@product_clip.broken("no correction at all, C = 1")
def _(trial: Trial) -> Evidence:
    return _check_clip(trial, use_product=False)


def _check_clip(trial: Trial, *, use_product: bool) -> Evidence:
    off: dict[float, list[float]] = {step: [] for step in STEPS}
    less: dict[float, list[float]] = {step: [] for step in STEPS}
    for step in STEPS:
        for turns in range(2, trial.pick(6, 8, 9)):
            for seed in range(trial.pick(3, 8, 8)):
                play = Play(turns, step, seed + 10 * trial.seed)
                c = play.product(factor=WIDTH, product=WIDTH) if use_product else np.ones(play.chance.size)
                mean, variance = play.gradient(c)
                exact = play.exact()
                off[step].append(float(np.linalg.norm(mean - exact) / np.linalg.norm(exact)))
                less[step].append(variance / play.gradient(play.product())[1])
    for step in STEPS:
        trial.table(
            step=step, bias=float(np.median(off[step])), worst=max(off[step]), noise_ratio=float(np.median(less[step]))
        )
    detail = {
        str(step): {"median_bias": float(np.median(off[step])), "noise_ratio": float(np.median(less[step]))}
        for step in STEPS
    }
    return conditional(
        exact_inequality(off[0.02], "<=", 0.0, tolerance=1e-9, detail=detail),
        exact_inequality(off[1.0], "<=", 0.0, tolerance=1e-9, detail=detail),
        note="steps of 0.02 inside, of 1 outside",
    )
