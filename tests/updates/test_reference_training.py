"""The training loop replayed in plain Python from the rollouts it drew: parameters, exact J and what is counted."""

from __future__ import annotations

import importlib
import math
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mutants import mutant
from scipy import stats

from creditsim import row_counts, train_block
from creditsim.errors import InputError
from creditsim.exact import solve
from creditsim.mdp import SoftmaxPolicy, TabularMDP, make
from creditsim.mdp.rows import TablePolicy
from creditsim.rollouts import Rollouts
from creditsim.row_counts import mark_met, silent_share
from creditsim.signal_tables import fixed_tables, moving_tables, signal_tables, valid_actions
from creditsim.signals.answer import answer
from creditsim.signals.information_gain import information_gain
from creditsim.signals.metric import metric
from creditsim.train import TrainConfig, TrainResult, train
from creditsim.train_block import Curves, at_update
from creditsim.train_summary import band, failures, summarise

Tables = list[list[list[float]]]
"""Logits of each replicate and context."""


def chances(row: list[float]) -> list[float]:
    power = [math.exp(x) for x in row]
    return [x / sum(power) for x in power]


def value(mdp: TabularMDP, theta: list[list[float]], state: int, left: int) -> float:
    """Exact return from here on, branch by branch."""
    if left == 0 or mdp.terminal[state]:
        return 0.0
    pi = chances(theta[int(mdp.context[state])])
    total = 0.0
    for a, b in product(range(mdp.n_actions), range(mdp.probability.shape[2])):
        p = float(mdp.probability[state, a, b])
        if p > 0:
            ahead = value(mdp, theta, int(mdp.successor[state, a, b]), left - 1)
            total += pi[a] * p * (float(mdp.scalar_reward[state, a, b]) + mdp.gamma * ahead)
    return total


def exact_j(mdp: TabularMDP, theta: list[list[float]]) -> float:
    starts = np.flatnonzero(mdp.start)
    return sum(float(mdp.start[s]) * value(mdp, theta, int(s), mdp.horizon) for s in starts)


def advantages(r: Rollouts) -> list[float]:
    """Return less the mean of the group."""
    score = [float(r.reward[a:b].sum()) for a, b in zip(r.offsets[:-1], r.offsets[1:], strict=True)]
    mean = {g: np.mean([s for s, h in zip(score, r.group, strict=True) if h == g]) for g in set(r.group.tolist())}
    return [score[i] - float(mean[int(r.group[i])]) for i in r.trajectory]


def climbed(theta: Tables, r: Rollouts, advantage: list[float], rate: float) -> Tables:
    """theta + rate / N sum over rows of A (e_a - pi)."""
    out = [[list(row) for row in rows] for rows in theta]
    for b, rows in enumerate(theta):
        n = int((r.batch == b).sum())
        for i in np.flatnonzero(r.batch_rows == b):
            c, chosen = int(r.columns["context"][i]), int(r.action[i])
            for a, p in enumerate(chances(rows[c])):
                out[b][c][a] += rate / n * advantage[i] * ((a == chosen) - p)
    return out


