"""Product MDPs: what they keep, what they add, and what memory is worth."""

from __future__ import annotations

import numpy as np
import pytest

from creditsim.errors import InputError, TooLargeError
from creditsim.exact.dp import optimal, solve
from creditsim.exact.gradient import policy_gradient
from creditsim.mdp import (
    Product,
    SoftmaxPolicy,
    TabularMDP,
    make,
    memory_product,
    time_product,
    with_memory,
    with_time,
)

ENVIRONMENTS = ("aliased@small", "loop@small", "tokens@tiny", "random@tiny", "stopping@tiny")


def products(mdp: TabularMDP) -> list[Product]:
    return [memory_product(mdp, k) for k in (0, 1, 3)] + [time_product(mdp)]


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_a_policy_of_the_base_is_worth_the_same_in_the_product(environment: str) -> None:
    mdp = make(environment, gamma=0.9)
    pi = SoftmaxPolicy.random(mdp, 0).probabilities(mdp)
    base = solve(mdp, pi)
    for product in products(mdp):
        lifted = solve(product.mdp, pi[product.state])
        assert abs(lifted.j - base.j) < 1e-13
        np.testing.assert_allclose(lifted.q, base.q[:, product.state], rtol=0, atol=1e-13)
        back = np.zeros_like(base.occupancy)
        np.add.at(back.T, product.state, lifted.occupancy.T)
        np.testing.assert_allclose(back, base.occupancy, rtol=0, atol=1e-13)
        assert abs(optimal(product.mdp).j - optimal(mdp).j) < 1e-13


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_everything_but_the_context_is_the_bases(environment: str) -> None:
    mdp = make(environment)
    for product in products(mdp):
        made = product.mdp
        for name in ("observation", "terminal", "tick", "mask", "probability", "reward"):
            np.testing.assert_array_equal(getattr(made, name), getattr(mdp, name)[product.state])
        assert (made.horizon, made.gamma) == (mdp.horizon, mdp.gamma)
        moves = (made.probability > 0) & made.mask[:, :, None] & ~made.terminal[:, None, None]
        np.testing.assert_array_equal(product.state[made.successor][moves], mdp.successor[product.state][moves])
        assert np.unique(made.context).tolist() == list(range(made.n_contexts))


def walk(product: Product, seed: int) -> list[tuple[int, int]]:
    """(product state, step) along one random episode."""
    mdp, rng = product.mdp, np.random.default_rng(seed)
    s, t, path = int(rng.choice(mdp.n_states, p=mdp.start)), 0, []
    while not mdp.terminal[s] and t < mdp.horizon:
        path.append((s, t))
        a = rng.choice(np.flatnonzero(mdp.mask[s]))
        s = int(rng.choice(mdp.successor[s, a], p=mdp.probability[s, a]))
        t += int(mdp.tick[s])
    return path


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_memories_hold_what_was_seen(environment: str, seed: int) -> None:
    mdp = make(environment)
    for k in (0, 1, 3):
        product = memory_product(mdp, k)
        seen: list[int] = []
        for s, _ in walk(product, seed):
            if product.mdp.tick[s]:
                seen.append(int(product.mdp.observation[s]))
            assert product.memory[s] == tuple(seen[-(k + 1) :])
    timed = time_product(mdp)
    for s, t in walk(timed, seed):
        assert timed.memory[s] == t


def test_contexts_are_windows() -> None:
    mdp = make("random", states=6, actions=2, observations=3, horizon=4, seed=1)
    product = memory_product(mdp, 1)
    windows = [product.memory[s] for s in range(product.mdp.n_states)]
    live = ~product.mdp.terminal
    for i in np.flatnonzero(live):
        for j in np.flatnonzero(live):
            assert (product.mdp.context[i] == product.mdp.context[j]) == (windows[i] == windows[j])
    assert any(len(window) == 1 for window in windows)  # type: ignore[arg-type] # windows are tuples


def test_order_zero_is_the_observation() -> None:
    mdp = make("random", states=6, actions=2, observations=3, forbidden=0.2, seed=1)
    seen = with_memory(mdp, 0)
    policy = SoftmaxPolicy.random(mdp, 0)
    renamed = np.zeros((seen.n_contexts, 2))
    renamed[seen.context] = policy.table[seen.observation]
    same = SoftmaxPolicy(renamed.ravel(), 2)
    assert abs(solve(seen, same.probabilities(seen)).j - solve(mdp, policy.probabilities(mdp)).j) < 1e-14


