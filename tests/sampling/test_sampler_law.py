"""The sampler's law: the quantised law against the exact one, and draws against a forward recursion (chi-square)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sampling_oracles import (
    ALPHA,
    awkward_mdp,
    decision_laws,
    plain_walk,
    random_policy,
    table_law,
    worst_p_value,
)

from creditsim.mdp import SoftmaxPolicy, TabularMDP, make
from creditsim.rng import Purpose, philox4x32
from creditsim.rollouts import Rollouts
from creditsim.sampling import TableSampler, sample_returns
from creditsim.sampling.alias import LEVEL_BITS, draw
from creditsim.sampling.table import start_states
from creditsim.sampling.tables import build_tables, most_rows, policy_rows

N = 60_000


def exact_law(mdp: TabularMDP, pi: np.ndarray) -> np.ndarray:
    return np.where(mdp.mask & ~mdp.terminal[:, None], pi, 0.0)[:, :, None] * mdp.probability


def sample(mdp: TabularMDP, policy: SoftmaxPolicy, batches: int = 1) -> Rollouts:
    return TableSampler(mdp, seed=5, groups=N, batches=batches).extend(policy=policy)


def test_quantised_law_is_the_exact_law_to_a_unit() -> None:
    mdp = awkward_mdp()
    policy = random_policy(mdp)
    tables = build_tables(mdp, policy_rows(mdp, policy, 1))
    exact = exact_law(mdp, policy.probabilities(mdp))
    quantised = table_law(tables, mdp.successor.shape)
    live = ~mdp.terminal
    assert np.abs(quantised - exact)[live].max() <= 2.0 ** -(LEVEL_BITS + tables.bits) * 1.001
    assert (quantised[live].sum(axis=(1, 2)) == 1.0).all()
    assert (quantised[live][exact[live] == 0] == 0).all()
    drift = [np.abs(a - b).sum() for a, b in zip(decision_laws(mdp, quantised), decision_laws(mdp, exact), strict=True)]
    assert max(drift) < 1e-7


def test_joint_tables_draw_the_quantised_law() -> None:
    """n = 60,000 episodes; chi-square per decision number, Bonferroni, alpha = 1e-6."""
    mdp = awkward_mdp()
    policy = random_policy(mdp)
    tables = build_tables(mdp, policy_rows(mdp, policy, 1))
    laws = decision_laws(mdp, table_law(tables, mdp.successor.shape))
    assert worst_p_value(sample(mdp, policy), laws) > ALPHA


def test_two_stage_tables_draw_the_law_of_each_replicate() -> None:
    mdp = awkward_mdp()
    policy = random_policy(mdp, replicates=2)
    rollouts = sample(mdp, policy, batches=2)
    pi = policy.probabilities(mdp)
    laws = [decision_laws(mdp, exact_law(mdp, pi[b])) for b in range(2)]
    parts = [rollouts.take(rollouts.batch == b) for b in range(2)]
    assert worst_p_value(parts[0], laws[0]) > ALPHA
    assert worst_p_value(parts[1], laws[1]) > ALPHA
    assert worst_p_value(parts[0], laws[1]) < ALPHA  # broken twin: the other replicate's policy


def test_wide_draws_follow_the_law() -> None:
    """20 actions: more than 16 buckets, so a draw takes two words."""
    s, a = 3, 20
    rng = np.random.default_rng(7)
    mdp = TabularMDP.build(
        successor=rng.integers(0, s, (s, a, 2)),
        probability=rng.dirichlet([1, 1], (s, a)),
        reward=np.zeros((s, a, 2)),
        horizon=3,
    )
    policy = random_policy(mdp)
    tables = build_tables(mdp, policy_rows(mdp, policy, 1))
    assert tables.wide
    assert worst_p_value(sample(mdp, policy), decision_laws(mdp, exact_law(mdp, policy.probabilities(mdp)))) > ALPHA


@pytest.mark.parametrize("what", ["horizon", "tick", "mask", "start"])
def test_broken_samplers_are_caught(what: str) -> None:
    """Broken twins: one step too many, ticks ignored, a mask forgotten, the wrong start."""
    mdp = awkward_mdp()
    policy = random_policy(mdp)
    laws = decision_laws(mdp, exact_law(mdp, policy.probabilities(mdp)))
    changed = {
        "horizon": {"horizon": mdp.horizon + 1},
        "tick": {"tick": np.ones(8, bool)},
        "mask": {"mask": np.ones((8, 3), bool)},
        "start": {"start": np.roll(mdp.start, 1)},
    }[what]
    assert worst_p_value(sample(replace(mdp, **changed), policy), laws) < ALPHA


@pytest.mark.parametrize("replicates", [None, 1, 3])
@pytest.mark.parametrize("family", ["chain@small", "awkward"])
def test_kernels_are_the_scalar_functions_in_a_loop(family: str, replicates: int | None) -> None:
    mdp = awkward_mdp() if family == "awkward" else make(family)
    policy = random_policy(mdp, replicates=replicates)
    batches = replicates or 2
    rollouts = TableSampler(mdp, seed=9, batches=batches, groups=3, first_batch=4).extend(copies=5, policy=policy)
    tables = build_tables(mdp, policy_rows(mdp, policy, batches))
    for i in range(rollouts.n_trajectories):
        rows = slice(rollouts.offsets[i], rollouts.offsets[i + 1])
        batch = int(rollouts.batch[i])
        slots = plain_walk(
            tables, start=int(rollouts.columns["state"][rows][0]), stop=mdp.horizon, number=i % 15, stream=4 + batch,
            seed=9, first=batch * (mdp.n_states + 1) * tables.two_stage,
        )  # fmt: skip
        assert tables.action[slots].tolist() == rollouts.action[rows].tolist()
        assert tables.state[slots].tolist() == rollouts.columns["state"][rows].tolist()
        end = mdp.successor[tables.state[slots[-1]], tables.action[slots[-1]], tables.branch[slots[-1]]]
        assert end == rollouts.columns["next_state"][rows][-1]
        assert rollouts.terminated[i] == mdp.terminal[end]


def broken_bucket(row, bucket, level, threshold):
    return draw(row, (bucket + np.uint64(1)) & np.uint64(3), level, np.roll(threshold, 0)) ^ np.uint64(1)


def broken_philox(c0, c1, c2, c3, k0, k1):
    w0, w1, w2, w3 = philox4x32(c0, c1, c2, c3, k0, k1)
    return (w0 + w1) >> np.uint64(1), w1, w2, w3


@pytest.mark.parametrize("twin", ["none", "bucket", "words"])
def test_scalar_draws_against_the_law(twin: str) -> None:
    """n = 4,000 first decisions of the scalar functions, alpha = 1e-6; wrong buckets and uneven words must fail."""
    mdp = make("chain@tiny", slip=0.3)
    policy = random_policy(mdp)
    tables = build_tables(mdp, policy_rows(mdp, policy, 1))
    changed = {"none": {}, "bucket": {"pick": broken_bucket}, "words": {"philox": broken_philox}}[twin]
    first = [plain_walk(tables, start=0, stop=1, number=i, stream=0, seed=2, **changed)[0] for i in range(4000)]
    law = exact_law(mdp, policy.probabilities(mdp))[0].reshape(-1)
    counts = np.bincount(2 * tables.action[first] + tables.branch[first], minlength=4)
    from scipy import stats

    p = stats.chisquare(counts, law * 4000).pvalue
    assert (p > ALPHA) == (twin == "none")


def test_start_states_follow_their_law() -> None:
    from scipy import stats

    mdp = awkward_mdp()
    starts = start_states(mdp, 3, np.zeros(N, np.int64), np.arange(N))
    counts = np.bincount(starts, minlength=8)
    live = mdp.start > 0
    assert counts[~live].sum() == 0
    assert stats.chisquare(counts[live], mdp.start[live] * N).pvalue > ALPHA


@pytest.mark.parametrize("replicates", [None, 2])
@pytest.mark.parametrize("rewards", [0, 2])
def test_reduced_returns_are_those_of_the_recorded_episodes(replicates: int | None, rewards: int) -> None:
    mdp = awkward_mdp(rewards=rewards)
    policy = random_policy(mdp, replicates=replicates)
    rollouts = TableSampler(mdp, seed=3, batches=2, groups=500).extend(policy=policy)
    returns = sample_returns(mdp, policy, 500, seed=3, batches=2)
    discounted = rollouts.reward * mdp.gamma**rollouts.step
    value = np.bincount(rollouts.trajectory, discounted, rollouts.n_trajectories)
    np.testing.assert_allclose(returns.value.reshape(-1), value, atol=1e-12)
    assert np.array_equal(returns.length.reshape(-1), rollouts.length)
    assert np.array_equal(returns.terminated.reshape(-1), rollouts.terminated)
    late = rollouts.reward * mdp.gamma ** (rollouts.step + 1)  # broken twin: discount one step late
    assert not np.allclose(np.bincount(rollouts.trajectory, late), returns.value.reshape(-1))


def test_monte_carlo_value_meets_its_exact_twin() -> None:
    """n = 200,000 returns; |mean - exact| below 5 standard errors (alpha 6e-7)."""
    mdp = awkward_mdp()
    policy = random_policy(mdp)
    laws = decision_laws(mdp, exact_law(mdp, policy.probabilities(mdp)))
    discount = mdp.gamma ** np.arange(mdp.horizon)
    exact = sum(float((made * mdp.reward * discount[:, None, None, None]).sum()) for made in laws)
    value = sample_returns(mdp, policy, 200_000, seed=8).value
    error = value.std() / np.sqrt(value.size)
    assert abs(value.mean() - exact) < 5 * error
    late = sample_returns(mdp, policy, 200_000, seed=8, gamma=1.0).value  # broken twin: forgotten discount
    assert abs(late.mean() - exact) > 5 * error


def test_most_rows_counts_decisions_inside_steps() -> None:
    assert most_rows(make("chain@tiny")) == make("chain@tiny").horizon
    mdp = awkward_mdp()
    laws = decision_laws(mdp, exact_law(mdp, np.full((8, 3), 1 / 3)))
    assert mdp.horizon < len(laws) <= most_rows(mdp)


def test_purposes_keep_starts_and_steps_apart() -> None:
    assert Purpose.START != Purpose.STEP
    assert len({int(p) for p in Purpose}) == len(Purpose)
