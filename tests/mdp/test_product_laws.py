"""Products with memory or time, on random MDPs: J, occupancy and the truth of every row stay what they were."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from creditsim.exact.dp import optimal, solve
from creditsim.exact.gradient import policy_gradient
from creditsim.mdp import Product, SoftmaxPolicy, TabularMDP, make, memory_product, time_product
from creditsim.sampling import TableSampler

mdps = st.builds(
    lambda seed, states, inner, forbidden, observations, horizon, gamma: make(
        "random",
        states=states,
        actions=2,
        branching=min(2, states),
        observations=observations,
        forbidden=forbidden,
        inner=inner,
        horizon=horizon,
        gamma=gamma,
        ending=0.2,
        seed=seed,
    ),
    seed=st.integers(0, 10**6),
    states=st.integers(1, 5),
    inner=st.sampled_from([0.0, 0.5]),
    forbidden=st.sampled_from([0.0, 0.4]),
    observations=st.integers(1, 3),
    horizon=st.integers(1, 4),
    gamma=st.sampled_from([1.0, 0.8]),
)
products = st.sampled_from(["time", 0, 1, 2])


def product_of(mdp: TabularMDP, kind: Any) -> Product:
    return time_product(mdp) if kind == "time" else memory_product(mdp, kind)


def losses(mdp: TabularMDP, product: Product, seed: int) -> dict[str, float]:
    """How far each law is from holding for the policy of the base, lifted to the product."""
    policy = SoftmaxPolicy.random(mdp, seed)
    pi = policy.probabilities(mdp)
    base, lifted = solve(mdp, pi), solve(product.mdp, pi[product.state])
    mass = np.zeros_like(base.occupancy)
    np.add.at(mass.T, product.state, lifted.occupancy.T)
    return {
        "J": abs(base.j - lifted.j),
        "values": float(np.abs(lifted.value - base.value[:, product.state]).max()),
        "advantages": float(np.abs(lifted.advantage - base.advantage[:, product.state]).max()),
        "occupancy": float(np.abs(mass - base.occupancy).max()),
        "cut episodes": abs(base.truncation - lifted.truncation),
    }


@settings(max_examples=40)
@given(mdps, products, st.integers(0, 100))
def test_a_product_changes_no_truth(mdp: TabularMDP, kind: Any, seed: int) -> None:
    assert max(losses(mdp, product_of(mdp, kind), seed).values()) < 1e-12


def start_moved(product: Product) -> TabularMDP:
    elsewhere = ~product.mdp.terminal & product.mdp.tick & (product.state != product.state[0])
    return replace(product.mdp, start=(np.arange(product.mdp.n_states) == np.flatnonzero(elsewhere)[0]).astype(float))


BROKEN = {
    "a step lost": lambda p: replace(p.mdp, horizon=p.mdp.horizon - 1),
    "rewards doubled": lambda p: replace(p.mdp, reward=2 * p.mdp.reward),
    "another start": start_moved,
    "ticks everywhere": lambda p: replace(p.mdp, tick=np.ones_like(p.mdp.tick)),
    "branches exchanged": lambda p: replace(p.mdp, successor=p.mdp.successor[:, ::-1]),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_the_laws_reject_a_broken_product(fault: str) -> None:
    mdp = make("random", states=6, actions=2, branching=2, observations=3, inner=0.4, horizon=4, gamma=0.8, seed=5)
    product = memory_product(mdp, 1)
    assert max(losses(mdp, product, 0).values()) < 1e-12
    broken = replace(product, mdp=BROKEN[fault](product))
    if fault == "a step lost":
        # Tables by steps left have another height; what the start is worth tells.
        pi = SoftmaxPolicy.random(mdp, 0).probabilities(mdp)
        assert abs(solve(broken.mdp, pi[product.state]).j - solve(mdp, pi).j) > 1e-3
    else:
        assert max(losses(mdp, broken, 0).values()) > 1e-3


@settings(max_examples=25)
@given(mdps, products, st.integers(0, 100))
def test_rows_sampled_in_the_product_have_the_truth_of_the_base(mdp: TabularMDP, kind: Any, seed: int) -> None:
    product = product_of(mdp, kind)
    policy = SoftmaxPolicy.random(product.mdp, seed)
    rollouts = TableSampler(product.mdp, seed=seed, groups=3).extend(copies=2, policy=policy)
    pi = policy.probabilities(product.mdp)
    lifted = solve(product.mdp, pi)
    here = product.state[rollouts.column("state")]
    # The base sees the product's policy as one table per (step, state) only where the memory is the step.
    if kind == "time":
        table = np.zeros((mdp.horizon, mdp.n_states, mdp.n_actions))
        table[:] = np.where(mdp.mask | mdp.terminal[:, None], 1.0, 0.0)
        table /= table.sum(axis=-1, keepdims=True)
        live = np.flatnonzero(~product.mdp.terminal)
        steps = np.array([product.memory[i] for i in live])
        inside = steps < mdp.horizon
        table[steps[inside], product.state[live][inside]] = pi[live][inside]
        base = solve(mdp, table)
        based = rollouts.with_columns(state=here)
        np.testing.assert_allclose(lifted.row_q(rollouts), base.row_q(based), rtol=0, atol=1e-12)
        np.testing.assert_allclose(lifted.row_advantage(rollouts), base.row_advantage(based), rtol=0, atol=1e-12)
        assert all(product.memory[s] == t for s, t in zip(rollouts.column("state"), rollouts.step, strict=True))
    assert np.array_equal(rollouts.observation, mdp.observation[here])
    assert mdp.mask[here, rollouts.action].all()


@settings(max_examples=25)
@given(mdps, st.integers(0, 2), st.integers(0, 50))
def test_more_memory_never_hurts_the_best_and_keeps_the_gradient_of_shared_logits(
    mdp: TabularMDP, k: int, seed: int
) -> None:
    """Tying the logits of windows that end alike gives back the base's policy, and its gradient by the chain rule."""
    product = memory_product(mdp, k)
    assert abs(optimal(product.mdp).j - optimal(mdp).j) < 1e-12
    policy = SoftmaxPolicy.random(mdp, seed)
    tie = np.zeros((product.mdp.n_contexts, mdp.n_contexts))
    tie[product.mdp.context, mdp.context[product.state]] = 1.0
    rows = tie.sum(axis=1)
    if (rows > 1).any():
        # Terminal states share the memory of nothing; their contexts are never acted in.
        live = ~product.mdp.terminal
        tie[:] = 0.0
        tie[product.mdp.context[live], mdp.context[product.state[live]]] = 1.0
    tied = SoftmaxPolicy((tie @ policy.table).ravel(), mdp.n_actions)
    np.testing.assert_allclose(
        tied.probabilities(product.mdp)[~product.mdp.terminal],
        policy.probabilities(mdp)[product.state][~product.mdp.terminal],
        atol=1e-12,
    )
    wide = policy_gradient(product.mdp, tied).reshape(-1, mdp.n_actions)
    np.testing.assert_allclose((tie.T @ wide).ravel(), policy_gradient(mdp, policy), rtol=0, atol=1e-12)
