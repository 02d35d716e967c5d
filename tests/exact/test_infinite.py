"""The infinite-horizon solve against dense algebra, against long horizons, and against its own residual."""

from __future__ import annotations

import numpy as np
import pytest
from exact_brute import small_mdps
from hypothesis import given, settings

from creditsim.errors import InputError, NumericalError
from creditsim.exact import infinite
from creditsim.exact.dp import solve
from creditsim.exact.infinite import infinite_value
from creditsim.mdp import SoftmaxPolicy, TabularMDP, make


def dense_value(mdp: TabularMDP, pi: np.ndarray, gamma: float) -> np.ndarray:
    """(S,) from a dense system built entry by entry."""
    matrix, right = np.eye(mdp.n_states), np.zeros(mdp.n_states)
    for s, a, b in np.ndindex(mdp.successor.shape):
        p, to = pi[s, a] * mdp.probability[s, a, b], mdp.successor[s, a, b]
        if not mdp.terminal[s] and mdp.mask[s, a]:
            right[s] += p * mdp.reward[s, a, b]
            if not mdp.terminal[to]:
                matrix[s, to] -= p * (gamma if mdp.tick[to] else 1.0)
    return np.linalg.solve(matrix, right)


@given(mdp=small_mdps())
@settings(max_examples=40, deadline=None)
def test_agrees_with_dense_algebra(mdp: TabularMDP) -> None:
    pi = SoftmaxPolicy.random(mdp, 0).probabilities(mdp)
    value, q = infinite_value(mdp, pi, 0.8)
    np.testing.assert_allclose(value, dense_value(mdp, pi, 0.8), rtol=0, atol=1e-11)
    acting = ~mdp.terminal
    np.testing.assert_allclose((pi * q).sum(-1)[acting], value[acting], rtol=0, atol=1e-9)


@pytest.mark.parametrize("method", ["direct", "krylov", "auto"])
def test_is_the_limit_of_long_horizons(method: str) -> None:
    mdp = make("random", states=60, actions=3, branching=3, inner=0.2, observations=20, horizon=400, seed=1)
    pi = SoftmaxPolicy.random(mdp, 0).probabilities(mdp)
    value, q = infinite_value(mdp, pi, 0.9, method=method)
    limit = solve(mdp, pi, 0.9)
    np.testing.assert_allclose(value, limit.value[-1], rtol=0, atol=1e-8)
    np.testing.assert_allclose(q, limit.q[-1], rtol=0, atol=1e-8)


@pytest.mark.parametrize("method", ["direct", "krylov"])
def test_both_ways_agree_where_returns_are_large(method: str) -> None:
    mdp = make("random", states=1000, actions=4, branching=4, ending=0.0, seed=2)
    pi = SoftmaxPolicy.random(mdp, 0).probabilities(mdp)
    value, _ = infinite_value(mdp, pi, 0.99, method=method)
    dense = dense_value(mdp, pi, 0.99)
    assert dense.max() > 40
    np.testing.assert_allclose(value, dense, rtol=1e-9)


def test_the_mdp_is_left_as_it_was() -> None:
    mdp = make("random", states=30, actions=3, branching=3, seed=1)
    before = [array.copy() for array in (mdp.successor, mdp.probability, mdp.reward)]
    infinite_value(mdp, SoftmaxPolicy.uniform(mdp).probabilities(mdp), 0.9)
    for array, copy in zip((mdp.successor, mdp.probability, mdp.reward), before, strict=True):
        np.testing.assert_array_equal(array, copy)


def test_undiscounted_episodes_that_end() -> None:
    mdp = make("loop", states=1, horizon=5)
    value, q = infinite_value(mdp, SoftmaxPolicy.uniform(mdp).probabilities(mdp), 1.0)
    np.testing.assert_allclose(value, [0.5, 0.0], atol=1e-14)
    np.testing.assert_allclose(q, [[0.5, 1.0, 0.0], [0.0, 0.0, 0.0]], atol=1e-14)
    chain = make("chain", length=5, horizon=4000)
    pi = SoftmaxPolicy.random(chain, 0).probabilities(chain)
    np.testing.assert_allclose(infinite_value(chain, pi, 1.0)[0][:5], 1.0, atol=1e-12)


def test_undiscounted_episodes_that_never_end_are_refused() -> None:
    mdp = make("loop", states=2)
    pi = np.tile([1.0, 0.0, 0.0], (3, 1))
    with pytest.raises(InputError, match="gamma: got 1 with state 0 from which the episode never ends"):
        infinite_value(mdp, pi, 1.0)
    value, _ = infinite_value(mdp, pi, 0.9)
    assert not value.any()


def test_a_solver_that_does_not_solve_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    mdp = make("random", states=50, ending=0.0, seed=2)
    pi = SoftmaxPolicy.random(mdp, 0).probabilities(mdp)
    infinite_value(mdp, pi, 0.99)
    monkeypatch.setattr(infinite, "_direct", lambda system: np.copy)
    with pytest.raises(NumericalError, match=r"residual \d"):
        infinite_value(mdp, pi, 0.99)


def test_krylov_goes_on_to_the_next_method(monkeypatch: pytest.MonkeyPatch) -> None:
    mdp = make("random", states=50, seed=2)
    pi = SoftmaxPolicy.random(mdp, 0).probabilities(mdp)
    monkeypatch.setattr(infinite, "_bicgstab", lambda system: np.zeros_like)
    value, _ = infinite_value(mdp, pi, 0.9, method="krylov")
    np.testing.assert_allclose(value, dense_value(mdp, pi, 0.9), atol=1e-9)


def test_a_promise_that_cannot_be_kept_raises_with_the_residual() -> None:
    mdp = make("random", states=200, seed=2)
    pi = SoftmaxPolicy.random(mdp, 0).probabilities(mdp)
    with pytest.raises(NumericalError, match="allowed 1e-30"):
        infinite_value(mdp, pi, 0.9, tolerance=1e-30)


def test_wide_systems_are_iterated_and_narrow_ones_eliminated() -> None:
    chain = make("chain", length=3000)
    wide = make("random", states=3000, actions=4, branching=4, ending=0.0, seed=0)
    narrow = {}
    for mdp in (chain, wide):
        weight = SoftmaxPolicy.uniform(mdp).probabilities(mdp)[:, :, None] * mdp.probability
        narrow[mdp.name] = infinite._is_narrow(infinite._matrix(mdp, weight))
    assert list(narrow.values()) == [True, False]


def test_bad_input_is_a_one_line_error() -> None:
    mdp = make("chain@tiny")
    pi = SoftmaxPolicy.uniform(mdp).probabilities(mdp)
    with pytest.raises(InputError, match=r"method: got 'kryloff'.*nearest: krylov"):
        infinite_value(mdp, pi, 0.9, method="kryloff")
    with pytest.raises(InputError, match=r"allowed \(S, A\)"):
        infinite_value(mdp, np.stack([pi] * mdp.horizon), 0.9)
