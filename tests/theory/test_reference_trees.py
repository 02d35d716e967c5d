"""Helpers of the turn claims by walking every history, every group and every order: nothing vectorised, tiny cases."""

from __future__ import annotations

import math
from fractions import Fraction as F
from itertools import product
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mutants import Place, arithmetic, mutant

from theory import expected_updates, turn_trees
from theory.expected_updates import Backbone, Games, counts_of, random_games, signed_credit
from theory.turn_trees import ORDERS, Sweeper, random_leaves

History = tuple[int, ...]
Policy = dict[History, list[float]]


def histories(turns: int, actions: int) -> list[History]:
    return [h for t in range(turns) for h in product(range(actions), repeat=t)]


def leaf(h: History, actions: int) -> int:
    return sum(a * actions**k for k, a in enumerate(reversed(h)))


def value(pi: Policy, h: History, turns: int, actions: int, leaves: np.ndarray) -> float:
    if len(h) == turns:
        return float(leaves[leaf(h, actions)])
    return sum(p * value(pi, (*h, a), turns, actions, leaves) for a, p in enumerate(pi[h]))


def met(pi: Policy, h: History) -> float:
    return math.prod(pi[h[:t]][h[t]] for t in range(len(h)))


def swept(
    pi: Policy, stages: list[list[int]], leaves: np.ndarray, turns: int, actions: int, step: float | None, reach: bool
) -> Policy:
    for stage in stages:
        new = dict(pi)
        for h in histories(turns, actions):
            if len(h) in stage:
                q = [value(pi, (*h, a), turns, actions, leaves) for a in range(actions)]
                if step is None:
                    if met(pi, h) > 0:
                        new[h] = [float(a == q.index(max(q))) for a in range(actions)]
                    continue
                size = step * (met(pi, h) if reach else 1.0)
                power = [p * math.exp(size * x) for p, x in zip(pi[h], q, strict=True)]
                new[h] = [x / sum(power) for x in power]
        pi = new
    return pi


def tables_of(policies: list[Policy], turns: int, actions: int) -> list[np.ndarray]:
    return [
        np.array([[pi[h] for h in product(range(actions), repeat=t)] for pi in policies]) for t in range(turns)
    ]  # fmt: skip


def sweeps_hold(module: ModuleType, seeds: range = range(2)) -> bool:
    """Two sweeps of each order and kind of step on three trees, from a skew policy, beside the walk of histories."""
    for seed, (turns, actions) in product(seeds, ((2, 3), (3, 2))):
        rng = np.random.default_rng(seed)
        leaves = rng.normal(size=(3, actions**turns))
        start: list[Policy] = []
        for _ in range(3):
            drawn = {h: rng.random(actions) + 0.1 for h in histories(turns, actions)}
            start.append({h: (x / x.sum()).tolist() for h, x in drawn.items()})
        permutation = np.stack([rng.permutation(turns) for _ in range(3)])
        for order, (step, reach) in product(ORDERS, ((None, False), (0.7, False), (0.7, True))):
            trees = module.Sweeper(leaves, turns, actions, step, reach)
            tables, wanted = tables_of(start, turns, actions), start
            for _ in range(2):
                tables = trees.sweep(tables, order, permutation if order == "random" else None)
                stages = {
                    "forward": [[t] for t in range(turns)], "reverse": [[t] for t in range(turns)][::-1],
                    "simultaneous": [list(range(turns))],
                }  # fmt: skip
                wanted = [
                    swept(pi, stages.get(order) or [[int(t)] for t in permutation[n]], leaves[n], turns, actions, step,
                          reach)
                    for n, pi in enumerate(wanted)
                ]  # fmt: skip
            pairs = zip(tables, tables_of(wanted, turns, actions), strict=True)
            if not all(np.allclose(x, y, atol=1e-12) for x, y in pairs):
                return False
            j = [value(pi, (), turns, actions, leaves[n]) for n, pi in enumerate(wanted)]
            if not np.allclose(trees.objective(tables), j, atol=1e-12):
                return False
    return True


def test_sweeps_by_histories() -> None:
    assert sweeps_hold(turn_trees)


def test_exchanged_operators_in_the_sweeps_are_noticed() -> None:
    survivors: list[Place] = []
    places = [place for place in arithmetic(turn_trees) if "argsort" not in place.text and place.line < 200]
    for place in places:
        try:
            with np.errstate(all="ignore"):
                fine = sweeps_hold(place.mutant(), range(1))
        except Exception:
            fine = False
        if fine:
            survivors.append(place)
    # What only `run` and `uniform` use is another test's affair.
    assert len(places) > 10 and len(survivors) <= 4, "\n".join(map(str, survivors))


@pytest.mark.parametrize("order", ORDERS)
def test_runs_begin_evenly_and_go_on_by_sweeps(order: str) -> None:
    trees = Sweeper(random_leaves(5, 2, 3, seed=1), 2, 3)
    run = trees.run(order, seed=4)
    first, second = next(run), next(run)
    np.testing.assert_allclose(first, trees.leaves.mean(axis=1), atol=1e-14)
    assert (second >= first - 1e-12).all() and (second <= trees.best + 1e-12).all()
    np.testing.assert_array_equal(trees.best, trees.leaves.max(axis=1))
    if order == "reverse":
        np.testing.assert_allclose(second, trees.best, atol=1e-14)
    again = trees.run(order, seed=4)
    np.testing.assert_array_equal([next(again), next(again)], [first, second])


