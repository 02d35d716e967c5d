"""Laws that hold on any rollouts: sums, shifts, scales, duplicates, masked rows, permutations."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from group_cases import random_rollouts, run
from hypothesis import given, settings
from hypothesis import strategies as st

from creditsim.rollouts import Rollouts
from creditsim.segments import segment_count, segment_sum

SEEDS = st.integers(0, 2**32 - 1)
GROUP_SPECS = ["grpo", "grpo@verl-agent", "dr_grpo", "rloo", "opo", "gpg@paper", "grpo_passk@paper"]
SPECS = [*GROUP_SPECS, "grpo@trl", "reinforce", "remax", "reinforce_plus_plus", "reinforce_plus_plus_baseline"]

examples = settings(max_examples=100, deadline=None)


def close(got: np.ndarray, want: np.ndarray) -> None:
    np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-9)


def rollouts_of(seed: int, batches: int = 2) -> Rollouts:
    return random_rollouts(np.random.default_rng(seed), batches=batches)


def rows_of(rollouts: Rollouts, trajectories: np.ndarray) -> np.ndarray:
    """Rows of the trajectories named, in that order, repeats allowed."""
    return np.concatenate([np.arange(rollouts.offsets[i], rollouts.offsets[i + 1]) for i in trajectories])


def per_trajectory(rollouts: Rollouts, advantage: np.ndarray) -> np.ndarray:
    return advantage[rollouts.offsets[:-1]]


def total(values: np.ndarray, ids: np.ndarray, n: int) -> np.ndarray:
    return np.asarray(segment_sum(values, ids, n))


@examples
@given(SEEDS)
def test_centred_estimators_sum_to_zero_over_what_they_count(seed: int):
    rollouts = rollouts_of(seed)
    group, rows, n = rollouts.group, rollouts.group_rows, rollouts.n_groups
    for spec in ("grpo", "dr_grpo", "rloo", "gpg@paper"):
        np.testing.assert_allclose(total(per_trajectory(rollouts, run(rollouts, spec)), group, n), 0, atol=1e-9)
    for spec in ("grpo@verl-agent", "rloo@verl-agent"):
        # A row of its own in its group keeps its score under this convention; there are none with two trajectories.
        np.testing.assert_allclose(total(run(rollouts, spec), rows, n), 0, atol=1e-9)
    tokens = rollouts.columns["tokens"]
    np.testing.assert_allclose(total(run(rollouts, "opo") * tokens, rows, n), 0, atol=1e-9)
    for spec in ("reinforce_plus_plus", "reinforce_plus_plus_baseline"):
        sums = total(run(rollouts, spec) * tokens, rollouts.batch_rows, rollouts.n_batches)
        np.testing.assert_allclose(sums, 0, atol=1e-9)


@examples
@given(SEEDS)
def test_rloo_is_the_centred_score_times_n_over_n_minus_one(seed: int):
    rollouts = rollouts_of(seed)
    count = np.asarray(segment_count(rollouts.group, rollouts.group, rollouts.n_groups))[rollouts.group_rows]
    want = run(rollouts, "dr_grpo") * count / (count - 1)
    np.testing.assert_allclose(run(rollouts, "rloo"), want, rtol=1e-13, atol=1e-15)


@examples
@given(SEEDS, st.integers(-64, 64))
def test_adding_a_constant_to_every_score_changes_nothing(seed: int, constant: int):
    rollouts = rollouts_of(seed)
    moved = np.where(rollouts.first_row, rollouts.reward + constant, rollouts.reward)
    for spec in [*GROUP_SPECS, "reinforce_plus_plus_baseline"]:
        close(run(rollouts.with_columns(reward=moved), spec), run(rollouts, spec))


@examples
@given(SEEDS, st.sampled_from([0.5, 3.0, 1000.0]))
def test_multiplying_every_score(seed: int, factor: float):
    rollouts = rollouts_of(seed)
    scaled = rollouts.with_columns(reward=rollouts.reward * factor)
    for spec in ("dr_grpo", "rloo", "opo", "gpg@paper", "gpg@verl", "grpo_passk@paper", "reinforce"):
        close(run(scaled, spec), factor * run(rollouts, spec))
    for spec in ("grpo@paper", "reinforce_plus_plus", "reinforce_plus_plus_baseline"):
        zero = {"eps_inside": 0.0} if spec.startswith("reinforce") else {}
        close(run(scaled, spec, **zero), run(rollouts, spec, **zero))


@examples
@given(SEEDS)
def test_a_second_copy_of_a_group_changes_nothing_for_either(seed: int):
    rollouts = rollouts_of(seed, batches=1)
    n = rollouts.n_trajectories
    twice = np.concatenate([np.arange(n), np.arange(n)])
    double = rollouts.take(twice, group=np.concatenate([rollouts.group, rollouts.group + rollouts.n_groups]))
    for spec in GROUP_SPECS:
        want = np.tile(run(rollouts, spec), 2)
        close(run(double, spec), want)


@examples
@given(SEEDS)
def test_members_doubled_inside_a_group_keep_the_mean_and_shrink_the_deviation(seed: int):
    """n -> 2n copies: mean the same, divisor n - 1 -> 2n - 1 beside twice the squares."""
    rollouts = rollouts_of(seed, batches=1)
    twice = np.repeat(np.arange(rollouts.n_trajectories), 2)
    double, rows = rollouts.take(twice), rows_of(rollouts, twice)
    count = np.asarray(segment_count(rollouts.group, rollouts.group, rollouts.n_groups))[double.group_rows]
    close(run(double, "dr_grpo"), run(rollouts, "dr_grpo")[rows])
    shrink = np.sqrt((2 * count - 1) / (2 * count - 2))
    close(run(double, "grpo@paper"), run(rollouts, "grpo@paper")[rows] * shrink)


@examples
@given(SEEDS)
def test_order_of_trajectories_does_not_matter(seed: int):
    rng = np.random.default_rng(seed)
    rollouts = random_rollouts(rng)
    order = rng.permutation(rollouts.n_trajectories)
    shuffled = rollouts.take(order, group=rollouts.group[order], batch=rollouts.batch[order])
    rows = rows_of(rollouts, order)
    for spec in SPECS:
        close(run(shuffled, spec), run(rollouts, spec)[rows])


def spoiled(seed: int) -> tuple[Rollouts, Rollouts, np.ndarray]:
    """The same rollouts twice, with other rewards and tokens in the masked trajectories, and the live rows."""
    rng = np.random.default_rng(seed)
    rollouts = random_rollouts(rng, members=(3, 6))
    masked = rng.random(rollouts.n_trajectories) < 0.3
    live = ~masked[rollouts.trajectory]
    rollouts = rollouts.with_columns(weight=live.astype(float))
    wild = np.where(live, rollouts.reward, 1e6 * rng.standard_normal(live.size))
    tokens = np.where(live, rollouts.columns["tokens"], 99)
    return rollouts, rollouts.with_columns(reward=wild, tokens=tokens), live


@examples
@given(SEEDS)
def test_masked_trajectories_have_no_influence_and_get_nothing(seed: int):
    rollouts, wild, live = spoiled(seed)
    keep = np.flatnonzero([live[a] for a in rollouts.offsets[:-1]])
    for spec in SPECS:
        if "verl" in spec:
            continue
        calm = run(rollouts, spec)
        np.testing.assert_array_equal(run(wild, spec), calm)
        assert not calm[~live].any()
        if keep.size:
            absent = replace(rollouts.take(keep), columns={"tokens": rollouts.columns["tokens"][live]})
            close(calm[live], run(absent, spec))


def test_the_masking_law_rejects_a_convention_that_leaks():
    rollouts, wild, _ = spoiled(3)
    for spec in ("grpo@verl", "rloo@verl", "opo@verl", "gpg@verl", "reinforce_plus_plus@verl"):
        assert np.abs(run(wild, spec) - run(rollouts, spec)).max() > 1e-3


@pytest.mark.parametrize("spec", SPECS)
def test_a_group_of_masked_trajectories_only(spec: str):
    rollouts = rollouts_of(5)
    weight = np.where(rollouts.group_rows == 1, 0.0, 1.0)
    got = run(rollouts.with_columns(weight=weight), spec, masked="exclude")
    assert np.isfinite(got).all()
    assert not got[weight == 0].any()
    assert got[weight != 0].any()


@pytest.mark.parametrize("spec", SPECS)
def test_everything_masked_gives_nothing(spec: str):
    rollouts = rollouts_of(6)
    assert not run(rollouts.with_columns(weight=np.zeros(rollouts.n_rows)), spec, masked="exclude").any()


@examples
@given(SEEDS)
def test_a_row_of_weight_zero_in_a_live_trajectory_gets_nothing_but_its_reward_counts(seed: int):
    rollouts = rollouts_of(seed)
    weight = np.where(rollouts.first_row, 1.0, 0.0)
    got = run(rollouts.with_columns(weight=weight), "dr_grpo")
    np.testing.assert_array_equal(got, np.where(weight > 0, run(rollouts, "dr_grpo"), 0.0))
