"""CANON against its formulas written out member by member, and what it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from group_cases import episodes, responses, run

from creditsim.errors import InputError, MissingColumnError, UnknownNameError
from creditsim.rollouts import Rollouts


def groups(reward: list[list[float]], metric: list[list[float]]) -> Rollouts:
    plain = responses(reward)
    return plain.with_trajectory_columns(metric=np.concatenate([np.asarray(m, float) for m in metric]))


def by_hand(
    reward: list[float], metric: list[float], mu: float, alpha: float, discount: str, threshold: float | None = None
) -> list[float]:
    n = len(reward)
    order = sorted(range(n), key=lambda i: metric[i])
    low = set(order[: n // 2]) if threshold is None else {i for i in range(n) if metric[i] <= threshold}
    high = set(range(n)) - low
    if not low or not high:
        return [0.0] * n
    below, above = (float(np.mean([reward[i] for i in half])) for half in (low, high))
    out = []
    for i, r in enumerate(reward):
        if discount == "length":
            inter = alpha * r - below if i in high else r - alpha * above
        else:
            inter = r - alpha * below if i in high else alpha * r - above
        out.append(mu * inter + (1.0 - mu) * (r - (above if i in high else below)))
    return out


REWARD = [[1.0, 0.0, 0.5, 1.0], [0.25, 1.0, 0.0], [0.0, 1.0, 1.0, 0.5, 0.75, 0.0]]
METRIC = [[3.0, 1.0, 1.0, 2.0], [0.5, 0.5, 0.5], [5.0, 5.0, 1.0, 2.0, 9.0, 2.0]]


@pytest.mark.parametrize("mu", [0.0, 0.25, 0.5, 1.0])
@pytest.mark.parametrize(("alpha", "discount"), [(1.0, "length"), (0.8, "length"), (0.8, "entropy")])
@pytest.mark.parametrize("threshold", [None, 1.5])
def test_formulas(mu: float, alpha: float, discount: str, threshold: float | None) -> None:
    want: list[float] = []
    for reward, metric in zip(REWARD, METRIC, strict=True):
        want += by_hand(reward, metric, mu, alpha, discount, threshold)
    options: dict[str, Any] = {"mu": mu, "alpha": alpha, "discount": discount, "threshold": threshold}
    found = run(groups(REWARD, METRIC), "canon", **options)
    np.testing.assert_allclose(found, want, atol=1e-15)
    np.testing.assert_allclose(run(groups(REWARD, METRIC), "canon@code", **options) * 8192.0, want, atol=1e-12)


def test_the_two_discounts_go_opposite_ways() -> None:
    rollouts = groups([[1.0, 1.0, 1.0, 1.0]], [[1.0, 2.0, 3.0, 4.0]])
    long_ = run(rollouts, "canon", alpha=0.9)
    np.testing.assert_allclose(long_, [0.1, 0.1, -0.1, -0.1], atol=1e-15)
    np.testing.assert_allclose(run(rollouts, "canon", alpha=0.9, discount="entropy"), -long_, atol=1e-15)
    assert not run(rollouts, "canon").any()


def test_ties_go_by_place_in_the_group() -> None:
    reward = [[1.0, 0.0, 0.0, 0.0]]
    first = run(groups(reward, [[1.0] * 4]), "canon")
    # The first two are the lower half: the winner is judged by the others' 0, they by its half's 1/2.
    np.testing.assert_allclose(first, [1.0, 0.0, -0.5, -0.5], atol=1e-15)


def test_groups_of_one_and_masked_members() -> None:
    one = groups([[0.75]], [[1.0]])
    assert run(one, "canon")[0] == 0.0
    assert run(one, "canon@code")[0] == 0.75 / 8192.0
    rollouts = groups([[1.0, 0.0, 0.5, 1.0, 9.0]], [[3.0, 1.0, 1.0, 2.0, 0.0]])
    weight = np.array([1.0, 1.0, 1.0, 1.0, 0.0])
    found = run(rollouts.with_columns(weight=weight), "canon")
    np.testing.assert_allclose(found[:4], by_hand(REWARD[0], METRIC[0], 1.0, 1.0, "length"), atol=1e-15)
    assert found[4] == 0.0


def test_a_row_column_is_averaged_over_the_trajectory() -> None:
    rollouts = episodes([1.0, 0.0, 0.5, 0.25], [2, 1, 3, 1])
    rows = np.array([0.0, 4.0, 1.0, 5.0, 0.0, 1.0, 3.0])
    mean = np.array([2.0, 1.0, 2.0, 3.0])
    found = run(rollouts.with_columns(metric=rows), "canon", mu=0.7)
    np.testing.assert_array_equal(found, run(rollouts.with_trajectory_columns(metric=mean), "canon", mu=0.7))


def test_what_is_refused() -> None:
    rollouts = groups(REWARD, METRIC)
    for options in ({"mu": 1.2}, {"alpha": float("nan")}, {"divisor": 0.0}, {"threshold": float("inf")}):
        with pytest.raises(InputError, match=f"{next(iter(options))}: got"):
            run(rollouts, "canon", **options)
    with pytest.raises(UnknownNameError, match="nearest: length"):
        run(rollouts, "canon", discount="lenght")
    with pytest.raises(MissingColumnError, match="metric"):
        run(responses(REWARD), "canon")
    with pytest.raises(InputError, match="metric: got NaN"):
        run(groups([[1.0, 0.0]], [[1.0, float("nan")]]), "canon")
