"""What `extend` promises: order, parents, steps, groups, weights, columns, and one line for what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
from sampling_oracles import awkward_mdp, random_policy

from creditsim.errors import InputError, MissingColumnError, UnknownNameError
from creditsim.mdp import SoftmaxPolicy, TabularMDP, make
from creditsim.rollouts import FIELDS, Rollouts
from creditsim.sampling import TableSampler, sample_returns


def checked(rollouts: Rollouts) -> Rollouts:
    """Pass the rollouts through the checking door; it must change nothing."""
    fields = {name: getattr(rollouts, name) for name in FIELDS}
    again = Rollouts.flat(**fields, columns=rollouts.columns, trajectory_columns=rollouts.trajectory_columns)
    assert all(np.array_equal(getattr(again, name), fields[name]) for name in FIELDS)
    return rollouts


def consistent(rollouts: Rollouts, mdp: TabularMDP, policy: SoftmaxPolicy) -> None:
    """Every row follows from the row before it, and every episode ends for a reason."""
    c, previous = rollouts.columns, rollouts.previous
    inner = previous >= 0
    assert np.array_equal(c["state"][inner], c["next_state"][previous[inner]])
    assert np.array_equal(
        rollouts.step[inner], rollouts.step[previous[inner]] + mdp.tick[c["next_state"][previous[inner]]]
    )
    assert (rollouts.step[~inner] == 0).all()
    assert rollouts.step.max() < mdp.horizon
    assert not mdp.terminal[c["state"]].any()
    assert mdp.mask[c["state"], rollouts.action].all()
    assert np.array_equal(rollouts.observation, mdp.observation[c["state"]])
    assert np.array_equal(c["context"], mdp.context[c["state"]])
    pi = policy.probabilities(mdp)
    chosen = pi[c["state"], rollouts.action] if pi.ndim == 2 else pi[rollouts.batch_rows, c["state"], rollouts.action]
    np.testing.assert_allclose(c["log_prob"], np.log(chosen))
    last = rollouts.offsets[1:] - 1
    assert np.array_equal(rollouts.terminated, mdp.terminal[c["next_state"][last]])
    for row in range(rollouts.n_rows):
        branch = mdp.successor[c["state"][row], rollouts.action[row]] == c["next_state"][row]
        assert rollouts.reward[row] in mdp.scalar_reward[c["state"][row], rollouts.action[row]][branch]


@pytest.mark.parametrize("replicates", [None, 3])
def test_rows_follow_the_mdp(replicates: int | None) -> None:
    mdp = awkward_mdp()
    policy = random_policy(mdp, replicates=replicates)
    sampler = TableSampler(mdp, seed=2, batches=3, groups=4)
    rollouts = checked(sampler.extend(copies=3, policy=policy))
    consistent(rollouts, mdp, policy)
    assert rollouts.group.tolist() == np.repeat(np.arange(12), 3).tolist()
    assert rollouts.batch.tolist() == np.repeat(np.arange(3), 12).tolist()
    cut = ~rollouts.terminated
    end = rollouts.offsets[1:][cut] - 1
    assert cut.any()
    assert (rollouts.step[end] + mdp.tick[rollouts.columns["next_state"][end]] == mdp.horizon).all()


def test_a_group_has_one_start_state_whoever_asks() -> None:
    mdp = awkward_mdp()
    policy = random_policy(mdp)
    sampler = TableSampler(mdp, seed=2, batches=2, groups=30)
    first = sampler.extend(copies=3, policy=policy)
    start = first.columns["state"][first.offsets[:-1]].reshape(60, 3)
    assert (start == start[:, :1]).all()
    assert len(set(start[:, 0].tolist())) > 1
    second = sampler.extend(copies=1, policy=policy)
    assert np.array_equal(second.columns["state"][second.offsets[:-1]], start[:, 0])
    assert not np.array_equal(second.action[: second.length[0]], first.action[: first.length[0]]) or not np.array_equal(
        second.action, first.take(np.arange(0, 180, 3)).action
    )
    other = sampler.fresh().extend(copies=1, policy=policy)
    assert not np.array_equal(other.columns["state"][other.offsets[:-1]], start[:, 0])


def test_branches_append_and_change_nothing_before() -> None:
    mdp = awkward_mdp()
    policy = random_policy(mdp)
    sampler = TableSampler(mdp, seed=3, batches=2, groups=3)
    old = sampler.extend(copies=2, policy=policy)
    rows = np.flatnonzero(sampler.continues(old))[[5, 0, 3, 5]]
    new = checked(sampler.extend(old, after=rows, copies=[1, 3, 0, 2], policy=policy, weight=0.25))
    consistent(new, mdp, policy)
    n, m = old.n_trajectories, old.n_rows
    assert new.n_trajectories == n + 6
    for name in FIELDS:
        size = getattr(old, name).shape[0]
        assert np.array_equal(getattr(new, name)[:size], getattr(old, name))
    assert all(np.array_equal(new.columns[name][:m], old.columns[name]) for name in old.columns)
    assert new.parent[n:].tolist() == rows[[0, 1, 1, 1, 3, 3]].tolist()
    assert np.array_equal(new.group[n:], old.group_rows[new.parent[n:]])
    assert (new.columns["weight"][:m] == 1).all()
    assert (new.columns["weight"][m:] == 0.25).all()
    assert "weight" not in sampler.extend(old, after=rows, policy=policy).columns


def test_paths_of_a_tree_are_episodes() -> None:
    mdp = make("chain@small")
    policy = random_policy(mdp)
    sampler = TableSampler(mdp, seed=0, groups=4)
    tree = sampler.extend(copies=2, policy=policy, steps=3)
    ends = tree.offsets[1:] - 1
    tree = sampler.extend(tree, after=ends[sampler.continues(tree)[ends]], copies=3, policy=policy)
    paths, source = tree.paths()
    consistent(paths, mdp, policy)
    assert paths.n_trajectories == 24
    assert np.array_equal(paths.reward, tree.reward[source])
    assert (paths.step[paths.offsets[1:] - 1] == mdp.horizon - 1)[~paths.terminated].all()


@pytest.mark.parametrize("steps", [1, 2, 3, 99])
def test_steps_cut(steps: int) -> None:
    mdp = awkward_mdp()
    policy = random_policy(mdp)
    sampler = TableSampler(mdp, seed=1, groups=200)
    rollouts = sampler.extend(policy=policy, steps=steps)
    reached = np.maximum.reduceat(rollouts.step, rollouts.offsets[:-1]) + 1
    assert reached.max() == min(steps, mdp.horizon)
    going = ~rollouts.terminated
    assert (reached[going] == min(steps, mdp.horizon)).all()
    end = rollouts.offsets[1:][going] - 1
    assert mdp.tick[rollouts.columns["next_state"][end]].all()
    assert (sampler.continues(rollouts)[end] == (steps < mdp.horizon)).all()
    inside = np.flatnonzero(sampler.continues(rollouts) & ~mdp.tick[rollouts.columns["next_state"]])
    rest = sampler.extend(rollouts, after=inside, steps=1, policy=policy)
    begun = rest.parent[rollouts.n_trajectories :]
    branch = np.flatnonzero(rest.first_row & (rest.parent[rest.trajectory] >= 0))
    assert np.array_equal(rest.step[branch], rollouts.step[begun])
    assert (rest.step[rollouts.n_rows :] == rest.step[branch][rest.trajectory[rollouts.n_rows :] - len(going)]).all()


def test_recorded_columns() -> None:
    mdp = awkward_mdp(rewards=2)
    policy = random_policy(mdp, replicates=2)
    sampler = TableSampler(mdp, batches=2, groups=20, record=("entropy", "sum_pi_squared"))
    rollouts = sampler.extend(copies=2, policy=policy)
    pi = policy.probabilities(mdp)[rollouts.batch_rows, rollouts.columns["state"]]
    np.testing.assert_allclose(rollouts.columns["sum_pi_squared"], (pi**2).sum(axis=1))
    with np.errstate(divide="ignore", invalid="ignore"):
        np.testing.assert_allclose(rollouts.columns["entropy"], -np.nansum(pi * np.log(pi), axis=1))
    assert rollouts.columns["reward_K"].shape == (rollouts.n_rows, 2)
    np.testing.assert_allclose(rollouts.columns["reward_K"].sum(axis=1), rollouts.reward)
    grown = sampler.extend(rollouts, policy=policy)
    assert grown.columns["reward_K"].shape == (grown.n_rows, 2)


def test_refusals_name_the_field() -> None:
    mdp = awkward_mdp()
    policy = random_policy(mdp)
    sampler = TableSampler(mdp, groups=5)
    rollouts = sampler.extend(copies=4, policy=policy)
    ended = int(np.flatnonzero(~sampler.continues(rollouts))[0])
    bad = SoftmaxPolicy.uniform(mdp, 3)
    calls = {
        r"policy: got None": dict(),
        r"policy: got probabilities of shape \(3, 8, 3\), allowed \(8, 3\) or \(1, 8, 3\)": dict(policy=bad),
        r"steps: got 0": dict(policy=policy, steps=0),
        r"weight: got -1": dict(policy=policy, weight=-1.0),
        r"weight: got nan": dict(policy=policy, weight=float("nan")),
        r"copies: got -1": dict(policy=policy, copies=-1),
        r"copies: got shape \(2,\)": dict(policy=policy, copies=[1, 2]),
        r"copies: got shape \(\) of float64": dict(policy=policy, copies=1.5),
        r"copies: got no trajectory": dict(policy=policy, copies=0),
        r"after: got rows, allowed None": dict(policy=policy, after=[0]),
        rf"after: got row {ended}, which ended": dict(rollouts=rollouts, policy=policy, after=[ended]),
        r"after: got rows -1\.\.0": dict(rollouts=rollouts, policy=policy, after=[-1, 0]),
        r"after: got shape \(1,\) of float64": dict(rollouts=rollouts, policy=policy, after=[0.5]),
        r"rollouts: got column value": dict(
            rollouts=rollouts.with_columns(value=np.zeros(rollouts.n_rows)), policy=policy
        ),
    }
    for line, arguments in calls.items():
        with pytest.raises(InputError, match=f"^{line}") as caught:
            sampler.extend(**arguments)
        assert "\n" not in str(caught.value)
    with pytest.raises(MissingColumnError, match="next_state"):
        sampler.extend(Rollouts.flat(offsets=[0, 1], group=[0], reward=[1.0]), after=[0], policy=policy)
    with pytest.raises(UnknownNameError, match="entropy"):
        TableSampler(mdp, record=("entropi",))
    constructors = {
        "batches: got 0": lambda: TableSampler(mdp, batches=0),
        "groups: got 0": lambda: TableSampler(mdp, groups=0),
        "threads: got 0": lambda: TableSampler(mdp, threads=0),
        "first_batch: got 4294967296": lambda: TableSampler(mdp, first_batch=1 << 32),
        "episodes: got 0": lambda: sample_returns(mdp, policy, 0),
    }
    for line, construct in constructors.items():
        with pytest.raises(InputError, match=f"^{line}"):
            construct()


def test_nothing_to_append() -> None:
    mdp = awkward_mdp()
    policy = random_policy(mdp)
    sampler = TableSampler(mdp)
    rollouts = sampler.extend(policy=policy)
    same = sampler.extend(rollouts, after=[], copies=3, policy=policy)
    assert same.n_trajectories == 1
    assert np.array_equal(same.action, rollouts.action)


@pytest.mark.parametrize(
    ("table", "line"),
    [
        (np.full((8, 3), 0.5), "a row that sums to 1.5"),
        (np.full((8, 3), np.nan), "NaN"),
        (np.full((8, 3), 1 / 3), "a forbidden action"),
    ],
)
def test_policies_are_checked(table: np.ndarray, line: str) -> None:
    class Fixed:
        theta = np.zeros(1)

        def probabilities(self, mdp: TabularMDP) -> np.ndarray:
            return table

        def pullback(self, mdp: TabularMDP, weight: np.ndarray) -> np.ndarray:
            return np.zeros(1)

        def with_theta(self, theta: np.ndarray) -> Fixed:
            return self

    with pytest.raises(InputError, match=line):
        TableSampler(awkward_mdp()).extend(policy=Fixed())