def test_inside_a_step_the_window_stays_and_the_place_is_known() -> None:
    mdp = make("tokens", length=2, tokens=3, vocabulary=2, horizon=3)
    product = memory_product(mdp, 1)
    inner = ~product.mdp.tick
    assert inner.any()
    assert product.mdp.n_contexts == product.mdp.n_states
    assert {len(product.memory[s]) for s in np.flatnonzero(inner)} == {1, 2}  # type: ignore[arg-type] # tuples


def test_time_is_worth_as_much_as_a_table_per_step() -> None:
    mdp = make("random", states=5, actions=3, observations=2, horizon=4, seed=2)
    tables = SoftmaxPolicy.random(mdp, 0, replicates=4).probabilities(mdp)
    product = time_product(mdp)
    step = np.array([min(int(t), 3) if isinstance(t, int) and t >= 0 else 0 for t in product.memory])
    lifted = solve(product.mdp, tables[step, product.state])
    assert abs(lifted.j - solve(mdp, tables).j) < 1e-13
    gradient = policy_gradient(product.mdp, SoftmaxPolicy.uniform(product.mdp))
    assert gradient.size == product.mdp.n_contexts * 3


def squared_bias(product: Product, pi: np.ndarray, k: int) -> float:
    """E[Var(V(full window) | last k+1 observations)] at the choice of an aliased environment."""
    mdp = product.mdp
    solution = solve(mdp, pi)
    rows = [s for s in np.flatnonzero(mdp.mask.sum(axis=1) > 1) if not mdp.terminal[s]]
    mass, value = solution.occupancy[-1, rows], solution.value[1, rows]
    windows: dict[object, list[int]] = {}
    for i, s in enumerate(rows):
        memory = product.memory[s]
        assert isinstance(memory, tuple)
        windows.setdefault(memory[-(k + 1) :], []).append(i)
    assert abs(mass.sum() - 1.0) < 1e-12
    total = 0.0
    for members in windows.values():
        mean = np.average(value[members], weights=mass[members])
        total += float((mass[members] * (value[members] - mean) ** 2).sum())
    return total


def test_longer_windows_leave_less_of_the_value_unexplained() -> None:
    payoff = tuple(map(tuple, np.random.default_rng(0).random((8, 2))))
    mdp = make("aliased", cues=2, delay=3, payoff=payoff)
    product = memory_product(mdp, 3)
    pi = SoftmaxPolicy.random(product.mdp, 0).probabilities(product.mdp)
    bias = [squared_bias(product, pi, k) for k in range(4)]
    assert bias[0] > bias[1] > bias[2] > bias[3]
    assert bias[3] < 1e-30
    short = with_memory(mdp, 2)
    assert short.n_contexts < product.mdp.n_contexts


def test_memory_as_long_as_the_delay_reaches_the_optimum() -> None:
    mdp = make("aliased", cues=2, delay=2)
    for k, best in ((0, 0.5), (1, 0.5), (2, 1.0)):
        product = memory_product(mdp, k)
        table = np.zeros((product.mdp.n_contexts, 2))
        table[:, 0] = 1.0
        for s in np.flatnonzero(product.mdp.mask.all(axis=1) & ~product.mdp.terminal):
            memory = product.memory[s]
            assert isinstance(memory, tuple)
            # Cues of the first step are observations 1 and 2; a window of three begins with them.
            answer = memory[0] - 1 if len(memory) == 3 else 0
            table[product.mdp.context[s]] = np.eye(2)[answer]
        policy = SoftmaxPolicy.from_probabilities(product.mdp, table)
        assert abs(solve(product.mdp, policy.probabilities(product.mdp)).j - best) < 1e-14


def test_too_large_and_bad_orders_are_one_line_errors() -> None:
    mdp = make("random", states=20, actions=3, horizon=5)
    with pytest.raises(TooLargeError, match="reachable pairs of state and memory: got more than 100"):
        with_memory(mdp, 3, limit=100)
    with pytest.raises(TooLargeError):
        with_time(mdp, limit=10)
    with pytest.raises(InputError, match="k: got -1"):
        with_memory(mdp, -1)
    with pytest.raises(InputError, match=r"k: got 0\.5"):
        with_memory(mdp, 0.5)  # pyright: ignore[reportArgumentType]
