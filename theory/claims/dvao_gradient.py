"""What DVAO's weights do to the gradient: its spread, noise objectives, and where learning ends."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np

from creditsim.estimators.base import advantage
from creditsim.mdp import make
from creditsim.rng import Purpose, derive_seed, uniforms
from creditsim.rollouts import Rollouts
from creditsim.stats.intervals import t_interval
from creditsim.stats.joint import conditional
from creditsim.stats.verdict import Evidence, exact_inequality, inequality
from theory.claim import Trial, claim
from theory.claims.dvao import PAPER, judged
from theory.one_decision import OneDecision, Push

RULES = {"RC": "rc", "AC": "ac", "DVAO": "dvao"}
CHANCES = ((0.8, 0.5, 0.2), (0.2, 0.6, 0.7))
"""Two objectives that want different arms, and one arm between."""
EVEN = np.full(3, 1.0 / 3.0)
CORRELATIONS = (-1.0, -0.75, -0.5, -0.25, 0.0, 0.25, 0.5, 0.75, 1.0)


def _rule(name: str, weights: tuple[float, ...]) -> Callable[[Rollouts], np.ndarray]:
    if name == "half":
        return lambda r: 0.5 * advantage(r, "rc", weights=weights, eps=0.0)
    if name == "mean":
        return lambda r: len(weights) * advantage(r, "dvao", weights=weights, eps=0.0)
    return lambda r: advantage(r, RULES[name], weights=weights, eps=0.0)


def inverse(rollouts: Rollouts) -> np.ndarray:
    """DVAO turned round: standardised rewards weigh by 1 / s_k, 0 where nothing deviates."""
    n = int(np.bincount(rollouts.group)[0])
    table = rollouts.trajectory_columns["rewards_K"].reshape(rollouts.n_groups, n, -1)
    spread = table.std(axis=1, keepdims=True)
    over = np.divide(1.0, spread, out=np.zeros_like(spread), where=spread > 1e-12)
    share = over / np.maximum(over.sum(axis=2, keepdims=True), 1e-300)
    return (share * (table - table.mean(axis=1, keepdims=True)) * over).sum(axis=2).ravel()


@cache
def _task(n: int, noise: float = 0.0) -> OneDecision:
    if noise:
        return OneDecision.of(make("objectives", p=CHANCES[:1], noise=noise), n)
    return OneDecision.of(make("objectives", p=CHANCES), n)


@cache
def _push(n: int, name: str, weights: tuple[float, ...], noise: float = 0.0) -> Push:
    return _task(n, noise).push(inverse if name == "inverse" else _rule(name, weights))


def _outcomes(task: OneDecision, correlation: float) -> np.ndarray:
    """(T,) chances of the outcomes at another correlation."""
    mdp = make("objectives", p=CHANCES, correlation=correlation)
    paid = task.rewards[:, None, :] == mdp.reward[0, 0][None]
    return mdp.probability[0][task.arm, paid.all(axis=2).argmax(axis=1)]


def _noise(task: OneDecision, push: Push, weights: tuple[float, ...], correlation: float) -> tuple[float, float]:
    """Trace of the covariance of the gradient, and its alignment with that of the weighted return."""
    chance = _outcomes(task, correlation)
    mean, square = task.gradient(push, EVEN, chance)
    exact = task.exact(EVEN, np.array(weights), chance)
    return square - float(mean @ mean), float(mean @ exact) / float(np.linalg.norm(exact) * np.sqrt(square))


def _sweep(trial: Trial, rule: str) -> np.ndarray:
    """(weights x correlations, 2) trace and alignment."""
    n = trial.pick(4, 6, 8)
    task = _task(n)
    return np.array([_noise(task, _push(n, rule, w), w, c) for w in WEIGHTS for c in CORRELATIONS])


WEIGHTS = ((0.5, 0.5), (0.8, 0.2))


@claim("dvao.gradient-variance", paper=PAPER, source="notes", kind="variance", figure="dvao_weights")
def gradient_variance(trial: Trial) -> Evidence:
    """The gradient of DVAO varies less than that of reward combination, at any correlation of the rewards:
    tr Cov[g_DVAO] <= tr Cov[g_RC].

    Its credit is that of reward combination times a factor <= 1 that differs from group to group. Exact over all groups
    of a bandit with two conflicting objectives, correlation -1 to 1, weights even and uneven, uniform policy.
    """
    for rule in RULES:
        for (weights, c), (trace, alignment) in zip(
            [(w, c) for w in WEIGHTS for c in CORRELATIONS], _sweep(trial, rule), strict=True
        ):
            trial.table(
                rule=rule,
                weight=weights[0],
                correlation=c,
                trace=trace,
                alignment=alignment,
                members=trial.pick(4, 6, 8),
            )
    return _check_noise(trial, "DVAO", 0)


@gradient_variance.broken("divide by the mean of the weighted deviations instead of their sum")
def _(trial: Trial) -> Evidence:
    return _check_noise(trial, "mean", 0)


@claim("dvao.signal-to-noise", paper=PAPER, source="inferred", kind="gradient", figure="dvao_weights")
def signal_to_noise(trial: Trial) -> Evidence:
    """What DVAO saves in variance is not lost in signal: alignment(DVAO) >= alignment(RC), alignment = E[g . u] /
    sqrt(E|g|^2), u the direction of the exact gradient of the weighted return. Same bandit, correlations and weights.

    A factor common to all groups would leave it as it is; DVAO's differs from group to group, and loses signal.
    """
    for rule in RULES:
        for (weights, c), (_, alignment) in zip(
            [(w, c) for w in WEIGHTS for c in CORRELATIONS], _sweep(trial, rule), strict=True
        ):
            trial.table(rule=rule, weight=weights[0], correlation=c, alignment=alignment)
    return _check_noise(trial, "DVAO", 1)


@signal_to_noise.broken("weigh by the inverse of the deviation")
def _(trial: Trial) -> Evidence:
    return _check_noise(trial, "inverse", 1)


@signal_to_noise.control("half of reward combination's credit: one factor for all groups")
def _(trial: Trial) -> Evidence:
    return _check_noise(trial, "half", 1)


def _check_noise(trial: Trial, rule: str, which: int) -> Evidence:
    ours, theirs = _sweep(trial, rule)[:, which], _sweep(trial, "RC")[:, which]
    detail = {
        f"w {w[0]:g}, correlation {c:g}": [float(ours[i]), float(theirs[i])]
        for i, (w, c) in enumerate([(w, c) for w in WEIGHTS for c in CORRELATIONS])
    }
    return exact_inequality(ours, "<=" if which == 0 else ">=", theirs, tolerance=1e-12, detail=detail)


AMPLITUDES = (0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.5, 2.0)
FAINT, LOUD = 0.4, 2.0


def noise_alignment(n: int, rule: str, amplitude: float) -> float:
    """Alignment of the gradient with that of the true objective, beside a coin that pays `amplitude`."""
    task = _task(n, amplitude)
    mean, square = task.gradient(_push(n, rule, (0.5, 0.5), amplitude), EVEN)
    exact = task.exact(EVEN, np.array([1.0, 0.0]))
    return float(mean @ exact) / float(np.linalg.norm(exact) * np.sqrt(square))


def noise_share(n: int, amplitude: float) -> float:
    """Mean weight v that DVAO gives the coin, over groups in which something deviates."""
    task = _task(n, amplitude)
    rewards = task.rewards[task.index]
    spread = rewards.std(axis=1)
    total = spread.sum(axis=1)
    law = task.law(EVEN) * (total > 1e-12)
    return float(law @ (spread[:, 1] / np.where(total > 0, total, 1.0)) / law.sum())


@claim("dvao.weighs-signal", paper=PAPER, source="notes", kind="gradient", figure="dvao_weights")
def weighs_signal(trial: Trial) -> Evidence:
    """Weights by deviation favour the objective that carries signal: alignment(DVAO) >= alignment(AC) with the gradient
    of the one objective that the policy can move.

    True where the other objective deviates less: a coin that pays 0.4. False where it is loud, a coin that pays 2: a
    deviation does not tell signal from noise, and DVAO weighs the coin up. Exact, even weights and policy.
    """
    n = trial.pick(4, 6, 8)
    for rule in RULES:
        for amplitude in AMPLITUDES:
            found = noise_alignment(n, rule, amplitude)
            trial.table(rule=rule, amplitude=amplitude, alignment=found, share=noise_share(n, amplitude))
    return _check_signal(trial, "DVAO")


@weighs_signal.broken("weigh by the inverse of the deviation")
def _(trial: Trial) -> Evidence:
    return _check_signal(trial, "inverse")


def _check_signal(trial: Trial, rule: str) -> Evidence:
    n = trial.pick(4, 6, 8)
    parts = []
    for amplitude in (FAINT, LOUD):
        ours, theirs = (noise_alignment(n, name, amplitude) for name in (rule, "AC"))
        detail = {"amplitude": amplitude, "ours": ours, "AC": theirs, "RC": noise_alignment(n, "RC", amplitude)}
        parts.append(exact_inequality(ours, ">=", theirs, detail={**detail, "share": noise_share(n, amplitude)}))
    return conditional(*parts, note="a deviation is not a signal: a loud coin is weighed up")


ARMS = ((0.9, 0.7, 0.45, 0.1), (0.1, 0.55, 0.75, 0.85))
SWEEP = (0.1, 0.3, 0.5, 0.7, 0.9)
MEMBERS, MANY, UPDATES, RATE, MARGIN = 4, 16, 75, 1.0, 0.01
"""A hundredth of a reward is what a front may lose and still be called as good."""


@cache
def _arena(scale: float) -> OneDecision:
    return OneDecision.of(make("objectives", p=ARMS, correlation=-0.5, scale=(1.0, scale)), MEMBERS)


@cache
def learnt(rule: str, weight: float, scale: float) -> tuple[float, float]:
    """Returns in the objectives' own units, 0 to 1, after UPDATES steps along the expected gradient."""
    task, theta = _arena(scale), np.zeros(len(ARMS[0]))
    push = task.push(_rule(rule, (weight, 1.0 - weight)))
    for _ in range(UPDATES):
        theta = theta + RATE * task.gradient(push, _softmax(theta))[0]
    first, second = task.returns(_softmax(theta)) / np.array([1.0, scale])
    return float(first), float(second)


