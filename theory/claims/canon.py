"""CANON: what judging a half of the group by the other half amplifies, and what it leaves as it is."""

from __future__ import annotations

from typing import Any

import numpy as np

from creditsim.estimators.base import credit
from creditsim.rng import Purpose, derive_seed, uniforms
from creditsim.rollouts import Rollouts
from creditsim.stats.joint import all_of, conditional
from creditsim.stats.verdict import Evidence, exact_equality, exact_inequality
from theory.claim import Trial, claim
from theory.shared import binomial

__all__ = ["PAPER", "canon_of", "centred"]

PAPER = "CANON"


def canon_of(reward: np.ndarray, metric: np.ndarray, **params: Any) -> tuple[np.ndarray, np.ndarray]:
    """(G, n) advantages and halves (True: upper) of groups with rewards and metrics (G, n)."""
    groups, n = reward.shape
    rollouts = Rollouts.flat(
        offsets=np.arange(groups * n + 1),
        group=np.repeat(np.arange(groups), n),
        reward=reward.reshape(-1).astype(np.float64),
        trajectory_columns={"metric": metric.reshape(-1).astype(np.float64)},
    )
    columns = credit(rollouts, "canon", **params)
    assert isinstance(columns, dict)  # noqa: S101 # CANON makes columns
    return columns["advantage"].reshape(groups, n), columns["upper"].reshape(groups, n) == 1.0


def centred(reward: np.ndarray) -> np.ndarray:
    """(G, n) Dr.GRPO's advantages."""
    return reward - reward.mean(axis=1, keepdims=True)


