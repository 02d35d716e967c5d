"""Update rules against the textbook written out, on numbers drawn at random."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from planning_cases import slow_best, slow_lower, state_of, table
from update_cases import learner, numeric_gradient, rollouts

from creditsim.errors import InputError, UnknownNameError
from creditsim.planning_tables import half_optimal
from creditsim.updates.kl import KL_ESTIMATORS, kl_estimate
from creditsim.updates.optimiser import ascend
from creditsim.updates.planning.kernels import best, count
from creditsim.updates.planning.model import Model
from creditsim.updates.planning.update import pessimistic_policy
from creditsim.updates.reinforce import policy_gradient_estimate
from creditsim.updates.surrogate import minibatch_of, surrogate

FEW = settings(max_examples=25, deadline=None)

# --- Adam -------------------------------------------------------------------------------------------------------------


def textbook_adam(
    gradients: list[list[float]], rate: float, b1: float, b2: float, eps: float, corrected: bool = True
) -> list[float]:
    """Algorithm 1 of the paper on plain numbers; `corrected=False` leaves the bias of the averages in."""
    theta = [0.0] * len(gradients[0])
    for p in range(len(theta)):
        m = v = 0.0
        for t, gradient in enumerate(gradients, start=1):
            m = b1 * m + (1 - b1) * gradient[p]
            v = b2 * v + (1 - b2) * gradient[p] ** 2
            m_hat, v_hat = (m / (1 - b1**t), v / (1 - b2**t)) if corrected else (m, v)
            theta[p] += rate * m_hat / (math.sqrt(v_hat) + eps)
    return theta


gradients = st.lists(
    st.lists(st.floats(-50, 50).map(lambda x: round(x, 3)), min_size=3, max_size=3), min_size=1, max_size=6
)


def climbed(values: list[list[float]], **options: Any) -> tuple[np.ndarray, dict[str, Any]]:
    theta, state = np.zeros((1, 3)), {}
    for gradient in values:
        theta, state = ascend(theta, np.array([gradient]), state, optimiser="adam", **options)
    return theta[0], state


@FEW
@given(gradients, st.floats(1e-4, 2), st.floats(0, 0.99), st.floats(0, 0.999))
def test_adam_is_the_algorithm_of_the_paper(values: list[list[float]], rate: float, b1: float, b2: float) -> None:
    theta, state = climbed(values, learning_rate=rate, beta1=b1, beta2=b2, eps=1e-6)
    assert theta == pytest.approx(textbook_adam(values, rate, b1, b2, 1e-6), rel=1e-9, abs=1e-12)
    assert state["adam_t"].tolist() == [len(values)]
    assert (state["adam_v"] >= 0).all()


def test_adam_without_bias_correction_is_told_apart() -> None:
    values = [[1.0, -2.0, 0.5], [0.5, 0.0, -3.0]]
    theta, _ = climbed(values, learning_rate=0.1)
    assert theta == pytest.approx(textbook_adam(values, 0.1, 0.9, 0.999, 1e-8))
    assert theta != pytest.approx(textbook_adam(values, 0.1, 0.9, 0.999, 1e-8, corrected=False), rel=0.1)


@FEW
@given(gradients, st.floats(0.01, 100))
def test_adam_knows_no_units_and_sgd_does(values: list[list[float]], scale: float) -> None:
    scaled = [[scale * g for g in row] for row in values]
    one, other = (climbed(v, learning_rate=0.1, eps=0.0) for v in ([[g or 1.0 for g in r] for r in values],
                  [[g or scale for g in r] for r in scaled]))  # fmt: skip
    assert one[0] == pytest.approx(other[0], rel=1e-8, abs=1e-12)
    up = ascend(np.zeros((1, 3)), np.array(values[:1]), {}, learning_rate=0.5, optimiser="sgd")[0]
    far = ascend(np.zeros((1, 3)), np.array(scaled[:1]), {}, learning_rate=0.5, optimiser="sgd")[0]
    assert far == pytest.approx(scale * up, rel=1e-12)


def test_replicates_keep_their_own_averages_and_the_state_is_not_changed_in_place() -> None:
    rng = np.random.default_rng(1)
    first, second = rng.normal(size=(2, 4, 3))
    theta, state = ascend(np.zeros((4, 3)), first, {"seed": 5}, learning_rate=0.1, optimiser="adam")
    kept = {name: np.copy(value) for name, value in state.items()}
    both, _ = ascend(theta, second, state, learning_rate=0.1, optimiser="adam")
    assert all(np.array_equal(state[name], kept[name]) for name in kept) and state["seed"] == 5
    for r in range(4):
        alone, own = ascend(np.zeros((1, 3)), first[r : r + 1], {}, learning_rate=0.1, optimiser="adam")
        alone, _ = ascend(alone, second[r : r + 1], own, learning_rate=0.1, optimiser="adam")
        assert np.array_equal(alone[0], both[r])
    with pytest.raises(UnknownNameError, match=r"optimiser: got 'adm'.*nearest: adam"):
        ascend(theta, first, {}, learning_rate=0.1, optimiser="adm")


# --- KL and entropy ---------------------------------------------------------------------------------------------------

FORMULAS = {
    "k1": lambda d: d,
    "abs": abs,
    "k2": lambda d: d * d / 2,
    "k3": lambda d: min(math.exp(-d) + d - 1, 10.0),
}


@FEW
@given(st.lists(st.floats(-6, 6), min_size=1, max_size=8), st.sampled_from(sorted(FORMULAS)))
def test_penalties_are_their_formulas_and_slopes_are_differences(differences: list[float], kind: str) -> None:
    d = np.array(differences)
    ref = np.linspace(-3, -1, d.size)
    value, slope = kl_estimate(ref + d, ref, kind)
    assert value == pytest.approx([FORMULAS[kind](x) for x in d], rel=1e-9, abs=1e-9)
    h = 1e-6
    up, down = (kl_estimate(ref + d + s, ref, kind)[0] for s in (h, -h))
    smooth = (np.abs(d) > 1e-3) & (np.abs(value - 10.0) > 1e-3)
    assert slope[smooth] == pytest.approx(((up - down) / (2 * h))[smooth], rel=1e-4, abs=1e-5)
    assert set(KL_ESTIMATORS.names()) == set(FORMULAS)


@FEW
@given(st.lists(st.floats(0.5, 1), min_size=2, max_size=6), st.integers(0, 10**6))
def test_in_expectation_k1_and_k3_are_the_divergence_and_k2_is_not(weights: list[float], seed: int) -> None:
    p = np.array(weights) / sum(weights)
    q = np.random.default_rng(seed).dirichlet(np.full(p.size, 5.0)) * 0.9 + 0.1 / p.size
    log_p, log_q = np.log(p), np.log(q)
    divergence = float(p @ (log_p - log_q))
    for kind in ("k1", "k3"):
        assert float(p @ kl_estimate(log_p, log_q, kind)[0]) == pytest.approx(divergence, abs=1e-12)
    # The slope of k2 has the gradient of the divergence as its mean: check by softmax logits.
    slope = kl_estimate(log_p, log_q, "k2")[1]
    gradient = p * slope - p * float(p @ slope)
    assert gradient == pytest.approx(p * (log_p - log_q - divergence), abs=1e-12)


def test_the_cut_of_k3_biases_it_where_the_reference_is_far_more_likely() -> None:
    p, q = np.array([0.99, 0.01]), np.array([0.5, 0.5])
    divergence = float(p @ np.log(p / q))
    value = kl_estimate(np.log(p), np.log(q), "k3")[0]
    assert value.max() == 10.0
    missing = 0.01 * (50.0 - math.log(50.0) - 1.0 - 10.0)
    assert float(p @ value) == pytest.approx(divergence - missing, abs=1e-12)


def test_k2_is_biased() -> None:
    p, q = np.array([0.9, 0.1]), np.array([0.5, 0.5])
    value = kl_estimate(np.log(p), np.log(q), "k2")[0]
    assert abs(float(p @ value) - float(p @ np.log(p / q))) > 0.05


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_entropy_and_its_way_back(seed: int) -> None:
    policy = learner(2, spread=1.5, seed=seed)
    rows = rollouts(policy, seed=seed + 10)
    weight = np.random.default_rng(seed).normal(size=rows.n_rows)
    probability = policy.table[rows.batch_rows, rows.columns["state"]]
    by_hand = [-math.fsum(p * math.log(p) for p in row if p > 0) for row in probability]
    assert policy.entropy(rows) == pytest.approx(by_hand, rel=1e-12)

    def total(theta: np.ndarray) -> np.ndarray:
        return np.bincount(rows.batch_rows, weights=weight * policy.with_theta(theta).entropy(rows), minlength=2)

    found = policy.entropy_pullback(rows, weight)
    assert found == pytest.approx(numeric_gradient(total, policy.theta), abs=1e-7)
    # Broken twin: without the weights the same comparison rejects.
    assert not np.allclose(policy.entropy_pullback(rows, np.ones(rows.n_rows)), found, atol=1e-3)


def test_an_entropy_bonus_alone_flattens_and_a_kl_penalty_alone_holds() -> None:
    policy = learner(2, spread=1.0)
    rows = rollouts(policy)
    nothing = {"advantage": np.zeros(rows.n_rows)}
    state = {"seed": 1, "replicate": np.arange(2), "horizon": 4}
    flat, _ = surrogate(policy, rows, nothing, state, entropy_weight=0.5, optimiser="sgd", epochs=5)
    assert flat.entropy(rows).mean() > policy.entropy(rows).mean()
    held, _ = surrogate(policy, rows, nothing, state, kl_weight=0.5, optimiser="sgd", epochs=5)
    assert np.array_equal(held.theta, policy.theta)
    away = {**state, "reference_theta": np.zeros_like(policy.theta)}
    back, _ = surrogate(policy, rows, nothing, away, kl_weight=0.5, kl="k2", optimiser="sgd", epochs=5)
    assert np.linalg.norm(back.theta) < np.linalg.norm(policy.theta)


# --- Minibatches ------------------------------------------------------------------------------------------------------


class Recording:
    """A policy that remembers the rows of each pullback and never moves."""

    def __init__(self, inner: Any) -> None:
        self.inner, self.theta, self.seen = inner, inner.theta, []

    def log_prob(self, rows: Any) -> np.ndarray:
        return self.inner.log_prob(rows)

    def pullback(self, rows: Any, weight: np.ndarray) -> np.ndarray:
        self.seen.append(np.asarray(rows.columns["number"]))
        return np.zeros_like(self.theta)

    def with_theta(self, theta: np.ndarray) -> Recording:
        return self


@FEW
@given(st.integers(1, 4), st.integers(1, 7), st.integers(0, 10**6))
def test_each_epoch_uses_each_row_once(epochs: int, minibatches: int, seed: int) -> None:
    policy = learner(2)
    rows = rollouts(policy, per_batch=5, seed=seed)
    rows = rows.with_columns(number=np.arange(rows.n_rows))
    watch: Any = Recording(policy)
    state = {"seed": seed, "replicate": np.arange(2), "horizon": 4}
    surrogate(watch, rows, {"advantage": rows.reward}, state, epochs=epochs, minibatches=minibatches, optimiser="sgd")
    assert len(watch.seen) == epochs * minibatches
    for epoch in range(epochs):
        parts = watch.seen[epoch * minibatches : (epoch + 1) * minibatches]
        assert np.sort(np.concatenate(parts)).tolist() == list(range(rows.n_rows))
        for part in parts:  # trajectories stay whole
            whole = np.isin(rows.trajectory, rows.trajectory[part])
            assert part.size == whole.sum()


def test_epochs_are_drawn_anew() -> None:
    policy = learner(2)
    rows = rollouts(policy, per_batch=30)
    rows = rows.with_columns(number=np.arange(rows.n_rows))
    watch: Any = Recording(policy)
    state = {"seed": 0, "replicate": np.arange(2), "horizon": 4}
    surrogate(watch, rows, {"advantage": rows.reward}, state, epochs=2, minibatches=2, optimiser="sgd")
    assert not np.array_equal(np.sort(watch.seen[0]), np.sort(watch.seen[2]))
    # Broken twin of drawing anew: the same seed of the epoch gives the same split.
    again = minibatch_of(rows.batch, 2, 5, np.arange(2))
    assert np.array_equal(again, minibatch_of(rows.batch, 2, 5, np.arange(2)))


def test_minibatches_are_even_in_probability() -> None:
    # 4000 seeds, P(first trajectory in part 0) = 1/2: |share - 1/2| > 4.9 sd has probability below 1e-6.
    hits = sum(int(minibatch_of(np.zeros(6, np.int64), 2, seed, np.arange(1))[0] == 0) for seed in range(4000))
    assert abs(hits / 4000 - 0.5) < 4.9 * 0.5 / math.sqrt(4000)


# --- The score-function step ------------------------------------------------------------------------------------------


@FEW
@given(st.integers(0, 10**6), st.floats(-3, 3))
def test_the_estimate_is_linear_in_the_advantage(seed: int, factor: float) -> None:
    policy = learner(2, seed=3)
    rows = rollouts(policy, seed=seed)
    one, two = np.random.default_rng(seed).normal(size=(2, rows.n_rows))
    joint = policy_gradient_estimate(policy, rows, one + factor * two)
    apart = policy_gradient_estimate(policy, rows, one) + factor * policy_gradient_estimate(policy, rows, two)
    assert joint == pytest.approx(apart, abs=1e-12)


# --- Planning kernels -------------------------------------------------------------------------------------------------

MDP = table(layers=3, actions=3, width=2, branching=2)
MODEL = Model.of(state_of(MDP))
PLACES, ACTIONS, BRANCHES = MODEL.shape


def random_counts(seed: int, most: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, most + 1, (2, *MODEL.shape))
    # Only what the table can do, and some actions were never tried.
    return counts * (MDP.probability > 0) * (rng.random((2, PLACES, ACTIONS, 1)) < 0.8)


@FEW
@given(st.integers(0, 10**6), st.sampled_from([1, 20, 3000]), st.floats(0.01, 0.5), st.sampled_from([0.0, 0.2, 1.0]))
def test_induction_on_any_counts_is_that_of_plain_python(seed: int, most: int, delta: float, scale: float) -> None:
    counts = random_counts(seed, most)
    level, spread = MODEL.levels(delta)
    value, choice = np.empty((2, PLACES)), np.empty((2, PLACES), np.int64)
    for sign in (1.0, -1.0):
        best(
            counts, MODEL.successor, MODEL.branch_reward, MODEL.steps_left, MODEL.order, MODEL.allowed_action,
            MODEL.discount, sign, level, spread, scale, value, choice,
        )  # fmt: skip
        for r in range(2):
            slow, _ = slow_best(MODEL, counts[r], sign, delta, scale)
            assert value[r] == pytest.approx([slow[s] for s in range(PLACES)], abs=1e-7)
        assert (value >= 0).all() and (value <= MODEL.steps_left + 1e-12).all()


@FEW
@given(st.integers(0, 10**6))
def test_upper_lies_above_lower_and_more_data_bring_them_together(seed: int) -> None:
    counts = random_counts(seed, 30)
    gaps = []
    for factor in (1, 100):
        upper, _ = slow_best(MODEL, factor * counts[0], 1.0)
        lower, _ = slow_best(MODEL, factor * counts[0], -1.0)
        gaps.append(sum(upper[s] - lower[s] for s in range(PLACES)))
        assert all(upper[s] >= lower[s] for s in range(PLACES))
    assert gaps[1] <= gaps[0] + 1e-9
    pi = pessimistic_policy(MODEL, counts)
    best_lower, _ = slow_best(MODEL, counts[0], -1.0)
    start = math.fsum(p * best_lower[s] for s, p in enumerate(MODEL.start))
    assert slow_lower(MODEL, counts[0], pi[0]) == pytest.approx(start, abs=1e-9)
    assert slow_lower(MODEL, counts[0], half_optimal(MDP)) <= start + 1e-9


def test_counting_stops_at_the_first_row_that_has_no_place() -> None:
    s = int(np.flatnonzero(MODEL.start)[0])
    reached, paid = int(MODEL.successor[s, 0, 0]), float(MODEL.branch_reward[s, 0, 0])
    counts = np.zeros((1, *MODEL.shape), np.int64)
    batch, state, action = np.zeros(3, np.int64), np.full(3, s), np.zeros(3, np.int64)
    arrays = (np.full(3, reached), np.array([paid, paid, paid + 0.3]), MODEL.successor, MODEL.branch_reward)
    assert count(batch, state, action, *arrays, counts) == 2
    assert counts.sum() == 2 and counts[0, s, 0, 0] == 2
    assert count(batch[:2], state[:2], action[:2], arrays[0][:2], arrays[1][:2], *arrays[2:], counts) == -1
    assert counts.sum() == 4


@pytest.mark.parametrize("delta", [0.0, 1.0, -0.1, math.nan])
def test_levels_refuse_what_is_no_probability(delta: float) -> None:
    with pytest.raises(InputError, match="delta: got"):
        MODEL.levels(delta)