@cache
def sampled(rule: str, weight: float, members: int, runs: int, seed: int) -> np.ndarray:
    """(runs, 2) the same at scale 1 from one sampled group of `members` per update."""
    weights, mdp = np.array([weight, 1.0 - weight]), make("objectives", p=ARMS, correlation=-0.5)
    cumulative = np.cumsum(mdp.probability[0], axis=1)
    theta = np.zeros((runs, mdp.n_actions))
    for number in range(UPDATES):
        pi = _softmax(theta)
        draw = uniforms(derive_seed(seed, rule, str(weight), members, number), 0, Purpose.DATA, (2, runs, members))
        arm = np.minimum((draw[0][..., None] > np.cumsum(pi, axis=1)[:, None]).sum(axis=2), mdp.n_actions - 1)
        branch = np.minimum((draw[1][..., None] > cumulative[arm]).sum(axis=2), mdp.n_successors - 1)
        credit = judged(mdp.reward[0, 0][branch], weights, RULES[rule])
        score = np.eye(mdp.n_actions)[arm] - pi[:, None]
        theta = theta + RATE * np.einsum("rn,rna->ra", credit, score) / members
    return _softmax(theta) @ np.array(ARMS).T


def _softmax(theta: np.ndarray) -> np.ndarray:
    power = np.exp(theta - theta.max(axis=-1, keepdims=True))
    return power / power.sum(axis=-1, keepdims=True)


