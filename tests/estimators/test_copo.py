"""COPO's three columns, written out by hand; gates, presets, degenerate batches."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from creditsim.errors import InputError, MissingColumnError, UnknownNameError
from creditsim.estimators import advantage, credit
from creditsim.estimators.copo import GATES
from creditsim.rollouts import Rollouts

REWARDS = [[1.0, 0.0, 0.0, 1.0, 0.0, 0.0], [0.0] * 6, [1.0, 1.0, 1.0, 1.0, 1.0, 0.0]]
ANSWERS = [[0, 1, 2, 0, 1, 3], [1, 2, 3, 4, 5, 6], [0, 0, 0, 0, 0, 1]]


def batch_of(rewards: list[list[float]], answers: list[list[int]], batch: list[int] | None = None) -> Rollouts:
    """One row per trajectory; entry g of `rewards` is a group."""
    sizes = [len(group) for group in rewards]
    group = np.repeat(np.arange(len(sizes)), sizes)
    return Rollouts.flat(
        offsets=np.arange(group.size + 1),
        group=group,
        batch=np.zeros(group.size, int) if batch is None else np.array(batch)[group],
        reward=np.concatenate([np.asarray(r, float) for r in rewards]),
        trajectory_columns={"answer": np.concatenate([np.asarray(a, int) for a in answers])},
    )


def columns(rollouts: Rollouts, spec: str = "copo@code", **params: object) -> dict[str, np.ndarray]:
    found = credit(rollouts, spec, **params)  # pyright: ignore[reportArgumentType]
    assert isinstance(found, dict)
    return found


def entropy(answers: list[int], eps: float = 0.0) -> float:
    share = np.unique(answers, return_counts=True)[1] / len(answers)
    return float(-(share * np.log2(share + eps)).sum())


def by_hand(consistency: bool, eps: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    local, weight, reward = [], [], []
    for r, a in zip(REWARDS, ANSWERS, strict=True):
        h = entropy(a, 1e-8)
        spread = np.std(r, ddof=1)
        local.append((np.array(r) - np.mean(r)) / (spread + eps) if spread else np.zeros(6))
        weight.append(np.full(6, 1 / (1 + math.exp(-5 * (h - 1)))))
        reward.append(np.mean(r) * (1 - (1 - 1 / 6) / math.log2(6) * h if consistency else 1.0))
    whole = (np.array(reward) - np.mean(reward)) / (np.std(reward, ddof=1) + eps)
    return np.concatenate(local), np.repeat(whole, 6), np.concatenate(weight)


@pytest.mark.parametrize("consistency", [False, True])
def test_equations_by_hand(consistency: bool) -> None:
    found = columns(batch_of(REWARDS, ANSWERS), gate="only-soft", consistency=consistency)
    local, whole, weight = by_hand(consistency, 1e-6)
    np.testing.assert_allclose(found["advantage"], local, atol=1e-12)
    np.testing.assert_allclose(found["global_advantage"], whole, atol=1e-12)
    np.testing.assert_allclose(found["blend"], weight, atol=1e-12)
    # Broken twin: entropies in nats, or rollouts in place of prompts, are told apart.
    assert np.abs(found["blend"] - 1 / (1 + np.exp(-5 * (math.log(6) - 1)))).max() > 1e-3
    rollouts_mean = np.concatenate([np.asarray(r) for r in REWARDS])
    assert np.abs(whole - (rollouts_mean - rollouts_mean.mean()) / rollouts_mean.std(ddof=1)).max() > 0.1


def test_the_values_that_are_told_for_groups_of_six() -> None:
    """Blend at no, one and log2 6 bits; the coefficient of agreement at its ends."""
    two = [[0, 0, 0, 1, 1, 1], [0] * 6, [0, 1, 2, 3, 4, 5]]
    rewards = [[1.0] * 6] * 3
    blend = columns(batch_of(rewards, two), "copo@paper", gate="only-soft")["blend"][::6]
    np.testing.assert_allclose(blend, [0.5, 0.0067, 0.9996], atol=5e-5)
    centred = columns(batch_of(rewards, two), "copo@paper", scale=False)["global_advantage"][::6]
    lam = (1 - 1 / 6) / math.log2(6)
    assert lam == pytest.approx(0.322, abs=5e-4)
    reward = np.array([1 - lam, 1.0, 1 / 6])
    np.testing.assert_allclose(centred, reward - reward.mean(), atol=1e-12)


GATED = {
    "only-soft": lambda w, s, a: w,
    "soft-with-zero": lambda w, s, a: w * (s != 0),
    "soft-with-forced": lambda w, s, a: w * (a != 0),
    "only-zero": lambda w, s, a: 1.0 * (s != 0),
    "only-forced": lambda w, s, a: 1.0 * (a != 0),
    "only-global": lambda w, s, a: 0.0 * w,
    "no-global": lambda w, s, a: 0.0 * w + 1.0,
}


@pytest.mark.parametrize("gate", GATES)
def test_gates(gate: str) -> None:
    assert set(GATED) == set(GATES)
    rollouts = batch_of(REWARDS, ANSWERS)
    found = columns(rollouts, gate=gate)
    expected = GATED[gate](by_hand(False, 1e-6)[2], rollouts.reward, found["advantage"])
    np.testing.assert_allclose(found["blend"], expected, atol=1e-12)
    # The gate moves the blend alone.
    plain = columns(rollouts, gate="only-soft")
    for name in ("advantage", "global_advantage"):
        np.testing.assert_array_equal(found[name], plain[name])


def test_an_offset_disables_the_zero_gate_and_not_the_forced_one() -> None:
    moved = batch_of([[2 * r - 1 for r in group] for group in REWARDS], ANSWERS)
    soft, zero, forced = (columns(moved, gate=g)["blend"] for g in ("only-soft", "soft-with-zero", "soft-with-forced"))
    np.testing.assert_array_equal(zero, soft)
    assert (forced[6:12] == 0).all() and (soft[6:12] > 0.99).all()


def test_local_credit_is_grpo() -> None:
    rollouts = batch_of(REWARDS, ANSWERS)
    np.testing.assert_array_equal(columns(rollouts)["advantage"], advantage(rollouts, "grpo@verl"))


def test_degenerate_batches() -> None:
    one = columns(batch_of(REWARDS[:1], ANSWERS[:1]))
    assert (one["global_advantage"] == 0).all()
    equal = columns(batch_of([REWARDS[0]] * 3, [ANSWERS[0]] * 3), consistency=True)
    assert (equal["global_advantage"] == 0).all()
    single = batch_of([[1.0], [0.0]], [[3], [4]])
    for preset, first in (("paper", 0.0), ("code", 1.0)):
        found = columns(single, f"copo@{preset}", consistency=True)
        assert all(np.isfinite(values).all() for values in found.values())
        assert found["advantage"][0] == pytest.approx(first, abs=2e-6)
        # A single answer agrees with itself: its mean reward counts in full.
        assert found["global_advantage"][0] == pytest.approx(0.5**0.5, abs=1e-5)


def test_masked_trajectories_enter_nothing() -> None:
    rollouts = batch_of([[1.0, 0.0, 0.0], [1.0, 1.0, 0.0]], [[0, 1, 1], [0, 0, 5]])
    weight = np.array([1.0, 1.0, 0.0, 1.0, 1.0, 1.0])
    found = columns(rollouts.with_columns(weight=weight))
    alone = columns(rollouts.take(np.flatnonzero(weight)))
    for name, values in alone.items():
        np.testing.assert_allclose(found[name][weight > 0], values, atol=1e-14)
        assert found[name][2] == 0.0


def test_answers_may_come_by_row_and_the_last_row_counts() -> None:
    rollouts = Rollouts.flat(
        offsets=np.array([0, 2, 4, 5, 6]), group=[0, 0, 1, 1], batch=np.zeros(4, int),
        reward=np.array([0, 1, 0, 0, 1.0, 1.0]), columns={"answer": np.array([9, 1, 8, 2, 4, 4])},
    )  # fmt: skip
    by_row = columns(rollouts)
    told = rollouts.with_trajectory_columns(answer=np.array([1, 2, 4, 4]))
    for name, values in columns(told).items():
        np.testing.assert_array_equal(by_row[name], values)
    assert by_row["blend"][0] == pytest.approx(0.5, abs=1e-6)


def test_batches_have_means_of_their_own() -> None:
    rewards, answers = (
        [REWARDS[0], REWARDS[1], REWARDS[2], REWARDS[0]],
        [ANSWERS[0], ANSWERS[1], ANSWERS[2], ANSWERS[0]],
    )
    found = columns(batch_of(rewards, answers, batch=[0, 0, 1, 1]))["global_advantage"][::6]
    np.testing.assert_allclose(found, [0.5**0.5, -(0.5**0.5), 0.5**0.5, -(0.5**0.5)], atol=1e-5)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 5), st.integers(2, 7))
def test_relabelled_answers_and_permuted_members_change_nothing(seed: int, groups: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    rewards, answers = rng.integers(0, 2, (groups, n)).astype(float), rng.integers(0, 4, (groups, n))
    plain = columns(batch_of(rewards.tolist(), answers.tolist()), consistency=True)
    other = columns(batch_of(rewards.tolist(), rng.permutation(100)[answers].tolist()), consistency=True)
    order = rng.permutation(n)
    moved = columns(batch_of(rewards[:, order].tolist(), answers[:, order].tolist()), consistency=True)
    for name, values in plain.items():
        np.testing.assert_allclose(other[name], values, atol=1e-12)
        np.testing.assert_allclose(moved[name].reshape(groups, n), values.reshape(groups, n)[:, order], atol=1e-9)
    assert ((plain["blend"] >= 0) & (plain["blend"] <= 1)).all()
    whole = plain["global_advantage"].reshape(groups, n)
    assert (whole == whole[:, :1]).all()
    assert abs(whole[:, 0].sum()) < 1e-9


def test_bad_input_is_one_line() -> None:
    rollouts = batch_of(REWARDS, ANSWERS)
    with pytest.raises(InputError, match=r"gate: got 'soft with zero'.*nearest: soft-with-zero"):
        columns(rollouts, gate="soft with zero")
    for params, field in (({"sharpness": math.nan}, "sharpness"), ({"midpoint": math.inf}, "midpoint")):
        with pytest.raises(InputError, match=f"{field}: .*a finite number"):
            columns(rollouts, "copo", **params)
    with pytest.raises(InputError, match="eps"):
        columns(rollouts, eps=-1.0)
    with pytest.raises(UnknownNameError, match="gates"):
        columns(rollouts, gates="only-soft")
    texts = rollouts.with_trajectory_columns(answer=np.array(["12"] * 18))
    with pytest.raises(InputError, match="answer: got values of type <U2, allowed integer labels; number the texts"):
        columns(texts)
    bare = Rollouts.flat(offsets=np.arange(3), group=[0, 0], reward=np.ones(2))
    with pytest.raises(MissingColumnError, match="'answer', needed by copo"):
        columns(bare)