@pytest.mark.parametrize("env", ["trap@tiny", "dead_ends@tiny", "turns@tiny", "features@tiny"])
def test_a_run_is_its_rollouts_replayed(env: str, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Rollouts] = []
    real = train_block.credit

    def recorded(rollouts: Rollouts, *args: Any, **options: Any) -> Any:
        drawn.append(rollouts)
        return real(rollouts, *args, **options)

    monkeypatch.setattr(train_block, "credit", recorded)
    config = TrainConfig(
        method="reinforce", estimator="dr_grpo", update="reinforce", env=env, replicates=2, updates=3, groups=2,
        group_size=3, threads=1, params=("update.optimiser=sgd", "update.learning_rate=2.0"), seed=4,
    )  # fmt: skip
    run = train(config)
    assert len(drawn) == 3
    mdp = run.mdp
    theta: Tables = [[[0.0] * mdp.n_actions for _ in range(mdp.n_contexts)] for _ in range(2)]
    known: list[set[int]] = [set(), set()]
    for number, r in enumerate(drawn):
        advantage = advantages(r)
        for b in range(2):
            assert run.j[number, b] == pytest.approx(exact_j(mdp, theta[b]), abs=1e-12)
            mine = np.flatnonzero(r.batch == b)
            score = [float(r.reward[r.offsets[i] : r.offsets[i + 1]].sum()) for i in mine]
            rows = np.flatnonzero(r.batch_rows == b)
            known[b] |= set(r.columns["state"][rows].tolist()) | set(r.columns["next_state"][rows].tolist())
            assert run.mean_return[number, b] == pytest.approx(np.mean(score), abs=1e-14)
            assert run.success[number, b] == pytest.approx(np.mean([s > 0 for s in score]), abs=1e-14)
            assert run.generated[number, b] == len(rows) and len(mine) == 6
            assert run.silent[number, b] == pytest.approx(np.mean([advantage[i] == 0 for i in rows]), abs=1e-14)
            assert run.met[number, b] == len(known[b])
        theta = climbed(theta, r, advantage, 2.0)
    for b in range(2):
        assert run.j[3, b] == pytest.approx(exact_j(mdp, theta[b]), abs=1e-12)
    np.testing.assert_allclose(run.theta.reshape(2, mdp.n_contexts, -1), theta, atol=1e-12)
    assert np.abs(np.diff(run.j, axis=0)).max() > 1e-3, "something was learnt, so the replay says something"


# --- What is counted ------------------------------------------------------------------------------------------------

counted = st.lists(
    st.tuples(st.integers(0, 2), st.sampled_from([0.0, 0.5, 1.0]), st.sampled_from([0.0, -0.0, 1.0, -2.0])),
    min_size=1, max_size=20,
)  # fmt: skip


def silent(rows: list[tuple[int, float, float]], replicate: int) -> float:
    mine = [a for b, w, a in rows if b == replicate and w > 0]
    return sum(a == 0 for a in mine) / len(mine) if mine else 1.0


def weighed(rows: list[tuple[int, float, float]]) -> tuple[Rollouts, np.ndarray]:
    """Trajectories of one to three rows of one replicate, with weights, and their advantages."""
    rows = sorted(rows, key=lambda row: row[0])
    batch, weight, advantage = (np.array(x) for x in zip(*rows, strict=True))
    cuts = [i for i in range(1, len(rows)) if batch[i] != batch[i - 1] or i % 3 == 0]
    offsets = np.array([0, *cuts, len(rows)])
    # Trajectories without rows come first: ids are numbered by first appearance.
    mine = np.concatenate([[0, 1, 2], batch[offsets[:-1]]])
    rollouts = Rollouts.flat(
        offsets=np.concatenate([[0, 0, 0], offsets]), group=np.arange(mine.size), batch=mine,
        reward=np.zeros(len(rows)), columns={"weight": weight},
    )  # fmt: skip
    return rollouts, advantage


@given(counted)
def test_silent_shares_by_counting(rows: list[tuple[int, float, float]]) -> None:
    rollouts, advantage = weighed(rows)
    found = silent_share(rollouts, advantage, 3)
    assert found.tolist() == pytest.approx([silent(rows, r) for r in range(3)])
    np.testing.assert_array_equal(found, silent_share(rollouts, advantage.astype(np.float32), 3))
    # Without a column of weights every row counts.
    bare = replace(rollouts, columns={})
    everything = [(b, 1.0, a) for b, _, a in rows]
    assert silent_share(bare, advantage, 3).tolist() == pytest.approx([silent(everything, r) for r in range(3)])


