"""Signals on random rollouts against loops: critic, oracle, invalid actions, the state score; and the score table."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from creditsim.errors import InputError
from creditsim.exact.dp import solve
from creditsim.mdp import SoftmaxPolicy, TabularMDP, make
from creditsim.mdp.rows import TablePolicy
from creditsim.rollouts import Rollouts
from creditsim.sampling import TableSampler
from creditsim.score_table import ScoreRule, branches, lookup
from creditsim.signal_tables import signal_tables
from creditsim.signals import SIGNALS
from creditsim.signals.critic import critic
from creditsim.signals.oracle_value import oracle_value
from creditsim.signals.state_score import state_score

MDP = make("random", states=5, actions=2, branching=2, observations=3, horizon=4, ending=0.2, inner=0.3, seed=7)
seeds = st.integers(0, 10**6)


def drawn(seed: int, mdp: TabularMDP = MDP, replicates: int = 2) -> tuple[Rollouts, TablePolicy]:
    policy = SoftmaxPolicy.random(mdp, seed, replicates=replicates)
    sampler = TableSampler(mdp, seed=seed, batches=replicates, groups=2, record=("entropy",))
    return sampler.extend(copies=3, policy=policy), TablePolicy(policy, mdp)


def loop_state(learner: TablePolicy, *names: str) -> dict[str, Any]:
    replicates = learner.theta.shape[0]
    return {"replicate": np.arange(replicates), "horizon": 8, **signal_tables(names, learner)}


def critic_by_hand(
    rollouts: Rollouts, table: np.ndarray, rate: float, gamma: float, bootstrap: bool, fault: str = ""
) -> tuple[list[float], list[float], np.ndarray]:
    """Values, next values and the table learnt, with dictionaries; G counts steps, not decisions."""
    value, ahead = [0.0] * rollouts.n_rows, [0.0] * rollouts.n_rows
    targets: dict[tuple[int, int], list[float]] = {}
    for i in range(rollouts.n_trajectories):
        b = 0 if fault == "one table for all" else int(rollouts.batch[i])
        rows = range(int(rollouts.offsets[i]), int(rollouts.offsets[i + 1]))
        total = 0.0
        for row in reversed(rows):
            last = row == rows[-1]
            passes = last or rollouts.step[row + 1] != rollouts.step[row] or fault == "discount inside steps"
            total = float(rollouts.reward[row]) + (gamma if passes else 1.0) * total
            cell = (b, int(rollouts.column("context")[row]))
            targets.setdefault(cell, []).append(total)
            value[row] = float(table[cell])
            if not last:
                ahead[row] = float(table[b, rollouts.column("context")[row + 1]])
            elif bootstrap and (not rollouts.terminated[i] or fault == "bootstrap past the end"):
                ahead[row] = float(table[b, MDP.context[rollouts.column("next_state")[row]]])
    learnt = table.copy()
    for cell, values in targets.items():
        goal = values[-1] if fault == "last return only" else sum(values) / len(values)
        learnt[cell] += rate * (goal - table[cell])
    return value, ahead, learnt


def critic_off(seed: int, bootstrap: bool, fault: str = "") -> float:
    rollouts, learner = drawn(seed)
    state = loop_state(learner, "context_of_state")
    table = np.random.default_rng(seed).normal(size=(2, MDP.n_contexts))
    got, after = critic(rollouts, {**state, "critic_value": table}, learning_rate=0.3, gamma=0.8, bootstrap=bootstrap)
    value, ahead, learnt = critic_by_hand(rollouts, table, 0.3, 0.8, bootstrap, fault)
    pairs = [(got["value"], value), (got["next_value"], ahead), (after["critic_value"], learnt)]
    return max(float(np.abs(np.asarray(a) - np.asarray(b)).max()) for a, b in pairs)


@settings(max_examples=25)
@given(seeds, st.booleans())
def test_critic_is_the_loop(seed: int, bootstrap: bool) -> None:
    assert critic_off(seed, bootstrap) < 1e-12


@pytest.mark.parametrize(
    "fault", ["one table for all", "discount inside steps", "bootstrap past the end", "last return only"]
)
def test_the_loop_rejects_broken_critics(fault: str) -> None:
    assert max(critic_off(seed, True, fault) for seed in range(4)) > 1e-3


@settings(max_examples=25)
@given(seeds)
def test_oracle_values_are_the_exact_ones_of_each_replicate(seed: int) -> None:
    rollouts, learner = drawn(seed)
    columns, _ = oracle_value(rollouts, loop_state(learner, "oracle_value"))
    solutions = [solve(MDP, pi) for pi in learner.table]
    exact = np.stack([solution.row_value(rollouts) for solution in solutions])
    rows = np.arange(rollouts.n_rows)
    np.testing.assert_allclose(columns["value"], exact[rollouts.batch_rows, rows], rtol=0, atol=1e-12)
    # Broken twin: the other replicate's policy.
    assert np.abs(columns["value"] - exact[1 - rollouts.batch_rows, rows]).max() > 1e-6
    # One-step consistency: within an episode the next value is the next row's value.
    inner = np.flatnonzero(rollouts.previous >= 0)
    same = rollouts.step[inner] != rollouts.step[rollouts.previous[inner]]
    before = rollouts.previous[inner][same]
    np.testing.assert_allclose(columns["next_value"][before], columns["value"][inner[same]], rtol=0, atol=1e-12)
    assert (columns["next_value"][rollouts.offsets[1:] - 1] == 0).all()


def test_td_errors_of_the_oracle_have_mean_zero() -> None:
    """n = 12,000 trajectories: mean of r + V' - V over all rows within 5 standard errors; a shifted V is caught."""
    mdp = make("random", states=5, actions=2, branching=2, horizon=4, seed=3)
    policy = SoftmaxPolicy.random(mdp, 0, replicates=1)
    rollouts = TableSampler(mdp, seed=1, groups=12_000).extend(policy=policy)
    columns, _ = oracle_value(rollouts, loop_state(TablePolicy(policy, mdp), "oracle_value"))
    error = rollouts.reward + columns["next_value"] - columns["value"]
    bound = 5 * error.std() / math.sqrt(error.size)
    assert abs(error.mean()) < bound
    assert abs((error - 0.05).mean()) > bound  # broken twin


