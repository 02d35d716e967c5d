"""The digital twin where truth is known: tables rolled out, counted again, and their estimators ranked."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from creditsim.errors import InputError
from creditsim.exact import policy_gradient, solve
from creditsim.exact.trajectories import enumerate_trajectories
from creditsim.mdp import SoftmaxPolicy, TabularMDP, make
from creditsim.rollouts import Rollouts
from creditsim.sampling.table import TableSampler
from llm_bridge.collect.store import write_rollouts
from llm_bridge.commands import twin as command
from llm_bridge.twin.empirical import build_twin
from llm_bridge.twin.rank import Ranked, Settings, agreement, rank, rank_table, resample

SMALL = Settings(estimators=("rloo", "grpo", "gigpo", "reinforce"), replicates=3000, bootstrap=0)


def rolled(env: str, groups: int = 64, seed: int = 5) -> tuple[TabularMDP, SoftmaxPolicy, Rollouts]:
    mdp = make(env)
    policy = SoftmaxPolicy.random(mdp, 3, 0.7)
    return mdp, policy, TableSampler(mdp, seed=seed, groups=groups).extend(copies=8, policy=policy)


# --- the table ------------------------------------------------------------------------------------------------------


def test_a_log_of_every_trajectory_gives_the_table_back() -> None:
    """Where each trajectory is logged as often as it is likely, the twin is the truth: values and gradient."""
    mdp = make("loop@tiny")
    policy = SoftmaxPolicy.uniform(mdp)
    law = enumerate_trajectories(mdp, policy.probabilities(mdp))
    weight = law.probability * law.start_probability[law.start] if law.start_probability.ndim else law.probability
    often = np.rint(weight / weight[weight > 0].min()).astype(int)
    if not np.allclose(often * weight[weight > 0].min(), weight):
        pytest.skip("trajectories that are no multiples of the rarest")
    rollouts = law.rollouts.take(np.repeat(np.arange(law.rollouts.n_trajectories), often))
    twin = build_twin(rollouts, horizon=mdp.horizon)
    assert solve(twin.mdp, twin.policy.probabilities(twin.mdp)).j == pytest.approx(
        solve(mdp, policy.probabilities(mdp)).j, abs=1e-12
    )


@pytest.mark.parametrize("env", ["chain@small", "trap@small", "grid@small", "loop@small"])
def test_the_twin_of_many_rollouts_has_nearly_the_value_of_the_table(env: str) -> None:
    mdp, policy, rollouts = rolled(env, groups=1600)
    twin = build_twin(rollouts)
    truth = solve(mdp, policy.probabilities(mdp))
    estimate = solve(twin.mdp, twin.policy.probabilities(twin.mdp)).j
    # The twin's value is the sampled mean return up to cuts: 12,800 trajectories, enough to tell half of it apart.
    returns = np.add.reduceat(rollouts.reward, rollouts.offsets[:-1])
    assert abs(estimate - truth.j) < 6.0 * returns.std() / np.sqrt(returns.size) + 1e-9
    assert abs(estimate - 0.5 * truth.j) > 6.0 * returns.std() / np.sqrt(returns.size)  # what the check would refuse
    norms = [np.linalg.norm(policy_gradient(*pair)) for pair in ((mdp, policy), (twin.mdp, twin.policy))]
    assert norms[1] == pytest.approx(norms[0], rel=0.35)


def test_counts_are_those_of_the_log() -> None:
    _, _, rollouts = rolled("grid@small")
    twin = build_twin(rollouts)
    assert twin.visits.sum() == rollouts.n_rows == twin.rows and twin.trajectories == rollouts.n_trajectories
    seen = {(int(o), int(a)) for o, a in zip(rollouts.observation, rollouts.action, strict=True)}
    told = {(int(twin.anchor[s]), int(twin.action[s, i])) for s, i in np.argwhere(twin.visits > 0)}
    assert seen == told
    cut = ~rollouts.terminated
    assert twin.cut == int(cut.sum()) and twin.spread == 0.0
    probability = twin.policy.probabilities(twin.mdp)
    share = twin.visits / np.maximum(twin.visits.sum(axis=1, keepdims=True), 1.0)
    live = ~twin.mdp.terminal
    assert np.allclose(probability[live], share[live], atol=1e-12)


def test_a_prior_moves_the_policy_towards_equal_shares_of_what_was_tried() -> None:
    _, _, rollouts = rolled("grid@small")
    plain, heavy = (build_twin(rollouts, action_prior=prior) for prior in (0.0, 1e9))
    live = ~plain.mdp.terminal
    tried = (plain.visits > 0)[live]
    assert np.allclose(heavy.policy.probabilities(heavy.mdp)[live], tried / tried.sum(axis=1, keepdims=True), atol=1e-6)
    assert not np.allclose(plain.policy.probabilities(plain.mdp)[live], tried / tried.sum(axis=1, keepdims=True), 1e-3)


def logged(
    observation: list[int], action: list[int], reward: list[float], terminated: bool = True, **columns
) -> Rollouts:
    m = len(observation)
    return Rollouts.flat(
        offsets=np.array([0, m]), group=np.array([0]), terminated=np.array([terminated]),
        observation=np.array(observation), action=np.array(action), reward=np.array(reward), step=np.arange(m),
        columns={name: np.array(values) for name, values in columns.items()},
    )  # fmt: skip


def test_a_walk_is_counted_by_hand() -> None:
    """0 -a-> 1 -b-> 0 -c-> end: state 0 has two actions with one visit each, state 1 one."""
    twin = build_twin(logged([7, 9, 7], [4, 5, 6], [0.0, 0.25, 1.0]))
    zero, one = (int(np.flatnonzero(twin.anchor == name)[0]) for name in (7, 9))
    assert twin.visits[zero].tolist() == [1.0, 1.0] and twin.visits[one].tolist() == [1.0, 0.0]
    assert twin.action[zero].tolist() == [4, 6] and twin.action[one].tolist() == [5, -1]
    assert twin.mdp.successor[zero, 0, 0] == one and twin.mdp.successor[one, 0, 0] == zero
    assert twin.mdp.successor[zero, 1, 0] == twin.mdp.n_states - 1 and twin.mdp.terminal[-1]
    assert twin.mdp.reward[one, 0, 0] == 0.25 and twin.mdp.reward[zero, 1, 0] == 1.0
    # From 0 half of the time straight to the end (1), half over 1 and back (0.25): with three steps, by hand.
    assert solve(twin.mdp, twin.policy.probabilities(twin.mdp)).j == pytest.approx(0.5 * 1.0 + 0.5 * (0.25 + 0.5 * 1.0))


def test_what_follows_a_cut_row_is_known_only_where_a_column_tells_it() -> None:
    told = build_twin(logged([1, 2], [0, 0], [0.0, 0.0], terminated=False, next_observation=[2, 3]))
    assert told.cut == 0 and told.frontier == 1 and 3 in told.anchor
    untold = build_twin(logged([1, 2], [0, 0], [0.0, 0.5], terminated=False))
    assert untold.cut == 1 and untold.frontier == 0
    last = int(np.flatnonzero(untold.anchor == 2)[0])
    assert untold.mdp.successor[last, 0, 0] == untold.mdp.n_states - 1 and untold.mdp.reward[last, 0, 0] == 0.5


def test_rewards_that_differ_on_one_transition_are_told() -> None:
    one = logged([1, 1, 1], [0, 0, 0], [0.0, 1.0, 0.0], terminated=False)
    assert build_twin(one).spread == pytest.approx(0.5)


def test_states_of_different_tasks_are_different() -> None:
    one = logged([1, 2], [0, 0], [0.0, 1.0])
    both = replace(
        one, offsets=np.array([0, 1, 2]), parent=np.array([-1, -1]), group=np.array([0, 1]), batch=np.array([0, 0]),
        terminated=np.array([True, True]), observation=np.array([1, 1]), step=np.array([0, 0]),
    )  # fmt: skip
    assert build_twin(both).mdp.n_states == 2
    apart = build_twin(both.with_trajectory_columns(task=np.array([0, 1])))
    assert apart.mdp.n_states == 3 and apart.mdp.n_observations == 3


def test_hidden_states_keep_aliasing_honest() -> None:
    mdp, policy, rollouts = rolled("aliased@small", groups=200)
    anchors, hidden = build_twin(rollouts), build_twin(rollouts, states="hidden")
    truth = solve(mdp, policy.probabilities(mdp)).j
    assert anchors.spread > 0.1 and hidden.spread < 1e-9  # by anchors, one transition pays now this, now that
    assert hidden.mdp.n_states > anchors.mdp.n_states
    assert solve(hidden.mdp, hidden.policy.probabilities(hidden.mdp)).j == pytest.approx(truth, abs=0.05)
    assert hidden.mdp.n_observations < hidden.mdp.n_states


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"states": "hiden"}, "states: got 'hiden'"),
        ({"states": "hidden"}, "no 'state'"),
        ({"action_prior": -1.0}, "action_prior"),
        ({"horizon": 0}, "horizon"),
    ],
)
def test_bad_input_is_named(change: dict, told: str) -> None:
    with pytest.raises(InputError, match=told):
        build_twin(logged([1, 2], [0, 0], [0.0, 1.0]), **change)


def test_a_hidden_state_shown_in_two_ways_is_two_states() -> None:
    """ALFWorld's answer to the last command: one place, two texts, and the policy has seen which."""
    twin = build_twin(logged([1, 2], [0, 0], [0.0, 1.0], state=[5, 5]), states="hidden")
    assert twin.mdp.n_states == 3 and sorted(twin.anchor.tolist()) == [-1, 1, 2]
    one, two = (int(np.flatnonzero(twin.anchor == name)[0]) for name in (1, 2))
    assert twin.mdp.successor[one, 0, 0] == two and twin.mdp.successor[two, 0, 0] == twin.mdp.n_states - 1
    cut = logged([1, 2], [0, 0], [0.0, 0.0], terminated=False, state=[5, 6], next_state=[6, 5])
    assert (
        build_twin(cut, states="hidden").mdp.successor[two, 0, 0] == one
    )  # no text after the cut: the one known there


