"""Mutation score of backward induction: each operator of its kernels exchanged must change V, Q, occupancy, J or J*.

The reference is the definition as a recursive function of (state, steps left), with dictionaries and no kernels.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from mutants import Place, arithmetic, at_most, mutant

from creditsim.exact import dp, sweep
from creditsim.mdp import SoftmaxPolicy, TabularMDP, make

SHARE = 0.85
KERNELS = ("prepare", "backward", "backward_lanes", "look_ahead", "forward", "best")
Tables = dict[str, np.ndarray]


def environments() -> list[TabularMDP]:
    """Stochastic moves, forbidden actions, steps of several decisions, discounting; three horizons."""
    options: dict[str, Any] = {"states": 4, "actions": 2, "branching": 2, "ending": 0.2, "gamma": 0.7}
    mixed = make("random", **options, horizon=3, inner=0.5, forbidden=0.3, seed=3)
    barred = make("random", **options, horizon=2, inner=0.0, forbidden=0.6, seed=5)
    assert (~barred.mask & ~barred.terminal[:, None]).any()
    return [
        mixed,
        barred,
        # Where everything costs, an action that is not allowed and costs nothing must not look best.
        replace(barred, reward=barred.reward - 1.0),
        make("tokens@tiny", gamma=0.5),
    ]


def by_definition(mdp: TabularMDP, pi: np.ndarray, many: np.ndarray) -> Tables:
    """V, Q, occupancy, optimum and J of many policies by recursion over (state, steps left)."""
    states, horizon = range(mdp.n_states), mdp.horizon

    def moves(s: int, a: int) -> Iterator[tuple[float, float, int]]:
        for b in range(mdp.n_successors):
            if mdp.probability[s, a, b] > 0:
                yield float(mdp.probability[s, a, b]), float(mdp.scalar_reward[s, a, b]), int(mdp.successor[s, a, b])

    def q_of(s: int, a: int, n: int, ahead: Any) -> float:
        if mdp.terminal[s] or not mdp.mask[s, a] or n == 0:
            return 0.0
        total = 0.0
        for p, r, to in moves(s, a):
            later = 0.0 if mdp.terminal[to] else ahead(to, n - 1 if mdp.tick[to] else n)
            total += p * (r + (mdp.gamma if mdp.tick[to] else 1.0) * later)
        return total

    def value_of(table: np.ndarray) -> Any:
        @cache
        def value(s: int, n: int) -> float:
            if n == 0 or mdp.terminal[s]:
                return 0.0
            return sum(float(table[s, a]) * q_of(s, int(a), n, value) for a in np.flatnonzero(mdp.mask[s]))

        return value

    @cache
    def best(s: int, n: int) -> float:
        if n == 0 or mdp.terminal[s]:
            return 0.0
        return max(q_of(s, int(a), n, best) for a in np.flatnonzero(mdp.mask[s]))

    occupancy = np.zeros((horizon, mdp.n_states))

    def spread(s: int, n: int, mass: float) -> None:
        if n == 0 or mdp.terminal[s]:
            return
        occupancy[horizon - n, s] += mass
        for a in np.flatnonzero(mdp.mask[s]):
            for p, _, to in moves(s, int(a)):
                spread(to, n - 1 if mdp.tick[to] else n, mass * float(pi[s, a]) * p)

    for s in np.flatnonzero(mdp.start):
        spread(int(s), horizon, float(mdp.start[s]))
    value = value_of(pi)
    left = range(horizon + 1)
    return {
        "value": np.array([[value(s, n) for s in states] for n in left]),
        "q": np.array([[[q_of(s, a, n, value) for a in range(mdp.n_actions)] for s in states] for n in left]),
        "occupancy": occupancy,
        "optimum": np.array([[best(s, n) for s in states] for n in left]),
        "many": np.array([sum(mdp.start[s] * value_of(table)(s, horizon) for s in states) for table in many]),
    }


def policies(mdp: TabularMDP) -> tuple[np.ndarray, np.ndarray]:
    many = SoftmaxPolicy.random(mdp, 1, replicates=3).probabilities(mdp)
    return many[0], many


WANTED: list[tuple[TabularMDP, Tables]] = [(mdp, by_definition(mdp, *policies(mdp))) for mdp in environments()]


def computed(mdp: TabularMDP) -> Tables:
    pi, many = policies(mdp)
    solution = dp.solve(mdp, pi)
    return {
        "value": solution.value,
        "q": solution.q,
        "occupancy": solution.occupancy,
        "optimum": dp.optimal(mdp).value,
        "many": dp.objective(mdp, many),
    }


def holds() -> bool:
    """Whether the exact answers are those of the definition; an error of any kind is a no."""
    try:
        with at_most(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for mdp, wanted in WANTED:
                got = computed(mdp)
                if not all(np.allclose(got[name], wanted[name], rtol=0, atol=1e-12) for name in wanted):
                    return False
    except Exception:
        return False
    return True


@contextmanager
def kernels(monkeypatch: pytest.MonkeyPatch, module: ModuleType) -> Iterator[None]:
    with monkeypatch.context() as patched:
        for name in KERNELS:
            patched.setattr(dp, name, getattr(module, name))
        yield


def test_exact_answers_are_the_definition(monkeypatch: pytest.MonkeyPatch) -> None:
    assert holds()
    with kernels(monkeypatch, mutant(sweep)):
        assert holds(), "the kernels as plain Python are the kernels"


def test_exchanged_operators_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    places = arithmetic(sweep)
    survivors: list[Place] = []
    for place in places:
        with kernels(monkeypatch, place.mutant()):
            if holds():
                survivors.append(place)
    assert len(places) > 25
    assert len(survivors) <= (1 - SHARE) * len(places), "\n".join(map(str, survivors))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("np.where(mdp.terminal, 0.0, np.where(mdp.tick, gamma, 1.0))", "np.where(mdp.tick, gamma, 1.0)"),
        ("np.where(mdp.terminal, 0.0, np.where(mdp.tick, gamma, 1.0))", "np.where(mdp.terminal, 0.0, gamma)"),
        ("np.where(mdp.tick, states, states + np.uint32(mdp.n_states))", "states"),
        ("probability[s, a, b] if acts[s, a] else 0.0", "probability[s, a, b]"),
        ("s = order[i]", "s = i"),
        ("if mask[s, a]:", "if True:"),
        ("two[c, to, k] = 0.0", "pass"),
        ("x0, x1, x2, x3 = paid[s], 0.0, 0.0, 0.0", "x0, x1, x2, x3 = 0.0, 0.0, 0.0, 0.0"),
    ],
)
def test_changed_words_are_noticed(monkeypatch: pytest.MonkeyPatch, old: str, new: str) -> None:
    """Discounting inside steps, values past the end, forbidden actions, the wrong order of states."""
    with kernels(monkeypatch, mutant(sweep, old, new)):
        assert not holds()