def _groups(trial: Trial, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Random rewards and metrics (G, n)."""
    groups = trial.pick(200, 2_000, 20_000)
    seed = derive_seed(trial.seed, "groups", n)
    reward, metric = uniforms(seed, 0, Purpose.DATA, (2, groups, n))
    return reward, metric


EVEN, ODD = (2, 4, 8, 16), (3, 5, 9)


@claim("canon.half-is-dr-grpo", paper=PAPER, source="code", kind="identity")
def half_is_dr_grpo(trial: Trial) -> Evidence:
    """Half of each is Dr.GRPO: (inter + intra) / 2 = S - mean S, eq. 7, wherever the halves are equal.

    Not for an odd group, whose halves differ by one: the mean of two means is then not the group's mean.
    """
    for n in (*EVEN, *ODD):
        reward, metric = _groups(trial, n)
        trial.table(members=n, largest_difference=np.abs(canon_of(reward, metric, mu=0.5)[0] - centred(reward)).max())
    return _check_half(trial, 0.5)


@half_is_dr_grpo.broken("six tenths of inter, four of intra")
def _(trial: Trial) -> Evidence:
    return _check_half(trial, 0.6)


def _check_half(trial: Trial, mu: float) -> Evidence:
    parts = []
    for sizes in (EVEN, ODD):
        drawn = [_groups(trial, n) for n in sizes]
        off = [np.abs(canon_of(reward, metric, mu=mu)[0] - centred(reward)).max() for reward, metric in drawn]
        parts.append(exact_equality(off, 0.0, tolerance=1e-14, detail={"members": sizes, "off": list(map(float, off))}))
    return conditional(*parts, note="equal halves")


def _by_half(value: np.ndarray, upper: np.ndarray) -> np.ndarray:
    """(G,) mean over the upper half."""
    return (value * upper).sum(axis=1) / upper.sum(axis=1)


@claim("canon.amplification", paper=PAPER, source="inferred", kind="identity")
def amplification(trial: Trial) -> Evidence:
    """Between the halves inter says twice what Dr.GRPO says: over the upper half its mean is m+ - m-, Dr.GRPO's is
    (n- / n)(m+ - m-), ratio n / n- = 2 for equal halves; and it adds up to (n+ - n-)(m+ - m-), 0 for equal halves.

    Checked for even groups and, in its general form, for odd ones.
    """
    return _check_amplification(trial, 1.0)


@amplification.broken("intra instead of inter")
def _(trial: Trial) -> Evidence:
    return _check_amplification(trial, 0.0)


def _check_amplification(trial: Trial, mu: float) -> Evidence:
    lead, gap, ratio, plain, total, rest = [], [], [], [], [], []
    for n in (*EVEN, *ODD):
        reward, metric = _groups(trial, n)
        value, upper = canon_of(reward, metric, mu=mu)
        high, low = _by_half(reward, upper), _by_half(reward, ~upper)
        below = (~upper).sum(axis=1)
        lead.append(_by_half(value, upper))
        gap.append(high - low)
        ratio.append(_by_half(centred(reward), upper))
        plain.append(below / n * (high - low))
        total.append(value.sum(axis=1))
        rest.append((n - 2 * below) * (high - low))
        if mu == 1.0:
            slope = float(lead[-1] @ ratio[-1] / (ratio[-1] @ ratio[-1]))
            trial.table(members=n, ratio=slope, predicted=n / (n // 2))
    parts = {
        "upper half": exact_equality(np.concatenate(lead), np.concatenate(gap), tolerance=1e-12),
        "Dr.GRPO": exact_equality(np.concatenate(ratio), np.concatenate(plain), tolerance=1e-12),
        "sum": exact_equality(np.concatenate(total), np.concatenate(rest), tolerance=1e-12),
    }
    return all_of(parts)


@claim("canon.equal-halves", paper=PAPER, source="notes", kind="identity")
def equal_halves(trial: Trial) -> Evidence:
    """Equal halves are the condition under which the signal between the halves exceeds Dr.GRPO's (theorem 1, known at
    second hand): for unequal ones |mean inter over the upper half| <= |mean of Dr.GRPO over it|.

    Read as "only then" it is false: the ratio is n / n- > 1 for any split. What needs equal halves is a zero sum.
    """
    return _check_unequal(trial, "signal")


@equal_halves.broken("split off a single member instead")
def _(trial: Trial) -> Evidence:
    return _check_unequal(trial, "signal", rank=1)


@equal_halves.control("the sum of inter is 0 only for equal halves")
def _(trial: Trial) -> Evidence:
    return _check_unequal(trial, "sum")


def _check_unequal(trial: Trial, what: str, rank: int = 3) -> Evidence:
    n = 8
    reward, metric = _groups(trial, n)
    # A threshold between two members leaves `rank` of them below it, in each group.
    order = metric.argsort(axis=1).argsort(axis=1)
    value, upper = canon_of(reward, order.astype(np.float64), threshold=rank - 0.5)
    if what == "signal":
        mine, plain = np.abs(_by_half(value, upper)), np.abs(_by_half(centred(reward), upper))
        trial.table(below=rank, ratio=mine / plain, predicted=n / rank)
        return exact_inequality(mine, "<=", plain, detail={"ratio": n / rank})
    gap = _by_half(reward, upper) - _by_half(reward, ~upper)
    return exact_inequality(np.abs(value.sum(axis=1)), ">=", np.abs(n - 2 * rank) * np.abs(gap), tolerance=1e-12)


SIZES = (4, 16, 64)


def feature_gaps(n: int, mu: float | None) -> tuple[float, float]:
    """Expected lead of the upper half, and of members with a feature that the metric does not know; exact.

    A member has the feature with chance 1/2 and earns 1 for it, and 2 for the upper half. `mu` None: Dr.GRPO. Within a
    half members differ only by the feature, so groups are listed by how many of each half have it.
    """
    half = n // 2
    low, high = np.divmod(np.arange((half + 1) ** 2), half + 1)
    chance = binomial(half, 0.5)[low] * binomial(half, 0.5)[high]
    place = np.arange(half)
    feature = np.concatenate([place < low[:, None], place < high[:, None]], axis=1)
    upper = np.arange(n) >= half
    reward = feature + 2.0 * upper
    value = centred(reward) if mu is None else canon_of(reward, np.tile(np.arange(n), (low.size, 1)), mu=mu)[0]
    lead = chance @ (value[:, upper].mean(axis=1) - value[:, ~upper].mean(axis=1))
    # E[A | feature] - E[A | none] by the covariance with the feature, of variance 1/4.
    other = 4.0 * (chance @ (value * (feature - 0.5)).mean(axis=1))
    return float(lead), float(other)


@claim("canon.unrelated-condition", paper=PAPER, source="notes", kind="gradient")
def unrelated_condition(trial: Trial) -> Evidence:
    """A condition that the split knows nothing of is not amplified (theorem 2, known at second hand): under inter the
    expected lead of its members is n / (n - 1) times Dr.GRPO's, -> 1, while the lead of the upper half is exactly 2
    times Dr.GRPO's.

    The n / (n - 1) is that inter's baseline does not contain the member itself; under intra it is (n - 2) / (n - 1).
    """
    for n in SIZES:
        plain = feature_gaps(n, None)
        for mu in (1.0, 0.0):
            found = feature_gaps(n, mu)
            aim = n / (n - 1) if mu else (n - 2) / (n - 1)
            trial.table(
                mu=mu, members=n, split=found[0] / plain[0], other=found[1] / plain[1], predicted=aim,
                predicted_split=2.0 * mu,
            )  # fmt: skip
    return _check_unrelated(1.0)


@unrelated_condition.broken("double Dr.GRPO")
def _(trial: Trial) -> Evidence:
    return _check_unrelated(None)


def _check_unrelated(mu: float | None) -> Evidence:
    plain = [feature_gaps(n, None) for n in SIZES]
    found = [feature_gaps(n, mu) for n in SIZES]
    factor = 2.0 if mu is None else 1.0
    split = [factor * a[0] / b[0] for a, b in zip(found, plain, strict=True)]
    other = [factor * a[1] / b[1] for a, b in zip(found, plain, strict=True)]
    detail = {str(n): {"split": split[i], "other": other[i]} for i, n in enumerate(SIZES)}
    parts = {
        "the split's condition": exact_equality(split, 2.0, tolerance=1e-9, detail=detail),
        "the other": exact_equality(other, [n / (n - 1) for n in SIZES], tolerance=1e-9, detail=detail),
    }
    return all_of(parts)
