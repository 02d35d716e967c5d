"""The four layouts of golden files as Rollouts and back, the report's words, and comparison as an equivalence."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from golden_cases import good, write
from hypothesis import given
from hypothesis import strategies as st

from creditsim.conformance import report
from creditsim.conformance.compare import Tolerance, compare
from creditsim.conformance.layouts import (
    prompt_major,
    ragged,
    sequence_table,
    step_table,
    token_matrix,
    token_rows,
)
from creditsim.conformance.read import read_golden
from creditsim.conformance.run import run_file
from creditsim.errors import CorruptFileError

numbers = st.floats(-100, 100).map(lambda v: round(v, 3))


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from("abc"), numbers), min_size=1, max_size=12), st.data())
def test_step_tables_come_back_in_the_files_order(rows: list[tuple[int, str, float]], data: st.DataObject) -> None:
    step: dict[int, int] = {}
    table: dict[str, list[Any]] = {
        name: [] for name in ("group", "traj", "step", "anchor", "reward", "response_length")
    }
    for traj, anchor, reward in rows:
        step[traj] = step.get(traj, -1) + 1
        values = (f"g{traj % 2}", f"t{traj}", step[traj], anchor, reward, len(anchor) + traj)
        for name, value in zip(table, values, strict=True):
            table[name].append(value)
    order = data.draw(st.permutations(range(len(rows))))
    mixed = {name: [values[i] for i in order] for name, values in table.items()}
    rollouts = step_table(mixed)
    assert rollouts.to_input_order(rollouts.reward).tolist() == mixed["reward"]
    assert rollouts.to_input_order(rollouts.column("tokens")).tolist() == mixed["response_length"]
    words = rollouts.labels["observation"][rollouts.observation]
    assert rollouts.to_input_order(words).tolist() == mixed["anchor"]
    assert rollouts.to_input_order(rollouts.step).tolist() == mixed["step"]


def test_sequence_tables_are_one_row_each_in_the_files_order() -> None:
    inputs = {"group": ["b", "a", "b"], "score": [1.0, 2.0, 3.0], "response_length": [4, 5, 6]}
    rollouts = sequence_table({**inputs, "greedy_baseline": [0.5, 0.25, 0.5]})
    assert rollouts.length.tolist() == [1, 1, 1] and rollouts.group.tolist() == [0, 1, 0]
    assert rollouts.reward.tolist() == inputs["score"] and rollouts.column("tokens").tolist() == [4, 5, 6]
    assert rollouts.column("greedy_score").tolist() == [0.5, 0.25, 0.5]
    assert not sequence_table(inputs).has("greedy_score")


@given(st.lists(st.lists(numbers, min_size=1, max_size=5), min_size=1, max_size=6))
def test_token_rows_and_back(rewards: list[list[float]]) -> None:
    rollouts = token_rows({"group": list(range(len(rewards))), "token_reward": rewards})
    assert ragged(rollouts.reward, rollouts.offsets) == rewards
    assert rollouts.length.tolist() == [len(row) for row in rewards]
    # A response is one step of many decisions: folding gives a row for each.
    assert rollouts.steps()[0].n_rows == len(rewards)
    np.testing.assert_allclose(rollouts.steps()[0].reward, [math.fsum(row) for row in rewards], atol=1e-9)


masks = st.integers(1, 4).flatmap(
    lambda width: st.lists(st.lists(st.integers(0, 1), min_size=width, max_size=width), min_size=1, max_size=4)
)


@given(masks.filter(lambda mask: any(map(any, mask))), st.booleans())
def test_token_matrices_and_back(mask: list[list[int]], holes: bool) -> None:
    cells = np.array(mask, bool)
    values = np.arange(cells.size, dtype=float).reshape(cells.shape) + 1
    matrix = token_matrix({"mask": mask, "old_logprob": (-values).tolist(), "reward": values.tolist()}, holes=holes)
    expected = cells.copy()
    for line in range(cells.shape[0]):
        if holes and cells[line].any():
            expected[line, : np.flatnonzero(cells[line])[-1]] = True
    assert np.array_equal(matrix.cells, expected)
    assert np.array_equal(matrix.to_matrix(matrix.rollouts.reward), np.where(expected, values, 0.0))
    assert np.array_equal(matrix.to_matrix(matrix.rollouts.column("log_prob"), 9.0), np.where(expected, -values, 9.0))
    assert np.array_equal(matrix.rollouts.column("valid"), cells[expected])
    assert matrix.rollouts.n_trajectories == len(mask)


def test_prompt_major_marks_what_cannot_be_scored() -> None:
    rollouts = prompt_major([[1.0, 2.0], [None, 1.0], [0.5, 0.5], [3.0, 0.0]], 2)
    assert rollouts.group.tolist() == [0, 0, 1, 1]
    assert rollouts.reward[[0, 2, 3]].tolist() == [3.0, 1.0, 3.0]
    assert rollouts.column("weight").tolist() == [1.0, 0.0, 1.0, 1.0]
    assert rollouts.reward[1] == 0.0 and rollouts.column("rewards_K").shape == (4, 2)
    assert not prompt_major([1.0, 2.0], 2).has("weight")
    for count in (0, 3, -1):
        with pytest.raises(CorruptFileError, match="num_generations: got"):
            prompt_major([1.0, 2.0], count)


values = st.recursive(st.none() | st.booleans() | st.integers(-9, 9) | numbers, lambda v: st.lists(v, max_size=3))
EXACT = Tolerance(0.0, 0.0)


@given(st.dictionaries(st.sampled_from(["a", "b", "step_group"]), values, min_size=1))
def test_everything_equals_itself(value: dict[str, Any]) -> None:
    if isinstance(value.get("step_group"), list) and any(isinstance(v, list) for v in value["step_group"]):
        del value["step_group"]  # labels are single values
    assert not any(d.is_miss for d in compare(value, value, EXACT))


@given(st.lists(numbers, min_size=1, max_size=6), st.integers(0, 5), st.floats(1e-3, 1.0))
def test_one_changed_number_is_one_miss(row: list[float], place: int, by: float) -> None:
    place %= len(row)
    changed = [v + by * (i == place) for i, v in enumerate(row)]
    assert [d.place for d in compare({"x": changed}, {"x": row}, EXACT) if d.is_miss] == [f"x[{place}]"]
    lenient = Tolerance(0.0, 2 * by)
    assert not any(d.is_miss for d in compare({"x": changed}, {"x": row}, lenient))


@given(st.lists(st.integers(0, 4), max_size=8), st.permutations(range(5)))
def test_labels_may_be_renamed_but_not_merged(labels: list[int], names: list[int]) -> None:
    renamed = [names[label] for label in labels]
    assert not any(d.is_miss for d in compare({"step_group": renamed}, {"step_group": labels}, EXACT))
    merged = [min(label, 1) for label in labels]
    same = len(set(merged)) == len(set(labels))
    assert any(d.is_miss for d in compare({"step_group": merged}, {"step_group": labels}, EXACT)) != same


def test_the_report_says_what_the_data_say(tmp_path: Any) -> None:
    data = good()
    data["cases"][0]["expected"]["advantage"] = [-1.0, 1.0 + 1e-3]
    results = [run_file(read_golden(write(tmp_path, data))), run_file(read_golden(write(tmp_path, good(), "b.json")))]
    told = json.loads(json.dumps(report.as_data(results), allow_nan=False))
    assert (told["ok"], [f["passed"] for f in told["files"]]) == (False, [1, 2])
    lines = [report.file_line(result, 9) for result in results]
    assert lines[0].startswith("MISS rloo.json") and "1/2 cases" in lines[0] and "advantage[1] of pair" in lines[0]
    assert lines[1].startswith("ok   b.json   ") and list(report.failure_lines(results[1])) == []
    failure = told["files"][0]["first_failure"]
    assert [miss["place"] for miss in failure["misses"]] == ["advantage[1]"]
    assert any("advantage[1]: got 1.0, want 1.001" in line for line in report.failure_lines(results[0]))
    assert report.summary_line(results) == "2 files, 3/4 cases: misses in rloo.json"
    assert report.summary_line(results[1:]) == "1 file, 2/2 cases: all within tolerance"