@given(st.lists(st.tuples(st.integers(0, 2), st.lists(st.integers(0, 4), min_size=1, max_size=4)), max_size=5))
def test_marks_add_up_over_calls(paths: list[tuple[int, list[int]]]) -> None:
    """Paths of states, the last of which is only led to; a path of one state is a trajectory without rows."""
    seen, want = np.zeros((3, 5), bool), set()
    for half in (paths[::2], paths[1::2]):
        # One trajectory without rows for each replicate keeps their numbers.
        walked = [(0, [0]), (1, [0]), (2, [0]), *half]
        state = [s for _, path in walked for s in path[:-1]]
        after = [s for _, path in walked for s in path[1:]]
        rollouts = Rollouts.flat(
            offsets=np.cumsum([0, *(len(path) - 1 for _, path in walked)]), group=np.arange(len(walked)),
            batch=np.array([r for r, _ in walked]), reward=np.zeros(len(state)),
            columns={"state": np.array(state, np.int32), "next_state": np.array(after, np.int64)},
        )  # fmt: skip
        mark_met(seen, rollouts)
        want |= {(r, s) for r, path in half if len(path) > 1 for s in path}
    assert {(int(b), int(s)) for b, s in np.argwhere(seen)} == want


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("live += weight[i] > 0", "live += weight[i] >= 0"),
        ("& (advantage[i] == 0)", "& (advantage[i] <= 0)"),
        (", 1.0)\n", ", 0.0)\n"),
    ],
)
def test_faults_of_counting_are_noticed(old: str, new: str) -> None:
    rows = [(0, 0.0, 0.0), (0, 1.0, 1.0), (0, 1.0, -1.0), (0, 0.5, 0.0), (2, 1.0, 0.0)]
    found = mutant(row_counts, old, new).silent_share(*weighed(rows), 3)
    assert found.tolist() != pytest.approx([silent(rows, r) for r in range(3)])


def test_curves_are_views_of_replicates_and_cut_by_updates() -> None:
    curves = Curves.empty(4, 3)
    part = curves.of(slice(1, 3))
    part.j[:] = 7.0
    assert np.isnan(curves.j[:, 0]).all() and (curves.j[:, 1:] == 7.0).all() and curves.j.shape == (5, 3)
    cut = curves.upto(2)
    shapes = {name: getattr(cut, name).shape for name in ("j", "mean_return", "success", "generated", "silent", "met")}
    assert shapes.pop("j") == (3, 3) and set(shapes.values()) == {(2, 3)}
    assert curves.generated.dtype == np.int64 and (curves.generated == 0).all()


def test_schedules_become_numbers_and_other_parameters_stay() -> None:
    from creditsim.estimators.base import resolve
    from creditsim.schedules import as_schedule

    bound = resolve("gigpo@paper").part.bind(
        None, step_weight=as_schedule({"start": 1.0, "end": 0.0, "updates": 5}, "step_weight"), gamma=0.5
    )  # fmt: skip
    told = [at_update(bound, k, 5).params for k in range(5)]
    assert [p["step_weight"] for p in told] == pytest.approx([1.0, 0.75, 0.5, 0.25, 0.0])
    assert all(p["gamma"] == 0.5 for p in told)


# --- Tables of the loop ---------------------------------------------------------------------------------------------


def test_tables_of_the_loop_are_the_environments_and_the_policies() -> None:
    mdp = make("dead_ends@tiny")
    policy = TablePolicy(SoftmaxPolicy.random(mdp, 3, replicates=2), mdp)
    names = ("context_of_state", "observation_of_state", "valid_action", "oracle_value", "start")
    tables = signal_tables(names, policy)
    assert set(tables) == set(names)
    assert set(fixed_tables(names, mdp)) == set(names) - {"oracle_value"}
    assert set(moving_tables(names, policy)) == {"oracle_value"}
    for r in range(2):
        np.testing.assert_array_equal(tables["oracle_value"][r], solve(mdp, policy.table[r]).value)
    np.testing.assert_array_equal(tables["context_of_state"], mdp.context)


@pytest.mark.parametrize("env", ["dead_ends@tiny", "turns@tiny", "difficulties@tiny", "trap@tiny"])
def test_valid_actions_change_something_or_pay(env: str) -> None:
    mdp = make(env)
    for s, a in product(range(mdp.n_states), range(mdp.n_actions)):
        branches = zip(mdp.successor[s, a], mdp.probability[s, a], mdp.scalar_reward[s, a], strict=True)
        assert valid_actions(mdp)[s, a] == any(p > 0 and (there != s or paid != 0) for there, p, paid in branches)


