"""3SPO's advantage: hand-worked groups, trees, masked rows, and what siblings share dropping out."""

from __future__ import annotations

import numpy as np
import pytest

from creditsim.errors import InputError
from creditsim.estimators import advantage
from creditsim.rollouts import Rollouts


def tree(reward: list[float], weight: list[float] | None = None) -> Rollouts:
    """A root row, three branches after it, two branches after the first of these."""
    columns = {"step_reward": np.array(reward)}
    if weight is not None:
        columns["weight"] = np.array(weight)
    return Rollouts.flat(
        offsets=np.arange(7), group=[0] * 6, parent=[-1, 0, 0, 0, 1, 1], reward=[0.0] * 6, columns=columns
    )


def test_centred_inside_each_branch_group() -> None:
    got = advantage(tree([0.7, 1.0, 0.0, 0.5, 0.25, 0.75]), "three_spo")
    np.testing.assert_allclose(got, [0.0, 0.5, -0.5, 0.0, -0.25, 0.25], atol=1e-15)
    # The same numbers centred over the whole tree (broken twin) are others.
    assert not np.allclose(got, np.array([0.7, 1.0, 0.0, 0.5, 0.25, 0.75]) - 3.2 / 6)


def test_deviation_is_that_of_a_sample() -> None:
    got = advantage(tree([0.7, 1.0, 0.0, 0.5, 0.25, 0.75]), "three_spo@gui")
    np.testing.assert_allclose(got[1:4], [0.5 / (0.5 + 1e-6), -0.5 / (0.5 + 1e-6), 0.0], atol=1e-14)
    spread = np.std([0.25, 0.75], ddof=1)
    np.testing.assert_allclose(got[4:], [-0.25 / (spread + 1e-6), 0.25 / (spread + 1e-6)], rtol=1e-12)


def test_equal_rewards_and_single_branches_get_exactly_zero() -> None:
    assert not advantage(tree([0.1] * 6), "three_spo@gui").any()
    small = advantage(tree([0.0, 1e-9, 0.0, 0.0, 0.0, 0.0]), "three_spo@gui")
    assert 0 < small[1] < 1e-3  # far below eps: not blown up
    large = advantage(tree([0.0, 1e-3, 0.0, 0.0, 0.0, 0.0]), "three_spo@gui")
    assert large[1] > 1.0


def test_rows_without_weight_are_no_members() -> None:
    got = advantage(tree([0.7, 1.0, 0.0, 0.5, 0.25, 0.75], [0, 0, 1, 1, 1, 1]), "three_spo")
    np.testing.assert_allclose(got, [0.0, 0.0, -0.25, 0.25, -0.25, 0.25], atol=1e-15)


def test_what_siblings_share_drops_out() -> None:
    reward = np.array([0.7, 1.0, 0.0, 0.5, 0.25, 0.75])
    shared = np.array([3.0, 2.0, 2.0, 2.0, -1.0, -1.0])
    np.testing.assert_allclose(
        advantage(tree(list(reward + shared)), "three_spo"), advantage(tree(list(reward)), "three_spo"), atol=1e-15
    )


def test_case_of_the_readme() -> None:
    """Next-state scores 0.2 and 0.6 at N(s) large: the lower score is better by (0.5 - w) 0.4."""
    w = 0.5 * np.exp(-0.1 * 10)
    reward = w + (0.5 - w) * (0.3 - np.array([0.2, 0.6, 0.6]))
    rollouts = Rollouts.flat(offsets=np.arange(4), group=[0] * 3, reward=[0.0] * 3, columns={"step_reward": reward})
    got = advantage(rollouts, "three_spo@code")
    assert got[0] - got[1] == pytest.approx((0.5 - w) * 0.4)
    assert got.sum() == pytest.approx(0.0, abs=1e-15)


def test_refusals() -> None:
    with pytest.raises(InputError, match="norm: got 'std'"):
        advantage(tree([0.0] * 6), "three_spo", norm="std")
    with pytest.raises(InputError, match="eps"):
        advantage(tree([0.0] * 6), "three_spo", eps=-1.0)
