"""Variance cells: exact twins, bits, stopping, memory."""

from __future__ import annotations

import itertools
import tracemalloc
from typing import Any

import numpy as np
import pytest
from study_numbers import lines, outside, spec

from creditsim.study import replicates, sums, variance
from creditsim.study.cells import CellResult, table_hash
from creditsim.study.looks import Width, looks
from creditsim.study.memory import footprint
from creditsim.study.setting import Setting
from creditsim.study.variance import run_cell


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"estimator": "grpo", "by": "time"},
        {"estimator": "rloo", "environment": "aliased@tiny", "horizon": 3, "group_size": 3},
        {"estimator": "gae(gamma=1.0)", "signals": ["oracle_value"], "environment": "loop@tiny", "group_size": 2},
        {"estimator": "reinforce_plus_plus", "environment": "tokens@tiny", "horizon": 2, "group_size": 2},
        {"estimator": "hgpo", "environment": "answers@tiny", "horizon": 1, "group_size": 5},
        {"estimator": "study_cases:reward(scale=2.0)", "environment": "stopping@tiny", "horizon": 3, "group_size": 2},
        {"estimator": "reinforce_plus_plus", "environment": "answers@tiny", "horizon": 1, "groups": 2, "group_size": 2},
    ],
)
def test_every_number_agrees_with_enumeration(changes: dict[str, Any]) -> None:
    """n = 4000 replicates, alpha = 1e-6 per interval, at most 150 intervals per case."""
    result = run_cell(spec(exact=True, replicates=4000, **changes), 5)
    compared = int(np.isfinite(result.table["exact"]).sum())
    assert compared >= 20
    assert outside(result) == []


def test_the_comparison_rejects_numbers_that_are_off() -> None:
    """The broken twin: exact values 20 % off are far outside, key by key and over all."""
    missed = outside(run_cell(spec(exact=True, replicates=20_000), 5), shift=0.2)
    for quantity in ("all mse", "all gradient_variance", "key mean", "key variance", "key rows", "all gradient_along"):
        assert quantity in missed