@pytest.mark.parametrize("name", SIGNALS.names())
def test_signals_change_neither_rollouts_nor_state(name: str) -> None:
    rollouts, learner = drawn(3)
    part = SIGNALS[name]
    state = loop_state(learner, *part.options["tables"])
    before = {key: np.array(value) for key, value in state.items()}
    rows = {key: np.array(rollouts.column(key)) for key in ("reward", "state", "action", "log_prob")}
    columns, after = part.bind()(rollouts, state)
    again, _ = part.bind()(rollouts, state)
    assert set(columns) == set(part.makes)
    for key, value in columns.items():
        assert value.shape[0] == rollouts.n_rows
        assert np.array_equal(value, again[key])
    assert set(state) == set(before) and all(np.array_equal(state[key], before[key]) for key in before)
    assert all(np.array_equal(rollouts.column(key), rows[key]) for key in rows)
    assert set(after) >= set(state)


@pytest.mark.parametrize("name", ["critic", "oracle_value", "invalid_action"])
def test_replicates_do_not_see_each_other(name: str) -> None:
    rollouts, learner = drawn(5)
    part = SIGNALS[name]
    both, _ = part.bind()(rollouts, loop_state(learner, *part.options["tables"]))
    for b in range(2):
        one = TablePolicy(learner.policy.with_theta(learner.theta[b : b + 1]), MDP)
        alone, _ = part.bind()(rollouts.take(rollouts.batch == b), loop_state(one, *part.options["tables"]))
        for key, value in alone.items():
            assert np.array_equal(value, both[key][rollouts.batch_rows == b])


counts = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), min_size=1, max_size=8)
rules = st.builds(
    ScoreRule,
    alpha=st.sampled_from([0.5, 50.0]),
    xi=st.sampled_from([1.0, 8.0, math.inf]),
    zeta=st.sampled_from([0.0, 0.1, 1.0]),
    eps=st.sampled_from([0.0, 1e-6]),
    schedule=st.sampled_from(["log", "saturating"]),
)


def score_by_hand(rule: ScoreRule, total: int, success: int, t: float) -> float:
    rate = success / (total + rule.eps) if total else 0.0
    if not (total - success < rule.xi or rate > rule.zeta):
        return 0.0
    t = max(t, 1.0)
    slope = rule.alpha * math.log(t) if rule.schedule == "log" else rule.scale * (1 - math.exp(-rule.alpha * t / 1000))
    return max(math.exp(-slope * rate), np.finfo(float).tiny)


@given(rules, counts, st.floats(0.0, 1e4))
def test_score_rule_is_its_formula(rule: ScoreRule, pairs: list[tuple[int, int]], t: float) -> None:
    total = np.array([a + b for a, b in pairs])
    success = np.array([b for _, b in pairs])
    got = rule.score(total, success, np.full(total.size, t))
    expected = [score_by_hand(rule, int(n), int(k), t) for n, k in zip(total, success, strict=True)]
    np.testing.assert_allclose(got, expected, rtol=1e-12, atol=0)
    assert ((got == 0) == ~rule.keeps(total, success)).all()
    # More successes of as many visits never score higher.
    more = rule.score(total, np.minimum(success + 1, total), np.full(total.size, t))
    kept = (got > 0) & (more > 0)
    assert (more[kept] <= got[kept] * (1 + 1e-12)).all()


@given(st.floats(0.0, 1.0), st.integers(1, 64))
def test_branches_are_as_stated(score: float, most: int) -> None:
    assert branches(score, most) == math.ceil(most * score)
    assert branches(score, most, "sigmoid") == max(1, math.floor(most / (1 + math.exp(-score))))


