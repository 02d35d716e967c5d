"""Claims on text recordings: verdicts, twins and controls, and their numbers counted again by hand."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
import pytest
from bridge_trials import EXACT, VERDICTS, detail, entry, result, variant

from creditsim import advantage
from creditsim.rollouts import Rollouts
from theory.claims import bridge, bridge_groups, bridge_learning
from theory.data import recorded_curves, recorded_rollouts
from theory.text_groups import grouped_share, history_ids, mixed_share, over_tasks, row_sizes


@pytest.mark.parametrize("name", VERDICTS)
def test_verdict_twin_and_control(name: str) -> None:
    found = result(name)
    assert found.meta["verdict"] == VERDICTS[name]
    assert variant(name, "broken")["verdict"] == "refuted"
    assert (entry(name).control is not None) == (VERDICTS[name] == "refuted")
    if entry(name).control is not None:
        assert variant(name, "control")["verdict"] == "supported"
    assert (found.meta["alpha"] == 0) == (name in EXACT)


@pytest.mark.parametrize("name", VERDICTS)
def test_table_is_complete_and_finite(name: str) -> None:
    table = result(name).table
    assert len({column.size for column in table.values()}) == 1
    assert all(np.isfinite(column).all() for column in table.values() if column.dtype.kind == "f")


# --- The same credit ---------------------------------------------------------------------------------------------


def test_every_estimator_is_compared_on_every_recording_and_says_something() -> None:
    found = result("bridge.same-credit")
    assert detail("bridge.same-credit")["runs"] == len(bridge.ROLLOUTS) * len(bridge.CREDIT)
    assert {"grpo", "rloo", "gigpo", "hgpo", "scpo"} <= set(bridge.CREDIT)
    # Where every episode is lost there is nothing to compare; elsewhere there is.
    assert (found["largest"] > 0).all()
    assert 0 < detail("bridge.same-credit")["in_any_order"] < 1e-12


def test_rows_go_through_the_door_in_any_order_and_come_back() -> None:
    rollouts = recorded_rollouts("webshop_tiny").rollouts.take(np.arange(16))
    order = np.random.default_rng(3).permutation(rollouts.n_rows)
    again = bridge.through_the_door(rollouts, order, bridge.anchor_labels)
    assert again.labels["traj"][0] != "walk 0"
    back = bridge.in_first_order(again, rollouts)
    for name in ("offsets", "terminated", "reward", "step"):
        np.testing.assert_array_equal(getattr(back, name), getattr(rollouts, name))
    # Ids are others, equality is the same.
    pairs = set(zip(back.observation.tolist(), rollouts.observation.tolist(), strict=True))
    assert len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})
    dated = bridge.through_the_door(rollouts, order, bridge.dated_labels)
    assert np.unique(dated.observation).size > np.unique(again.observation).size


# --- Groups without credit ---------------------------------------------------------------------------------------


def test_outcomes_of_tasks_add_up_and_credit_is_where_they_are_mixed() -> None:
    for name, found in detail("bridge.silent-groups").items():
        assert found["all lose"] + found["mixed"] + found["all win"] == pytest.approx(1.0)
        rollouts = recorded_rollouts(name).rollouts
        won = rollouts.trajectory_columns["success"]
        by_group = [won[rollouts.group == g] for g in range(rollouts.n_groups)]
        assert found["all lose"] == np.mean([not each.any() for each in by_group])
        assert found["all win"] == np.mean([each.all() for each in by_group])
        mixed = np.isin(rollouts.group_rows, [g for g, each in enumerate(by_group) if 0 < each.sum() < each.size])
        assert found["rows with credit"]["grpo"] == pytest.approx(mixed.mean())


def test_gigpo_tells_fast_from_slow_wins_where_grpo_is_silent() -> None:
    table = result("bridge.silent-groups").where(recording="alfworld_tiny")
    assert table["all_win"][0] > 0
    assert table.where(estimator="grpo")["all_win_credit"] == 0.0
    assert table.where(estimator="gigpo")["all_win_credit"] > 0.1


def test_tasks_differ_more_than_one_chance_for_all_would_have_it() -> None:
    found = detail("bridge.silent-groups")["alfworld_tiny"]
    p = found["success"]
    assert found["if all tasks were alike"] == pytest.approx(p**8 + (1 - p) ** 8)
    assert found["all lose"] + found["all win"] > 10 * found["if all tasks were alike"]


# --- Step groups -------------------------------------------------------------------------------------------------


def counted(rollouts: Rollouts, key: Any, kind: Any) -> tuple[list[float], list[float]]:
    """Shares by task, by dictionaries and loops."""
    company, mixed = [], []
    for g in range(rollouts.n_groups):
        cells: dict[Any, list[Any]] = defaultdict(list)
        for row in np.flatnonzero(rollouts.group_rows == g):
            cells[key(row)].append(kind(row))
        several = [kinds for kinds in cells.values() if len(kinds) > 1]
        rows = sum(map(len, several))
        company.append(rows / sum(map(len, cells.values())))
        other = sum(len(kinds) - kinds.count(k) > 0 for kinds in several for k in kinds)
        mixed.append(other / rows if rows else float("nan"))
    return company, mixed


@pytest.mark.parametrize("name", ["webshop_tiny", "alfworld_tiny"])
@pytest.mark.parametrize("k", [0, 2])
def test_shares_are_those_of_counting(name: str, k: int) -> None:
    rollouts = recorded_rollouts(name).rollouts
    seen, state, offsets = rollouts.observation, rollouts.columns["state"], rollouts.offsets

    def window(row: int) -> tuple[int, ...]:
        start = offsets[rollouts.trajectory[row]]
        return tuple(seen[max(start, row - k) : row + 1].tolist())

    company, mixed = counted(rollouts, window, lambda row: int(state[row]))
    key = history_ids(rollouts, k)
    np.testing.assert_allclose(grouped_share(rollouts, key), company)
    np.testing.assert_allclose(mixed_share(rollouts, key, state), mixed)
    _, other = counted(rollouts, lambda row: int(seen[row]), window)
    np.testing.assert_allclose(mixed_share(rollouts, history_ids(rollouts, 0), key), other)


def test_shares_agree_with_the_summary_of_collection() -> None:
    pytest.importorskip("pyarrow")
    from llm_bridge.collect.purity import anchor_purity, context_inconsistency

    rollouts = recorded_rollouts("webshop_random").rollouts
    key, state = history_ids(rollouts, 0), rollouts.columns["state"]
    rows = row_sizes(rollouts, key) >= 2
    weight = np.bincount(rollouts.group_rows[rows])
    for found, kind in (
        (anchor_purity(rollouts), state),
        (context_inconsistency(rollouts, 2), history_ids(rollouts, 2)),
    ):
        share = mixed_share(rollouts, key, kind)
        assert found.mixed_rows == pytest.approx(np.average(share, weights=weight))
        assert found.grouped == pytest.approx(rows.mean())


def test_tasks_without_company_are_left_out() -> None:
    rollouts = Rollouts.flat(
        offsets=np.arange(5), group=np.array([0, 0, 1, 1]), observation=np.array([0, 0, 1, 2]), reward=np.zeros(4)
    )
    share = mixed_share(rollouts, rollouts.observation, np.arange(4))
    np.testing.assert_array_equal(share, [1.0, np.nan])
    assert over_tasks(np.array([1.0, np.nan, 0.5, 0.75]), 0.05).n == 3


def test_no_window_makes_webshop_pages_states_but_company_is_left() -> None:
    table = result("gigpo.anchors-are-states").where(rollouts="webshop_tiny", depth=bridge_groups.WHOLE)
    assert table["low"][0] > 0.0 and table["share"][0] > 0.1
    company = result("gigpo.most-steps-have-company").where(rollouts="webshop_tiny", depth=bridge_groups.WHOLE)
    assert company["share"][0] > 0.8
    observed = result("gigpo.anchors-are-states").where(rollouts="table grid@small")
    assert (observed["share"] == 0.0).all()


def test_deeper_keys_are_nested() -> None:
    table = result("gigpo.most-steps-have-company")
    for name in table.unique("rollouts"):
        one = table.where(rollouts=name)
        assert (np.diff(one["depth"]) > 0).all() and (np.diff(one["share"]) <= 1e-12).all()


def test_a_silent_recording_is_silent_for_all() -> None:
    rollouts = recorded_rollouts("webshop_random").rollouts
    lost = rollouts.take(
        np.flatnonzero(~np.isin(rollouts.group, np.unique(rollouts.group[rollouts.trajectory_columns["success"]])))
    )
    for spec in bridge.SILENT:
        assert not np.asarray(advantage(lost, spec)).any()


# --- Learning ----------------------------------------------------------------------------------------------------


def test_gains_are_those_of_the_recorded_ends() -> None:
    table = recorded_curves().table
    for method in bridge_learning.METHODS:
        mine = (table["method"] == method) & (table["what"] == "ends")
        gains = []
        for seed in range(recorded_curves().meta["made"]["seeds"]):
            one = table["success"][mine & (table["seed"] == seed)]
            assert one.size == 2
            gains.append(one[1] - one[0])
        claim = "3spo.learns-on-text" if method == "3spo" else "bridge.learns"
        found = detail(claim)[method]
        assert found["gain"] == pytest.approx(np.mean(gains)) and found["seeds"] == len(gains)
        low, high = found["over seeds, 95 %"]
        half = 2.7764 * np.std(gains, ddof=1) / np.sqrt(5)  # Student's t with 4 degrees of freedom
        assert (low, high) == pytest.approx((np.mean(gains) - half, np.mean(gains) + half), abs=1e-4)


def test_methods_start_from_one_model_and_the_same_episodes() -> None:
    starts = [bridge_learning.ends(method, "start")[0] for method in bridge_learning.METHODS]
    assert all(np.array_equal(start, starts[0]) for start in starts)
    assert recorded_curves().meta["made"]["learning_rate"] == 3e-4


def test_the_interval_of_a_gain_covers_as_often_as_it_says() -> None:
    # 16 tasks of unlike difficulty, 8 episodes each, 5 runs; n = 2000 studies, alpha = 0.05: 100 misses if exact.
    # Stratified sampling makes it wider than needed, never narrower; 4.75 standard deviations (alpha 1e-6) above 100.
    rng = np.random.default_rng(0)
    p0, p1 = rng.uniform(0, 1, 16), rng.uniform(0, 1, 16)
    n, missed, narrow = np.full(5, 128), 0, 0
    for _ in range(2000):
        before, after = (rng.binomial(8, np.broadcast_to(p, (5, 16))).sum(axis=1) / 128 for p in (p0, p1))
        found = bridge_learning.gain_interval((before, n), (after, n), 0.05)
        gain = p1.mean() - p0.mean()
        missed += not found.low <= gain <= found.high
        narrow += abs(found.estimate - gain) > 0.2 * (found.high - found.low) / 2
    assert missed <= 100 + 4.75 * np.sqrt(2000 * 0.05 * 0.95)
    # Broken twin: a fifth of the width misses too often.
    assert narrow > 100 + 4.75 * np.sqrt(2000 * 0.05 * 0.95)


def test_curves_are_drawn_from_every_run() -> None:
    table = result("bridge.learns")
    assert set(table.unique("method")) == set(bridge_learning.METHODS)
    assert (table["seeds"] == 5).all() and (
        (table["low"] <= table["success"]) & (table["success"] <= table["high"])
    ).all()
    for method in bridge_learning.METHODS:
        assert (np.diff(table.where(method=method, what="curve")["steps"]) > 0).all()