# --- Expected updates -----------------------------------------------------------------------------------------------


@given(st.integers(0, 6), st.integers(1, 4))
def test_counts_are_all_compositions_with_their_orders(others: int, levels: int) -> None:
    counts, ways = counts_of(others, levels)
    want: dict[tuple[int, ...], int] = {}
    for draws in product(range(levels), repeat=others):
        key = tuple(draws.count(level) for level in range(levels))
        want[key] = want.get(key, 0) + 1
    found = {tuple(map(int, c)): w for c, w in zip(counts, np.exp(ways), strict=True)}
    assert found.keys() == want.keys()
    assert all(found[k] == pytest.approx(want[k]) for k in want)


def credit_by_groups(levels: list[F], chance: list[F], group: int, std: bool, ddof: int) -> list[list[float]]:
    """E[A+] and E[A-] of each level over every ordered outcome of the others."""
    out = [[0.0] * len(levels), [0.0] * len(levels)]
    for mine, r in enumerate(levels):
        for others in product(range(len(levels)), repeat=group - 1):
            scores = [r, *(levels[o] for o in others)]
            mean = sum(scores, F(0)) / group
            a = float(r - mean)
            if std:
                square = sum(((s - mean) ** 2 for s in scores), F(0)) / (group - ddof)
                a = a / math.sqrt(square) if square else 0.0
            p = float(math.prod((chance[o] for o in others), start=F(1)))
            out[a < 0][mine] += p * abs(a)
    return out


@pytest.mark.parametrize("std", [False, True])
@pytest.mark.parametrize("ddof", [0, 1])
@settings(max_examples=12)
@given(st.integers(2, 5), st.lists(st.integers(1, 6), min_size=3, max_size=3))
def test_signed_credit_over_every_group(std: bool, ddof: int, group: int, parts: list[int]) -> None:
    levels, chance = [F(0), F(1), F(15)], [F(p, sum(parts)) for p in parts]
    got = signed_credit(np.array([0.0, 1.0, 15.0]), np.array([[float(c) for c in chance]]), group, std, ddof)
    np.testing.assert_allclose(got[:, 0], credit_by_groups(levels, chance, group, std, ddof), atol=1e-12)
    other = credit_by_groups(levels, chance, group, std, 1 - ddof)
    assert not std or not np.allclose(got[:, 0], other), "the other divisor is told apart"


def policy_of(games: Games, logits: list[np.ndarray], n: int) -> Policy:
    out: Policy = {}
    for h in histories(games.turns, games.actions):
        z = logits[len(h)][n]
        row = z[leaf(h, games.actions)] if z.shape[0] > 1 else z[0]
        out[h] = (np.exp(row) / np.exp(row).sum()).tolist()
    return out


drawn_games = st.tuples(st.sampled_from([(2, 2), (2, 3), (3, 2)]), st.sampled_from(["separate", "aliased", "shared"]),
                        st.integers(0, 10**4))  # fmt: skip


@settings(max_examples=20)
@given(drawn_games)
def test_paths_values_and_advantages_by_histories(game: tuple[tuple[int, int], str, int]) -> None:
    (turns, actions), parameters, seed = game
    games = random_games(2, turns, actions, seed, parameters=parameters)
    np.testing.assert_allclose(games.law.sum(axis=-1), 1.0, atol=1e-14)
    logits = games.logits(seed, scale=1.5)
    tables = games.policy(logits)
    path, advantage = games.leaf_chance(tables), games.advantages(tables)
    for n in range(2):
        pi = policy_of(games, logits, n)
        pays = games.law[n] @ games.levels

        def v(h: History, pi: Policy = pi, pays: np.ndarray = pays) -> float:
            return value(pi, h, turns, actions, pays)

        for end in product(range(actions), repeat=turns):
            i = leaf(end, actions)
            assert path[n, i] == pytest.approx(met(pi, end), abs=1e-14)
            for t in range(turns):
                assert advantage[t, n, i] == pytest.approx(v(end[: t + 1]) - v(end[:t]), abs=1e-12)
        assert games.objective(logits)[n] == pytest.approx(v(()), abs=1e-12)
        assert games.best()[n] == pytest.approx(pays.max())


def row_of(games: Games, h: History) -> Any:
    return {"separate": h, "aliased": len(h), "shared": 0}[games.parameters]


