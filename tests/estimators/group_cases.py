"""Rollouts and exact references shared by the tests of the group estimators."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from itertools import product
from math import isqrt
from typing import Any

import numpy as np

from creditsim.estimators import credit
from creditsim.estimators.base import Pairs
from creditsim.rollouts import Rollouts

F = Fraction
Scores = Sequence[Fraction]
Reference = Callable[[Scores, Sequence[int]], list[Fraction]]

BINARY_GROUPS = [list(bits) for size in range(2, 7) for bits in product((0, 1), repeat=size)]
"""All binary reward groups of sizes 2 to 6; 124 of them."""

GREEDY = F(1, 4)
"""Score of the greedy rollout in every task, for ReMax."""


def responses(groups: Sequence[Sequence[float]], *, batch_per_group: bool = True, **options: Any) -> Rollouts:
    """One row per trajectory; `tokens` cycles through 1, 2, 3 unless given."""
    sizes = [len(group) for group in groups]
    count = sum(sizes)
    ids = np.repeat(np.arange(len(groups)), sizes)
    columns = {"tokens": np.concatenate([token_counts(size) for size in sizes])}
    return Rollouts.flat(
        offsets=np.arange(count + 1),
        group=ids,
        batch=ids if batch_per_group else np.zeros(count, np.int64),
        reward=np.concatenate([np.asarray(group, float) for group in groups]),
        columns=columns | options.pop("columns", {}),
        trajectory_columns={"greedy_score": np.full(count, float(GREEDY))},
        **options,
    )


def token_counts(size: int) -> np.ndarray:
    return np.arange(size) % 3 + 1


def episodes(
    scores: Sequence[float], lengths: Sequence[int], group: Sequence[int] | None = None, **options: Any
) -> Rollouts:
    """Trajectories of several rows that pay their score on the last one."""
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    reward = np.zeros(offsets[-1])
    reward[offsets[1:] - 1] = scores
    return Rollouts.flat(
        offsets=offsets, group=np.zeros(len(scores), np.int64) if group is None else group, reward=reward, **options
    )


def random_rollouts(
    rng: np.random.Generator, *, batches: int = 2, groups: int = 3, members: tuple[int, int] = (2, 5), longest: int = 4
) -> Rollouts:
    """Ragged episodes with rewards in sixteenths, so that sums are exact, and columns `tokens` and `greedy_score`."""
    sizes = rng.integers(members[0], members[1] + 1, size=batches * groups)
    group = np.repeat(np.arange(batches * groups), sizes)
    lengths = rng.integers(1, longest + 1, size=group.size)
    rows = int(lengths.sum())
    return Rollouts.flat(
        offsets=np.concatenate([[0], np.cumsum(lengths)]),
        group=group,
        batch=group // groups,
        reward=rng.integers(-16, 17, size=rows) / 16.0,
        observation=rng.integers(0, 4, size=rows),
        columns={"tokens": rng.integers(1, 9, size=rows)},
        trajectory_columns={"greedy_score": rng.integers(-8, 9, size=group.size) / 8.0},
    )


def run(rollouts: Rollouts, spec: Any, **overrides: Any) -> np.ndarray:
    """Advantage as a NumPy array."""
    result = credit(rollouts, spec, **overrides)
    assert not isinstance(result, Pairs)
    return np.asarray(result["advantage"])


def with_weights(rollouts: Rollouts, weight: np.ndarray) -> Rollouts:
    return rollouts.with_columns(weight=weight)


def ulps(got: Iterable[float], want: Iterable[Fraction]) -> float:
    """Largest error in units of the last place of the wanted value; a wanted 0 must be got exactly."""
    worst = 0.0
    for g, w in zip(got, want, strict=True):
        if w == 0:
            worst = max(worst, 0.0 if g == 0 else np.inf)
        else:
            worst = max(worst, float(abs(F(float(g)) - w) / F(float(np.spacing(abs(float(w)))))))
    return worst


def root(x: Fraction) -> Fraction:
    """Square root to 60 digits."""
    return F(isqrt(x.numerator * x.denominator * 10**120), x.denominator * 10**60)


def mean(xs: Scores) -> Fraction:
    return sum(xs, F(0)) / len(xs)


def variance(xs: Scores, ddof: int) -> Fraction:
    return sum(((x - mean(xs)) ** 2 for x in xs), F(0)) / (len(xs) - ddof)


def grpo_reference(ddof: int, eps: float) -> Reference:
    def compute(scores: Scores, tokens: Sequence[int]) -> list[Fraction]:
        deviation = root(variance(scores, ddof)) + F(eps)
        return [(s - mean(scores)) / deviation if s != mean(scores) else F(0) for s in scores]

    return compute


def centred_reference(scores: Scores, tokens: Sequence[int]) -> list[Fraction]:
    return [s - mean(scores) for s in scores]


def rloo_reference(scores: Scores, tokens: Sequence[int]) -> list[Fraction]:
    return [s - mean([*scores[:i], *scores[i + 1 :]]) for i, s in enumerate(scores)]


def passk_reference(scores: Scores, tokens: Sequence[int]) -> list[Fraction]:
    """The group's best score less the best without the member: 0 but for a single best."""
    return [max(scores) - max([*scores[:i], *scores[i + 1 :]]) for i in range(len(scores))]


