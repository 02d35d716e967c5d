"""Sampling designs: shape and bookkeeping by sampling, laws by enumerating every sequence of draws."""

from __future__ import annotations

import numpy as np
import pytest
from sampling_oracles import ALPHA, awkward_mdp, random_policy
from scipy import stats

from creditsim.errors import InputError, UnknownNameError
from creditsim.mdp import SoftmaxPolicy, TabularMDP, make
from creditsim.rollouts import Rollouts
from creditsim.sampling import DESIGNS, TableSampler, enumerate_design
from creditsim.sampling.designs.greedy import Greedy


def coin(p: float) -> tuple[TabularMDP, SoftmaxPolicy]:
    """One step, reward 1 with probability p; no other draw."""
    mdp = TabularMDP.build(
        successor=np.ones((2, 1, 2), int),
        probability=np.broadcast_to([p, 1 - p], (2, 1, 2)),
        reward=np.broadcast_to([1.0, 0.0], (2, 1, 2)),
        terminal=np.array([False, True]),
        horizon=1,
    )
    return mdp, SoftmaxPolicy.uniform(mdp)


def returns(rollouts: Rollouts) -> np.ndarray:
    return np.bincount(rollouts.trajectory, rollouts.reward, rollouts.n_trajectories)


def success_rate(rollouts: Rollouts, probability: np.ndarray) -> float:
    """Expected success rate of groups that are not masked, over the probability that one is kept."""
    weight = rollouts.columns["weight"][rollouts.offsets[:-1]] if rollouts.has("weight") else 1.0
    mass = probability[rollouts.batch] * weight
    return float((mass * returns(rollouts)).sum() / mass.sum())


def test_registry() -> None:
    assert {"independent", "independent_with_greedy", "filtered", "branching", "vine"} <= set(DESIGNS.names())
    with pytest.raises(UnknownNameError, match="nearest: group_size"):
        DESIGNS.bind("independent", group_sise=3)
    for part in DESIGNS:
        assert part.paper
        assert part.summary


@pytest.mark.parametrize("name", ["independent", "independent_with_greedy", "filtered", "branching", "vine"])
def test_chunks_and_threads_do_not_change_a_design(name: str) -> None:
    mdp = awkward_mdp()
    policy = random_policy(mdp)
    design = DESIGNS.bind(name, group_size=2)
    whole, _ = design(TableSampler(mdp, seed=1, batches=6, groups=3, threads=2), policy, None)
    parts = [design(TableSampler(mdp, seed=1, batches=2, groups=3, first_batch=b), policy, None)[0] for b in (0, 2, 4)]
    for b, part in zip((0, 2, 4), parts, strict=True):
        inside = (whole.batch >= b) & (whole.batch < b + 2)
        assert np.array_equal(part.action, whole.action[inside[whole.trajectory]])
        for column, values in part.trajectory_columns.items():
            assert np.array_equal(values, whole.trajectory_columns[column][inside])


def test_independent() -> None:
    mdp = make("chain@small")
    rollouts, state = DESIGNS.bind("independent", group_size=5)(
        TableSampler(mdp, batches=2, groups=3), random_policy(mdp), {"kept": np.zeros(1)}
    )
    assert rollouts.n_trajectories == 30
    assert state is not None
    assert list(state) == ["kept"]
    with pytest.raises(InputError, match="copies"):
        DESIGNS.bind("independent", group_size=0)(TableSampler(mdp), random_policy(mdp), None)


def test_greedy_score_is_the_return_of_the_greedy_policy() -> None:
    mdp = make("chain@small")
    right = SoftmaxPolicy(np.tile([0.0, 0.1], mdp.n_contexts), 2)
    rollouts, _ = DESIGNS.bind("independent_with_greedy", group_size=3)(TableSampler(mdp, groups=4), right, None)
    assert (rollouts.trajectory_columns["greedy_score"] == 1.0).all()
    assert rollouts.n_trajectories == 12
    left = SoftmaxPolicy(np.tile([0.1, 0.0], mdp.n_contexts), 2)
    rollouts, _ = DESIGNS.bind("independent_with_greedy")(TableSampler(mdp, groups=4), left, None)
    assert (rollouts.trajectory_columns["greedy_score"] == 0.0).all()