def surrogate(
    games: Games, backbone: Backbone, n: int, new: Policy, old: Policy, plus: np.ndarray, minus: np.ndarray
) -> float:
    """Expected clipped surrogate of tree n: E[A+] min(rho, 1 + e) - E[A-] max(rho, 1 - e) over paths and turns."""
    total = 0.0
    for end in product(range(games.actions), repeat=games.turns):
        i, mass = leaf(end, games.actions), met(old, end)
        ratio = [new[end[:t]][end[t]] / old[end[:t]][end[t]] for t in range(games.turns)]
        if backbone.ratio == "sequence":
            ratio = [math.prod(ratio) ** (1 / games.turns)]
        for t, rho in enumerate(ratio):
            up, down = (x[t if x.shape[0] > 1 else 0, n, i] for x in (plus, minus))
            total += mass * (up * min(rho, 1 + backbone.clip) - down * max(rho, 1 - backbone.clip))
    return total


@pytest.mark.parametrize(
    ("credit", "ratio"),
    [("value", "turn"), ("mean", "turn"), ("std", "turn"), ("mean", "sequence"), ("std", "sequence")],
)
@settings(max_examples=6)
@given(drawn_games)
def test_inner_steps_are_the_derivative_of_the_written_surrogate(
    credit: str, ratio: str, game: tuple[tuple[int, int], str, int]
) -> None:
    """The step w is the mean slope given row and choice: put through the score it is dL by the logits.

    L is written over paths and differentiated numerically, at logits where some ratios are clipped.
    """
    (turns, actions), parameters, seed = game
    games = random_games(1, turns, actions, seed, parameters=parameters)
    backbone = Backbone(credit, ratio, group=3, inner=1, learning_rate=0.3)
    old_logits, now_logits = games.logits(seed, 1.0), games.logits(seed, 1.3)
    old, tables = policy_of(games, old_logits, 0), games.policy(old_logits)
    path = games.leaf_chance(tables)
    plus, minus = backbone.signed(games, tables, path)
    # One inner step from other logits than the old ones: ratios are then not 1 and some are clipped.
    on_old = games.on_leaves(tables)
    rho = games.on_leaves(games.policy(now_logits)) / on_old
    step = games.natural_step(path, backbone._slope(rho, plus, minus), range(turns))

    def moved_by(amount: float, row: Any, choice: int) -> Policy:
        new: Policy = {}
        base = policy_of(games, now_logits, 0)
        for h in histories(turns, actions):
            z = np.log(base[h])
            if row_of(games, h) == row:
                z[choice] += amount
            new[h] = (np.exp(z) / np.exp(z).sum()).tolist()
        return new

    now = policy_of(games, now_logits, 0)
    for row in {row_of(games, h) for h in histories(turns, actions)}:
        there = [h for h in histories(turns, actions) if row_of(games, h) == row]
        numeric = []
        for choice in range(actions):
            ahead, behind = (
                surrogate(games, backbone, 0, moved_by(s * 1e-6, row, choice), old, plus, minus) for s in (1, -1)
            )
            numeric.append((ahead - behind) / 2e-6)
        # dL/dz_b = sum over visits of mass (pi_old_b w_b - pi_now_b sum_a pi_old_a w_a).
        at = [
            step[len(h)][0][leaf(h, actions) if games.parameters == "separate" else 0] for h in there
        ]  # fmt: skip
        image = np.zeros(actions)
        for h, w in zip(there, at, strict=True):
            pull = np.array(old[h]) * w
            image += met(old, h) * (pull - np.array(now[h]) * pull.sum())
        np.testing.assert_allclose(image, numeric, atol=1e-7)


def test_reinforce_in_expectation_is_the_natural_gradient_at_any_tree() -> None:
    """Ratio "none": theta' - theta = rate E[credit | history, choice], 1 - 1/G times Q less a constant per history."""
    games = random_games(3, 2, 3, 5, rewards="binary")
    logits = games.logits(2)
    backbone = Backbone("mean", "none", group=4, learning_rate=0.5)
    moved = backbone.updated(games, logits)
    for n in range(3):
        pi, pays = policy_of(games, logits, n), games.law[n] @ games.levels
        for h in histories(2, 3):
            change = [moved[len(h)][n][leaf(h, 3)][a] - logits[len(h)][n][leaf(h, 3)][a] for a in range(3)]
            q = [value(pi, (*h, a), 2, 3, pays) - value(pi, (), 2, 3, pays) for a in range(3)]
            np.testing.assert_allclose(change, 0.5 * (1 - 1 / 4) * np.array(q), atol=1e-12)


def credit_holds(module: ModuleType) -> bool:
    chance = [F(1, 2), F(1, 3), F(1, 6)]
    got = module.signed_credit(np.array([0.0, 1.0, 15.0]), np.array([[float(c) for c in chance]]), 4, True)
    return bool(np.allclose(got[:, 0], credit_by_groups([F(0), F(1), F(15)], chance, 4, True, 1), atol=1e-10))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("group - ddof", "group"),
        ("counts_of(group - 1", "counts_of(group"),
        ("np.maximum(-centred, 0)", "np.maximum(centred, 0)"),
        ("np.exp(ways) * powers", "np.sqrt(np.exp(ways)) * powers"),
    ],
)
def test_faults_of_the_signed_credit_are_noticed(old: str, new: str) -> None:
    assert credit_holds(expected_updates)
    assert not credit_holds(mutant(expected_updates, old, new))