# --- the ranking ----------------------------------------------------------------------------------------------------


def clear(rows: list[Ranked]) -> set[tuple[str, str]]:
    """Pairs (better, worse) that the intervals tell apart."""
    return {(a.estimator, b.estimator) for a in rows for b in rows if a.ties[1] < b.ties[0]}


@pytest.mark.parametrize("env", ["loop@small", "grid@small", "trap@small"])
@pytest.mark.parametrize("criterion", ["gradient_mse", "gradient_efficiency"])
def test_the_twin_ranks_as_the_truth_does(env: str, criterion: str) -> None:
    """Whatever the table tells apart clearly (intervals at 5 %), its twin does not turn round."""
    mdp, policy, rollouts = rolled(env, groups=128)
    settings = replace(SMALL, criterion=criterion)
    truth, twin = rank_table(mdp, policy, settings), rank(rollouts, settings)
    turned = {(b, a) for a, b in clear(truth)} & clear(twin)
    assert not turned
    if criterion == "gradient_mse":
        assert clear(truth) and agreement(truth, twin) == 1.0


def test_a_wrong_twin_is_caught_by_the_same_comparison() -> None:
    """Broken twin: rewards shuffled over the rows. It ranks otherwise than the truth, or calls the order unclear."""
    mdp, policy, rollouts = rolled("loop@small", groups=128)
    truth = rank_table(mdp, policy, SMALL)
    shuffled = rollouts.with_columns(reward=np.random.default_rng(1).permutation(rollouts.reward))
    assert clear(truth) - clear(rank(shuffled, SMALL))


