"""Readers of finished cells, on tables made by hand whose every number is known."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import t as student

from creditsim.study.cells import Cell, CellResult
from creditsim.study.results import LABELS, collect, learning_summary, variance_summary
from creditsim.study.store import Store

NOWHERE = "study_cases:draw"


def cell(number: int, **spec: Any) -> Cell:
    return Cell(NOWHERE, {"number": number, **spec}, 0, title=f"cell {number}")


def variance_cell(number: int, estimator: str = "grpo", **spec: Any) -> Cell:
    labels = {"estimator": estimator, "environment": "chain@tiny", "horizon": 3, "policy": "uniform", "group_size": 4}
    return cell(number, **labels, groups=1, **spec)


def variance_result(bias: float, low: float = -math.inf) -> CellResult:
    table = {
        "scope": np.array(["key", "key", "all", "all"], object),
        "quantity": np.array(["mean", "variance", "bias_rms", "variance"], object),
        "value": np.array([9.0, 8.0, bias, 2.0]),
        "standard_error": np.array([1.0, 1.0, np.nan, 0.5]),
        "low": np.array([0.0, 0.0, low, 1.0]),
        "high": np.array([10.0, 10.0, np.inf, 3.0]),
        "exact": np.array([9.0, 8.0, np.nan, 2.25]),
    }
    meta = {
        "replicates": 64, "stopped_by": "replicates", "reached": {"bias": 0.5, "gradient": None},
        "cost": {"estimator_ns_per_row": 12.5},
    }  # fmt: skip
    return CellResult(table, meta)


def learning_cell(number: int, updates: int, replicates: int, alpha: float = 0.05) -> Cell:
    return cell(
        number, method="grpo", environment="chain@tiny", group_size=4, groups=1, learning_rate=None, updates=updates,
        replicates=replicates, alpha=alpha,
    )  # fmt: skip


def curves(j: np.ndarray) -> CellResult:
    updates, replicates = j.shape
    table = {
        "update": np.repeat(np.arange(updates), replicates), "replicate": np.tile(np.arange(replicates), updates),
        "j": j.reshape(-1),
    }  # fmt: skip
    return CellResult(table, {"optimum": 1.0})


def put(store: Store, one: Cell, result: CellResult) -> Cell:
    store.put(one, result, 0.0)
    return one


def test_of_a_variance_table_the_rows_over_all_are_read(tmp_path: Path) -> None:
    store = Store(tmp_path)
    done, missing = put(store, variance_cell(0), variance_result(0.25)), variance_cell(1)
    (row,) = variance_summary([done, missing], store)
    assert row["quantities"]["variance"] == {
        "value": 2.0, "standard_error": 0.5, "low": 1.0, "high": 3.0, "exact": 2.25,
    }  # fmt: skip
    assert set(row["quantities"]) == {"bias_rms", "variance"}
    # Broken twin: the rows of keys bear the same quantity with another value.
    assert row["quantities"]["variance"]["value"] != 8.0
    assert (row["replicates"], row["stopped_by"], row["cell"]) == (64, "replicates", done.id)
    assert row["estimator_ns_per_row"] == 12.5


def test_numbers_that_json_has_not_become_null(tmp_path: Path) -> None:
    store = Store(tmp_path)
    (row,) = variance_summary([put(store, variance_cell(0), variance_result(0.25))], store)
    assert row["quantities"]["bias_rms"] == {
        "value": 0.25, "standard_error": None, "low": None, "high": None, "exact": None,
    }  # fmt: skip
    assert json.loads(json.dumps(row, allow_nan=False)) == row


def test_summaries_keep_the_order_asked_for(tmp_path: Path) -> None:
    store = Store(tmp_path)
    cells = [put(store, variance_cell(i, name), variance_result(float(i))) for i, name in enumerate(("b", "a", "c"))]
    assert [row["estimator"] for row in variance_summary(cells, store)] == ["b", "a", "c"]
    assert [row["estimator"] for row in variance_summary(cells[::-1], store)] == ["c", "a", "b"]
    assert [row["quantities"]["bias_rms"]["value"] for row in variance_summary(cells, store)] == [0.0, 1.0, 2.0]


def test_joined_tables_repeat_the_labels_on_each_row(tmp_path: Path) -> None:
    store = Store(tmp_path)
    cells = [put(store, variance_cell(i, name), variance_result(float(i))) for i, name in enumerate(("grpo", "rloo"))]
    table = collect([*cells, variance_cell(7)], store)
    assert {len(values) for values in table.values()} == {8}
    assert table["estimator"].tolist() == ["grpo"] * 4 + ["rloo"] * 4
    assert table["group_size"].tolist() == [4] * 8 and table["group_size"].dtype.kind == "i"
    assert table["value"].tolist() == [9.0, 8.0, 0.0, 2.0, 9.0, 8.0, 1.0, 2.0]
    present = [name for name in table if name in LABELS]
    assert list(table)[: len(present)] == present
    assert "learning_rate" not in table and "method" not in table


def test_joined_tables_have_the_columns_that_all_have(tmp_path: Path) -> None:
    store = Store(tmp_path)
    one = put(store, cell(0, method="grpo", learning_rate=0.5), CellResult({"x": np.arange(2), "y": np.zeros(2)}))
    two = put(store, cell(1, method="rloo", learning_rate=None), CellResult({"x": np.arange(3)}))
    table = collect([one, two], store)
    assert list(table) == ["method", "x"]
    assert table["x"].tolist() == [0, 1, 0, 1, 2]
    assert collect([one], store)["learning_rate"].tolist() == [0.5, 0.5]
    assert collect([], store) == {} and collect([cell(9)], store) == {}


@pytest.mark.parametrize("alpha", [0.05, 0.01])
def test_curves_are_told_by_start_end_and_average(tmp_path: Path, alpha: float) -> None:
    store = Store(tmp_path)
    j = np.array([[0.1, 0.1, 0.1], [0.2, 0.4, 0.3], [0.5, 0.9, 0.4]])
    (row,) = learning_summary([put(store, learning_cell(0, 2, 3, alpha), curves(j))], store)
    said = row["quantities"]
    assert (row["optimum"], row["replicates"], row["method"]) == (1.0, 3, "grpo")
    # At the start all replicates have one policy: no spread at all, whatever rounding does to the mean.
    start = said["j_start"]
    assert start["value"] == pytest.approx(0.1, abs=1e-15) and start["standard_error"] == 0.0
    assert start["low"] == start["value"] == start["high"]
    for name, values in {"j_end": j[-1], "j_average": j.mean(axis=0)}.items():
        error = values.std(ddof=1) / math.sqrt(3)
        half = student.ppf(1 - alpha / 2, 2) * error
        assert said[name]["value"] == pytest.approx(values.mean(), abs=1e-15)
        assert said[name]["standard_error"] == pytest.approx(error, rel=1e-13)
        assert said[name]["low"] == pytest.approx(values.mean() - half, rel=1e-12)
        assert said[name]["high"] == pytest.approx(values.mean() + half, rel=1e-12)
    # Broken twin: the normal quantile instead of Student's is far too short for three replicates.
    assert said["j_end"]["high"] - 0.6 > 1.9 * student.ppf(1 - alpha / 2, 10**6) * said["j_end"]["standard_error"]


def test_one_replicate_has_a_value_and_no_interval(tmp_path: Path) -> None:
    store = Store(tmp_path)
    (row,) = learning_summary([put(store, learning_cell(0, 1, 1), curves(np.array([[0.1], [0.7]])))], store)
    assert row["quantities"]["j_end"] == {"value": 0.7, "standard_error": None, "low": None, "high": None}
    assert row["quantities"]["j_average"]["value"] == pytest.approx(0.4)


def test_replicates_that_failed_are_counted_and_left_out(tmp_path: Path) -> None:
    store = Store(tmp_path)
    j = np.array([[0.1, 0.1, 0.1], [0.2, 0.4, np.nan], [0.5, 0.9, np.nan]])
    (row,) = learning_summary([put(store, learning_cell(0, 2, 3), curves(j))], store)
    assert (row["failed"], row["replicates"]) == (1, 3)
    assert row["quantities"]["j_end"]["value"] == pytest.approx(0.7, abs=1e-15)
    assert row["quantities"]["j_average"]["value"] == pytest.approx((0.8 / 3 + 1.4 / 3) / 2, abs=1e-15)
    lost = np.where(np.arange(3)[:, None] > 0, np.nan, j)
    (row,) = learning_summary([put(store, learning_cell(1, 2, 3), curves(lost))], store)
    assert row["failed"] == 3 and row["quantities"]["j_end"]["value"] is None
