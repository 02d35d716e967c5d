"""Closed forms that HGPO's claims are held against, from plain loops over every ordered group."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from creditsim.exact.moments import exact_moments
from theory.claims.hgpo import choices, level_bias, lone_ids, remaining
from theory.claims.hgpo_gradient import DROP, EXAMPLE, KEEP, factors, gradient_of, own_share
from theory.claims.hgpo_noise import best_alpha, deep_weight, mean_inverse, noise, predicted_weight, spread_inside
from theory.claims.hgpo_zeros import NOISES, dropped_factors, kept_factor, noisy_task
from theory.context_groups import Task, aliased_task, context_values, gap_task, level_weights, spread_task
from theory.shared import credit_column

Member = tuple[int, int]
"""Context and action of a trajectory of `gap_task`."""


def payoffs(gap: float) -> tuple[tuple[float, float], tuple[float, float]]:
    return (0.0, 1.0), (gap + 0.9, gap - 0.1)


def ordered_groups(n: int, cue: float = 0.5) -> Iterator[tuple[tuple[Member, ...], float]]:
    """Every ordered group of n trajectories with its probability."""
    right = (0.7, 0.2)
    chance = {
        (c, a): (cue if c == 0 else 1.0 - cue) * (right[c] if a else 1.0 - right[c]) for c in (0, 1) for a in (0, 1)
    }
    for group in product(chance, repeat=n):
        yield group, float(np.prod([chance[m] for m in group]))


def by_hand(group: tuple[Member, ...], gap: float, *, drop: bool, weights: tuple[float, float] = (2.0, 3.0)) -> float:
    """HGPO's advantage of the first member, K = 1, mean_norm."""
    returns = [payoffs(gap)[c][a] for c, a in group]
    same = [r for r, (c, _) in zip(returns, group, strict=True) if c == group[0][0]]
    levels = []
    for members, weight in zip((returns, same), weights, strict=True):
        if len(members) >= 2:
            a = returns[0] - sum(members) / len(members)
            if not drop or abs(a) > 1e-10:
                levels.append((weight, a))
    total = sum(w for w, _ in levels)
    return sum(w * a for w, a in levels) / total if levels else 0.0


def factors_by_hand(gap: float, n: int, *, drop: bool, cue: float = 0.5) -> list[float]:
    """Expected over exact gradient of the logit of action 1 in each context."""
    pushed, exact = [0.0, 0.0], [0.0, 0.0]
    for group, p in ordered_groups(n, cue):
        context, action = group[0]
        score = action - (0.7, 0.2)[context]
        pushed[context] += p * score * by_hand(group, gap, drop=drop)
        exact[context] += p * score * payoffs(gap)[context][action]
    return [a / b for a, b in zip(pushed, exact, strict=True)]


@pytest.mark.parametrize("gap", [0.0, 1.0, EXAMPLE, 12.0])
@pytest.mark.parametrize("n", [2, 3, 4])
def test_dropped_zeros_by_hand(gap: float, n: int) -> None:
    hand = factors_by_hand(gap, n, drop=True)
    assert dropped_factors(gap, n) == pytest.approx(hand, abs=1e-12)
    task = gap_task(gap)
    assert factors(task, gradient_of(task, credit_column("hgpo", **DROP), n)) == pytest.approx(hand, abs=2e-6)
    if n > 2 and gap > 0:
        assert dropped_factors(gap, n) != pytest.approx(factors_by_hand(gap, n, drop=False), abs=1e-3)


@pytest.mark.parametrize("cue", [0.5, 0.9])
@pytest.mark.parametrize("n", [2, 3, 4])
def test_kept_zeros_by_hand(n: int, cue: float) -> None:
    hand = factors_by_hand(EXAMPLE, n, drop=False, cue=cue)
    weights = level_weights(1, 1.0, "code")
    assert [own_share(n, p, weights) for p in (cue, 1.0 - cue)] == pytest.approx(hand, abs=1e-12)
    task = gap_task(EXAMPLE, cue=cue)
    assert factors(task, gradient_of(task, credit_column("hgpo", **KEEP), n)) == pytest.approx(hand, abs=1e-6)


@pytest.mark.parametrize("weights", ["code", "paper"])
@pytest.mark.parametrize("n", [2, 3, 4])
def test_bias_that_is_left_by_hand(n: int, weights: str) -> None:
    pair = {"code": (2.0, 3.0), "paper": (1.0, 2.0)}[weights]
    total, mass = 0.0, 0.0
    for group, p in ordered_groups(n):
        if group[0][0] == 1:
            total, mass = total + p * by_hand(group, EXAMPLE, drop=False, weights=pair), mass + p
    assert total / mass / (EXAMPLE / 2) == pytest.approx(remaining(n, weights), rel=1e-12)


