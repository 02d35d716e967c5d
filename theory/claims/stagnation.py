"""Plateaus of the outer loop: step size against samples, in the simplest problem that has one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np

from creditsim.stats.intervals import Interval, mean_interval, t_interval
from creditsim.stats.joint import all_of, conditional
from creditsim.stats.moments import Moments
from creditsim.stats.sums import Summary
from creditsim.stats.verdict import Evidence, equality, inequality
from creditsim.train import TrainConfig, train
from theory.claim import Trial, claim
from theory.plateau import Bandit, quadratic_path, quadratic_plateau

PAPER = "PPO stagnation"
BANDIT = Bandit()
STEPS = (0.2, 0.4, 0.8)
MARGIN = 0.1
"""Relative error of the linearised plateau that does not matter; its own next term is of order a / N."""


def _start(bandit: Bandit) -> np.ndarray:
    return np.array(bandit.reward) / bandit.tau


# --- The level ------------------------------------------------------------------------------------------------------


@cache
def plateaus(samples: tuple[int, ...], replicates: int, length: int, seed: int) -> dict[tuple[float, int], Summary]:
    """(a, N) -> summary of the mean gap of each replicate over `length` / a iterations, from the optimum on.

    The slowest direction forgets in 1 / (a tau f) iterations, so that every a sees as many of them; the first fifth is
    left out.
    """
    out = {}
    for step in STEPS:
        iterations = int(length / step) // 5 * 5
        for n in samples:
            gap = BANDIT.run(
                np.full(iterations, step), np.full(iterations, n), replicates=replicates, blocks=5,
                seed=seed + 1000 * n + int(10 * step), start=_start(BANDIT),
            )  # fmt: skip
            out[step, n] = Moments().add(gap[:, 1:].mean(axis=1), 0).summary()
    return out


def _cells(trial: Trial) -> dict[tuple[float, int], Summary]:
    samples = trial.pick((8, 32), (8, 32, 128), (8, 32, 128))
    return plateaus(samples, trial.pick(64, 128, 512), trial.pick(800, 2_400, 6_000), trial.seed)


@claim("stagnation.plateau-closed-form", paper=PAPER, source="inferred", kind="convergence", figure="plateau_gap")
def plateau_closed_form(trial: Trial) -> Evidence:
    """An entropy-regularised softmax bandit stops short of its optimum by sum_i a sd^2 f_i / (2 N (2 - a tau f_i)), a
    the step, N the samples of an iteration, f_i the eigenvalues of diag(pi) - pi pi^T at the optimum: |measured /
    predicted - 1| <= 0.1 for steps from 0.2 to 0.8. As for a quadratic with noise, E f = a s^2 / (2 N (2 - a lam)).
    """
    return _check_level(trial, BANDIT.plateau)


@plateau_closed_form.broken("a plateau that falls with the square root of the samples")
def _(trial: Trial) -> Evidence:
    return _check_level(trial, lambda a, n: BANDIT.plateau(a, 8) * np.sqrt(8 / n))


def _check_level(trial: Trial, predicted: Callable[[float, int], float]) -> Evidence:
    cells = _cells(trial)
    aim = np.array([predicted(a, n) for a, n in cells])
    mean = np.array([float(s.mean) for s in cells.values()])
    variance = np.array([float(s.variance()) for s in cells.values()])
    replicates = next(iter(cells.values())).n

    def interval(alpha: float) -> Interval:
        return t_interval(replicates, mean / aim, variance / aim**2, alpha=alpha)

    shown = t_interval(replicates, mean, variance, alpha=trial.alpha)
    trial.table(
        step=np.array([a for a, _ in cells]), samples=np.array([n for _, n in cells]), predicted=aim,
        gap=mean, low=shown.low, high=shown.high,
    )  # fmt: skip
    u, v = exponents(cells)
    quadratic = {
        "a=0.5, N=1": (quadratic_plateau(0.5, 1), float(quadratic_path(0.5, 1, 400, 3.0)[-1])),
        "a=0.1, N=16": (quadratic_plateau(0.1, 16), float(quadratic_path(0.1, 16, 400, 3.0)[-1])),
    }
    detail = {
        "a=0.4, N=32": (BANDIT.plateau(0.4, 32), float(cells[0.4, 32].mean)), "quadratic": quadratic,
        "exponent of a": u, "exponent of N": v,
    }  # fmt: skip
    return equality(interval, 1.0, margin=MARGIN, alpha=trial.alpha, detail=detail)


def exponents(cells: dict[tuple[float, int], Summary]) -> tuple[float, float]:
    """u, v of the least-squares fit ln gap = c + u ln a - v ln N."""
    design = np.array([[1.0, np.log(a), -np.log(n)] for a, n in cells])
    _, u, v = np.linalg.lstsq(design, np.log([float(s.mean) for s in cells.values()]), rcond=None)[0]
    return float(u), float(v)


# --- What moves it --------------------------------------------------------------------------------------------------


@claim("stagnation.resumes", paper=PAPER, source="notes", kind="convergence", figure="plateau_resumes")
def resumes(trial: Trial) -> Evidence:
    """A plateau of noise is no local optimum: cutting the step by eight, or taking eight times the samples, half-way
    through brings the gap down, gap after <= half of gap before. Inside, the plateau of step 0.8 at 8 samples; outside,
    a policy that has collapsed on a wrong arm without entropy bonus, which neither remedy moves.
    """
    return _check_resumes(trial, 8.0)


@resumes.broken("leave step and samples as they are")
def _(trial: Trial) -> Evidence:
    return _check_resumes(trial, 1.0)


def _check_resumes(trial: Trial, factor: float) -> Evidence:
    replicates, half, blocks = trial.pick(64, 256, 1024), trial.pick(1_600, 4_000, 8_000), 16
    collapsed = Bandit(tau=0.0)
    cases = {
        "noise": (BANDIT, _start(BANDIT)),
        # Chance 3e-7 for the other arms: no sample of theirs is drawn.
        "collapse": (collapsed, np.array([0.0, 15.0, 0.0, 0.0, 0.0])),
    }
    found: dict[str, dict[str, Evidence]] = {}
    detail: dict[str, object] = {}
    for name, (bandit, start) in cases.items():
        found[name] = {}
        for remedy in ("smaller step", "more samples"):
            first = np.arange(2 * half) < half
            step = np.where(first, 0.8, 0.8 / (factor if remedy == "smaller step" else 1.0))
            samples = np.where(first, 8, int(8 * (factor if remedy == "more samples" else 1)))
            gap = bandit.run(step, samples, replicates=replicates, blocks=blocks, seed=trial.seed + 5, start=start)
            change = gap[:, 3 * blocks // 4 :].mean(axis=1) - 0.5 * gap[:, blocks // 4 : blocks // 2].mean(axis=1)
            moments = Moments().add(change, 0).summary()
            level = t_interval(replicates, gap.mean(axis=0), gap.var(axis=0, ddof=1), alpha=trial.alpha)
            trial.table(
                case=name, remedy=remedy, iteration=(np.arange(blocks) + 0.5) * (2 * half // blocks),
                gap=gap.mean(axis=0), low=level.low, high=level.high,
                predicted=[_left(bandit, step[k], samples[k]) for k in range(0, 2 * half, 2 * half // blocks)],
            )  # fmt: skip
            found[name][remedy] = inequality(
                lambda a, m=moments: mean_interval(m, alpha=a), "<=", 0.0, alpha=trial.alpha
            )
            detail[f"{name}, {remedy}"] = (
                float(gap[:, blocks // 4 : blocks // 2].mean()), float(gap[:, 3 * blocks // 4 :].mean())
            )  # fmt: skip
    return conditional(
        replace(all_of(found["noise"], alpha=trial.alpha), detail=detail),
        replace(all_of(found["collapse"], alpha=trial.alpha), detail=detail),
        note="a plateau of noise inside, a collapsed policy outside",
    )


def _left(bandit: Bandit, step: float, samples: int) -> float:
    """The plateau, or without entropy bonus the gap of the arm on which the policy has collapsed."""
    return bandit.plateau(step, samples) if bandit.tau else bandit.best - bandit.reward[1]


@claim("stagnation.best-step-grows", paper=PAPER, source="notes", kind="convergence", figure="plateau_resumes")
def best_step_grows(trial: Trial) -> Evidence:
    """More samples bear a larger step: after 40 iterations from the uniform policy the large step is better at N = 128,
    gap(3) - gap(0.3) <= 0, and the small one at N = 2, gap(0.3) - gap(3) <= 0.
    """
    return _check_best(trial, (2, 128))


@best_step_grows.broken("the samples exchanged")
def _(trial: Trial) -> Evidence:
    return _check_best(trial, (128, 2))


def _check_best(trial: Trial, samples: tuple[int, int]) -> Evidence:
    replicates, iterations = trial.pick(400, 4_000, 40_000), 40
    grid = (0.3, 1.0, 3.0)
    last = {}
    for n in samples:
        for step in grid:
            gap = BANDIT.run(
                np.full(iterations, step), np.full(iterations, n), replicates=replicates, blocks=iterations,
                seed=trial.seed + 9, start=np.zeros(5),
            )[:, -1]  # fmt: skip
            last[n, step] = gap
    few, many = samples
    sides = {"few": last[few, 0.3] - last[few, 3.0], "many": last[many, 3.0] - last[many, 0.3]}
    detail = {f"N={n}, a={a}": float(gap.mean()) for (n, a), gap in last.items()}
    for (n, a), gap in last.items():
        level = t_interval(replicates, gap.mean(), gap.var(ddof=1), alpha=trial.alpha)
        trial.table(samples=n, step=a, gap=gap.mean(), low=float(level.low), high=float(level.high))
    parts = {}
    for name, difference in sides.items():
        moments = Moments().add(difference, 0).summary()
        parts[name] = inequality(
            lambda a, m=moments: mean_interval(m, alpha=a), "<=", 0.0, alpha=trial.alpha, detail=detail
        )
    return all_of(parts, alpha=trial.alpha)


# --- What the picture needs -----------------------------------------------------------------------------------------


@claim("stagnation.noise-vanishes", paper=PAPER, source="inferred", kind="convergence", figure="plateau_gap")
def noise_vanishes(trial: Trial) -> Evidence:
    """A policy gradient with noise stays on its plateau: gap in the last quarter >= 0.8 times the gap in the second.
    Inside, with entropy bonus 0.3; outside, without: near a deterministic policy the gradient's noise dies out with
    p (1 - p), so that a plain bandit has no floor and goes on improving.
    """
    return _check_floor(trial, 0.3)


@noise_vanishes.broken("no entropy bonus inside either")
def _(trial: Trial) -> Evidence:
    return _check_floor(trial, 0.0)


def _check_floor(trial: Trial, tau: float) -> Evidence:
    replicates, iterations, blocks = trial.pick(96, 400, 2_000), trial.pick(4_000, 16_000, 40_000), 8
    parts = []
    for name, bonus in (("bonus", tau), ("none", 0.0)):
        bandit = Bandit(tau=bonus)
        gap = bandit.run(
            np.full(iterations, 0.4), np.full(iterations, 8), replicates=replicates, blocks=blocks,
            seed=trial.seed + 3, start=np.zeros(5),
        )  # fmt: skip
        second, last = gap[:, 2:4].mean(axis=1), gap[:, 6:].mean(axis=1)
        moments = Moments().add(last - 0.8 * second, 0).summary()
        level = t_interval(replicates, gap.mean(axis=0), gap.var(axis=0, ddof=1), alpha=trial.alpha)
        trial.table(
            bonus=name, iteration=(np.arange(blocks) + 0.5) * (iterations // blocks), gap=gap.mean(axis=0),
            low=level.low, high=level.high,
        )  # fmt: skip
        parts.append(
            inequality(
                lambda a, m=moments: mean_interval(m, alpha=a),
                ">=",
                0.0,
                alpha=trial.alpha,
                detail={name: (float(second.mean()), float(last.mean()))},
            )
        )
    return conditional(parts[0], parts[1], note="entropy bonus inside, none outside")


@claim("stagnation.scaled-minibatch", paper=PAPER, source="notes", kind="convergence", figure="plateau_resumes")
def scaled_minibatch(trial: Trial) -> Evidence:
    """At many samples an iteration learns more from many small minibatches than from one large one whose learning rate
    is scaled by the square root of its size: J(8 minibatches of 16) - J(1 of 128, rate times 8^0.5) >= 0 after 8
    iterations of the clipped surrogate at equal data. Random trees of 3 turns and 3 actions, plain gradient steps.
    """
    return _check_minibatch(trial, (8, 1.0), (1, np.sqrt(8)))


@scaled_minibatch.broken("the recipes exchanged")
def _(trial: Trial) -> Evidence:
    return _check_minibatch(trial, (1, np.sqrt(8)), (8, 1.0))


def _check_minibatch(trial: Trial, first: tuple[int, float], second: tuple[int, float]) -> Evidence:
    replicates, iterations = trial.pick(10, 64, 256), 8
    curves = {}
    for minibatches, rate in (first, second):
        found = _trained(minibatches, rate, replicates, iterations, trial.seed)
        curves[minibatches] = found
        trial.table(minibatches=minibatches, iteration=np.arange(iterations + 1), j=found.mean(axis=1), rate=0.5 * rate)
    difference = curves[first[0]][-1] - curves[second[0]][-1]
    moments = Moments().add(difference, 0).summary()
    detail = {f"{k} minibatches": float(j[-1].mean()) for k, j in curves.items()}
    return inequality(lambda a: mean_interval(moments, alpha=a), ">=", 0.0, alpha=trial.alpha, detail=detail)


@cache
def _trained(minibatches: int, rate: float, replicates: int, iterations: int, seed: int) -> np.ndarray:
    """(iterations + 1, R) exact J of a clipped surrogate with so many minibatches and a learning rate of rate / 2."""
    params = ("env.turns=3", "update.optimiser=sgd", f"update.minibatches={minibatches}", "update.loss=ppo@paper",
              "update.aggregation=seq-mean-token-sum")  # fmt: skip
    config = TrainConfig(
        method="rloo", env="turns", update="surrogate", params=params, replicates=replicates, updates=iterations,
        groups=1, group_size=128, learning_rate=0.5 * rate, seed=seed,
    )  # fmt: skip
    return train(config).j
