"""Sums over replicates against plain formulas, and the lines that are read from them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from study_numbers import lines, spec

from creditsim.study import report
from creditsim.study.keysums import KeySums
from creditsim.study.looks import Width
from creditsim.study.replicates import SCALARS, replicate_block
from creditsim.study.setting import Setting
from creditsim.study.sums import Sums, jackknife_error
from creditsim.study.variance import run_cell

KEYS, REPLICATES = 5, 40


def _rows(seed: int = 0) -> tuple[np.ndarray, ...]:
    """Rows of 40 replicates, 0 to 9 each: batch, key, value, target, weight; key 4 is met once only."""
    rng = np.random.default_rng(seed)
    batch = np.repeat(np.arange(REPLICATES), rng.integers(0, 10, REPLICATES))
    key = rng.integers(0, KEYS - 1, batch.size)
    key[0] = KEYS - 1
    value, target = rng.standard_normal(batch.size) + 3.0, rng.standard_normal(batch.size)
    weight = rng.choice([0.0, 1.0, 2.0], batch.size)
    weight[key == KEYS - 1] = 1.0
    return batch, key, value, target, weight


def _filled(seed: int = 0, cuts: tuple[int, ...] = (REPLICATES,)) -> KeySums:
    batch, key, value, target, weight = _rows(seed)
    sums, first = KeySums(KEYS), 0
    for last in cuts:
        ends = np.searchsorted(batch, np.arange(first, last + 1))
        sums.add(np.arange(batch.size), ends, key, value, target, weight, first)
        first = last
    return sums


def _naive(key: int) -> dict[str, tuple[float, float]]:
    """Pooled mean, bias, mse and variance of a key, with delta-method errors over the replicates that met it."""
    batch, keys, value, target, weight = _rows()
    mine = keys == key
    y = np.bincount(batch[mine], weight[mine], REPLICATES)
    m = int((y > 0).sum())

    def pooled(x: np.ndarray) -> tuple[float, np.ndarray]:
        per = np.bincount(batch[mine], (weight * x)[mine], REPLICATES)
        r = per.sum() / y.sum()
        return r, per - r * y

    def error(residual: np.ndarray) -> float:
        return math.sqrt(m / (m - 1) * float((residual**2).sum())) / y.sum() if m > 1 else math.nan

    mean, of_mean = pooled(value)
    square, of_square = pooled(value**2)
    found = {"mean": (mean, error(of_mean)), "variance": (square - mean**2, error(of_square - 2 * mean * of_mean))}
    for name, x in (("bias", value - target), ("mse", (value - target) ** 2)):
        r, residual = pooled(x)
        found[name] = (r, error(residual))
    return found


@pytest.mark.parametrize("key", range(KEYS))
def test_moments_per_key_are_the_plain_formulas(key: int) -> None:
    found, place = _filled().moments(np.arange(KEYS)), key
    for name, (value, error) in _naive(key).items():
        assert found[name].value[place] == pytest.approx(value, rel=1e-9, abs=1e-12), name
        assert found[name].standard_error[place] == pytest.approx(error, rel=1e-7, nan_ok=True), name


def test_errors_that_take_rows_for_independent_are_others() -> None:
    """The broken twin: rows of a replicate that are all alike count once, not as many times as there are rows."""
    batch = np.repeat(np.arange(200), 8)
    value = np.random.default_rng(1).standard_normal(200)[batch]
    zero, one = np.zeros(batch.size, np.int64), np.ones(batch.size)
    sums = KeySums(1)
    sums.add(np.arange(batch.size), np.arange(0, batch.size + 1, 8), zero, value, 0.0 * one, one, 0)
    error = float(sums.moments(np.zeros(1, np.int64))["mean"].standard_error[0])
    assert error == pytest.approx(value[::8].std(ddof=1) / math.sqrt(200), rel=1e-9)
    assert error > 2.5 * value.std(ddof=1) / math.sqrt(batch.size)


def test_sums_do_not_depend_on_cuts_nor_on_the_order_of_other_replicates() -> None:
    whole, parts = _filled(), _filled(cuts=(1, 13, 14, 40))
    for name in ("sums", "products", "replicates", "shift", "streams"):
        np.testing.assert_array_equal(getattr(whole, name), getattr(parts, name))
    assert not whole._scratch.any()


def test_rows_without_weight_are_not_there() -> None:
    sums = KeySums(2)
    key, one = np.array([0, 1, 1]), np.ones(3)
    sums.add(np.arange(3), np.array([0, 3]), key, one, one, np.array([1.0, 0.0, 0.0]), 0)
    np.testing.assert_array_equal(sums.met, [0])
    assert sums.replicates.tolist() == [1, 0]


def test_rows_per_replicate_count_replicates_that_met_nothing() -> None:
    batch, key, *_, weight = _rows()
    found = _filled().rows(np.arange(KEYS), REPLICATES)
    per = np.array([np.bincount(batch[key == k], weight[key == k], REPLICATES) for k in range(KEYS)])
    np.testing.assert_allclose(found.value, per.mean(axis=1))
    np.testing.assert_allclose(found.standard_error, per.std(axis=1, ddof=1) / math.sqrt(REPLICATES))


def test_the_jackknife_of_a_mean_is_its_standard_error() -> None:
    values = np.random.default_rng(0).standard_normal(16)
    without = (values.sum() - values) / 15
    assert jackknife_error(without) == pytest.approx(values.std(ddof=1) / 4)
    assert math.isnan(jackknife_error(without[:1]))


def _sums(count: int, **changes: object) -> tuple[Setting, Sums]:
    setting = Setting.of(spec(**changes), 3)
    sums = Sums(setting)
    sums.add(replicate_block(setting, 0, count))
    return setting, sums


def test_the_squared_bias_is_rid_of_its_noise() -> None:
    """Of an unbiased estimator it is 0 on average over 200 seeds (5 se), and the plug-in is not."""
    corrected, plugged = [], []
    for seed in range(200):
        setting = Setting.of(spec(estimator="rloo", environment="answers@tiny", horizon=1, policy="uniform"), seed)
        sums = Sums(setting)
        sums.add(replicate_block(setting, 0, 64))
        corrected.append(sums.pooled()["bias2"][0])
        keys = sums.keys.met
        rows = sums.keys.sums[keys, 0]
        plugged.append(float((rows * sums.keys.moments(keys)["bias"].value ** 2).sum() / rows.sum()))
    for values, zero in ((corrected, True), (plugged, False)):
        off = abs(np.mean(values)) / (np.std(values, ddof=1) / math.sqrt(len(values)))
        assert (off < 5.0) == zero


def test_the_gradients_variance_is_the_trace_of_the_sample_covariance() -> None:
    setting, sums = _sums(500)
    block = replicate_block(setting, 0, 500)
    law = sums.gradient()
    assert law.trace == pytest.approx(float(np.trace(np.cov(block.gradient.T))), rel=1e-10)
    np.testing.assert_allclose(law.mean, block.gradient.mean(axis=0), atol=1e-14)
    assert 0 < law.trace_error < law.trace


def test_scalars_of_a_replicate_by_hand() -> None:
    """`answers`: one row per trajectory, two groups of three in a batch."""
    changes = {"environment": "answers@tiny", "horizon": 1, "group_size": 3, "groups": 2, "estimator": "reinforce"}
    setting, _ = _sums(1, **changes)
    block = replicate_block(setting, 0, 6)
    rollouts = setting.draw(0, 6)
    found: dict[str, np.ndarray] = dict(zip(SCALARS, block.scalars.T, strict=True))
    for name, value in {"rows": 6, "groups": 2, "anchors": 2, "singletons": 0, "steps": 6, "generated_rows": 6}.items():
        assert (found[name] == value).all(), name
    rewards = rollouts.reward.reshape(6, 2, 3)
    np.testing.assert_array_equal(found["degenerate"], (np.ptp(rewards, axis=2) == 0).sum(axis=1))
    np.testing.assert_allclose(found["error2"], ((block.value - block.target) ** 2).reshape(6, 6).sum(axis=1))
    np.testing.assert_array_equal(found["agreeing"], (block.value * block.target > 0).reshape(6, 6).sum(axis=1))


def test_dropped_rows_are_counted_as_generated() -> None:
    setting, sums = _sums(200, design="filtered(tries=5)", estimator="grpo")
    table = report.table_of(setting, sums, Width(200, 200, 0.05, False), None)
    value = {str(q): v for q, v, s in zip(table["quantity"], table["value"], table["scope"], strict=True) if s == "all"}
    assert value["generated_rows"] > 1.5 * value["rows"]
    assert value["degenerate"] < 0.8


@pytest.mark.parametrize("angle", [0.0, 0.3, 2.0, math.pi])
def test_the_cosine_of_a_ball(angle: float) -> None:
    """No vector in the ball makes a cosine outside the interval, and some come near its ends."""
    exact, mean = np.array([2.0, 0.0]), 3.0 * np.array([math.cos(angle), math.sin(angle)])
    value, _, low, high = report._cosine(mean, exact, 0.01, 0.7)
    turn = np.linspace(0, 2 * math.pi, 4001)
    others = mean + 0.7 * np.stack([np.cos(turn), np.sin(turn)], axis=1)
    cosines = others[:, 0] / np.linalg.norm(others, axis=1)
    assert low <= cosines.min() + 1e-12 and cosines.max() - 1e-12 <= high
    assert min(cosines.min() - low, high - cosines.max()) < 1e-5
    assert low <= value <= high
    assert report._cosine(mean, exact, 0.01, 3.0)[2:] == (-1.0, 1.0)


def test_lengths_and_ratios_at_their_edges() -> None:
    assert report._length(0.5, 0.0, 0.2) == (0.5, pytest.approx(math.nan, nan_ok=True), 0.3, 0.7)
    assert report._length(0.1, 1.0, 0.4)[0] == 0.0  # all of the length is noise
    noiseless = report._signal(1.0, 0.0, 0.0, 0.0, (0.0, 0.0, 0.0, 0.0))
    assert noiseless[0] == math.inf
    assert math.isnan(report._signal(0.0, 0.0, 0.0, 0.0, (0.0, 0.0, 0.0, 0.0))[0])
    value, error, low, high = report._root(-0.01, 0.02, 2.0)
    assert value == 0.0 and math.isnan(error) and low == 0.0 and high == pytest.approx(math.sqrt(0.03))
    assert report._line(math.nan, 1.0, 2.0, 0.0, 1.0)[2:] == (0.0, 1.0)


def test_every_line_lies_in_its_interval() -> None:
    for changes in ({}, {"by": "time"}, {"design": "filtered(last_try=mask)", "estimator": "grpo"}):
        table = run_cell(spec(replicates=500, **changes), 1).table
        known = ~np.isnan(table["value"])
        assert (table["low"] <= table["value"])[known].all() and (table["value"] <= table["high"])[known].all()
        assert set(table) == set(report.COLUMNS)
        keys = table["scope"] == "key"
        assert (table["step"][keys] >= 0).all() == (changes.get("by") == "time")
        assert (table["state"][~keys] == -1).all()


def test_targets_are_exact_where_the_design_leaves_the_law_alone() -> None:
    plain = lines(run_cell(spec(estimator="grpo", replicates=300), 1), "key", "target")
    assert (plain["standard_error"] == 0.0).all() and (plain["low"] == plain["high"]).all()
    chosen = lines(run_cell(spec(estimator="grpo", replicates=300, design="filtered(tries=4)"), 1), "key", "target")
    assert (chosen["standard_error"] > 0.0).any()