@pytest.mark.parametrize("gap", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("n", [3, 4])
def test_best_deep_weight_by_hand(n: int, gap: float) -> None:
    value = (0.7, 0.7 + gap)
    moments = np.zeros((2, 2))
    for group, p in ordered_groups(n):
        context = group[0][0]
        others = [(c, payoffs(gap)[c][a]) for c, a in group[1:]]
        company = [g for c, g in others if c == context]
        if company:
            error = np.array([np.mean([g for _, g in others]), np.mean(company)]) - value[context]
            moments += p * np.outer(error, error)
    best = (moments[0, 0] - moments[0, 1]) / (moments[0, 0] + moments[1, 1] - 2 * moments[0, 1])
    assert predicted_weight(gap, n) == pytest.approx(best, rel=1e-10, abs=1e-12)
    assert deep_weight(choices(gap_task(gap), n, 1)) == pytest.approx(best, rel=1e-10, abs=1e-12)
    # More than half of the weight goes to the deep level exactly when it alone is the better one.
    assert (best > 0.5) == (moments[1, 1] < moments[0, 0])


@given(st.floats(0.001, 0.999))
def test_best_alpha_gives_the_weight_back(weight: float) -> None:
    alpha = best_alpha(weight)
    shallow, deep = level_weights(1, alpha, "code")
    assert deep / (shallow + deep) == pytest.approx(max(weight, 0.5 if alpha == 0 else weight), rel=1e-9)


@given(st.integers(2, 8), st.floats(0.05, 0.95))
def test_mean_inverse_group_size(n: int, p: float) -> None:
    drawn = [(sum(bits), np.prod([p if b else 1 - p for b in bits])) for bits in product((0, 1), repeat=n - 1)]
    total = sum(w for m, w in drawn if m)
    assert mean_inverse(n, p) == pytest.approx(sum(w / m for m, w in drawn if m) / total, rel=1e-9)
    # Jensen: the broken twin's plug-in is never larger.
    assert mean_inverse(n, p) >= total / ((n - 1) * p) - 1e-12


def test_variance_inside_a_window() -> None:
    task = spread_task(1.0)
    law = choices(task, 2, 2)
    own = np.array([0.21, 0.21, 0.16, 0.16])
    inside = [spread_inside(task, law, k) for k in range(3)]
    assert inside[2][0] == pytest.approx(own) and inside[2][1] == pytest.approx([0.25] * 4)
    # Given the recent cue the old one is left: half of the spread's square, and the mean of the two variances.
    assert inside[1][0] == pytest.approx([0.185 + 0.5] * 4) and inside[1][1] == pytest.approx([0.5] * 4)
    assert inside[0][0] == pytest.approx([0.185 + 1.0] * 4) and inside[0][1] == pytest.approx([1.0] * 4)
    assert noise(law, 0) == pytest.approx([1.185] * 4)


@given(st.lists(st.floats(-5, 5), min_size=8, max_size=8), st.lists(st.floats(0.05, 0.95), min_size=4, max_size=4))
def test_mean_square_bias_falls_for_any_payoffs(payoff: list[float], right: list[float]) -> None:
    task = aliased_task(np.reshape(payoff, (4, 2)).tolist(), right, delay=2)
    left = [float(task.mass @ (task.value - context_values(task, k)) ** 2) for k in range(4)]
    assert left[0] + 1e-12 >= left[1] >= left[2] - 1e-12
    assert left[2] == pytest.approx(0.0, abs=1e-20) and left[3] == pytest.approx(0.0, abs=1e-20)


def test_level_bias_is_the_distance_of_values_whatever_the_group_size() -> None:
    task = aliased_task(np.random.default_rng(1).normal(size=(8, 2)).tolist(), [0.3] * 8, delay=3)
    for n in (2, 3):
        law = choices(task, n, 3)
        for k in range(4):
            np.testing.assert_allclose(level_bias(law, k), task.value - context_values(task, k), atol=1e-12)
    broken = level_bias(choices(task, 3, 3, lone_ids), 3)
    assert np.abs(broken).max() > 0.05


@pytest.mark.parametrize("values", [1, 2, 3])
def test_noisy_task_keeps_values_and_gradient(values: int) -> None:
    plain, noisy = gap_task(EXAMPLE), noisy_task(EXAMPLE, values)
    assert noisy.value == pytest.approx(plain.value) and noisy.mass == pytest.approx(plain.mass)
    kept = credit_column("hgpo", **KEEP)
    exact = [gradient_of(task, kept, 2).exact for task in (plain, noisy)]
    np.testing.assert_allclose(exact[0], exact[1], atol=1e-14)
    assert factors(noisy, gradient_of(noisy, kept, 3)) == pytest.approx([kept_factor(3)] * 2, abs=1e-6)


def test_noise_grid_holds_coincidences_and_their_neighbours() -> None:
    assert {0.0, 0.5, 1.0} <= set(NOISES) and {0.48, 0.52, 0.98, 1.02} <= set(NOISES)
    at, near = (
        factors(gap_task(EXAMPLE, noise=x), gradient_of(gap_task(EXAMPLE, noise=x), credit_column("hgpo", **DROP), 4))
        for x in (0.5, 0.52)
    )
    assert np.abs(at - near).max() > 0.01


@pytest.mark.parametrize(
    ("task", "n"), [(gap_task(2.0), 4), (spread_task(1.0), 3), (gap_task(1.0, cue=0.8), 3)], ids=["two", "four", "rare"]
)
def test_anchor_groups_keep_the_gradient_and_an_action_dependent_baseline_does_not(task: Task, n: int) -> None:
    found = gradient_of(task, credit_column("hgpo@paper", K=0, gamma=1.0, normalize="mean"), n)
    np.testing.assert_allclose(found.mean, (n - 1) / n * found.exact, atol=1e-12)
    gigpo = gradient_of(task, credit_column("gigpo", gamma=1.0, normalize="mean"), n)
    np.testing.assert_allclose(gigpo.mean, 2 * found.mean, atol=1e-12)  # its episode term is the same again
    dropped = gradient_of(task, credit_column("hgpo", **DROP), n)
    assert np.linalg.norm(dropped.mean - dropped.exact * (dropped.mean @ dropped.exact) / _square(dropped.exact)) > 1e-3


def _square(x: np.ndarray) -> float:
    return float(x @ x)


def test_choice_rows_alone_carry_the_gradient() -> None:
    task = spread_task(1.0)
    found = exact_moments(credit_column("hgpo", **KEEP), task.mdp, task.policy, group_size=3).gradient
    moved = np.flatnonzero(np.abs(found.mean) > 1e-15)
    assert set(moved) == set(np.concatenate([task.logit, task.logit + 1]))