def test_a_ranking_is_the_same_again_and_depends_on_the_seed() -> None:
    _, _, rollouts = rolled("loop@small")
    settings = replace(SMALL, replicates=200, bootstrap=3)
    assert rank(rollouts, settings) == rank(rollouts, settings)
    assert rank(rollouts, settings) != rank(rollouts, replace(settings, seed=1))
    shares = np.array([one.share for one in rank(rollouts, settings)])
    assert np.allclose(shares.sum(axis=0), 1.0) and np.allclose(shares.sum(axis=1), 1.0)


def test_resampled_logs_have_whole_groups() -> None:
    _, _, rollouts = rolled("grid@small", groups=12)
    again = resample(rollouts, 0, 1)
    assert again.n_groups == 12 and again.n_trajectories == 96
    kept = {tuple(rollouts.take(np.flatnonzero(rollouts.group == g)).action) for g in range(12)}
    for g in range(12):
        assert tuple(again.take(np.flatnonzero(again.group == g)).action) in kept
    assert not np.array_equal(again.action, resample(rollouts, 0, 2).action)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"criterion": "gradient_mes"}, "nearest: gradient_mse"),
        ({"estimators": ()}, "estimators"),
        ({"estimators": ("gigop",)}, "nearest: gigpo"),
        ({"group_size": 0}, "group_size"),
        ({"replicates": 1}, "replicates"),
        ({"bootstrap": -1}, "bootstrap"),
        ({"alpha": 0.5}, "alpha"),
        ({"seed": -1}, "seed"),
    ],
)
def test_settings_are_checked(change: dict, told: str) -> None:
    with pytest.raises(InputError, match=told):
        rank(rolled("loop@small", groups=4)[2], replace(SMALL, **change))