@claim("dvao.front", paper=PAPER, source="notes", kind="convergence", figure="dvao_fronts")
def front(trial: Trial) -> Evidence:
    """At every weight DVAO learns at least as good a trade: w . J(DVAO) >= w . J(RC) - 0.01 and w . J(AC) - 0.01 after
    equally many updates, w from .1 to .9, in a bandit with four arms on a front and two rewards of one scale.

    True for groups of 16, as published (sampled runs, one group per update); false for groups of four (along the exact
    expected gradient): where one objective has nearly all the weight, DVAO and reward combination stay at a compromise,
    since dividing by a small group's own deviation favours arms whose rewards make groups even.
    """
    for scale in (1.0, 0.1):
        for rule in RULES:
            ends = np.array([learnt(rule, weight, scale) for weight in SWEEP])
            trial.table(
                method="expected", rule=rule, scale=scale, members=MEMBERS, weight=SWEEP, first=ends[:, 0],
                second=ends[:, 1], first_se=0.0, second_se=0.0,
            )  # fmt: skip
    for members in (MEMBERS, MANY):
        for rule in RULES:
            for weight in _weights(trial):
                each = sampled(rule, weight, members, _runs(trial, members), trial.seed)
                error = each.std(axis=0, ddof=1) / np.sqrt(len(each))
                trial.table(
                    method="sampled", rule=rule, scale=1.0, members=members, weight=weight, first=each[:, 0].mean(),
                    second=each[:, 1].mean(), first_se=error[0], second_se=error[1],
                )  # fmt: skip
    return _check_front(trial)


@front.broken("follow the weight of the other objective")
def _(trial: Trial) -> Evidence:
    return _check_front(trial, swapped=True)


def _weights(trial: Trial) -> tuple[float, ...]:
    return trial.pick((0.1, 0.5, 0.9), SWEEP, SWEEP)


def _runs(trial: Trial, members: int) -> int:
    return 32 if members == MEMBERS else trial.pick(256, 1024, 4096)


def _check_front(trial: Trial, *, swapped: bool = False) -> Evidence:
    ours, theirs, gap, variance = [], [], [], []
    for w in _weights(trial):
        weights, followed = np.array([w, 1.0 - w]), round(1.0 - w, 1) if swapped else w
        own = sampled("DVAO", followed, MANY, _runs(trial, MANY), trial.seed) @ weights
        for other in ("RC", "AC"):
            ours.append(float(weights @ learnt("DVAO", followed, 1.0)))
            theirs.append(float(weights @ learnt(other, w, 1.0)))
            against = sampled(other, w, MANY, _runs(trial, MANY), trial.seed) @ weights
            gap.append(own.mean() - against.mean())
            variance.append(own.var(ddof=1) + against.var(ddof=1))
    inside = inequality(
        lambda a: t_interval(_runs(trial, MANY), np.array(gap), np.array(variance), alpha=a), ">=", 0.0, margin=MARGIN,
        alpha=trial.alpha, detail={"gap": np.reshape(gap, (-1, 2)).tolist(), "weights": _weights(trial), "arms": ARMS},
    )  # fmt: skip
    small = np.subtract(ours, theirs)
    detail = {"gap": small.reshape(-1, 2).tolist(), "weights": _weights(trial)}
    outside = exact_inequality(small, ">=", 0.0, tolerance=MARGIN, detail=detail)
    return conditional(inside, outside, note="groups of 16; in groups of four an extreme weight is not followed")
