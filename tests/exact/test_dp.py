"""Backward induction against a linear solve and against every episode, one by one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from exact_brute import brute_value, episodes, small_mdps
from hypothesis import given, settings

from creditsim.errors import InputError, MissingColumnError
from creditsim.exact.dp import Solution, objective, optimal, solve
from creditsim.mdp import FixedPolicy, SoftmaxPolicy, TabularMDP, make
from creditsim.rollouts import Rollouts

TOLERANCE = 1e-12


def linear_value(mdp: TabularMDP, pi: np.ndarray, gamma: float) -> np.ndarray:
    """(H+1,S) from one dense linear system over (steps left, state)."""
    h, n = mdp.horizon, mdp.n_states
    matrix, right = np.eye((h + 1) * n), np.zeros((h + 1) * n)
    for left in range(1, h + 1):
        for s in np.flatnonzero(~mdp.terminal):
            for a in np.flatnonzero(mdp.mask[s]):
                for b in range(mdp.n_successors):
                    p, to = pi[s, a] * mdp.probability[s, a, b], mdp.successor[s, a, b]
                    right[left * n + s] += p * mdp.scalar_reward[s, a, b]
                    if not mdp.terminal[to]:
                        column = (left - mdp.tick[to]) * n + to
                        matrix[left * n + s, column] -= p * (gamma if mdp.tick[to] else 1.0)
    return np.linalg.solve(matrix, right).reshape(h + 1, n)


def worst(solution: Solution, mdp: TabularMDP, pi: np.ndarray, gamma: float) -> float:
    """Largest difference of J, V, Q and occupancy from brute force; infinite where shapes differ."""
    j, value, mass, q = brute_value(mdp, pi, gamma)
    if solution.occupancy.shape != mass.shape:
        return np.inf
    return max(
        abs(solution.j - j),
        np.nanmax(np.abs(solution.value[:0:-1] - value)),
        np.nanmax(np.abs(solution.q[:0:-1] - q)),
        np.abs(solution.occupancy - mass).max(),
    )


@given(mdp=small_mdps())
@settings(max_examples=40, deadline=None)
def test_agrees_with_a_linear_solve_and_with_every_episode(mdp: TabularMDP) -> None:
    pi = SoftmaxPolicy.random(mdp, seed=3).probabilities(mdp)
    solution = solve(mdp, pi)
    np.testing.assert_allclose(solution.value, linear_value(mdp, pi, mdp.gamma), rtol=0, atol=TOLERANCE)
    assert worst(solution, mdp, pi, mdp.gamma) < TOLERANCE
    assert abs(float(objective(mdp, pi)) - solution.j) < TOLERANCE


@pytest.mark.parametrize("actions", [1, 2, 3, 5])
@pytest.mark.parametrize("branching", [1, 2, 3, 4, 6])
def test_every_number_of_actions_and_successors(actions: int, branching: int) -> None:
    # The kernel adds four products at a time and then the rest: all remainders occur.
    mdp = make(
        "random", states=9, actions=actions, branching=branching, inner=0.3, horizon=5, gamma=0.9, seed=branching
    )
    pi = SoftmaxPolicy.random(mdp, seed=actions).probabilities(mdp)
    solution = solve(mdp, pi)
    np.testing.assert_allclose(solution.value, linear_value(mdp, pi, 0.9), rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(objective(mdp, np.stack([pi] * 3)), solution.j, rtol=TOLERANCE)
    acting = ~mdp.terminal
    np.testing.assert_allclose((pi * solution.q).sum(-1)[:, acting], solution.value[:, acting], atol=TOLERANCE)


@given(mdp=small_mdps())
@settings(max_examples=25, deadline=None)
def test_a_policy_of_the_step_is_evaluated_step_by_step(mdp: TabularMDP) -> None:
    pi = SoftmaxPolicy.random(mdp, seed=5, replicates=mdp.horizon).probabilities(mdp)
    assert worst(solve(mdp, pi), mdp, pi, mdp.gamma) < TOLERANCE


@given(mdp=small_mdps())
@settings(max_examples=40, deadline=None)
def test_identities(mdp: TabularMDP) -> None:
    pi = SoftmaxPolicy.random(mdp, seed=1).probabilities(mdp)
    solution = solve(mdp, pi)
    acting = ~mdp.terminal
    np.testing.assert_allclose((pi * solution.q).sum(-1)[:, acting], solution.value[:, acting], atol=TOLERANCE)
    np.testing.assert_allclose((pi * solution.advantage).sum(-1), 0.0, atol=TOLERANCE)
    assert not solution.value[0].any()
    assert not solution.value[:, mdp.terminal].any()
    assert not solution.occupancy[:, mdp.terminal].any()
    assert not solution.advantage[:, ~mdp.mask].any()
    begun = solution.occupancy[:, mdp.tick].sum(axis=1)
    assert abs(begun[0] - 1.0) < TOLERANCE
    assert (np.diff(begun) <= TOLERANCE).all()
    # J once more: mean reward of each decision, weighted by how often it is taken.
    paid = np.where(acting, (pi * solution.sweep.reward).sum(-1), 0.0)
    j = (mdp.gamma ** np.arange(mdp.horizon)[:, None] * solution.occupancy * paid).sum()
    assert abs(j - solution.j) < TOLERANCE


def test_occupancy_sums_to_the_horizon_where_nothing_ends() -> None:
    mdp = make("random", states=30, actions=3, branching=4, ending=0.0, horizon=40, seed=2)
    solution = solve(mdp, SoftmaxPolicy.random(mdp, 0).probabilities(mdp))
    assert abs(solution.occupancy.sum() - 40) < TOLERANCE * 40
    assert abs(solution.truncation - 1.0) < TOLERANCE
    np.testing.assert_allclose(solution.occupancy.sum(axis=1), 1.0, atol=TOLERANCE)


def test_truncation_is_what_does_not_end() -> None:
    mdp = make("loop", states=1, horizon=4)
    solution = solve(mdp, SoftmaxPolicy.uniform(mdp).probabilities(mdp))
    assert abs(solution.truncation - (1 / 3) ** 4) < TOLERANCE


BROKEN: dict[str, Callable[[TabularMDP, np.ndarray], Solution]] = {
    "forgotten discount": lambda mdp, pi: solve(mdp, pi, gamma=1.0),
    "a step too many": lambda mdp, pi: solve(replace(mdp, horizon=mdp.horizon + 1), pi),
    "values shifted by a step": lambda mdp, pi: replace(solve(mdp, pi), value=np.roll(solve(mdp, pi).value, 1, axis=0)),
    "tokens counted as steps": lambda mdp, pi: solve(replace(mdp, tick=np.ones_like(mdp.tick)), pi),
    "rewards one branch off": lambda mdp, pi: solve(mdp, pi, reward=np.roll(mdp.reward, 1, axis=2)),
    "values after the end": lambda mdp, pi: solve(replace(mdp, terminal=np.zeros_like(mdp.terminal)), pi),
}


def stern_mdp() -> TabularMDP:
    return make(
        "random", states=3, actions=2, branching=1, ending=0.3, inner=0.5, observations=2, horizon=2, gamma=0.7, seed=10
    )


@pytest.mark.parametrize("name", BROKEN)
def test_the_brute_force_check_rejects(name: str) -> None:
    mdp = stern_mdp()
    pi = SoftmaxPolicy.random(mdp, seed=3).probabilities(mdp)
    assert (~mdp.tick).any()
    assert worst(solve(mdp, pi), mdp, pi, 0.7) < TOLERANCE
    assert worst(BROKEN[name](mdp, pi), mdp, pi, 0.7) > 1e-3


def test_objective_of_many_policies_is_that_of_each() -> None:
    mdp = make("random", states=20, actions=3, inner=0.3, forbidden=0.3, horizon=12, gamma=0.9, seed=4)
    pi = SoftmaxPolicy.random(mdp, seed=0, replicates=70).probabilities(mdp)
    each = np.array([solve(mdp, table).j for table in pi])
    np.testing.assert_allclose(objective(mdp, pi), each, rtol=TOLERANCE)
    np.testing.assert_allclose(objective(mdp, pi.reshape(7, 10, *pi.shape[1:])), each.reshape(7, 10), rtol=TOLERANCE)
    assert objective(mdp, pi[0]).shape == ()


def test_objective_does_not_depend_on_threads_or_neighbours() -> None:
    import numba

    mdp = make("random", states=20, actions=3, horizon=12, seed=4)
    pi = SoftmaxPolicy.random(mdp, seed=0, replicates=100).probabilities(mdp)
    before = numba.get_num_threads()
    try:
        numba.set_num_threads(1)
        one = objective(mdp, pi)
    finally:
        numba.set_num_threads(before)
    assert (objective(mdp, pi) == one).all()
    assert (objective(mdp, pi[37:]) == one[37:]).all()


def test_optimum_beats_every_deterministic_policy() -> None:
    mdp = make("random", states=3, actions=2, branching=2, ending=0.1, forbidden=0.3, horizon=2, seed=8, gamma=0.9)
    top = optimal(mdp)
    rows = [(t, s) for t in range(2) for s in range(3)]
    reached = []
    for code in range(2 ** len(rows)):
        pi = np.zeros((2, mdp.n_states, 2))
        pi[:, mdp.terminal, 0] = 1.0
        for i, (t, s) in enumerate(rows):
            pi[t, s, (code >> i) & 1] = 1.0
        if not pi[:, ~mdp.mask].any():
            reached.append(solve(mdp, pi).j)
    assert abs(max(reached) - top.j) < TOLERANCE
    assert (top.advantage[:0:-1][:, mdp.mask & ~mdp.terminal[:, None]] <= TOLERANCE).all()


def test_optimum_of_a_lock_opens_it() -> None:
    mdp = make("lock@large")
    assert optimal(mdp).j == 1.0
    assert abs(optimal(mdp, gamma=0.5).j - 0.5**19) < 1e-18


def test_another_reward_gives_lengths_and_objectives() -> None:
    mdp = make("chain@tiny")
    pi = SoftmaxPolicy.random(mdp, 0).probabilities(mdp)
    length = solve(mdp, pi, 1.0, reward=np.ones(mdp.successor.shape)).j
    assert abs(length - sum(e.probability * len(e.rows) for e in episodes(mdp, pi))) < TOLERANCE
    both = np.stack([mdp.reward, np.ones_like(mdp.reward)], axis=-1)
    two = TabularMDP.build(
        successor=mdp.successor, probability=mdp.probability, reward=both, terminal=mdp.terminal, horizon=mdp.horizon
    )
    assert abs(solve(two, pi).j - solve(mdp, pi).j - length) < TOLERANCE


def test_rows_are_looked_up_by_steps_left() -> None:
    mdp = make("loop", states=2, horizon=3, gamma=0.8)
    solution = solve(mdp, SoftmaxPolicy.random(mdp, 0).probabilities(mdp))
    rollouts = Rollouts.flat(
        offsets=np.array([0, 3]),
        group=np.array([0]),
        reward=np.zeros(3),
        action=np.array([0, 0, 1]),
        columns={"state": np.array([0, 1, 0])},
    )
    expected = [solution.q[3, 0, 0], solution.q[2, 1, 0], solution.q[1, 0, 1]]
    np.testing.assert_array_equal(solution.row_q(rollouts), expected)
    values = [solution.value[3, 0], solution.value[2, 1], solution.value[1, 0]]
    np.testing.assert_array_equal(solution.row_value(rollouts), values)
    np.testing.assert_allclose(
        solution.row_advantage(rollouts), np.array(expected) - np.array(values), rtol=0, atol=TOLERANCE
    )
    with pytest.raises(MissingColumnError, match="state"):
        solution.row_advantage(Rollouts.flat(offsets=[0, 1], group=[0], reward=np.zeros(1)))
    with pytest.raises(InputError, match=r"^step: got ids 0\.\.3, allowed 0\.\.2"):
        solution.row_q(rollouts.with_columns(step=np.array([0, 1, 3])))
    with pytest.raises(InputError, match=r"^action: got ids 0\.\.3"):
        solution.row_q(rollouts.with_columns(action=np.array([0, 1, 3])))


def test_garbage_in_rows_nobody_acts_in_does_no_harm() -> None:
    clean = make("random", states=4, actions=2, forbidden=0.5, horizon=3, seed=3)
    assert not clean.mask.all()
    probability = clean.probability.copy()
    probability[~clean.mask] = np.nan
    probability[clean.terminal] = -7.0
    pi = SoftmaxPolicy.random(clean, 0).probabilities(clean)
    np.testing.assert_array_equal(solve(replace(clean, probability=probability), pi).q, solve(clean, pi).q)


def bad_pi(change: Callable[[np.ndarray], object]) -> np.ndarray:
    mdp = make("stopping@tiny")
    pi = SoftmaxPolicy.uniform(mdp).probabilities(mdp)
    change(pi)
    return pi


@pytest.mark.parametrize(
    ("pi", "line"),
    [
        (np.full((3, 2), 0.5), r"policy probabilities: got shape \(3, 2\), allowed \(\.\.\., 4, 2\)"),
        (bad_pi(lambda pi: pi.__setitem__(0, 0.4)), "row of state 0 that is 0.2 off, allowed rows that sum to 1"),
        (bad_pi(lambda pi: pi.__setitem__(0, [-0.5, 1.5])), "got -0.5, allowed probabilities >= 0"),
        (bad_pi(lambda pi: pi.__setitem__(0, np.nan)), "got nan, allowed probabilities >= 0"),
        (bad_pi(lambda pi: pi.__setitem__(2, 0.5)), "forbidden action with positive probability"),
    ],
)
def test_bad_policies_are_one_line_errors(pi: np.ndarray, line: str) -> None:
    with pytest.raises(InputError, match=line) as caught:
        solve(make("stopping@tiny"), pi)
    assert "\n" not in str(caught.value)


def test_other_bad_input_is_a_one_line_error() -> None:
    mdp = make("chain@tiny")
    pi = SoftmaxPolicy.uniform(mdp).probabilities(mdp)
    with pytest.raises(InputError, match=r"gamma: got 1\.5"):
        solve(mdp, pi, 1.5)
    with pytest.raises(InputError, match="reward: got NaN"):
        solve(mdp, pi, reward=np.full(mdp.successor.shape, np.nan))
    with pytest.raises(InputError, match="reward: got shape"):
        solve(mdp, pi, reward=np.ones((2, 2)))
    with pytest.raises(InputError, match=r"allowed \(S, A\) or \(horizon, S, A\)"):
        solve(mdp, np.stack([pi] * 3))
    with pytest.raises(InputError, match="policy probabilities"):
        solve(mdp, FixedPolicy(np.full((1, 2), 0.5)).probabilities(mdp))


@pytest.mark.parametrize(("gamma", "truth"), [(1.0, (0.0, 0.5, -0.5)), (0.8, (-1 / 11, 6 / 11, -5 / 11))])
def test_the_looping_state_has_its_known_advantages(gamma: float, truth: tuple[float, ...]) -> None:
    # V = (gamma V + 1) / 3, so V = 1 / (3 - gamma); the horizon leaves out less than 1e-90.
    mdp = make("loop", states=1, horizon=200, gamma=gamma)
    solution = solve(mdp, SoftmaxPolicy.uniform(mdp).probabilities(mdp))
    assert abs(solution.j - 1 / (3 - gamma)) < TOLERANCE
    np.testing.assert_allclose(solution.advantage[-1, 0], truth, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_short_success_and_long_failure(p: float) -> None:
    mdp = make("stopping", turns=50, choices=(4,), stop=1.0, go=0.0, last=0.0)
    pi = SoftmaxPolicy.uniform(mdp).probabilities(mdp)
    pi[4] = [p, 1 - p]
    length = solve(mdp, pi, reward=np.ones(mdp.successor.shape)).j
    both = [(e.probability, len(e.rows), e.gain(1.0)) for e in episodes(mdp, pi)]
    assert sorted((t, r) for _, t, r in both) == [(5, 1.0), (50, 0.0)]
    assert abs(length - (5 * p + 50 * (1 - p))) < 1e-11
    assert abs(solve(mdp, pi).j - p) < TOLERANCE
    weighted = sum(q * t * r for q, t, r in both) / length
    assert abs(weighted - 5 * p / length) < TOLERANCE
    if p == 0.5:
        assert abs(weighted - 1 / 11) < TOLERANCE
        assert abs(weighted - solve(mdp, pi).j + 9 / 22) < TOLERANCE


def test_two_contexts_behind_one_observation() -> None:
    mdp = make("aliased", payoff=((0.0, 1.0), (3.0, 2.0)))
    pi = SoftmaxPolicy.uniform(mdp).probabilities(mdp)
    choice = np.flatnonzero(mdp.observation == 3)
    pi[choice] = [[0.3, 0.7], [0.8, 0.2]]
    solution = solve(mdp, pi)
    np.testing.assert_allclose(solution.value[1, choice], [0.7, 2.8], atol=TOLERANCE)
    assert abs(solution.j - 1.75) < TOLERANCE
