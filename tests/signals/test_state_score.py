"""The state score: the spec's worked numbers, counts by path and by visit, both readings of "novel", clocks, edges."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from creditsim.errors import InputError, UnknownNameError
from creditsim.mdp import SoftmaxPolicy, make
from creditsim.rollouts import Rollouts
from creditsim.sampling import TableSampler
from creditsim.score_table import ScoreRule, branches, lookup
from creditsim.signals import SIGNALS

S, GOOD, DEAD = 0, 1, 2


def state_of(replicates: int = 1, **more: Any) -> dict[str, Any]:
    return {"replicate": np.arange(replicates), **more}


def one_step(observations: list[int], after: list[int], reward: list[float] | None = None) -> Rollouts:
    """One group of one-step branches."""
    n = len(observations)
    return Rollouts.flat(
        offsets=np.arange(n + 1), group=[0] * n, observation=observations, action=[0] * n,
        reward=reward or [0.0] * n, columns={"next_observation": np.array(after)},
        trajectory_columns={"ended": np.zeros(n, bool)},
    )  # fmt: skip


def walk(observations: list[int], last: int, won: bool) -> Rollouts:
    """One trajectory through `observations` to `last`."""
    n = len(observations)
    return Rollouts.flat(
        offsets=[0, n], group=[0], observation=observations, action=[0] * n, terminated=[won],
        reward=[0.0] * (n - 1) + [float(won)], columns={"next_observation": np.array([*observations[1:], last])},
    )  # fmt: skip


def run(rollouts: Rollouts, state: dict[str, Any], spec: str = "state_score", **params: Any):
    return SIGNALS.bind(spec, **params)(rollouts, state)


def history(total: list[int], success: list[int], clock: int = 2) -> dict[str, np.ndarray]:
    return {
        "score_total": np.array([total]), "score_success": np.array([success]), "score_clock": np.array([clock]),
    }  # fmt: skip


def test_trap_numbers_of_the_spec() -> None:
    """A(good) = +0.248 before the tenth failure of the dead state, -0.000 (negative) after it."""
    branch = one_step([S] * 4, [GOOD, GOOD, DEAD, DEAD])
    # Good is solved by half of its paths, so at t = 2 it scores 2^-25.
    credit = {}
    for failures in (9, 10):
        state = {**state_of(), **history([50, 50, failures], [25, 25, 0])}
        columns, _ = run(branch, state, learn=False)
        reward = columns["step_reward"]
        credit[failures] = reward - reward.mean()
        assert reward[0] - reward[2] == pytest.approx(0.497 if failures == 9 else 0.0, abs=5e-4)
    assert credit[9][0] == pytest.approx(0.248, abs=5e-4) and credit[9][2] == pytest.approx(-0.248, abs=5e-4)
    w, s_good = 0.5 * math.exp(-5.0), math.exp(-50 * math.log(2) * 25 / (50 + 1e-6))
    assert credit[10][0] == pytest.approx(-(0.5 - w) * s_good / 2, rel=1e-6)
    assert credit[10][0] < 0
    repaired, _ = run(branch, {**state_of(), **history([50, 50, 10], [25, 25, 0])}, learn=False, truncated=1.0)
    assert repaired["step_reward"][0] - repaired["step_reward"][2] == pytest.approx(0.497, abs=5e-4)


@pytest.mark.parametrize(("t", "percent"), [(2, 6.0), (10, 1.8), (100, 0.9), (100_000, 0.36)])
def test_one_branch_from_a_small_success_rate_on(t: int, percent: float) -> None:
    border = math.log(8) / (50 * math.log(t))
    assert 100 * border == pytest.approx(percent, abs=0.05 if percent > 0.5 else 0.005)
    n = 1_000_000
    for rate, expected in ((border * 1.001, 1), (border * 0.999, 2)):
        score = ScoreRule(xi=math.inf).score(n, rate * n, t)
        assert branches(score, 8) == expected


def test_boundaries_of_truncation() -> None:
    rule = ScoreRule()
    # 1 success in 11 and 2 in 20 are truncated: the comparison is strict and eps pulls the rate down.
    total, success = np.array([10, 9, 11, 20, 20, 21, 100]), np.array([0, 0, 1, 2, 3, 3, 10])
    assert rule.keeps(total, success).tolist() == [False, True, False, False, True, True, False]
    assert ScoreRule(eps=0.0).keeps(20, 2) == (2 / 20 > 0.1)
    assert rule.score(0, 0, 99) == 1.0
    assert (rule.score(total, success, 1)[rule.keeps(total, success)] == 1.0).all()
    tiny = rule.score(10**6, 10**6, 1e9)
    assert 0 < tiny < 1e-300 and branches(tiny, 8) == 1


@given(
    st.integers(0, 60), st.integers(0, 60), st.integers(1, 10**6), st.floats(0.1, 100.0), st.integers(1, 30),
    st.floats(0, 1),
)  # fmt: skip
def test_score_laws(success: int, failures: int, t: int, alpha: float, xi: int, zeta: float) -> None:
    rule = ScoreRule(alpha, xi, zeta)
    score = float(rule.score(success + failures, success, t))
    assert 0.0 <= score <= 1.0
    assert (score == 0.0) == (not rule.keeps(success + failures, success))
    assert (branches(score, 8) == 0) == (score == 0.0)
    later = float(rule.score(success + failures, success, t + 1))
    assert later <= score
    if rule.keeps(success + failures, success):
        assert float(rule.score(success + failures + 1, success + 1, t)) <= score + 1e-12


def test_gui_rule() -> None:
    rule = ScoreRule(alpha=0.1, xi=8, zeta=1.0, schedule="saturating")
    assert rule.slope(1000.0) == pytest.approx(1 - math.exp(-0.1))
    assert not rule.keeps(100, 92) and rule.keeps(100, 93)
    assert branches([1.0, 0.5, 0.0], 8, "sigmoid").tolist() == [5, 4, 4]
    assert branches(0.0, 1, "sigmoid") == 1


def test_paths_count_each_distinct_observation_once() -> None:
    columns, state = run(walk([0, 1, 0, 2], 3, True), state_of())
    assert state["score_total"][0].tolist() == [1, 1, 1, 1]
    assert state["score_success"][0].tolist() == [1, 1, 1, 1]
    assert columns["visits"].tolist() == [0, 0, 0, 0]
    assert columns["success"].tolist() == [False, False, False, True]
    _, state = run(walk([0, 1], 1, False), state)
    assert state["score_total"][0].tolist() == [2, 2, 1, 1]
    assert state["score_success"][0].tolist() == [1, 1, 1, 1]
    assert state["score_clock"].tolist() == [3]


def test_a_shared_prefix_counts_once_for_every_path_that_ends() -> None:
    tree = Rollouts.flat(
        offsets=[0, 1, 2, 3, 4], group=[0] * 4, parent=[-1, 0, 0, 0], observation=[0, 1, 1, 1], action=[0, 0, 1, 1],
        reward=[0.0, 1.0, 0.0, 0.0], terminated=[False, True, False, False],
        columns={"next_observation": np.array([1, 2, 3, 3])},
        trajectory_columns={"ended": np.array([False, True, True, False])},
    )  # fmt: skip
    _, state = run(tree, state_of())
    assert state["score_total"][0].tolist() == [2, 2, 1, 1]
    assert state["score_success"][0].tolist() == [1, 1, 1, 0]
    assert state["score_clock"].tolist() == [3]
    # Without the column every leaf is the end of a path: broken twin of the column's meaning.
    every, _ = tree.paths()
    assert every.n_trajectories == 3


def test_visits_count_branch_groups_before_anything_is_read() -> None:
    branch = one_step([0] * 8, [1] * 8)
    columns, state = run(branch, state_of(), counts="visit")
    assert (columns["visits"] == 1).all()
    assert state["score_total"][0].tolist() == [1, 0]
    # Nine failures known: the design reads the score with the visit to come, so the tenth visit truncates.
    past = {**state_of(), **history([9, 0], [0, 0])}
    _, by_visit = run(one_step([1], [1]), past, counts="visit")
    _, by_path = run(one_step([1], [1]), past)
    assert by_visit["score"][0, 0, 0] == 0.0 and by_path["score"][0, 0, 0] == 1.0
    _, state = run(walk([0, 1], 2, True), {**state_of(), **history([1, 1, 1], [1, 0, 1])}, counts="visit")
    assert (state["score_success"] <= state["score_total"]).all()


def test_readings_of_novel() -> None:
    rollouts = walk([0, 1, 1, 0, 2], 3, False)
    past = {**state_of(), **history([5, 0, 5, 0], [0, 0, 0, 0])}
    found = {name: run(rollouts, past, novel=name)[0]["novel"].tolist() for name in ("changed", "unseen", "first")}
    assert found["changed"] == [True, False, True, True, True]
    assert found["unseen"] == [True, True, False, False, True]
    assert found["first"] == [True, False, False, True, True]


def test_a_new_state_loses_against_a_mastered_one() -> None:
    """With "changed" from the first visit on; with "unseen" once w < 1/4, N(s) >= 7."""
    new, mastered = 1, 2
    branch = one_step([0, 0], [new, mastered])
    for visits in (0, 1, 6, 7, 30):
        past = {**state_of(), **history([visits, 0, 40], [0, 0, 40], 50)}
        lead = {
            name: np.subtract(*run(branch, past, novel=name, xi=math.inf)[0]["step_reward"])
            for name in ("changed", "unseen")
        }
        assert (lead["changed"] < 0) == (visits > 0)
        assert (lead["unseen"] < 0) == (visits >= 7)


def test_clocks() -> None:
    rollouts = walk([0, 1], 2, True)
    for clock, t in (("trajectories", 2), ("iterations", 2)):
        _, state = run(rollouts, state_of(), clock=clock, alpha=1.0)
        assert state["score"].shape == (1, 1, 3)
        np.testing.assert_allclose(state["score"][0, 0], math.exp(-math.log(t) / (1 + 1e-6)))
    group = Rollouts.flat(
        offsets=[0, 1, 2], group=[0, 0], observation=[0, 0], reward=[1.0, 1.0],
        columns={"next_observation": np.array([1, 1])},
    )  # fmt: skip
    assert run(group, state_of())[1]["score_clock"].tolist() == [3]
    assert run(group, state_of(), clock="iterations")[1]["score_clock"].tolist() == [2]
    _, state = run(rollouts, state_of(horizon=4), clock="depth", alpha=1.0)
    np.testing.assert_allclose(state["score"][0, :, 0], [t ** (-1 / (1 + 1e-6)) for t in range(1, 6)])
    zero = np.zeros(2, np.int64)
    deep = lookup(state, zero, np.array([0, 99]), zero)
    assert deep.tolist() == [1.0, state["score"][0, 4, 0]]
    assert lookup(state, zero, zero, np.array([7, 0])).tolist() == [1.0, 1.0]  # nobody has seen observation 7


def test_replicates_keep_their_own_history() -> None:
    mdp = make("chain@small")
    spec = SIGNALS.bind("state_score", alpha=2.0)

    def history_of(first: int, count: int) -> dict[str, Any]:
        state: dict[str, Any] = {"replicate": np.arange(count), "observation_of_state": mdp.observation}
        for k in range(3):
            sampler = TableSampler(mdp, seed=k, batches=count, groups=2, first_batch=first)
            _, state = spec(sampler.extend(copies=3, policy=SoftmaxPolicy.uniform(mdp)), state)
        return state

    whole, part = history_of(0, 4), history_of(1, 2)
    for name in ("score_total", "score_success", "score_clock", "score"):
        assert np.array_equal(part[name], whole[name][1:3])
    assert not np.array_equal(part["score_total"], whole["score_total"][:2])
    assert (whole["score_clock"] == 1 + 18).all()
    assert (whole["score_total"][:, 0] == 18).all()


def test_frozen_history_stays() -> None:
    past = {**state_of(), **history([3, 3], [1, 2])}
    columns, state = run(walk([0, 1], 1, True), past, learn=False, alpha=1.0)
    assert state["score_total"] is not None and np.array_equal(state["score_total"][0], [3, 3])
    assert np.array_equal(state["score_success"][0], [1, 2])
    np.testing.assert_allclose(state["score_reward"][0], columns["step_reward"])


@pytest.mark.parametrize(
    ("params", "line"),
    [
        ({"alpha": 0.0}, "alpha: got 0.0, allowed a finite number > 0"),
        ({"alpha": math.nan}, "alpha: got nan"),
        ({"xi": 0}, "xi: got 0, allowed a number of failures >= 1"),
        ({"zeta": 1.5}, "zeta: got 1.5, allowed 0 <= zeta <= 1"),
        ({"eps": -1.0}, "eps: got -1.0"),
        ({"omega": -0.1}, "omega: got -0.1"),
        ({"clock": "dept"}, "clock: got 'dept'.*nearest: depth"),
        ({"novel": "new"}, "novel: got 'new'"),
        ({"counts": "rows"}, "counts: got 'rows'"),
        ({"schedule": "linear"}, "schedule: got 'linear'"),
    ],
)
def test_bad_parameters_are_one_line(params: dict[str, Any], line: str) -> None:
    with pytest.raises(InputError, match=line) as error:
        run(walk([0], 1, True), state_of(), **params)
    assert "\n" not in str(error.value)


def test_presets() -> None:
    assert SIGNALS.bind("state_score@gui").params["schedule"] == "saturating"
    assert SIGNALS.bind("state_score@paper").params["clock"] == "depth"
    assert dict(SIGNALS.bind("state_score@code").params) == dict(SIGNALS["state_score"].defaults)
    with pytest.raises(UnknownNameError, match="nearest: paper"):
        SIGNALS.bind("state_score@papr")
    with pytest.raises(InputError, match="group_size: got 0"):
        branches(1.0, 0)
