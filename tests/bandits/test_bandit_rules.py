"""Every rule: bits, books that balance, and its formula written a second time."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from creditsim.bandits.gpu import index_step
from creditsim.bandits.instances import Bandit, bernoulli, drifting, gaussian
from creditsim.bandits.kl import divergence, upper_index
from creditsim.bandits.rules.base import RULES
from creditsim.bandits.simulate import Run, simulate
from creditsim.bandits.walk import keep, settle, walk
from creditsim.rng import Purpose, key_words, philox4x32, uniform53

NAMES = RULES.names()
ARRAYS = ("regret", "waste", "spent", "pulls", "locked", "counts", "totals")
THREE = bernoulli((0.3, 0.5, 0.6))


def run(rule: str, bandit: Bandit = THREE, **options: Any) -> Run:
    settings = {"horizon": 60, "replications": 5, "objective": "min", "snapshots": True, "seed": 4, **options}
    return simulate(bandit, rule, **settings)


def same(a: Run, b: Run) -> bool:
    return all(np.array_equal(getattr(a, name), getattr(b, name)) for name in ARRAYS)


@pytest.mark.parametrize("name", NAMES)
def test_threads_and_chunks_do_not_change_a_bit(name: str) -> None:
    whole = run(name, replications=600, threads=1, record_times=[7, 30, 60])
    assert same(whole, run(name, replications=600, threads=2, record_times=[7, 30, 60]))
    part = run(name, replications=100, first=300, record_times=[7, 30, 60])
    for array in ARRAYS:
        np.testing.assert_array_equal(getattr(part, array), getattr(whole, array)[300:400])


@pytest.mark.parametrize("name", NAMES)
def test_books_balance(name: str) -> None:
    found = run(name)
    assert found.counts is not None and found.totals is not None
    np.testing.assert_array_equal(found.pulls, found.counts[:, -1])
    np.testing.assert_allclose(found.spent, found.counts.sum(axis=2))
    np.testing.assert_allclose(found.waste, found.counts[:, :, 1:].sum(axis=2))
    np.testing.assert_allclose(found.regret, found.counts @ THREE.gaps("min"), atol=1e-12)
    assert ((found.totals >= 0) & (found.totals <= found.counts)).all()
    seeds = run(name, seed=5), run(name, stream=1)
    assert not same(found, seeds[0]) and not same(found, seeds[1])


@pytest.mark.parametrize("name", NAMES)
def test_free_initial_pulls_cost_nothing_and_come_before_the_horizon(name: str) -> None:
    found = run(name, initial_pulls=2, charge_initial=False, record_times=[1, 60])
    if RULES[name].walk != "batch":
        assert found.spent.tolist() == [[1.0, 60.0]] * 5
        assert (found.pulls.sum(axis=1) == 66).all()
    np.testing.assert_allclose(found.waste[:, -1], found.pulls[:, 1:].sum(axis=1) - 4)


@pytest.mark.parametrize("name", [n for n in NAMES if "full" in RULES[n].feedback])
def test_full_information_observes_every_arm_and_charges_shares(name: str) -> None:
    found = run(name, feedback="full")
    assert (found.pulls == 60).all() and found.counts is not None
    steps = np.diff(found.waste, axis=1)
    assert (steps >= 0).all() and (steps <= np.diff(found.times)).all()
    if name == "uniform":
        np.testing.assert_allclose(found.waste, np.broadcast_to(found.times * 2 / 3, found.waste.shape))


# --- Draws ------------------------------------------------------------------------------------------------------------


def uniforms_of(replication: int, block: int, stream: int, purpose: int, place: int, seed: int) -> tuple[float, float]:
    c0, c1, c2, c3 = (np.uint64(c) for c in (replication, block, stream, purpose | (place << 8)))
    w = philox4x32(c0, c1, c2, c3, *key_words(seed))
    return float(uniform53(w[0], w[1])), float(uniform53(w[2], w[3]))


@pytest.mark.parametrize("name", ["ucb1", "uniform"])
def test_rewards_are_the_named_draws(name: str) -> None:
    found = run(name, horizon=1, replications=3, initial_pulls=1, charge_initial=False, stream=9, record_times=[1])
    assert found.totals is not None
    for r in range(3):
        draws = [uniforms_of(r, pull >> 1, 9, Purpose.BANDIT, 0, 4)[pull & 1] for pull in range(4)]
        value = THREE.value("min")
        total = [float(draws[k] < value[k]) for k in range(3)]
        arm = int(np.argmax(found.counts[r, 0])) if found.counts is not None else 0
        total[arm] += float(draws[3] < value[arm])
        assert found.totals[r, 0].tolist() == total


def test_gaussian_rewards_have_their_law() -> None:
    n = 4000
    found = simulate(
        gaussian((0.0, 1.0), deviation=2.0), "uniform", horizon=2, replications=n, feedback="full", snapshots=True,
        record_times=[2],
    )  # fmt: skip
    assert found.totals is not None
    mean = found.totals[:, 0] / 2
    # Sums of two draws: deviation 2 / sqrt(2); 5 standard errors, alpha about 1e-6.
    assert (np.abs(mean.mean(axis=0) - [0.0, 1.0]) < 5 * math.sqrt(2.0) / math.sqrt(n)).all()
    assert (np.abs(mean.var(axis=0) - 2.0) < 5 * 2.0 * math.sqrt(2.0 / n)).all()
    assert abs(float(np.asarray(np.corrcoef(mean.T))[0, 1])) < 5 / math.sqrt(n)


def test_drift_moves_regret_to_the_arm_that_is_best_now() -> None:
    bandit = drifting((0.2, 0.8), (0.8, 0.2), over=10)
    found = simulate(bandit, "uniform", horizon=20, replications=3, feedback="full", record_times=[1, 10, 20])
    gaps = np.abs(0.6 - 1.2 * np.minimum(np.arange(20) / 10, 1.0))
    np.testing.assert_allclose(found.regret[0], np.cumsum(gaps / 2)[[0, 9, 19]])


# --- A second derivation of each rule ---------------------------------------------------------------------------------


def weights(rule: str, count: np.ndarray, total: np.ndarray, t: float) -> np.ndarray:
    mean = total / count
    p = 1.0 - mean  # success rates, the values being failures
    if rule == "3spo_proportional":
        return t ** (-50.0 * p)
    if rule == "3spo_forced":
        share = t ** (-50.0 * p) / (t ** (-50.0 * p)).sum()
        forced = min(1.0, 0.5 * 3 / (0.2**2 * t))
        return (1 - forced) * share + forced / 3
    if rule == "3spo_gui":
        score = np.exp(-(1 - math.exp(-0.1 * t / 1000)) * p)
        return np.maximum(1, np.floor(8 / (1 + np.exp(-score))))
    if rule == "boltzmann":
        return np.exp(math.log(t) * mean)
    if rule == "maillard":
        return np.exp(-2 * count * (mean.max() - mean) ** 2)
    if rule == "kl_ms":
        return np.exp([-n * divergence(m, mean.max()) for n, m in zip(count, mean, strict=True)])
    return np.ones(3)


@pytest.mark.parametrize("rule", [n for n in NAMES if RULES[n].walk == "shares"])
def test_shares_follow_the_formula(rule: str) -> None:
    rng = np.random.default_rng(0)
    packed = (*RULES.bind(rule)(THREE), 0.0)
    for t in (1.0, 2.0, 40.0, 3000.0):
        count = rng.integers(1, 30, 3).astype(float)
        total = np.floor(count * rng.random(3))
        memory = np.zeros(3)
        RULES[rule].step(count, total, t, packed, memory, np.zeros((4, 0), np.uint64), (0, 0, 0, 0, 0))
        expected = weights(rule, count, total, t)
        np.testing.assert_allclose(memory / memory.sum(), expected / expected.sum(), rtol=1e-10, atol=1e-300)


@pytest.mark.parametrize(
    ("rule", "index"),
    [
        ("ucb1", lambda mean, n, t: mean + math.sqrt(2 * math.log(t - 1) / n)),
        ("ucb_asymptotic", lambda mean, n, t: mean + math.sqrt(2 * math.log(1 + t * math.log(t) ** 2) / n)),
        ("kl_ucb", lambda mean, n, t: upper_index(mean, math.log(t) / n)),
    ],
)
def test_index_rules_pull_the_highest_index(rule: str, index: Callable[[float, float, float], float]) -> None:
    part = RULES[rule]
    step = index_step(*part.step) if part.walk == "index" else part.step
    packed = (*RULES.bind(rule)(THREE), 0.0)
    rng = np.random.default_rng(1)
    for t in range(4, 400):
        count = rng.integers(1, 40, 5).astype(float)
        total = np.floor((count + 1) * rng.random(5))
        arm = step(count, total, float(t), packed, np.zeros(6), np.zeros((4, 0), np.uint64), ())
        values = [index(s / n, n, float(t)) for s, n in zip(total, count, strict=True)]
        assert values[arm] == pytest.approx(max(values), abs=1e-12)


@pytest.mark.parametrize("rule", ["ucb1", "ucb_asymptotic"])
@pytest.mark.parametrize("bandit", [THREE, drifting((0.2, 0.8), (0.8, 0.2), over=20), gaussian((0.0, 1.0))])
def test_lanes_do_what_the_pull_by_pull_source_does(rule: str, bandit: Bandit) -> None:
    fast = run(rule, bandit, replications=3, horizon=40, record_times=[5, 40])
    k = bandit.arms
    out = (
        np.array([5, 20, 40]), *(np.zeros((3, 3)) for _ in range(3)), *(np.zeros((3, 3, k)) for _ in range(2)),
        np.zeros((3, k)),
    )  # fmt: skip
    arms = (bandit.value("min"), bandit.value("min", at_end=True), bandit.over, bandit.deviation)
    plan = (0, 1, 40 - k, 1, k, 0, 0, np.uint64(0), *key_words(4))
    packed = (*RULES.bind(rule)(bandit), 0.0)
    state, memory, words = np.zeros((4, k)), np.zeros(k), np.zeros((4, 0), np.uint64)
    for r in range(3):
        walk(index_step(*RULES[rule].step), settle, keep, r, out, arms, plan, packed, state, memory, words)
    np.testing.assert_array_equal(fast.pulls, out[-1])
    np.testing.assert_array_equal(fast.totals, out[5][:, [0, 2]])
    np.testing.assert_allclose(fast.regret, out[1][:, [0, 2]], atol=1e-12)


def test_pruned_kl_ucb_never_misses_the_winner() -> None:
    step, packed, memory = RULES["kl_ucb"].step, (0.0, 0.0), np.zeros(9)
    rng = np.random.default_rng(2)
    count, total = np.ones(8), np.floor(2 * rng.random(8))
    for t in range(9, 600):
        values = [upper_index(s / n, math.log(t) / n) for s, n in zip(total, count, strict=True)]
        arm = step(count, total, float(t), packed, memory, np.zeros((4, 0), np.uint64), ())
        assert arm == int(np.argmax(values))
        count[arm] += 1
        total[arm] += rng.random() < 0.1 * (arm + 1)


def test_ceil_gives_the_rollouts_of_the_paper() -> None:
    step = RULES["3spo_ceil"].step
    packed = (50.0, 8.0, 10.0, 0.1, 1e-6, 0.0)
    memory = np.zeros(4)
    # Not seen; failures only, below and at xi; one success in twenty.
    count, total = np.array([0.0, 9.0, 10.0, 20.0]), np.array([0.0, 9.0, 10.0, 19.0])
    step(count, total, 3.0, packed, memory, np.zeros((4, 0), np.uint64), ())
    assert memory.tolist() == [8.0, 8.0, 0.0, 0.0]
    step(count, total, 3.0, (50.0, 8.0, math.inf, 0.1, 1e-6, 0.0), memory, np.zeros((4, 0), np.uint64), ())
    assert memory.tolist() == [8.0, 8.0, 8.0, math.ceil(8 * 3.0 ** (-50.0 / 20.000001))]


def test_elimination_drops_arms_for_good_and_rarely_the_best() -> None:
    bandit = bernoulli((0.1, 0.9))
    found = simulate(bandit, "successive_elimination@sharp", horizon=2000, replications=400, record_times=[1000, 2000])
    assert (np.diff(found.waste, axis=1) == 0).mean() > 0.99
    # The chance to drop the best arm is at most 0.05; Hoeffding at alpha = 1e-6.
    assert (found.pulls[:, 0] > found.pulls[:, 1]).mean() <= 0.05 + math.sqrt(math.log(1e6) / 800)


def test_a_constant_temperature_keeps_pulling_wrong_arms() -> None:
    found = simulate(bernoulli((0.9, 0.1)), "boltzmann", horizon=500, replications=50, schedule="constant", scale=1.0)
    assert (found.waste[:, -1] > 500 / (1 + math.e) / 2).all()