# --- the command ----------------------------------------------------------------------------------------------------


def test_the_command_prints_and_draws(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    path, picture = tmp_path / "log.parquet", tmp_path / "ranking.svg"
    write_rollouts(path, rolled("loop@small")[2])
    quick = command.Config(str(path), estimators=("rloo", "grpo"), replicates=300, bootstrap=2, figure=str(picture))
    assert command.run(quick) == 0
    out = capsys.readouterr().out
    assert out.startswith("twin of ") and "place  ties  estimator" in out and "first in resamples" in out
    assert picture.read_text().lstrip().startswith("<?xml") and "<svg" in picture.read_text()
    assert command.run(replace(quick, figure=None, bootstrap=0, json=True)) == 0
    told = json.loads(capsys.readouterr().out)
    assert [row["rank"] for row in told["ranking"]] == [1, 2] and told["twin"]["rows_cut"] == 0


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"rollouts": "missing.parquet"}, "missing.parquet"),
        ({"states": "hiden"}, "nearest: hidden"),
        ({"figure": "ranking.gif"}, "gif"),
        ({"criterion": "speed"}, "criterion"),
    ],
)
def test_the_command_refuses_bad_input(tmp_path: Path, change: dict, told: str) -> None:
    path = tmp_path / "log.parquet"
    write_rollouts(path, rolled("loop@small", groups=4)[2])
    with pytest.raises(InputError, match=told):
        command.run(replace(command.Config(str(path), bootstrap=0, replicates=10), **change))


def test_a_table_without_intervals_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    line: dict[str, float | None] = {"value": None, "low": None, "high": None}
    assert command._number(line) == "-"
    assert command._number({"value": 0.5, "low": 0.4, "high": None}) == "0.5 [0.4, ?]"
    twin = SimpleNamespace(
        rows=4, trajectories=2, cut=0, frontier=0, spread=0.5, visits=np.ones((1, 1)),
        mdp=SimpleNamespace(n_states=3, n_actions=1, horizon=2),
    )  # fmt: skip
    told = list(command._lines(twin, [], command.Config("x")))  # pyright: ignore[reportArgumentType]
    assert any("do not tell all" in text for text in told)
    nothing = Ranked("rloo", dict.fromkeys(("gradient_efficiency", "gradient_cosine", "gradient_snr"), line), 1, (1, 1))
    told = list(command._lines(twin, [nothing], command.Config("x")))  # pyright: ignore[reportArgumentType]
    assert any("the exact gradient of this twin is 0" in text for text in told)
