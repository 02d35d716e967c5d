"""Families played step by step by rules of their own: the tables must move, pay and end as the rules say."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction as F
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from creditsim.errors import InputError
from creditsim.exact import enumerate_trajectories, optimal, solve
from creditsim.mdp import SoftmaxPolicy, TabularMDP, make

Law = dict[tuple[int, float], float]
"""Chance of each (next state, reward)."""
FAMILIES = ("difficulties", "dead_ends", "turns", "features", "objectives")


def law_of(mdp: TabularMDP, state: int, action: int) -> Law:
    out: Law = {}
    at = state, action
    for there, chance, reward in zip(mdp.successor[at], mdp.probability[at], mdp.scalar_reward[at], strict=True):
        if chance > 0:
            key = (int(there), float(reward))
            out[key] = out.get(key, 0.0) + float(chance)
    return out


def same(one: Law, two: Law) -> bool:
    return one.keys() == two.keys() and all(abs(one[k] - two[k]) < 1e-12 for k in one)


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("size", ["tiny", "small", "large"])
def test_rows_are_distributions_and_every_state_acts_the_same_way_again(name: str, size: str) -> None:
    mdp, again = make(f"{name}@{size}"), make(f"{name}@{size}")
    np.testing.assert_allclose(mdp.probability.sum(axis=-1), 1.0, atol=1e-12)
    assert (mdp.probability >= 0).all() and mdp.start.sum() == pytest.approx(1.0)
    assert not mdp.terminal[mdp.start > 0].any()
    assert ((mdp.successor >= 0) & (mdp.successor < mdp.n_states)).all()
    np.testing.assert_array_equal(mdp.probability, again.probability)
    np.testing.assert_array_equal(mdp.reward, again.reward)
    assert name in mdp.name


@pytest.mark.parametrize(
    ("spec", "states", "actions", "horizon"),
    [
        ("difficulties@tiny", 4, 4, 1), ("difficulties@small", 9, 16, 1), ("difficulties@large", 129, 64, 1),
        ("dead_ends@tiny", 4, 3, 3), ("dead_ends@small", 6, 3, 10), ("dead_ends@large", 18, 5, 50),
        ("turns@tiny", 4, 2, 2), ("turns@small", 41, 3, 4), ("turns@large", 5462, 4, 7),
        ("features@tiny", 2, 4, 1), ("features@small", 5, 4, 1), ("features@large", 257, 4, 1),
        ("objectives@tiny", 2, 2, 1), ("objectives@small", 5, 4, 1), ("objectives@large", 65, 16, 1),
    ],
)  # fmt: skip
def test_sizes_of_presets(spec: str, states: int, actions: int, horizon: int) -> None:
    mdp = make(spec)
    assert (mdp.n_states, mdp.n_actions, mdp.horizon) == (states, actions, horizon)


# --- Dead ends ------------------------------------------------------------------------------------------------------


def dead_end_rule(length: int, luck: float, pay: float, state: int, action: int) -> Law:
    """Where one goes from a station: on, through the door, or nowhere."""
    ahead = (state + 1, pay if state + 1 == length else 0.0)
    if state >= length:
        return {(state, 0.0): 1.0}
    if action == 0:
        return {ahead: 1.0}
    if action == 1:
        return {where: chance for where, chance in ((ahead, luck), ((length + 1, 0.0), 1 - luck)) if chance > 0}
    return {(state, 0.0): 1.0}


stations = st.fixed_dictionaries(
    {
        "length": st.integers(1, 4),
        "distractors": st.integers(0, 2),
        "luck": st.sampled_from([0.0, 0.25, 1.0]),
        "end": st.sampled_from(["end", "stay"]),
        "goal_reward": st.sampled_from([1.0, 10.0]),
    }
)


@given(stations)
def test_dead_ends_follow_their_rule(params: dict[str, Any]) -> None:
    mdp = make("dead_ends", horizon=6, **params)
    for state, action in product(range(mdp.n_states), range(mdp.n_actions)):
        want = dead_end_rule(params["length"], params["luck"], params["goal_reward"], state, action)
        assert same(law_of(mdp, state, action), want)
        # Broken twin: a door that pays or leads on with another chance is told apart.
        off = dead_end_rule(params["length"], params["luck"] / 2 + 0.3, params["goal_reward"], state, action)
        assert state >= params["length"] or action != 1 or not same(law_of(mdp, state, action), off)
    over = {params["length"]} | ({params["length"] + 1} if params["end"] == "end" else set())
    assert set(np.flatnonzero(mdp.terminal)) == over


@given(stations, st.integers(1, 7))
def test_chance_of_the_goal_is_a_sum_over_how_often_one_dawdles(params: dict[str, Any], horizon: int) -> None:
    """Uniform policy: each step goes on with chance (1 + luck) / A and dawdles with d / A; L steps on within T."""
    mdp = make("dead_ends", horizon=horizon, **params)
    actions = 2 + params["distractors"]
    on, stay = (1 + params["luck"]) / actions, params["distractors"] / actions
    length = params["length"]
    want = sum(
        math.comb(t - 1, length - 1) * on**length * stay ** (t - length) for t in range(length, horizon + 1)
    )  # fmt: skip
    pi = SoftmaxPolicy.uniform(mdp).probabilities(mdp)
    assert solve(mdp, pi).j == pytest.approx(params["goal_reward"] * want, abs=1e-12)
    assert optimal(mdp).j == pytest.approx(params["goal_reward"] * (horizon >= length))


# --- Turns ----------------------------------------------------------------------------------------------------------


@settings(max_examples=25)
@given(st.integers(1, 4), st.integers(2, 3), st.sampled_from(["separate", "aliased", "shared"]), st.integers(0, 99))
def test_turns_by_their_histories(turns: int, actions: int, parameters: str, seed: int) -> None:
    """States are histories in the order of their length; what is seen, shared and paid follows from the history."""
    leaves = np.random.default_rng(seed).normal(size=actions**turns)
    mdp = make("turns", turns=turns, actions=actions, parameters=parameters, leaves=tuple(leaves))
    histories = [h for t in range(turns) for h in product(range(actions), repeat=t)]
    number = {h: i for i, h in enumerate(histories)}
    assert mdp.n_states == len(histories) + 1
    for h, a in product(histories, range(actions)):
        after = (*h, a)
        over = len(after) == turns
        paid = leaves[int("".join(map(str, after)), actions)] if over else 0.0
        assert same(law_of(mdp, number[h], a), {(len(histories) if over else number[after], float(paid)): 1.0})
    for one, two in product(histories, repeat=2):
        alike = {
            "separate": one == two, "aliased": len(one) == len(two), "shared": True,
        }[parameters]  # fmt: skip
        assert (mdp.context[number[one]] == mdp.context[number[two]]) == alike
        looks = one == two if parameters != "aliased" else len(one) == len(two)
        assert (mdp.observation[number[one]] == mdp.observation[number[two]]) == looks


@given(st.integers(1, 4), st.integers(2, 3), st.floats(0.0, 1.0), st.integers(0, 50))
def test_binary_leaves_have_the_share_asked_for(turns: int, actions: int, good: float, seed: int) -> None:
    mdp = make("turns", turns=turns, actions=actions, law="binary", good=good, seed=seed)
    assert mdp.reward.sum() == max(1, round(good * actions**turns))


# --- One decision: difficulties, features, objectives ---------------------------------------------------------------


@settings(max_examples=30)
@given(st.integers(1, 3), st.sampled_from([1, 2]), st.sampled_from([0.0, 0.3]), st.integers(0, 99))
def test_difficulties_by_their_rule(half: int, alike: int, luck: float, seed: int) -> None:
    prompts, answers, easiest = 2 * half, 16, 0.25
    mdp = make(
        "difficulties", prompts=prompts, answers=answers, easiest=easiest, alike=alike, luck=luck, seed=seed
    )  # fmt: skip
    rights: dict[int, list[set[int]]] = {}
    for q in range(prompts):
        right = set()
        for a in range(answers):
            law = law_of(mdp, q, a)
            assert all(there == prompts for there, _ in law)
            chance = law.get((prompts, 1.0), 0.0)
            assert chance == pytest.approx(1.0) or chance == pytest.approx(luck)
            right |= {a} if chance > luck + 1e-9 else set()
        # From easiest * answers down to 1 in equal ratios.
        assert len(right) == round((easiest * answers) ** (1 - q / (prompts - 1)))
        rights.setdefault(int(mdp.observation[q]), []).append(right)
    assert sorted(len(x) for x in rights.values()) == [alike] * (prompts // alike)
    for sets in rights.values():
        assert len(set.union(*sets)) == sum(map(len, sets)), "no answer is right for two that look alike"


@given(st.lists(st.lists(st.floats(0.0, 1.0), min_size=4, max_size=4), min_size=1, max_size=4))
def test_features_by_their_rule(tables: list[list[float]]) -> None:
    p = [[[t[0], t[1]], [t[2], t[3]]] for t in tables]
    mdp = make("features", p=p)
    for q, i, j in product(range(len(p)), (0, 1), (0, 1)):
        chance = p[q][i][j]
        want = {(len(p), reward): c for reward, c in ((1.0, chance), (0.0, 1.0 - chance)) if c > 0}
        assert same(law_of(mdp, q, 2 * i + j), want)
    pi = SoftmaxPolicy.uniform(mdp).probabilities(mdp)
    assert solve(mdp, pi).j == pytest.approx(float(np.mean(tables)), abs=1e-12)


def joint_by_slices(p: tuple[F, ...], c: F, fault: str = "") -> dict[tuple[int, ...], F]:
    """Law of the K rewards by cutting the common draw into a hundred slices on which nobody changes their mind."""
    out: dict[tuple[int, ...], F] = {bits: F(0) for bits in product((0, 1), repeat=len(p))}
    for bits in out:
        alone = math.prod((x if b else 1 - x for x, b in zip(p, bits, strict=True)), start=F(1))
        out[bits] += (1 - abs(c)) * alone
    for k in range(100):
        u = F(2 * k + 1, 200)
        bits = tuple(
            int((1 - u if c < 0 and i % 2 == 1 and fault != "same end" else u) < x) for i, x in enumerate(p)
        )  # fmt: skip
        out[bits] += abs(c) / 100
    return out


tenths = st.integers(0, 10).map(lambda k: F(k, 10))


@given(st.lists(tenths, min_size=1, max_size=4), st.integers(-4, 4).map(lambda k: F(k, 4)))
def test_rewards_of_one_pull_by_slices_of_the_common_draw(p: list[F], c: F) -> None:
    mdp = make("objectives", p=[[float(x)] for x in p], correlation=float(c))
    found: dict[tuple[int, ...], float] = dict.fromkeys(product((0, 1), repeat=len(p)), 0.0)
    rewards = mdp.reward[0, 0].reshape(-1, len(p))
    for reward, chance in zip(rewards, mdp.probability[0, 0], strict=True):
        found[tuple(int(x) for x in reward)] += float(chance)
    want = joint_by_slices(tuple(p), c)
    assert all(abs(found[bits] - float(want[bits])) < 1e-12 for bits in want)


def test_the_slices_notice_a_draw_read_from_the_same_end() -> None:
    p, c = (F(1, 2), F(1, 2)), F(-1)
    mdp = make("objectives", p=((0.5,), (0.5,)), correlation=-1.0)
    opposed = float(mdp.probability[0, 0][(mdp.reward[0, 0].sum(axis=-1) == 1)].sum())
    assert opposed == pytest.approx(float(sum(v for b, v in joint_by_slices(p, c).items() if sum(b) == 1)))
    assert sum(v for b, v in joint_by_slices(p, c, "same end").items() if sum(b) == 1) == 0


@given(st.integers(1, 3), st.integers(1, 3), st.integers(0, 50), st.sampled_from([0.0, 2.0]))
def test_drawn_objectives_are_those_of_their_seed_and_noise_is_a_fair_coin(
    prompts: int, arms: int, seed: int, noise: float
) -> None:
    options = {"prompts": prompts, "arms": arms, "objectives": 2, "seed": seed, "scale": (1.0, 3.0)}
    mdp = make("objectives", noise=noise, **options)
    k = 2 + (noise != 0)
    assert mdp.reward.shape[-1] == k and (mdp.start[:-1] == pytest.approx(1 / prompts))
    plain = make("objectives", **options)
    for q, a in product(range(prompts), range(arms)):
        mean = mdp.probability[q, a] @ mdp.reward[q, a]
        np.testing.assert_allclose(mean[:2], plain.probability[q, a] @ plain.reward[q, a], atol=1e-12)
        assert set(np.unique(mdp.reward[q, a][:, 1])) <= {0.0, 3.0}
        if noise:
            coin = mdp.reward[q, a][:, 2]
            assert mean[2] == pytest.approx(noise / 2) and set(np.unique(coin)) == {0.0, noise}
            together = mdp.probability[q, a] @ (mdp.reward[q, a][:, 0] * coin)
            assert together == pytest.approx(mean[0] * mean[2], abs=1e-12)


@pytest.mark.parametrize("name", FAMILIES)
def test_tiny_ones_can_be_enumerated(name: str) -> None:
    mdp = make(f"{name}@tiny")
    pi = SoftmaxPolicy.random(mdp, 0).probabilities(mdp)
    law = enumerate_trajectories(mdp, pi)
    assert law.joint.sum() == pytest.approx(1.0)
    r = law.rollouts
    discount = mdp.gamma**r.step
    total = np.bincount(r.trajectory, discount * r.reward, r.n_trajectories)
    assert law.joint @ total == pytest.approx(solve(mdp, pi).j, abs=1e-12)


BAD: list[tuple[str, dict[str, Any], str]] = [
    ("dead_ends", {"length": 1.5}, "length"),
    ("dead_ends", {"length": True}, "length"),
    ("dead_ends", {"horizon": 0}, "horizon"),
    ("dead_ends", {"goal_reward": float("inf")}, "goal_reward"),
    ("dead_ends", {"luck": float("nan")}, "luck"),
    ("turns", {"turns": 2.0}, "turns"),
    ("turns", {"turns": 2, "actions": 2, "leaves": (0.0, 1.0, float("nan"), 0.0)}, "leaves"),
    ("turns", {"seed": -1}, "seed"),
    ("difficulties", {"prompts": 2, "alike": 0}, "alike"),
    ("difficulties", {"answers": 4.0}, "answers"),
    ("features", {"p": (((0.1, 0.2, 0.3), (0.1, 0.2, 0.3)),)}, "p"),
    ("features", {"prompts": 0}, "prompts"),
    ("features", {"prompts": 2, "seed": 0.5}, "seed"),
    ("objectives", {"correlation": -1.01}, "correlation"),
    ("objectives", {"scale": (1.0, float("nan"))}, "scale"),
    ("objectives", {"p": (((0.1,),),)}, "p"),
    ("objectives", {"prompts": 0}, "prompts"),
    ("objectives", {"seed": -2}, "seed"),
]


@pytest.mark.parametrize(("name", "params", "field"), BAD)
def test_bad_parameters_are_one_line_that_names_the_field(name: str, params: dict[str, Any], field: str) -> None:
    with pytest.raises(InputError) as error:
        make(name, **params)
    assert error.value.field.split()[-1] == field
    assert "\n" not in str(error.value) and "got" in str(error.value)


RAGGED: list[tuple[str, Callable[[], object]]] = [
    ("p", lambda: make("features", p=(((0.1, 0.2), (0.3,)),))),
    ("p", lambda: make("objectives", p=((0.1, "x"),))),
    ("p", lambda: make("answers", p="half")),
    ("p", lambda: make("answers", p=(0.5, "x"))),
    ("stop", lambda: make("stopping", turns=3, stop=((0.1,), (0.2, 0.3)))),
    ("leaves", lambda: make("turns", turns=1, actions=2, leaves=((0.0, 1.0), (1.0,)))),
    ("p", lambda: make("features", p=0.5)),
    ("p", lambda: make("features", p="half")),
    ("p", lambda: make("objectives", p=0.5)),
    ("scale", lambda: make("objectives", scale=2.0)),
]


@pytest.mark.parametrize(("field", "call"), RAGGED)
def test_nested_input_of_the_wrong_kind_is_one_line_too(field: str, call: Callable[[], object]) -> None:
    with pytest.raises(InputError) as error:
        call()
    assert error.value.field == field