def passk_std_reference(scores: Scores, tokens: Sequence[int]) -> list[Fraction]:
    return [x / (root(variance(scores, 1)) + F(1e-6)) for x in passk_reference(scores, tokens)]


def opo_reference(scores: Scores, tokens: Sequence[int]) -> list[Fraction]:
    baseline = sum((s * int(t) for s, t in zip(scores, tokens, strict=True)), F(0)) / int(sum(tokens))
    return [s - baseline for s in scores]


def gpg_verl_reference(scores: Scores, tokens: Sequence[int]) -> list[Fraction]:
    alpha = F(len(scores), max(sum(s != 0 for s in scores), 1))
    return [alpha * (s - mean(scores)) for s in scores]


def whitened(values: Scores, tokens: Sequence[int]) -> list[Fraction]:
    """Whiten over tokens by writing every token out."""
    tokenwise = [v for v, t in zip(values, tokens, strict=True) for _ in range(int(t))]
    deviation = root(variance(tokenwise, 1) + F(1e-8))
    return [(v - mean(tokenwise)) / deviation for v in values]


def reinforce_pp_baseline_reference(scores: Scores, tokens: Sequence[int]) -> list[Fraction]:
    return whitened(centred_reference(scores, tokens), tokens)


def remax_reference(scores: Scores, tokens: Sequence[int]) -> list[Fraction]:
    return [s - GREEDY for s in scores]


def reinforce_reference(scores: Scores, tokens: Sequence[int]) -> list[Fraction]:
    return list(scores)


REFERENCES: dict[str, Reference] = {
    "grpo": grpo_reference(1, 1e-6),
    "grpo@paper": grpo_reference(1, 0.0),
    "grpo@verl": grpo_reference(1, 1e-6),
    "grpo@verl-vectorized": grpo_reference(1, 1e-6),
    "grpo@verl-agent": grpo_reference(1, 1e-6),
    "grpo@trl": grpo_reference(1, 1e-4),
    "dr_grpo": centred_reference,
    "dr_grpo@verl": centred_reference,
    "rloo": rloo_reference,
    "rloo@verl": rloo_reference,
    "rloo@verl-vectorized": rloo_reference,
    "grpo_passk@paper": passk_reference,
    "grpo_passk@verl": passk_std_reference,
    "opo@paper": opo_reference,
    "opo@verl": opo_reference,
    "gpg@paper": centred_reference,
    "gpg@verl": gpg_verl_reference,
    "reinforce": reinforce_reference,
    "remax@paper": remax_reference,
    "remax@verl": remax_reference,
    "reinforce_plus_plus": whitened,
    "reinforce_plus_plus_baseline": reinforce_pp_baseline_reference,
    "reinforce_plus_plus_baseline@verl": reinforce_pp_baseline_reference,
}
"""Estimators on groups of one-row trajectories, each group its own batch, in exact arithmetic from the definitions."""


def exact(reference: Reference, groups: Sequence[Sequence[float]]) -> list[Fraction]:
    out: list[Fraction] = []
    for group in groups:
        out += reference([F(s) for s in group], [int(t) for t in token_counts(len(group))])
    return out