def test_greedy_policy() -> None:
    mdp = awkward_mdp()
    pi = random_policy(mdp).probabilities(mdp)
    greedy = Greedy(random_policy(mdp))
    table = greedy.probabilities(mdp)
    live = ~mdp.terminal
    assert (table.sum(axis=-1) == 1).all()
    assert np.array_equal(table[live].argmax(axis=1), pi[live].argmax(axis=1))
    assert mdp.mask[live, table[live].argmax(axis=1)].all()
    assert not greedy.pullback(mdp, np.ones((8, 3))).any()
    assert np.array_equal(greedy.with_theta(greedy.theta + 1).theta, greedy.theta + 1)


def test_greedy_baseline_is_independent_of_the_sample() -> None:
    """Exact: E[(R - b) - R] = -E[b], and R and b are uncorrelated given the start (here one start state)."""
    mdp = make("chain", length=2, horizon=3, slip=0.3)
    rollouts, p = enumerate_design("independent_with_greedy", mdp, random_policy(mdp), group_size=1)
    r, b = returns(rollouts), rollouts.trajectory_columns["greedy_score"]
    assert (p * r * b).sum() == pytest.approx((p * r).sum() * (p * b).sum(), abs=1e-12)
    assert 0 < (p * b).sum() < 1


@pytest.mark.parametrize("p", [0.2, 0.5, 0.9])
@pytest.mark.parametrize("n", [2, 3])
def test_filtered_groups_follow_the_exact_law(p: float, n: int) -> None:
    """(p - p^n) / (1 - p^n - (1-p)^n) by enumeration, whatever the number of tries."""
    mdp, policy = coin(p)
    law = (p - p**n) / (1 - p**n - (1 - p) ** n)
    equal = p**n + (1 - p) ** n
    for tries in (1, 2, 3):
        rollouts, q = enumerate_design("filtered", mdp, policy, group_size=n, tries=tries, last_try="mask")
        assert success_rate(rollouts, q) == pytest.approx(law, abs=1e-12)
        first = np.arange(0, rollouts.n_trajectories, n)
        generated = (q * rollouts.trajectory_columns["generated"][first]).sum()
        assert generated == pytest.approx(n * sum(equal**k for k in range(tries)), abs=1e-12)
        masked = (q * (rollouts.columns["weight"][rollouts.offsets[first]] == 0)).sum()
        assert masked == pytest.approx(equal**tries, abs=1e-12)
        kept, q_kept = enumerate_design("filtered@verl-agent", mdp, policy, group_size=n, tries=tries)
        mixture = law * (1 - equal**tries) + equal**tries * p**n / equal
        assert success_rate(kept, q_kept) == pytest.approx(mixture, abs=1e-12)
    unfiltered, q = enumerate_design("independent", mdp, policy, group_size=n)  # broken twin: nothing filtered
    assert success_rate(unfiltered, q) == pytest.approx(p)
    assert p == 0.5 or abs(p - law) > 1e-3


def test_filtered_by_sampling() -> None:
    """n = 20,000 groups of 4 at p = 0.2: successes of kept groups against the exact law, alpha = 1e-6."""
    p, n, groups = 0.2, 4, 20_000
    mdp, policy = coin(p)
    rollouts, _ = DESIGNS.bind("filtered", group_size=n, tries=60)(TableSampler(mdp, groups=groups), policy, None)
    wins = returns(rollouts).reshape(groups, n).sum(axis=1).astype(int)
    inner = stats.binom.pmf(np.arange(1, n), n, p)
    observed = np.bincount(wins, minlength=n + 1)
    assert observed[0] == observed[n] == 0
    assert stats.chisquare(observed[1:n], inner / inner.sum() * groups).pvalue > ALPHA
    assert stats.chisquare(observed[1:n], inner[::-1] / inner.sum() * groups).pvalue < ALPHA
    tries = rollouts.trajectory_columns["generated"][::n] / n
    mean, sd = 1 / inner.sum(), np.sqrt(1 - inner.sum()) / inner.sum()
    assert abs(tries.mean() - mean) < 5 * sd / np.sqrt(groups)
    assert np.array_equal(rollouts.trajectory_columns["generated_rows"], rollouts.trajectory_columns["generated"])