def test_lookup_knows_what_is_in_the_table_and_gives_one_elsewhere() -> None:
    table = np.arange(12.0).reshape(2, 2, 3) / 12
    got = lookup({"score": table}, np.array([0, 1, 1, 0]), np.array([0, 1, 9, 0]), np.array([0, 2, 1, 7]))
    assert got.tolist() == [table[0, 0, 0], table[1, 1, 2], table[1, 1, 1], 1.0]
    assert lookup({}, np.zeros(2, int), np.zeros(2, int), np.array([0, 5])).tolist() == [1.0, 1.0]


def episodes(rewards: list[list[float]], seen: list[list[int]], after: list[int]) -> Rollouts:
    """Trajectories of one replicate by observation; `after` is what each ends in."""
    nexts = [o for row, end in zip(seen, after, strict=True) for o in [*row[1:], end]]
    return Rollouts.flat(
        offsets=np.cumsum([0, *map(len, seen)]),
        group=np.zeros(len(seen), int),
        reward=np.array([r for row in rewards for r in row]),
        observation=np.array([o for row in seen for o in row]),
        columns={"next_observation": np.array(nexts)},
    )


def test_history_counts_each_path_once_per_observation() -> None:
    """By hand: a path that meets an observation twice counts one visit there; a success counts along its path."""
    rollouts = episodes([[0.0, 0.0, 1.0], [0.0]], [[0, 1, 0], [1]], [2, 3])
    columns, state = state_score(rollouts, {"replicate": np.array([0])})
    assert columns["score"].tolist() == [1.0] * 4 and columns["visits"].tolist() == [0] * 4
    assert columns["success"].tolist() == [False, False, True, False]
    assert columns["novel"].tolist() == [True, True, True, True]
    assert state["score_total"].tolist() == [[1, 2, 1, 1]]
    assert state["score_success"].tolist() == [[1, 1, 1, 0]]
    assert state["score_clock"].tolist() == [3]
    # Before the first count w = 1/2: the step pays novelty, and half a point for the success.
    assert columns["step_reward"].tolist() == [0.5, 0.5, 1.0, 0.5]
    frozen, same = state_score(rollouts, state, learn=False)
    assert same["score_total"].tolist() == state["score_total"].tolist()
    w = 0.5 * np.exp(-0.1 * np.array([1, 2, 1, 2]))
    score, after = frozen["score"], frozen["next_score"]
    expected = w * 1.0 + (0.5 - w) * (score - after) + 0.5 * np.array([0, 0, 1, 0])
    np.testing.assert_allclose(frozen["step_reward"], expected, rtol=0, atol=1e-15)


NOVEL: dict[str, list[bool]] = {
    "changed": [False, True, True, True],
    "unseen": [True, True, True, True],
    "first": [False, True, False, True],
}


@pytest.mark.parametrize("novel", NOVEL)
def test_readings_of_novelty_differ_on_a_walk_that_turns_back(novel: Any) -> None:
    walk = episodes([[0.0] * 4], [[0, 0, 1, 0]], [2])
    columns, _ = state_score(walk, {"replicate": np.array([0])}, novel=novel)
    assert columns["novel"].tolist() == NOVEL[novel]


WRONG: list[tuple[Callable[[], Any], str]] = [
    (lambda: ScoreRule(alpha=0.0), "alpha: got 0.0"),
    (lambda: ScoreRule(xi=0.5), "xi: got 0.5"),
    (lambda: ScoreRule(zeta=1.5), "zeta: got 1.5"),
    (lambda: ScoreRule(eps=1.0), "eps: got 1.0"),
    (lambda: ScoreRule(schedule="lgo"), "schedule: got 'lgo', allowed log | saturating; nearest: log"),  # pyright: ignore[reportArgumentType]
    (lambda: branches(0.5, 0), "group_size: got 0"),
    (lambda: branches(0.5, 2, "floor"), "allocation: got 'floor'"),  # pyright: ignore[reportArgumentType]
    (
        lambda: state_score(episodes([[0.0]], [[0]], [1]), {"replicate": np.array([0])}, omega=-1.0),
        "signal state_score",
    ),
    (lambda: state_score(episodes([[0.0]], [[0]], [1]), {}), "signal state_score: got a state without 'replicate'"),
    (lambda: critic(drawn(0)[0], {"replicate": np.arange(2)}), "signal critic: got a state without 'context_of_state'"),
]


@pytest.mark.parametrize(("call", "line"), WRONG)
def test_wrong_numbers_are_one_line(call: Callable[[], Any], line: str) -> None:
    with pytest.raises(InputError) as error:
        call()
    assert str(error.value).startswith(line) and "\n" not in str(error.value)


def test_a_whole_number_may_be_the_critics_first_value() -> None:
    # An integer table cannot take the mean of returns in place.
    rollouts, learner = drawn(2)
    state = loop_state(learner, "context_of_state")
    whole, real = (critic(rollouts, state, initial=initial)[1]["critic_value"] for initial in (1, 1.0))
    assert np.array_equal(whole, real) and whole.dtype == np.float64
