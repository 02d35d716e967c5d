"""TabularMDP on random tables: sweep orders by search, values by linear algebra, each check by its own fault."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from creditsim.errors import InputError
from creditsim.exact.dp import solve
from creditsim.exact.infinite import infinite_value
from creditsim.mdp import FAMILIES, SoftmaxPolicy, TabularMDP, make


@st.composite
def tables(draw: st.DrawFn) -> dict[str, Any]:
    """Arguments of `build`: any successors, zeros among the probabilities, masks, ticks and terminals."""
    s, a, b = draw(st.integers(1, 6)), draw(st.integers(1, 3)), draw(st.integers(1, 3))
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    weight = rng.random((s, a, b)) * (rng.random((s, a, b)) < 0.7)
    weight[..., 0] += 1e-3
    mask = rng.random((s, a)) < 0.7
    mask[:, 0] = True
    tick = rng.random(s) < 0.5
    tick[0] = True
    terminal = rng.random(s) < 0.2
    terminal[0] = False
    return {
        "successor": rng.integers(0, s, (s, a, b)),
        "probability": weight / weight.sum(axis=-1, keepdims=True),
        "reward": rng.normal(size=(s, a, b)),
        "mask": mask,
        "tick": tick,
        "terminal": terminal,
        "horizon": draw(st.integers(1, 4)),
        "gamma": 0.9,
    }


def inner_moves(given_table: dict[str, Any]) -> dict[int, set[int]]:
    """For each state, the states it can move to without a new step beginning."""
    t = given_table
    out: dict[int, set[int]] = {}
    for (s, a, b), p in np.ndenumerate(t["probability"]):
        to = int(t["successor"][s, a, b])
        if p > 0 and t["mask"][s, a] and not t["terminal"][s] and not t["tick"][to] and not t["terminal"][to]:
            out.setdefault(s, set()).add(to)
    return out


def has_circle(moves: dict[int, set[int]]) -> bool:
    """Depth-first search for a circle among moves inside steps."""
    done: set[int] = set()

    def visit(s: int, above: tuple[int, ...]) -> bool:
        if s in above:
            return True
        if s in done:
            return False
        found = any(visit(to, (*above, s)) for to in moves.get(s, ()))
        done.add(s)
        return found

    return any(visit(s, ()) for s in moves)


@settings(max_examples=100)
@given(tables())
def test_sweep_order_puts_successors_first_or_a_circle_is_refused(given_table: dict[str, Any]) -> None:
    mdp = TabularMDP.build(**given_table)
    moves = inner_moves(given_table)
    if has_circle(moves):
        with pytest.raises(InputError, match="tick: got states without tick that lead to each other in a circle"):
            _ = mdp.sweep_order
        return
    order = mdp.sweep_order
    assert sorted(order.tolist()) == list(range(mdp.n_states))
    place = {int(s): i for i, s in enumerate(order)}
    assert all(place[to] < place[s] for s, targets in moves.items() for to in targets)


@settings(max_examples=40)
@given(tables(), st.integers(0, 100))
def test_values_solve_the_linear_system_over_state_and_steps_left(given_table: dict[str, Any], seed: int) -> None:
    """V over all pairs (state, steps left) at once, by one dense solve instead of backward induction."""
    assume(not has_circle(inner_moves(given_table)))
    mdp = TabularMDP.build(**given_table)
    pi = SoftmaxPolicy.random(mdp, seed).probabilities(mdp)
    s, h = mdp.n_states, mdp.horizon
    matrix, right = np.eye(s * (h + 1)), np.zeros(s * (h + 1))
    for n in range(1, h + 1):
        for state in np.flatnonzero(~mdp.terminal):
            row = n * s + state
            for a, b in np.ndindex(mdp.n_actions, mdp.n_successors):
                p = pi[state, a] * mdp.probability[state, a, b]
                to = int(mdp.successor[state, a, b])
                right[row] += p * mdp.reward[state, a, b]
                if not mdp.terminal[to]:
                    left = n - 1 if mdp.tick[to] else n
                    matrix[row, left * s + to] -= p * (mdp.gamma if mdp.tick[to] else 1.0)
    expected = np.linalg.solve(matrix, right).reshape(h + 1, s)
    np.testing.assert_allclose(solve(mdp, pi).value, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("gamma", [0.5, 0.9])
def test_long_horizons_come_to_the_infinite_value(gamma: float) -> None:
    mdp = make("random", states=6, actions=2, branching=2, ending=0.1, horizon=400, seed=2)
    pi = SoftmaxPolicy.random(mdp, 0).probabilities(mdp)
    value, q = infinite_value(mdp, pi, gamma)
    finite = solve(mdp, pi, gamma)
    np.testing.assert_allclose(finite.value[-1], value, rtol=0, atol=1e-12)
    np.testing.assert_allclose(np.where(mdp.mask, finite.q[-1], 0), np.where(mdp.mask, q, 0), rtol=0, atol=1e-12)
    # Broken twin: a shorter horizon is not long enough, and the same comparison tells.
    assert np.abs(finite.value[3] - value).max() > 1e-3


Fault = tuple[Callable[[dict[str, Any]], dict[str, Any]], str]


def with_entry(name: str, index: Any, value: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    def change(given_table: dict[str, Any]) -> dict[str, Any]:
        array = np.array(given_table[name], float if name in ("probability", "reward") else None)
        array[index] = value
        return {**given_table, name: array}

    return change


FAULTS: dict[str, Fault] = {
    "probability": (with_entry("probability", (0, 0, 0), 2.0), "probability: got a row that sums to"),
    "negative": (with_entry("probability", (0, 0, 0), -0.5), "probability: got -0.5"),
    "NaN": (with_entry("probability", (0, 0, 0), np.nan), "probability: got nan"),
    "reward": (with_entry("reward", (0, 0, 0), np.inf), "reward: got NaN or infinity"),
    "successor": (with_entry("successor", (0, 0, 0), 99), "successor: got states"),
    "mask": (with_entry("mask", 0, False), "mask: got state 0 without an allowed action"),
    "start at an end": (with_entry("terminal", 0, True), "start: got a terminal state"),
    "start inside a step": (with_entry("tick", 0, False), "tick: got a start state that begins no step"),
    "horizon": (lambda t: {**t, "horizon": 0}, "horizon: got 0"),
    "gamma": (lambda t: {**t, "gamma": -0.1}, "gamma: got -0.1"),
    "start": (lambda t: {**t, "start": np.full(len(t["tick"]), 0.5 / len(t["tick"]))}, "start: got a row that sums"),
    "observation": (lambda t: {**t, "observation": np.full(len(t["tick"]), -2)}, "observation: got -2"),
    "context": (lambda t: {**t, "context": np.zeros(len(t["tick"]) + 1, int)}, "context: got shape"),
    "shape": (lambda t: {**t, "probability": t["probability"][..., None]}, "probability: got shape"),
}


@settings(max_examples=8)
@pytest.mark.parametrize("fault", FAULTS)
@given(given_table=tables())
def test_each_fault_of_any_table_is_told(fault: str, given_table: dict[str, Any]) -> None:
    TabularMDP.build(**given_table)
    change, line = FAULTS[fault]
    with pytest.raises(InputError) as error:
        TabularMDP.build(**change(given_table))
    assert str(error.value).startswith(line) and "\n" not in str(error.value)


@given(tables())
def test_rows_nobody_acts_in_may_hold_anything(given_table: dict[str, Any]) -> None:
    assume(not has_circle(inner_moves(given_table)))
    mdp = TabularMDP.build(**given_table)
    idle = ~(mdp.mask & ~mdp.terminal[:, None])
    wild = np.where(idle[:, :, None], np.nan, mdp.probability)
    other = TabularMDP.build(**{**given_table, "probability": wild})
    pi = SoftmaxPolicy.random(mdp, 0).probabilities(mdp)
    assert np.array_equal(solve(other, pi).value, solve(mdp, pi).value)
    assert np.array_equal(solve(other, pi).occupancy, solve(mdp, pi).occupancy)


@pytest.mark.parametrize(
    "name", [n for n in FAMILIES.names() if FAMILIES[n].function.__module__.startswith("creditsim")]
)
def test_renaming_states_changes_no_value(name: str) -> None:
    """Every family with its states in another order: the same J, occupancies and gradients up to the names."""
    mdp = make(f"{name}@tiny", gamma=0.9)
    order = np.random.default_rng(0).permutation(mdp.n_states)  # new state i is old state order[i]
    place = np.argsort(order)
    moved = replace(
        mdp,
        successor=place[mdp.successor[order]],
        **{
            field: getattr(mdp, field)[order]
            for field in ("probability", "reward", "observation", "start", "terminal", "tick", "mask", "context")
        },
    )
    pi = SoftmaxPolicy.random(mdp, 1).probabilities(mdp)
    one, two = solve(mdp, pi), solve(moved, pi[order])
    np.testing.assert_allclose(two.value, one.value[:, order], rtol=0, atol=1e-13)
    np.testing.assert_allclose(two.occupancy, one.occupancy[:, order], rtol=0, atol=1e-13)
    assert abs(one.j - two.j) < 1e-13
    if np.ptp(one.value[-1]) > 0:
        assert not np.allclose(two.value, one.value) or np.array_equal(order, np.sort(order))  # the names did change