# --- Summaries ------------------------------------------------------------------------------------------------------


def result_with(j: np.ndarray) -> TrainResult:
    run = train(TrainConfig(env="chain@tiny", replicates=j.shape[1], updates=j.shape[0] - 1, groups=1, group_size=2))
    lost = np.isnan(j)
    failed = np.where(lost.any(axis=0), lost.argmax(axis=0), -1)
    return replace(run, j=j, failed_at=failed)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_bands_and_summaries_by_hand(seed: int) -> None:
    rng = np.random.default_rng(seed)
    j = rng.normal(size=(4, 5))
    j[1 + seed :, 0] = np.nan
    j[3, 1:4] = np.nan
    result = result_with(j)
    found, told = band(result), summarise(result)
    for u in range(4):
        alive = [float(x) for x in j[u] if not math.isnan(x)]
        assert found["alive"][u] == len(alive) and found["j"][u] == pytest.approx(np.mean(alive))
        assert (found["least"][u], found["most"][u]) == (min(alive), max(alive))
        if len(alive) > 1:
            low, high = stats.t.interval(0.95, len(alive) - 1, np.mean(alive), stats.sem(alive))
            assert (found["low"][u], found["high"][u]) == pytest.approx((low, high))
        else:
            assert math.isnan(found["low"][u]) and math.isnan(found["high"][u])
    assert told["j_start"]["standard_error"] == pytest.approx(stats.sem(j[0]))
    end = j[-1][~np.isnan(j[-1])]
    assert told["j_end"]["mean"] == pytest.approx(end.mean())
    lost = [r for r in range(5) if np.isnan(j[:, r]).any()]
    assert failures(result) == {"number": len(lost), "replicates": lost, "first_update": int(min(
        np.isnan(j[:, r]).argmax() for r in lost))}  # fmt: skip


def test_nobody_alive_is_told_as_nothing() -> None:
    j = np.array([[0.5, 0.5], [np.nan, np.nan]])
    found, told = band(result_with(j)), summarise(result_with(j))
    assert found["alive"].tolist() == [2, 0] and math.isnan(found["j"][1]) and math.isnan(found["most"][1])
    assert told["j_end"] == {"mean": None, "standard_error": None} and told["failed"]["number"] == 2


# --- Signals --------------------------------------------------------------------------------------------------------


def walked(seed: int, lengths: list[int]) -> Rollouts:
    """Trajectories on a line of states, with turns of one or two decisions."""
    rng = np.random.default_rng(seed)
    m = sum(lengths)
    state = rng.integers(0, 6, m + len(lengths))
    starts = np.concatenate([[0], np.cumsum([n + 1 for n in lengths])])[:-1]
    rows = np.concatenate([s + np.arange(n) for s, n in zip(starts, lengths, strict=True)]).astype(int)
    step = np.concatenate([np.cumsum(rng.integers(0, 2, n)) for n in lengths]).astype(int)
    return Rollouts.flat(
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(int), group=np.zeros(len(lengths), int),
        reward=np.zeros(m), step=step, action=rng.integers(0, 3, m),
        columns={"state": state[rows], "next_state": state[rows + 1], "entropy": rng.random(m),
                 "tokens": rng.integers(1, 5, m)},
    )  # fmt: skip


walks = st.builds(walked, st.integers(0, 10**6), st.lists(st.integers(1, 5), min_size=1, max_size=4))