def test_a_wrong_weight_of_rows_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The broken twin in the code: every second row forgotten."""
    real = replicates.Setting.keys

    def half(self: Setting, rollouts: Any) -> np.ndarray:
        rollouts.columns["weight"] = (np.arange(rollouts.n_rows) % 2).astype(float)
        return real(self, rollouts)

    monkeypatch.setattr(replicates.Setting, "keys", half)
    broken = replicates.replicate_block

    def block(setting: Setting, first: int, count: int) -> Any:
        found = broken(setting, first, count)
        found.weight[::2] = 0.0
        return found

    monkeypatch.setattr(variance, "replicate_block", block)
    assert "key rows" in outside(run_cell(spec(exact=True, replicates=4000), 5))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"by": "time", "estimator": "reinforce_plus_plus", "groups": 2},
        {"design": "filtered(tries=3)", "estimator": "grpo"},
        {"design": "filtered(last_try=mask)", "estimator": "grpo"},
        {"environment": "tokens@tiny", "horizon": 2, "estimator": "optimal_token_baseline"},
    ],
)
def test_bits_do_not_depend_on_chunks(changes: dict[str, Any]) -> None:
    base = spec(replicates=300, **changes)
    whole = table_hash(run_cell(base, 3).table)
    assert {table_hash(run_cell(base, 3, chunk=chunk).table) for chunk in (1, 7, 256, 299)} == {whole}
    assert table_hash(run_cell(base, 4).table) != whole


def test_estimators_of_one_setting_meet_the_same_rollouts() -> None:
    rows = [lines(run_cell(spec(estimator=name), 3), "key", "rows")["value"] for name in ("grpo", "rloo")]
    np.testing.assert_array_equal(rows[0], rows[1])


class _Failing:
    """A function that runs out of memory for calls of more than `most` replicates, and in one call besides."""

    def __init__(self, function: Any, most: int) -> None:
        self.function, self.most, self.calls = function, most, 0

    def __call__(self, setting: Setting, first: int, count: int) -> Any:
        self.calls += 1
        if count > self.most or self.calls == 5:
            raise MemoryError
        return self.function(setting, first, count)


def test_less_memory_gives_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    base = spec(replicates=600)
    whole = run_cell(base, 3)
    failing = _Failing(replicates.replicate_block, 100)
    monkeypatch.setattr(variance, "replicate_block", failing)
    found = run_cell(base, 3)
    assert failing.calls > 6 and found.meta["cost"]["chunk"] <= 100
    assert table_hash(found.table) == table_hash(whole.table)


def test_memory_that_gives_out_while_adding_gives_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    """At every place in `Sums.add` that allocates: either all of a block is added or nothing."""
    base = spec(replicates=600)
    whole = run_cell(base, 3)
    real, calls = sums.Moments.add, 0

    def add(self: Any, values: np.ndarray, first: int) -> Any:
        nonlocal calls
        calls += 1
        if calls in (1, 2, 4):
            raise MemoryError
        return real(self, values, first)

    monkeypatch.setattr(sums.Moments, "add", add)
    assert table_hash(run_cell(base, 3).table) == table_hash(whole.table)


def test_no_memory_for_one_replicate_is_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(variance, "replicate_block", _Failing(replicates.replicate_block, 0))
    with pytest.raises(MemoryError):
        run_cell(spec(replicates=600), 3)


@pytest.mark.parametrize(("estimator", "environment"), [("gigpo", "chain@small"), ("grpo", "random@large")])
def test_predicted_memory_is_near_the_measured_peak(estimator: str, environment: str) -> None:
    horizon = {"chain@small": 12, "random@large": 50}[environment]
    setting = Setting.of(spec(estimator=estimator, environment=environment, horizon=horizon, group_size=8), 0)
    chunk = 8 * variance.default_chunk(setting) if environment == "random@large" else 2000
    predicted = footprint(setting).bytes(chunk)
    tracemalloc.start()
    try:
        run_cell({**setting.spec, "replicates": chunk}, 0, chunk=chunk)
        measured = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert predicted / 1.2 <= measured <= predicted * 1.2


def test_the_chunk_fits_the_limit() -> None:
    need = footprint(Setting.of(spec(environment="chain@small", horizon=12), 0))
    chunk = need.largest_chunk(64 << 20)
    assert chunk > 1 and need.bytes(chunk) <= 64 << 20 < need.bytes(chunk + 1)
    assert need.largest_chunk(0) == 1


def test_looks_are_fixed_beforehand() -> None:
    assert list(looks(5000, False)) == [5000]
    at = list(looks(10_000, True))
    assert at[0] == 1024 and at[-1] == 10_000 and all(n % 256 == 0 for n in at[:-1])
    assert all(1.2 < b / a <= 1.5 for a, b in itertools.pairwise(at[:-1]))
    assert list(looks(500, True)) == [500]


def _one(result: CellResult, quantity: str) -> dict[str, float]:
    return {
        name: float(v[0]) for name, v in lines(result, "all", quantity).items() if name not in ("scope", "quantity")
    }


def test_a_cell_stops_when_it_is_precise_enough() -> None:
    easy = run_cell(spec(precision=0.3, replicates=200_000, alpha=0.05), 3)
    assert easy.meta["stopped_by"] == "precision"
    assert 1024 <= easy.meta["replicates"] < 100_000
    assert all(value <= 0.3 for value in easy.meta["reached"].values())
    along = _one(easy, "gradient_along")
    assert along["high"] - along["value"] <= 0.3 + 1e-12
    assert easy.meta["intervals"].startswith("normal mixture")
    again = run_cell(spec(precision=0.3, replicates=200_000, alpha=0.05), 3, chunk=77)
    assert table_hash(again.table) == table_hash(easy.table)


def test_a_budget_that_cannot_reach_the_precision_says_what_it_reached() -> None:
    hard = run_cell(spec(precision=1e-4, replicates=3000, alpha=0.05), 3)
    assert hard.meta["stopped_by"] == "budget" and hard.meta["replicates"] == 3000
    assert hard.meta["reached"]["gradient"] > 1e-4 and hard.meta["reached"]["bias"] > 1e-4


def test_sequential_intervals_are_wider_and_nested_in_alpha() -> None:
    for n in (1024, 4096, 10_000):
        once, looked = Width(n, 10_000, 0.05, False), Width(n, 10_000, 0.05, True)
        assert 1.3 < float(looked.mean()) / float(once.mean()) < 2.5
        assert once.ball(5) < looked.ball(1) < looked.ball(5) < looked.ball(50)
        assert float(looked.halved().mean()) > float(looked.mean())
        assert looked.ball(1) == pytest.approx(float(looked.mean()), rel=0.05)
    assert np.isinf(Width(1, 10, 0.05, False).mean())


def test_stopping_with_fixed_intervals_would_err() -> None:
    """800 walks of 60 looks, alpha 0.05: the mixture misses at most 0.05 (binomial bound at 1e-6), t does far more."""
    rng = np.random.default_rng(1)
    at = list(looks(200_000, True))
    blocks = np.diff([0, *at])
    missed = {False: 0, True: 0}
    for _ in range(800):
        means = np.cumsum(rng.standard_normal(blocks.size) * np.sqrt(blocks)) / np.array(at)
        for sequential in missed:
            half = np.array([float(Width(n, 200_000, 0.05, sequential).mean()) / np.sqrt(n) for n in at])
            missed[sequential] += bool((np.abs(means) > half).any())
    assert missed[True] <= 40 + 4.9 * np.sqrt(800 * 0.05 * 0.95)
    assert missed[False] > 130


def test_the_ball_holds_a_vector_mean_at_all_looks() -> None:
    """600 walks in 6 dimensions with unequal spread; misses at most alpha = 0.05, with the binomial bound at 1e-6."""
    rng = np.random.default_rng(2)
    at = np.array(list(looks(50_000, True)))
    blocks = np.diff([0, *at])
    spread = np.array([3.0, 1.0, 0.5, 0.2, 0.1, 0.0])
    trace = float((spread**2).sum())
    radius = np.array([Width(int(n), 50_000, 0.05, True).ball(6) for n in at]) * np.sqrt(trace / at)
    once = np.array([Width(int(n), 50_000, 0.05, False).ball(6) for n in at]) * np.sqrt(trace / at)
    missed = np.zeros(3)
    for _ in range(600):
        steps = rng.standard_normal((blocks.size, 6)) * spread * np.sqrt(blocks)[:, None]
        length = np.linalg.norm(np.cumsum(steps, axis=0), axis=1) / at
        missed += [(length > radius).any(), length[-1] > once[-1], (length > once).any()]
    bound = 30 + 4.9 * np.sqrt(600 * 0.05 * 0.95)
    assert missed[0] <= bound and missed[1] <= bound
    assert missed[2] > bound  # looking at all of them needs the wider one


@pytest.mark.slow
def test_intervals_cover_at_their_level() -> None:
    """300 cells of 300 replicates at alpha = 0.1: 0.9 +- 4.9 sd for t intervals of keys met in most replicates.

    Gradient bias and cosine come from one ball, so they may cover more, never less.
    """
    chosen = ("key bias", "key mean", "all mse", "all gradient_along", "all degenerate")
    balls = ("all gradient_bias", "all gradient_cosine")
    hit, tried = dict.fromkeys((*chosen, *balls), 0), dict.fromkeys((*chosen, *balls), 0)
    base = spec(estimator="grpo", policy="uniform", replicates=300, alpha=0.1)
    known = run_cell({**base, "exact": True}, 0)
    exact = known.table["exact"]
    assert lines(known, "key", "rows")["exact"].min() > 0.2
    for seed in range(300):
        result = run_cell(base, seed)
        for name in hit:
            scope, quantity = name.split()
            found = lines(result, scope, quantity)
            index = (result.table["scope"] == scope) & (result.table["quantity"] == quantity)
            inside = (found["low"] <= exact[index]) & (exact[index] <= found["high"])
            hit[name] += int(inside[:1].sum()) if scope == "key" else int(inside.sum())
            tried[name] += 1
    for name in hit:
        deviation = 4.9 * np.sqrt(0.09 / tried[name])
        assert hit[name] / tried[name] >= 0.9 - deviation, name
        if name in chosen:
            assert hit[name] / tried[name] <= 0.9 + deviation + 0.02, name


def test_degenerate_estimates_have_no_spread() -> None:
    result = run_cell(spec(estimator="grpo", environment="chain@tiny(goal_reward=0.0)", replicates=300), 3)
    assert _one(result, "degenerate")["value"] == 1.0
    assert _one(result, "variance")["high"] == 0.0
    assert (lines(result, "key", "variance")["value"] == 0.0).all()
    assert np.isnan(_one(result, "gradient_cosine")["value"]) and np.isnan(_one(result, "gradient_along")["value"])


def test_a_constant_offset_of_rewards_costs_no_digits() -> None:
    """All advantages equal to 1e9: variance exactly zero per key."""
    changes = {
        "environment": "answers@tiny(p=[[1.0, 1.0]])",
        "horizon": 1,
        "estimator": "study_cases:reward(scale=1e9)",
    }
    result = run_cell(spec(**changes, replicates=300), 3)
    assert (lines(result, "key", "variance")["value"] == 0.0).all()
    assert (lines(result, "key", "mean")["value"] == 1e9).all()


def test_one_replicate_knows_no_spread() -> None:
    result = run_cell(spec(replicates=1), 3)
    bias = lines(result, "key", "bias")
    assert np.isnan(bias["standard_error"]).all() and np.isinf(bias["high"]).all()
    assert np.isinf(_one(result, "mse")["high"]) or np.isnan(_one(result, "mse")["standard_error"])
