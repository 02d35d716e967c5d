"""The law of nested context groups: against the library's own enumeration, estimator and exact values."""

from __future__ import annotations

import numpy as np
import pytest

from creditsim.exact.moments import exact_moments
from creditsim.exact.trajectories import enumerate_trajectories
from creditsim.mdp import SoftmaxPolicy, TabularMDP, make
from creditsim.rollouts import Rollouts
from theory.claims.hgpo import lone_ids
from theory.context_groups import (
    Task,
    Windows,
    aliased_task,
    context_values,
    gap_task,
    group_law,
    level_weights,
    spread_task,
    window_ids,
)
from theory.shared import binomial, credit_column


def hgpo_errors(task: Task, n: int, depth: int, weights: str) -> tuple[float, float]:
    """Mean squared error of the raw advantage over choice rows: from the law, and from the estimator by enumeration."""
    law = group_law(task.mdp, task.policy, task.choice, n, depth)
    ours = law.pooled((law.raw(level_weights(depth, 1.0, weights)) - law.exact) ** 2)
    credit = credit_column("hgpo", K=depth, gamma=1.0, normalize="mean", weights=weights, zero_levels="keep")
    found = exact_moments(credit, task.mdp, task.policy, group_size=n)
    here = np.isin(found.keys[:, 0], task.choice)
    return ours, float(np.average(found.mse[here], weights=found.rows[here]))


@pytest.mark.parametrize("weights", ["code", "paper"])
@pytest.mark.parametrize("n", [2, 3, 5])
def test_raw_advantages_are_the_estimators(n: int, weights: str) -> None:
    ours, theirs = hgpo_errors(spread_task(0.7), n, 2, weights)
    assert ours == pytest.approx(theirs, rel=3e-6)  # the code's weights sum to just below 1
    if n == 5:
        other = hgpo_errors(spread_task(0.7), n, 1, weights)[0]
        assert abs(other - theirs) > 1e-3 * theirs


@pytest.mark.parametrize("seed", [0, 1])
def test_layered_rows_of_all_states_agree_too(seed: int) -> None:
    mdp = make("layered@tiny", seed=seed)
    policy = SoftmaxPolicy.random(mdp, seed)
    law = group_law(mdp, policy, np.flatnonzero(~mdp.terminal), 2, 2)
    credit = credit_column("hgpo", K=2, gamma=mdp.gamma, normalize="mean", weights="paper", zero_levels="keep")
    found = exact_moments(credit, mdp, policy, group_size=2)
    ours = law.pooled((law.raw(level_weights(2, 1.0, "paper")) - law.exact) ** 2)
    assert ours == pytest.approx(float(np.average(found.mse, weights=found.rows)), rel=1e-10)


def test_values_of_windows() -> None:
    task = spread_task(1.0)
    assert task.mass == pytest.approx([0.25] * 4)
    assert task.value == pytest.approx(np.array([-2.0, 0.0, 0.0, 2.0]) / np.sqrt(2.0), abs=1e-15)
    assert context_values(task, 0) == pytest.approx([0.0] * 4, abs=1e-15)
    assert context_values(task, 1) == pytest.approx(np.array([-1.0, 1.0, -1.0, 1.0]) / np.sqrt(2.0))
    assert context_values(task, 2) == pytest.approx(task.value, abs=1e-15)


def test_policy_that_forgets_gives_histories_one_row() -> None:
    payoff = [[0.0, 1.0], [0.5, 0.0], [2.0, 1.0], [1.5, 3.0]]
    task = aliased_task(payoff, [0.7, 0.2, 0.9, 0.4], delay=2, memory=1)
    pi = task.policy.probabilities(task.mdp)[task.choice, 1]
    assert pi == pytest.approx([0.7, 0.2, 0.7, 0.2])
    whole = aliased_task(payoff, [0.7, 0.2, 0.9, 0.4], delay=2)
    assert whole.policy.probabilities(whole.mdp)[whole.choice, 1] == pytest.approx([0.7, 0.2, 0.9, 0.4])


@pytest.mark.parametrize("cue", [0.5, 0.9])
def test_uneven_cues(cue: float) -> None:
    task = gap_task(1.0, cue=cue)
    assert task.mass == pytest.approx([cue, 1.0 - cue])
    assert task.value == pytest.approx([0.7, 1.7])
    law = group_law(task.mdp, task.policy, task.choice, 4, 1)
    first = law.place == 0
    sizes = np.bincount(law.size[1][first], law.chance[first], 5) / law.chance[first].sum()
    assert sizes[1:] == pytest.approx(binomial(3, cue), abs=1e-13)


def test_rows_are_counted_once_each() -> None:
    law = group_law(*_parts(spread_task(1.0)), 3, 2)
    assert law.chance.sum() == pytest.approx(3.0, rel=1e-12)
    assert law.mean(law.to_go) == pytest.approx(spread_task(1.0).value, abs=1e-12)
    assert law.pooled(law.exact) == pytest.approx(0.0, abs=1e-12)


def test_rows_alone_have_no_baseline_and_no_advantage() -> None:
    task = gap_task(1.0)
    law = group_law(*_parts(task), 1, 1)
    baseline, live = law.mixed(np.ones(2))
    assert not live.any() and not baseline.any() and not law.raw(np.ones(2)).any()


def test_windows_are_nested_and_lone_observations_are_not() -> None:
    law = enumerate_trajectories(*_law(spread_task(1.0)))
    rollouts = law.compose(np.arange(law.size)[None, :])
    nested = [nests(rollouts, k, window_ids) for k in (1, 2)]
    assert all(nested)
    assert not nests(rollouts, 2, lone_ids)


def nests(rollouts: Rollouts, k: int, windows: Windows) -> bool:
    deep, flat = windows(rollouts, k), windows(rollouts, k - 1)
    inside = deep >= 0
    pairs = {(int(d), int(f)) for d, f in zip(deep[inside], flat[inside], strict=True)}
    return len(pairs) == len({d for d, _ in pairs})


def test_windows_stop_at_the_start_of_the_episode() -> None:
    law = enumerate_trajectories(*_law(gap_task(1.0)))
    rollouts = law.compose(np.arange(law.size)[None, :])
    for k in range(3):
        place = np.arange(rollouts.n_rows) - rollouts.offsets[:-1][rollouts.trajectory]
        assert ((window_ids(rollouts, k) >= 0) == (place >= k)).all()


def _law(task: Task) -> tuple[TabularMDP, np.ndarray]:
    return task.mdp, task.policy.probabilities(task.mdp)


def _parts(task: Task) -> tuple[TabularMDP, SoftmaxPolicy, np.ndarray]:
    return task.mdp, task.policy, task.choice
