"""Baselines against each other: whose gradient is noisier, and what a group's size does to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import combinations

import numpy as np

from creditsim.estimators import advantage
from creditsim.stats.joint import all_of
from creditsim.stats.verdict import Evidence, exact_equality, exact_inequality
from theory.claim import Trial, claim
from theory.noise import ESTIMATORS, TASKS, Credit, Noise, best_noise, noise, noise_of, pair_noise

ROUNDING = 1e-9
"""Tolerance of ratios between sums over up to 10^5 batches."""

REINFORCE, WHITENED, CENTRED, LEAVE_ONE_OUT = ESTIMATORS[:4]
BEST = "best constant"
Links = tuple[tuple[str, str, str], ...]

ORDER: Links = (
    (REINFORCE, ">=", WHITENED),
    (WHITENED, ">=", CENTRED),
    (CENTRED, "=", LEAVE_ONE_OUT),
    (LEAVE_ONE_OUT, ">=", BEST),
)
SURE: Links = ((REINFORCE, ">=", BEST), (CENTRED, "=", LEAVE_ONE_OUT), (LEAVE_ONE_OUT, ">=", BEST))


@claim("baselines.variance-order", paper="Baselines", source="inferred", kind="variance", figure="baseline_noise")
def variance_order(trial: Trial) -> Evidence:
    """Gradient noise falls in one order: REINFORCE >= REINFORCE++ >= Dr.GRPO = RLOO >= the best constant baseline.

    Noise is tr Cov g / (E[g] . u)^2 of batches of one group of 8 per task, u the direction of dJ/dtheta, so that no
    estimator gains by being small. The best constant of a task is E[|score|^2 R] / E[|score|^2]. In nine settings with
    terminal rewards, exactly.
    """
    return _check_order(trial, ORDER, {})


@variance_order.broken("the part of the order that holds, with a mean over rows in Dr.GRPO: long episodes weigh more")
def _(trial: Trial) -> Evidence:
    return _check_order(trial, SURE, {CENTRED: lambda rollouts: advantage(rollouts, "dr_grpo@verl-agent")})


@variance_order.control("Dr.GRPO = RLOO, and neither these nor REINFORCE below the best constant of each task")
def _(trial: Trial) -> Evidence:
    return _check_order(trial, SURE, {})


def _check_order(trial: Trial, links: Links, replaced: Mapping[str, Credit]) -> Evidence:
    parts: dict[str, Evidence] = {}
    failing: dict[str, dict[str, float]] = {}
    otherwise = pairs = quieter = 0
    for name in TASKS:
        by_size = {n: _noises(trial, name, n, replaced) for n in trial.pick((2, 8), (2, 4, 8), (2, 4, 8, 12))}
        found, pair = by_size[8], by_size[2]
        quieter += pair[REINFORCE].relative < (1.0 - ROUNDING) * pair[LEAVE_ONE_OUT].relative
        ranked = _ranks(found)
        otherwise, pairs = otherwise + ranked[0], pairs + ranked[1]
        for upper, relation, lower in links:
            ratio = found[lower].relative / found[upper].relative
            link = f"{upper} {relation} {lower}"
            if relation == "=":
                part = exact_equality(ratio, 1.0, tolerance=ROUNDING)
            else:
                part = exact_inequality(ratio, "<=", 1.0, tolerance=ROUNDING)
            parts[f"{link}: {name}"] = part
            if part.verdict == "refuted":
                failing.setdefault(link, {})[name] = ratio
    whole = all_of(parts)
    held = len(parts) - sum(map(len, failing.values()))
    return replace(
        whole,
        detail={
            "critical": whole.detail["critical"], "links": len(parts), "held": held, "failing": failing,
            "settings": len(TASKS), "pairs": pairs, "pairs_ranked_otherwise": otherwise,
            "no_baseline_quieter_at_two": quieter,
        },
        note=f"{held} of {len(parts)} links hold; the ratio shown is that of the lower noise to the upper.",
    )  # fmt: skip


def _noises(trial: Trial, name: str, n: int, replaced: Mapping[str, Credit]) -> dict[str, Noise]:
    found = {estimator: noise(name, estimator, n) for estimator in ESTIMATORS}
    found[BEST] = best_noise(name)
    trial.table(
        setting=name,
        n=n,
        estimator=np.array(list(found)),
        raw=np.array([each.raw for each in found.values()]),
        relative=np.array([each.relative for each in found.values()]),
        cosine=np.array([each.cosine for each in found.values()]),
    )
    return found | {estimator: noise_of(name, credit, n) for estimator, credit in replaced.items()}


def _ranks(found: Mapping[str, Noise]) -> tuple[int, int]:
    """Pairs of registered estimators that raw variance tells apart and noise at one signal ranks otherwise; all."""
    pairs = list(combinations([found[name] for name in ESTIMATORS], 2))
    apart = [(a, b) for a, b in pairs if abs(a.raw - b.raw) > ROUNDING * a.raw]
    otherwise = sum((a.raw - b.raw) * (a.relative - b.relative) < -ROUNDING * a.raw * a.relative for a, b in apart)
    return otherwise, len(apart)


@claim("baselines.noise-per-rollout", paper="Baselines", source="inferred", kind="variance", figure="baseline_noise")
def noise_per_rollout(trial: Trial) -> Evidence:
    """Leave-one-out in groups of n has noise c + d / (n - 1) per rollout, exactly: n tr Cov g / |dJ/dtheta|^2.

    c is the noise left with the exact mean as baseline, d what the others' luck adds; both are sums over pairs of
    trajectories. n = 2, ..., 8 (12 at the larger sizes) in the settings with one task, by enumerating groups.
    """
    return _check_per_rollout(trial, LEAVE_ONE_OUT)


@noise_per_rollout.broken("divide by the group's deviation (GRPO), which ties the scale to the group as well")
def _(trial: Trial) -> Evidence:
    return _check_per_rollout(trial, "grpo@paper")


def _check_per_rollout(trial: Trial, estimator: str) -> Evidence:
    sizes = trial.pick((2, 3, 4, 8), (2, 3, 4, 6, 8, 12), (2, 3, 4, 5, 6, 8, 12))
    settings = [name for name, groups in TASKS.items() if groups == 1]
    found, expected, detail = [], [], {}
    for name in settings:
        c, d = pair_noise(name)
        detail[name] = {"c": c, "d": d}
        for n in sizes:
            each = noise(name, estimator, n)
            found.append(each.relative)
            expected.append(c + d / (n - 1))
            trial.table(setting=name, n=n, c=c, d=d, relative=each.relative, predicted=expected[-1])
    ratio = np.array(found) / np.array(expected)
    return exact_equality(ratio, 1.0, tolerance=ROUNDING, detail=detail, note="Enumerated over predicted noise shown.")
