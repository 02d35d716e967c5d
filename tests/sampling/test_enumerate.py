"""The enumerating sampler against hand enumeration and against the sampler whose draws it replaces."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from sampling_oracles import ALPHA, awkward_mdp, decision_laws, random_policy
from scipy import stats

from creditsim.errors import InputError, NumericalError, TooLargeError
from creditsim.mdp import SoftmaxPolicy, TabularMDP, make
from creditsim.rollouts import Rollouts
from creditsim.sampling import DESIGNS, EnumeratingSampler, TableSampler, enumerate_design
from creditsim.sampling.designs.base import design
from creditsim.sampling.enumerate import Script


def by_hand(mdp: TabularMDP, pi: np.ndarray) -> dict[tuple[int, ...], float]:
    """Law of (start, a_0, s_1, a_1, s_2, ...), by recursion over the table."""
    law: dict[tuple[int, ...], float] = {}

    def walk(path: tuple[int, ...], step: int, p: float) -> None:
        state = path[-1]
        for a, b in itertools.product(range(mdp.n_actions), range(mdp.n_successors)):
            q = p * (pi[state, a] if mdp.mask[state, a] else 0.0) * mdp.probability[state, a, b]
            there = int(mdp.successor[state, a, b])
            if q <= 0:
                continue
            after = step + int(mdp.tick[there])
            longer = (*path, a, there)
            if mdp.terminal[there] or after >= mdp.horizon:
                law[longer] = law.get(longer, 0.0) + q
            else:
                walk(longer, after, q)

    for state in np.flatnonzero(mdp.start):
        walk((int(state),), 0, float(mdp.start[state]))
    return law


def histories(rollouts: Rollouts) -> list[tuple[int, ...]]:
    out = []
    for i in range(rollouts.n_trajectories):
        rows = slice(rollouts.offsets[i], rollouts.offsets[i + 1])
        pairs = zip(rollouts.action[rows], rollouts.columns["next_state"][rows], strict=True)
        head = int(rollouts.columns["state"][rows][0])
        out.append((head, *(int(x) for pair in pairs for x in pair)))
    return out


@pytest.mark.parametrize("mdp", [make("chain@tiny", slip=0.2), awkward_mdp(horizon=2)], ids=["chain", "awkward"])
def test_one_trajectory_is_the_law_by_hand(mdp: TabularMDP) -> None:
    policy = random_policy(mdp)
    rollouts, p = enumerate_design("independent", mdp, policy, group_size=1)
    law: dict[tuple[int, ...], float] = {}
    for history, q in zip(histories(rollouts), p, strict=True):
        law[history] = law.get(history, 0.0) + q
    expected = by_hand(mdp, policy.probabilities(mdp))
    assert law.keys() == expected.keys()
    assert max(abs(law[h] - expected[h]) for h in law) < 1e-14
    longer = by_hand(make("chain@tiny", slip=0.2, horizon=5), policy.probabilities(mdp)) if mdp.n_states == 4 else {}
    assert law.keys() != longer.keys()  # broken twin: horizon off by one


def test_decision_laws_of_the_oracle_agree() -> None:
    mdp = awkward_mdp(horizon=2)
    policy = random_policy(mdp)
    rollouts, p = enumerate_design("independent", mdp, policy, group_size=1)
    exact = decision_laws(mdp, np.where(mdp.mask, policy.probabilities(mdp), 0)[:, :, None] * mdp.probability)
    visits = np.zeros((mdp.horizon, mdp.n_states))
    np.add.at(visits, (rollouts.step, rollouts.columns["state"]), p[rollouts.batch_rows])
    np.testing.assert_allclose(visits, sum(law.sum(axis=(2, 3)) for law in exact), atol=1e-13)


def test_groups_and_members_are_independent_given_the_start() -> None:
    """Two groups of two on a one-step task with two starts: product law, one start per group."""
    mdp = TabularMDP.build(
        successor=np.full((3, 2, 1), 2),
        probability=np.ones((3, 2, 1)),
        reward=np.zeros((3, 2, 1)),
        start=np.array([0.3, 0.7, 0.0]),
        terminal=np.array([False, False, True]),
        horizon=1,
    )
    policy = random_policy(mdp)
    pi = policy.probabilities(mdp)
    rollouts, p = enumerate_design("independent", mdp, policy, group_size=2, groups=2)
    assert rollouts.n_batches == 64
    assert p.sum() == pytest.approx(1.0, abs=1e-14)
    state = rollouts.columns["state"].reshape(64, 4)
    action = rollouts.action.reshape(64, 4)
    assert (state[:, 0] == state[:, 1]).all()
    assert rollouts.group.reshape(64, 4).tolist() == [[2 * i, 2 * i, 2 * i + 1, 2 * i + 1] for i in range(64)]
    product = mdp.start[state[:, [0, 2]]].prod(axis=1) * pi[state, action].prod(axis=1)
    np.testing.assert_allclose(p, product, rtol=1e-12)
    assert len({(*s, *a) for s, a in zip(state.tolist(), action.tolist(), strict=True)}) == 64


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("branching", {"branches": 2, "after_steps": (1,)}),
        ("vine", {"copies": 1}),
        ("filtered", {"group_size": 2, "tries": 2}),
    ],
)
def test_designs_by_sampling_follow_their_enumeration(name: str, params: dict) -> None:
    """n = 40,000 replicates of the real sampler against the exact law of whole outcomes; chi-square, alpha = 1e-6."""
    size = 1 if name == "filtered" else 2
    mdp = make("chain", length=size, horizon=size, slip=0.1)
    policy = random_policy(mdp)
    n = 40_000

    def keys(rollouts: Rollouts) -> list[tuple]:
        of = np.split(np.arange(rollouts.n_rows), np.flatnonzero(np.diff(rollouts.batch_rows)) + 1)
        first = [rows[0] for rows in of]
        if rollouts.is_tree or (np.diff(rollouts.batch) < 0).any():
            order = np.argsort(rollouts.batch_rows, kind="stable")
            counts = np.bincount(rollouts.batch_rows, minlength=rollouts.n_batches)
            of = np.split(order, np.cumsum(counts)[:-1])
            first = [rows[0] for rows in of]
        assert len(first) == rollouts.n_batches
        next_state = rollouts.columns["next_state"]
        return [(*rollouts.action[rows].tolist(), -1, *next_state[rows].tolist()) for rows in of]

    exact, p = enumerate_design(name, mdp, policy, **params)
    law: dict[tuple, float] = {}
    for key, q in zip(keys(exact), p, strict=True):
        law[key] = law.get(key, 0.0) + q
    drawn, _ = DESIGNS.bind(name, **params)(TableSampler(mdp, seed=6, batches=n), policy, None)
    counts: dict[tuple, int] = dict.fromkeys(law, 0)
    for key in keys(drawn):
        counts[key] += 1
    expected = np.array(list(law.values())) * n
    observed = np.array(list(counts.values()))

    def p_value(expected: np.ndarray) -> float:
        large = expected >= 5
        e = np.append(expected[large], expected[~large].sum())
        o = np.append(observed[large], observed[~large].sum())
        keep = e > 0
        return float(stats.chi2.sf(((o - e)[keep] ** 2 / e[keep]).sum(), keep.sum() - 1))

    assert p_value(expected) > ALPHA
    assert p_value(np.roll(expected, 1)) < ALPHA  # broken twin: probabilities beside their outcomes


def test_weight_is_one_where_an_outcome_has_no_forks() -> None:
    @design("test_sometimes", paper="", makes=("weight",))
    def sometimes(sampler, policy, state):
        """Fork with weight 0 where the first action was 1."""
        rollouts = sampler.extend(policy=policy)
        rows = np.flatnonzero((rollouts.action == 1) & sampler.continues(rollouts))[:1]
        return (sampler.extend(rollouts, after=rows, policy=policy, weight=0.0) if rows.size else rollouts), state

    try:
        mdp = make("chain", length=3, horizon=2)
        rollouts, p = enumerate_design("test_sometimes", mdp, SoftmaxPolicy.uniform(mdp))
    finally:
        DESIGNS.remove("test_sometimes")
    assert p.sum() == pytest.approx(1.0)
    assert set(rollouts.columns["weight"].tolist()) == {0.0, 1.0}
    assert np.array_equal(rollouts.columns["weight"] == 0, rollouts.parent[rollouts.trajectory] >= 0)
    assert (rollouts.group_rows[rollouts.parent[rollouts.parent >= 0]] == rollouts.group[rollouts.parent >= 0]).all()


def test_columns_that_come_and_go_are_refused() -> None:
    @design("test_fickle", paper="", makes=("odd",))
    def fickle(sampler, policy, state):
        """Add a column after action 1 only."""
        rollouts = sampler.extend(policy=policy)
        return (rollouts.with_columns(odd=rollouts.reward) if rollouts.action[0] else rollouts), state

    try:
        with pytest.raises(InputError, match="columns that differ"):
            enumerate_design("test_fickle", make("chain@tiny"), SoftmaxPolicy.uniform(make("chain@tiny")))
    finally:
        DESIGNS.remove("test_fickle")


def test_too_large_says_how_far_it_got() -> None:
    mdp = make("chain@tiny")
    with pytest.raises(TooLargeError) as caught:
        enumerate_design("independent", mdp, SoftmaxPolicy.uniform(mdp), group_size=3, limit=500)
    line = str(caught.value)
    assert "\n" not in line
    assert "rows in" in line
    assert "allowed at most 500 rows" in line
    assert "smaller horizon" in line


def test_lost_probability_is_noticed() -> None:
    """Broken twin: a table whose probabilities do not sum to one."""
    from dataclasses import replace

    mdp = make("chain@tiny", slip=0.2)
    leaky = replace(mdp, probability=mdp.probability * np.array([1.0, 0.5]))
    with pytest.raises(NumericalError, match=r"probabilities of \d+ outcomes sum to 0\."):
        enumerate_design("independent", leaky, SoftmaxPolicy.uniform(mdp), group_size=1)


def test_script_visits_every_sequence_once() -> None:
    script, seen, more = Script(), [], True
    while more:
        first = script.draw(np.array([0.5, 0.0, 0.5]))
        rest = [script.draw(np.array([0.25, 0.75]))] if first else []
        seen.append(((first, *rest), script.probability))
        more = script.advance()
    assert seen == [((0,), 0.5), ((2, 0), 0.125), ((2, 1), 0.375)]


def test_the_enumerator_is_a_sampler() -> None:
    mdp = make("chain@tiny")
    policy = SoftmaxPolicy.uniform(mdp)
    sampler = EnumeratingSampler(mdp, Script(), groups=2)
    rollouts = sampler.extend(copies=2, policy=policy)
    assert rollouts.group.tolist() == [0, 0, 1, 1]
    assert (rollouts.action == 0).all()
    with pytest.raises(InputError, match="ended its episode"):
        sampler.extend(rollouts, after=[rollouts.n_rows - 1], policy=policy)
