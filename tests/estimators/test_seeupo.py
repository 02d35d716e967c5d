"""SeeUPO's credit, written out by hand, its batch statistics with and without padding, and its degenerate rules."""

from __future__ import annotations

import numpy as np
import pytest

from creditsim.errors import InputError
from creditsim.estimators import advantage, credit
from creditsim.rollouts import Rollouts


def batch_of(scores: list[list[float]], lengths: list[int] | None = None, **columns: np.ndarray) -> Rollouts:
    """One batch; entry g of `scores` is a group, each trajectory's reward in its last row."""
    sizes = [len(group) for group in scores]
    n = sum(sizes)
    length = np.array(lengths or [1] * n)
    offsets = np.concatenate([[0], np.cumsum(length)])
    reward = np.zeros(int(offsets[-1]))
    reward[offsets[1:] - 1] = np.concatenate([np.asarray(group, float) for group in scores])
    group = np.repeat(np.arange(len(scores)), sizes)
    return Rollouts.flat(offsets=offsets, group=group, batch=np.zeros(n, int), reward=reward, columns=columns)


def by_hand(scores: list[list[float]], clamp: float | None) -> np.ndarray:
    centred = np.concatenate([np.asarray(group) - np.mean(group) for group in scores])
    scaled = (centred - centred.mean()) / centred.std(ddof=1)
    return scaled if clamp is None else np.clip(scaled, -clamp, clamp)


SCORES = [[0.0, 1.0, 1.0, 2.0], [5.0, 5.0, 5.0, 6.0], [0.0, 0.0, 0.0, 40.0]]


@pytest.mark.parametrize(("preset", "clamp"), [("paper", None), ("code", 3.0)])
def test_equation_by_hand(preset: str, clamp: float | None) -> None:
    got = advantage(batch_of(SCORES), f"seeupo@{preset}")
    np.testing.assert_allclose(got, by_hand(SCORES, clamp), atol=1e-13)
    rare = [[0.0] * 15 + [100.0], [0.0, 1.0] * 8]
    assert advantage(batch_of(rare), "seeupo@paper").max() > 4.0
    assert advantage(batch_of(rare), "seeupo@code").max() == 3.0


def test_it_is_never_the_groups_deviation() -> None:
    # Broken twin: GRPO gives every group of one winner the same credit, SeeUPO one in proportion to the reward.
    scores = [[0.0, 0.0, 0.0, 1.0], [0.0, 0.0, 0.0, 10.0]]
    got = advantage(batch_of(scores), "seeupo@paper")
    assert got[7] == pytest.approx(10 * got[3])
    grpo = advantage(batch_of(scores), "grpo@paper")
    assert grpo[7] == pytest.approx(grpo[3], rel=1e-5)


def test_columns() -> None:
    found = credit(batch_of(SCORES), "seeupo@paper")
    assert isinstance(found, dict) and set(found) == {"advantage", "global_advantage"}
    np.testing.assert_allclose(found["global_advantage"][:4], [-1.0, 0.0, 0.0, 1.0])
    plain = advantage(batch_of(SCORES), "seeupo@plain")
    np.testing.assert_array_equal(plain, found["global_advantage"])


def test_padding_decides_whose_statistics_a_late_turn_has() -> None:
    rollouts = batch_of([[0.0, 1.0, 2.0, 5.0]], [2, 1, 2, 2])
    centred = np.array([-2.0, -1.0, 0.0, 3.0])
    out = advantage(rollouts, "seeupo", padding="exclude", clamp=None)
    late = centred[[0, 2, 3]]
    np.testing.assert_allclose(out[[1, 4, 6]], (late - late.mean()) / late.std(ddof=1), atol=1e-14)
    np.testing.assert_allclose(out[[0, 2, 3, 5]], centred / centred.std(ddof=1), atol=1e-14)
    whole = advantage(rollouts, "seeupo", padding="include", clamp=None)
    np.testing.assert_allclose(whole, (centred / centred.std(ddof=1))[[0, 0, 1, 2, 2, 3, 3]], atol=1e-14)


def test_rows_of_weight_zero_are_padding() -> None:
    lengths = [2, 2, 2, 2]
    weight = np.array([1, 1, 1, 0, 1, 1, 1, 1.0])
    rollouts = batch_of([[0.0, 1.0, 2.0, 5.0]], lengths, weight=weight)
    short = batch_of([[0.0, 1.0, 2.0, 5.0]], [2, 1, 2, 2])
    for padding in ("exclude", "include"):
        got = advantage(rollouts, "seeupo", padding=padding, clamp=None)
        assert got[3] == 0.0
        np.testing.assert_allclose(got[weight > 0], advantage(short, "seeupo", padding=padding, clamp=None), atol=1e-14)


def test_degenerate_batches() -> None:
    assert (advantage(batch_of([[2.0, 2.0], [0.1, 0.1]]), "seeupo@code") == 0).all()
    # A turn that one trajectory reached keeps Ahat as it is.
    alone = advantage(batch_of([[0.0, 1.0, 5.0]], [1, 1, 2]), "seeupo", padding="exclude")
    assert alone[3] == pytest.approx(3.0)
    singles = batch_of([[1.0], [3.0]])
    assert (advantage(singles, "seeupo@paper") == 0).all()
    np.testing.assert_allclose(advantage(singles, "seeupo@code"), [-(0.5**0.5), 0.5**0.5], atol=1e-14)
    # One trajectory has no deviation, whatever its length; masked ones do not count.
    with pytest.raises(InputError, match="batch: got 1 trajectory in batch 0, allowed at least 2"):
        advantage(batch_of([[1.0]], [3]), "seeupo@code")
    with pytest.raises(InputError, match="1 trajectory"):
        advantage(batch_of([[1.0, 2.0]], [1, 1], weight=np.array([1.0, 0.0])), "seeupo@code")
    assert advantage(batch_of([[1.0]]), "seeupo@plain") == 0.0


@pytest.mark.parametrize(
    ("params", "field"), [({"clamp": 0.0}, "clamp"), ({"floor": -1.0}, "floor"), ({"padding": "no"}, "padding")]
)
def test_bad_numbers(params: dict[str, object], field: str) -> None:
    with pytest.raises(InputError, match=field):
        advantage(batch_of(SCORES), "seeupo", **params)