@given(walks, st.integers(0, 99), st.sampled_from([0.0, 0.5]))
def test_gains_of_turns_by_their_ends(rollouts: Rollouts, seed: int, noise: float) -> None:
    """A turn gains what its last decision leads to over what its first was in; gains of an episode telescope."""
    phi = np.random.default_rng(seed).integers(0, 9, 6) / 8.0
    found, _ = information_gain(rollouts, {}, table=phi, noise=noise, noise_seed=seed)
    calm, _ = information_gain(rollouts, {}, table=phi)
    s, after = rollouts.columns["state"], rollouts.columns["next_state"]
    error = found["potential"] - calm["potential"]
    by_state: dict[int, float] = {}
    for i in range(rollouts.n_trajectories):
        rows = list(range(int(rollouts.offsets[i]), int(rollouts.offsets[i + 1])))
        total = 0.0
        for turn in sorted(set(rollouts.step[rows].tolist())):
            mine = [row for row in rows if rollouts.step[row] == turn]
            gain = float(phi[after[mine[-1]]] - phi[s[mine[0]]])
            assert calm["information_gain"][mine].tolist() == pytest.approx([gain] * len(mine))
            assert calm["potential"][mine].tolist() == [phi[s[mine[0]]]] * len(mine)
            total += gain
            # The error belongs to the state: met again it is the same, and it telescopes with the potential.
            assert error[mine[0]] == pytest.approx(by_state.setdefault(int(s[mine[0]]), float(error[mine[0]])))
            if mine[-1] != rows[-1]:
                extra = found["information_gain"][mine[0]] - gain
                assert extra == pytest.approx(float(error[mine[-1] + 1] - error[mine[0]]))
        assert total == pytest.approx(float(phi[after[rows[-1]]] - phi[s[rows[0]]]))
    assert (error == 0).all() == (noise == 0)


@given(walks)
def test_answers_and_metrics_by_trajectory(rollouts: Rollouts) -> None:
    values = (0.5, -1.0, 2.0)
    by_kind = {
        "entropy": metric(rollouts, {})[0]["metric"],
        "length": metric(rollouts, {}, kind="length")[0]["metric"],
        "action": metric(rollouts, {}, kind="action", values=values)[0]["metric"],
        "answer": answer(rollouts, {})[0]["answer"],
        "state": answer(rollouts, {}, kind="state")[0]["answer"],
    }
    for a, b in zip(rollouts.offsets[:-1], rollouts.offsets[1:], strict=True):
        rows = range(int(a), int(b))
        want = {
            "entropy": math.fsum(rollouts.columns["entropy"][k] for k in rows) / len(rows),
            "length": sum(int(rollouts.columns["tokens"][k]) for k in rows),
            "action": math.fsum(values[int(rollouts.action[k])] for k in rows) / len(rows),
            "answer": int(rollouts.action[rows[-1]]),
            "state": int(rollouts.columns["next_state"][rows[-1]]),
        }
        for name, x in want.items():
            assert by_kind[name][rows].tolist() == pytest.approx([x] * len(rows))


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"kind": "action"}, "values"), ({"kind": "action", "values": (0.0, 1.0)}, "values"),
        ({"kind": "action", "values": "abc"}, "values"), ({"kind": "action", "values": (0.0, math.inf, 1.0)}, "values"),
        ({"noise": -1.0}, "noise"), ({"noise": math.nan}, "noise"), ({"kind": "size"}, "kind"),
    ],
)  # fmt: skip
def test_metrics_refuse_bad_numbers_in_one_line(params: dict[str, Any], field: str) -> None:
    rollouts = replace(walked(0, [3, 3]), action=np.array([0, 1, 2, 0, 1, 2]))
    with pytest.raises(InputError) as error:
        metric(rollouts, {"replicate": np.arange(1), "seed": 0}, **params)
    assert error.value.field.split()[-1] == field


@pytest.mark.parametrize("table", ["abc", ((0.1,), (0.2, 0.3)), (0.5,) * 2, (2.0,) * 6])
def test_potentials_refuse_bad_tables_in_one_line(table: Any) -> None:
    with pytest.raises(InputError) as error:
        information_gain(walked(0, [3, 3]), {}, table=table)
    assert error.value.field.split()[-1] == "table"


def test_the_modules_are_the_ones_that_training_uses() -> None:
    assert train_block.silent_share is silent_share and train_block.mark_met is mark_met
    assert importlib.import_module("creditsim.train").Block is train_block.Block
