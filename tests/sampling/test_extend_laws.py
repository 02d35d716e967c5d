"""Laws of `extend` and of the designs on random MDPs: truth of every row, order of growth, what designs promise."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from creditsim.errors import InputError
from creditsim.exact.dp import solve
from creditsim.mdp import SoftmaxPolicy, TabularMDP, make
from creditsim.rollouts import FIELDS, Rollouts
from creditsim.sampling import DESIGNS, TableSampler, enumerate_design, sample_returns

mdps = st.builds(
    lambda seed, actions, forbidden, inner, horizon, ending: make(
        "random", states=5, actions=actions, branching=2, observations=3, forbidden=forbidden, inner=inner,
        horizon=horizon, ending=ending, gamma=0.9, seed=seed,
    ),
    seed=st.integers(0, 10**6),
    actions=st.integers(1, 3),
    forbidden=st.sampled_from([0.0, 0.5]),
    inner=st.sampled_from([0.0, 0.5]),
    horizon=st.integers(1, 5),
    ending=st.sampled_from([0.0, 0.3]),
)  # fmt: skip


def untrue(rollouts: Rollouts, mdp: TabularMDP, pi: np.ndarray) -> list[str]:
    """What rows of a table must keep, and these do not: an empty list where all is true."""
    c, previous = rollouts.columns, rollouts.previous
    state, after, action = c["state"], c["next_state"], rollouts.action
    inner = previous >= 0
    branch = mdp.successor[state, action] == after[:, None]
    possible = branch & (mdp.probability[state, action] > 0)
    paid = (possible & (mdp.scalar_reward[state, action] == rollouts.reward[:, None])).any(axis=1)
    ends = rollouts.offsets[1:] - 1
    step_after = rollouts.step + mdp.tick[after]
    goes_on = np.zeros(rollouts.n_rows, bool)
    goes_on[previous[inner]] = True
    facts = {
        "moves": possible.any(axis=1).all(),
        "rewards": paid.all(),
        "chains": np.array_equal(state[inner], after[previous[inner]]),
        "starts": (mdp.start[state[~inner]] > 0).all() and (rollouts.step[~inner] == 0).all(),
        "steps": np.array_equal(rollouts.step[inner], step_after[previous[inner]]),
        "alive": not mdp.terminal[state].any() and (rollouts.step < mdp.horizon).all(),
        "allowed": mdp.mask[state, action].all(),
        "observed": np.array_equal(rollouts.observation, mdp.observation[state]),
        "context": np.array_equal(c["context"], mdp.context[state]),
        "log-probability": np.allclose(np.exp(c["log_prob"]), pi[state, action], atol=1e-12),
        "terminated": np.array_equal(rollouts.terminated, mdp.terminal[after[ends]]),
        "nothing after an end": not (mdp.terminal[after] & goes_on).any(),
    }
    return [name for name, holds in facts.items() if not holds]


def grown(mdp: TabularMDP, seed: int, rounds: int = 2) -> tuple[TableSampler, Rollouts, SoftmaxPolicy]:
    policy = SoftmaxPolicy.random(mdp, seed)
    sampler = TableSampler(mdp, seed=seed, batches=2, groups=2)
    rollouts, rng = sampler.extend(copies=2, policy=policy, steps=2), np.random.default_rng(seed)
    for _ in range(rounds):
        rows = np.flatnonzero(sampler.continues(rollouts))
        if rows.size:
            rollouts = sampler.extend(rollouts, after=rng.choice(rows, 3), steps=int(rng.integers(1, 4)), policy=policy)
    return sampler, rollouts, policy


@settings(max_examples=40)
@given(mdps, st.integers(0, 1000))
def test_rows_of_a_grown_tree_are_true(mdp: TabularMDP, seed: int) -> None:
    sampler, rollouts, policy = grown(mdp, seed)
    pi = policy.probabilities(mdp)
    assert untrue(rollouts, mdp, pi) == []
    assert untrue(rollouts.paths()[0], mdp, pi) == []
    truth = solve(mdp, pi)
    assert np.isfinite(truth.row_advantage(rollouts)).all()
    # Rows that an episode goes on from are those that have a next decision to make.
    after, step = rollouts.column("next_state"), rollouts.step + mdp.tick[rollouts.column("next_state")]
    assert np.array_equal(sampler.continues(rollouts), ~mdp.terminal[after] & (step < mdp.horizon))


FAULTS: dict[str, Any] = {
    "moves": {"next_state": lambda r: np.full(r.n_rows, 0)},
    "rewards": {"reward": lambda r: r.reward + 0.5},
    "steps": {"step": lambda r: r.step + (r.previous >= 0)},
    "allowed": {"action": lambda r: 2 - r.action},
    "observed": {"observation": lambda r: (r.observation + 1) % 3},
    "context": {"context": lambda r: r.column("context") + 1},
    "log-probability": {"log_prob": lambda r: r.column("log_prob") - 0.01},
    "chains": {"state": lambda r: np.roll(r.column("state"), 1)},
}


@pytest.mark.parametrize("fault", FAULTS)
def test_the_truth_check_sees_a_false_column(fault: str) -> None:
    mdp = make(
        "random", states=5, actions=3, branching=2, observations=3, forbidden=0.5, inner=0.5, horizon=5, ending=0.3,
        seed=1,
    )  # fmt: skip
    _, rollouts, policy = grown(mdp, 0)
    broken = rollouts.with_columns(**{name: change(rollouts) for name, change in FAULTS[fault].items()})
    assert fault in untrue(broken, mdp, policy.probabilities(mdp))


@settings(max_examples=25)
@given(mdps, st.integers(0, 1000), st.integers(1, 4))
def test_growing_changes_nothing_that_was_there(mdp: TabularMDP, seed: int, copies: int) -> None:
    sampler, old, policy = grown(mdp, seed, rounds=1)
    rows = np.flatnonzero(sampler.continues(old))
    new = sampler.extend(old, after=rows, copies=copies, policy=policy, weight=0.5)
    assert new.n_trajectories == old.n_trajectories + copies * rows.size
    for name in FIELDS:
        assert np.array_equal(getattr(new, name)[: getattr(old, name).size], getattr(old, name))
    assert new.parent[old.n_trajectories :].tolist() == np.repeat(rows, copies).tolist()
    if rows.size:
        assert set(new.column("weight")[: old.n_rows]) == {1.0} and set(new.column("weight")[old.n_rows :]) == {0.5}


@settings(max_examples=25)
@given(mdps, st.integers(0, 1000))
def test_returns_without_rollouts_are_those_of_the_rollouts(mdp: TabularMDP, seed: int) -> None:
    policy = SoftmaxPolicy.random(mdp, seed)
    rollouts = TableSampler(mdp, seed=seed, batches=2, groups=7).extend(policy=policy)
    reduced = sample_returns(mdp, policy, 7, seed=seed, batches=2)
    value = np.bincount(rollouts.trajectory, rollouts.reward * mdp.gamma**rollouts.step, rollouts.n_trajectories)
    np.testing.assert_allclose(reduced.value.ravel(), value, rtol=0, atol=1e-12)
    assert np.array_equal(reduced.length.ravel(), rollouts.length)
    assert np.array_equal(reduced.terminated.ravel(), rollouts.terminated)


NAMES = ["branching", "filtered", "independent", "independent_with_greedy", "vine"]


@pytest.mark.parametrize("name", NAMES)
def test_a_design_remembers_nothing_and_does_not_touch_its_state(name: str) -> None:
    mdp = make("loop@tiny")
    policy = SoftmaxPolicy.random(mdp, 0)
    state = {"kept": np.arange(3)}
    part = DESIGNS.bind(name)
    one, given_back = part(TableSampler(mdp, seed=1, batches=2), policy, state)
    two, _ = part(TableSampler(mdp, seed=1, batches=2), policy, None)
    assert given_back == state and state["kept"].tolist() == [0, 1, 2]
    for field in FIELDS:
        assert np.array_equal(getattr(one, field), getattr(two, field))
    assert untrue(one, mdp, policy.probabilities(mdp)) == []
    for column in part.part.makes:
        assert one.has(column)


@pytest.mark.parametrize("name", ["independent", "branching", "vine"])
def test_designs_keep_the_law_of_the_first_action(name: str) -> None:
    """Exact: over every sequence of draws, first actions of roots follow the policy, whatever else is drawn."""
    mdp = make("loop@tiny", horizon=2)
    policy = SoftmaxPolicy.random(mdp, 3)
    small = {"branching": {"branches": 2, "after_steps": (1,)}, "vine": {"copies": 1}}.get(name, {})
    rollouts, p = enumerate_design(name, mdp, policy, group_size=1, **small)
    pi = policy.probabilities(mdp)[0]
    assert abs(p.sum() - 1.0) < 1e-12
    roots = np.flatnonzero((rollouts.parent < 0) & (np.diff(rollouts.group, prepend=-1) != 0))
    first = rollouts.action[rollouts.offsets[:-1][roots]]
    np.testing.assert_allclose(np.bincount(first, p[rollouts.batch[roots]], mdp.n_actions), pi, rtol=0, atol=1e-12)


def test_expected_rewards_of_every_design_by_hand_and_by_enumeration() -> None:
    """E[return] of each root is J, for designs that keep every trajectory; filtering moves it, and by how much."""
    mdp = make("answers", p=((0.25, 0.75),), prompts=1)
    policy = SoftmaxPolicy.uniform(mdp)
    j = solve(mdp, policy.probabilities(mdp)).j
    assert abs(j - 0.5) < 1e-15
    for name in ("independent", "independent_with_greedy"):
        rollouts, p = enumerate_design(name, mdp, policy, group_size=2)
        score = np.bincount(rollouts.trajectory, rollouts.reward, rollouts.n_trajectories)
        assert abs((p[rollouts.batch] * score).sum() / 2 - j) < 1e-12
    filtered, p = enumerate_design("filtered", mdp, policy, group_size=2, tries=1, last_try="mask")
    score = np.bincount(filtered.trajectory, filtered.reward, filtered.n_trajectories)
    kept = filtered.column("weight")[filtered.offsets[:-1]] > 0
    # Two answers of mixed outcome: each half of the mass, so the success rate of kept ones is 1/2 and 1/2 is kept.
    assert abs((p[filtered.batch] * kept * score).sum() / (p[filtered.batch] * kept).sum() - 0.5) < 1e-12
    assert abs((p[filtered.batch] * kept).sum() / 2 - 0.5) < 1e-12


WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("branching", {"branches": 0}, "branches: got 0"),
    ("branching", {"after_steps": (2, 1)}, "after_steps: got (2, 1)"),
    ("branching", {"after_steps": (0,)}, "after_steps: got (0,)"),
    ("filtered", {"group_size": 1}, "group_size: got 1"),
    ("filtered", {"tries": 0}, "tries: got 0"),
    ("filtered", {"tasks": "nwe"}, "tasks: got 'nwe', allowed new | same; nearest: new"),
    ("filtered", {"last_try": "drop"}, "last_try: got 'drop'"),
    ("independent", {"group_size": -1}, "copies: got -1"),
    ("vine", {"copies": -2}, "copies: got -2"),
]


@pytest.mark.parametrize(("name", "params", "line"), WRONG)
def test_wrong_parameters_of_designs_are_one_line(name: str, params: dict[str, Any], line: str) -> None:
    mdp = make("loop@tiny")
    with pytest.raises(InputError) as error:
        DESIGNS.bind(name, **params)(TableSampler(mdp), SoftmaxPolicy.uniform(mdp), None)
    assert str(error.value).startswith(line) and "\n" not in str(error.value)
