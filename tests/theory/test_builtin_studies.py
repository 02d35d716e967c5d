"""Built-in studies: their cells, the numbers free of scale against enumeration, and the curves."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from creditsim.errors import InputError
from creditsim.estimators import advantage
from creditsim.exact import exact_moments, solve
from creditsim.mdp import SoftmaxPolicy, make
from creditsim.study.spec import VarianceStudy
from theory.claim import SIZES
from theory.overall import RELATIVE, SCALED, cells, jackknife, run_cell, scaled
from theory.studies import learning
from theory.study import STUDIES, cells_of, join

NAMES = ["bias-variance", "group-size", "horizon", "learning"]
SPEC: dict[str, Any] = {
    "environment": "loop@tiny", "horizon": 4, "policy": "uniform", "estimator": "gigpo@paper", "design": "independent",
    "signals": [], "groups": 1, "group_size": 3, "replicates": 4000, "alpha": 1e-6, "precision": None, "gamma": None,
    "by": "state", "exact": False,
}  # fmt: skip


def test_names() -> None:
    assert set(NAMES) <= set(STUDIES.names())


@pytest.mark.parametrize("name", NAMES)
def test_cells_are_distinct_and_grow_with_the_size(name: str) -> None:
    by_size = [cells_of(name, size) for size in SIZES]
    for made in by_size:
        assert len({cell.id for cell in made}) == len(made)
        assert all(":" in cell.function and cell.sources for cell in made)
    work = [sum(cell.spec["replicates"] for cell in made) for made in by_size]
    assert work == sorted(work)
    assert work[0] < work[2]


def test_group_sizes_share_one_number_of_rollouts() -> None:
    assert {cell.spec["groups"] * cell.spec["group_size"] for cell in cells_of("group-size", "quick")} == {64}


def lines(spec: dict[str, Any], seed: int = 0) -> dict[str, tuple[float, float, float]]:
    table = run_cell(spec, seed).table
    columns = (table[name].tolist() for name in ("quantity", "value", "low", "high"))
    return {name: (value, low, high) for name, value, low, high in zip(*columns, strict=True)}


def exact_lines(estimator: str) -> dict[str, float]:
    """The same numbers by enumeration."""
    mdp = make("loop@tiny")
    policy = SoftmaxPolicy.uniform(mdp)
    law = exact_moments(lambda r: advantage(r, estimator), mdp, policy, group_size=3, by="time")
    power = float(law.rows @ law.target**2)
    c = power / float(law.rows @ (law.mean * law.target))
    bias2 = float(law.rows @ (c * law.mean - law.target) ** 2) / power
    variance = c**2 * float(law.rows @ law.variance) / power
    g = law.gradient
    unit = g.exact / np.linalg.norm(g.exact)
    return {
        "scaled_bias": bias2**0.5,
        "scaled_deviation": variance**0.5,
        "scaled_mse": bias2 + variance,
        "gradient_noise": 3 * g.trace / float(g.mean @ unit) ** 2,
        "relative_bias": float(np.sqrt(law.rows @ law.bias**2 / power)),
        "relative_deviation": float(np.sqrt(law.rows @ law.variance / power)),
        "relative_mse": float(law.rows @ law.mse) / power,
    }


@pytest.mark.parametrize("estimator", ["gigpo@paper", "rloo@paper", "reinforce"])
def test_sampled_numbers_cover_the_enumerated_ones(estimator: str) -> None:
    """n = 4000 batches; each of 7 intervals at alpha = 1e-6."""
    sampled = lines({**SPEC, "estimator": estimator})
    for name, value in exact_lines(estimator).items():
        _, low, high = sampled[name]
        assert low <= value <= high, name


def test_intervals_do_not_cover_another_estimator() -> None:
    """The twin: numbers of GiGPO against those of REINFORCE."""
    sampled, other = lines(SPEC), exact_lines("reinforce")
    assert any(not sampled[name][1] <= other[name] <= sampled[name][2] for name in other)


def test_scaled_numbers_do_not_depend_on_the_scale() -> None:
    rng = np.random.default_rng(0)
    rows, mean = rng.integers(1, 9, 6).astype(float), rng.normal(size=6)
    sums = np.stack([rows, rows * mean, rows * (mean**2 + 0.3)])
    target = mean + 0.1 * rng.normal(size=6)
    tripled = sums * np.array([1.0, 3.0, 9.0])[:, None]
    assert scaled(tripled, target) == pytest.approx(scaled(sums, target), rel=1e-12)


def test_scaled_error_is_that_of_the_cosine() -> None:
    """Bias^2 + variance = 1 / cos^2 - 1, by definition; zero for the truth itself."""
    rows, mean, square, a = np.array([2.0, 1.0]), np.array([1.0, -1.0]), np.array([2.0, 3.0]), np.array([0.5, -2.0])
    bias2, variance, error = scaled(np.stack([rows, rows * mean, rows * square]), a)
    cosine2 = (rows @ (mean * a)) ** 2 / ((rows @ square) * (rows @ a**2))
    assert error == pytest.approx(1.0 / cosine2 - 1.0, rel=1e-12)
    assert error == pytest.approx(bias2 + variance, rel=1e-12)
    assert scaled(np.stack([rows, rows * a, rows * a**2]), a) == pytest.approx((0.0, 0.0, 0.0), abs=1e-12)


def test_an_estimate_without_signal_has_no_scaled_numbers() -> None:
    rows = np.ones(2)
    assert all(np.isnan(x) for x in scaled(np.stack([rows, rows, rows]), np.array([1.0, -1.0])))


def test_jackknife_of_a_mean_is_the_usual_interval() -> None:
    from creditsim.stats.intervals import t_interval

    x = np.random.default_rng(1).normal(size=10)
    found = jackknife(lambda kept: np.array([x[kept].mean()]), 10, 0.05)[0]
    usual = t_interval(10, x.mean(), x.var(ddof=1), alpha=0.05)
    assert found == pytest.approx([x.mean(), usual.low, usual.high], rel=1e-12)


def test_an_environment_without_choice_is_refused() -> None:
    with pytest.raises(InputError, match="a choice"):
        run_cell({**SPEC, "environment": "answers(p=[[0.5]])", "horizon": 1}, 0)


def test_all_numbers_are_there() -> None:
    study = VarianceStudy(estimators=("rloo",), environments=("chain@tiny",), group_sizes=(4,), replicates=100)
    made = cells(study)
    whole = join(made, [cell.compute() for cell in made])
    assert {*RELATIVE, *SCALED, "gradient_snr", "gradient_cosine"} <= set(whole.table["quantity"].tolist())
    assert set(whole.table["estimator"].tolist()) == {"rloo"}


def test_learning_curve_starts_at_the_exact_return_and_has_a_band() -> None:
    spec = dict(cells_of("learning", "quick")[0].spec) | {
        "environment": "loop@tiny", "updates": 3, "replicates": 8, "method": "rloo"
    }  # fmt: skip
    table = learning.run_cell(spec, 0).table
    mdp = make("loop@tiny")
    start = solve(mdp, SoftmaxPolicy.uniform(mdp).probabilities(mdp)).j
    assert table["update"].tolist() == [0, 1, 2, 3]
    assert table["j"][0] == pytest.approx(start, rel=1e-12)
    assert (table["low"] <= table["j"]).all()
    assert (table["low"][1:] < table["high"][1:]).all()
    assert (table["j"] <= table["optimum"] + 1e-12).all()