def test_filtered_meets_new_tasks_or_stays() -> None:
    """Two start states, one of them hopeless: with new tasks the hopeless one is never kept, else it stays masked."""
    mdp = TabularMDP.build(
        successor=np.full((3, 1, 2), 2),
        probability=np.array([[[0.5, 0.5]], [[0.0, 1.0]], [[0.5, 0.5]]]),
        reward=np.broadcast_to([1.0, 0.0], (3, 1, 2)),
        start=np.array([0.5, 0.5, 0.0]),
        terminal=np.array([False, False, True]),
        horizon=1,
    )
    policy = SoftmaxPolicy.uniform(mdp)
    share = {}
    for tasks in ("new", "same"):
        rollouts, q = enumerate_design("filtered", mdp, policy, group_size=2, tries=3, tasks=tasks, last_try="mask")
        hopeless = rollouts.columns["state"][rollouts.offsets[:-1]] == 1
        mass = q[rollouts.batch] / 2
        assert not (hopeless & (rollouts.columns["weight"][rollouts.offsets[:-1]] > 0)).any()
        share[tasks] = (mass * hopeless).sum()
    assert share["same"] == pytest.approx(0.5)
    assert share["new"] == pytest.approx(0.5 * 0.75**2)


def test_filtered_refusals() -> None:
    mdp, policy = coin(0.5)
    for line, params in {
        "group_size: got 1": {"group_size": 1},
        "tries: got 0": {"tries": 0},
        "tasks: got 'old'": {"tasks": "old"},
        "last_try: got 'drop'": {"last_try": "drop"},
    }.items():
        with pytest.raises(InputError, match=line):
            DESIGNS.bind("filtered", **params)(TableSampler(mdp), policy, None)


def test_branching_makes_full_trees() -> None:
    mdp = make("chain", length=50, horizon=5)
    policy = SoftmaxPolicy.uniform(mdp)
    tree, _ = DESIGNS.bind("branching", group_size=2, branches=3, after_steps=(1, 3))(
        TableSampler(mdp, groups=2), policy, None
    )
    assert tree.paths()[0].n_trajectories == 2 * 2 * 9
    assert tree.n_rows == 2 * 2 * (5 + 2 * 4 + 6 * 2)
    ids, n = tree.siblings()
    forks = np.bincount(ids, minlength=n)
    assert sorted(set(forks.tolist())) == [1, 2, 3]
    for line, params in {
        "branches: got 0": {"branches": 0},
        "after_steps": {"after_steps": (2, 1)},
    }.items():
        with pytest.raises(InputError, match=line):
            DESIGNS.bind("branching", **params)(TableSampler(mdp), policy, None)


def test_branching_forks_between_steps() -> None:
    mdp = awkward_mdp()
    tree, _ = DESIGNS.bind("branching", branches=2, after_steps=(1, 2, 3))(
        TableSampler(mdp, groups=50), random_policy(mdp), None
    )
    heads = np.flatnonzero(tree.first_row & (tree.parent[tree.trajectory] >= 0))
    assert heads.size
    assert (tree.step[heads] == tree.step[tree.previous[heads]] + 1).all()
    tree.steps()


def test_vine_values_every_state_without_bias() -> None:
    """Exact: the auxiliary return after a row has mean V(next state); the main trajectory is not among them."""
    mdp = make("chain", length=2, horizon=2, slip=0.25)
    policy = random_policy(mdp)
    rollouts, p = enumerate_design("vine", mdp, policy, copies=1)
    auxiliary = rollouts.columns["weight"][rollouts.offsets[:-1]] == 0
    from_start = auxiliary & (rollouts.parent < 0)
    forked = auxiliary & (rollouts.parent >= 0)
    assert np.array_equal(np.bincount(rollouts.batch[from_start]), np.ones(rollouts.n_batches))
    value = returns(rollouts)
    pi = policy.probabilities(mdp)
    right = pi[:, 1] * 0.75 + pi[:, 0] * 0.25
    assert (p[rollouts.batch[from_start]] * value[from_start]).sum() == pytest.approx(right[0] * right[1])
    ends = rollouts.columns["next_state"][rollouts.parent[forked]]
    mass = p[rollouts.batch[forked]]
    for state, exact in ((0, 0.0), (1, right[1])):
        here = ends == state
        assert (mass[here] * value[forked][here]).sum() / mass[here].sum() == pytest.approx(exact)
