"""A golden file that breaks the schema is told in one line that names file, case and field."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from golden_cases import GOLDEN, good, write

from creditsim.conformance.read import Fields, golden_paths, read_golden
from creditsim.conformance.run import read_folder, run_file
from creditsim.errors import CorruptFileError, CreditsimError, InputError, UnknownNameError


def change(edit: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
    data = good()
    edit(data)
    return data


def inside(data: Any, path: tuple[Any, ...]) -> Any:
    for step in path:
        data = data[step]
    return data


def put(*path: Any, value: Any) -> dict[str, Any]:
    data = good()
    inside(data, path[:-1])[path[-1]] = value
    return data


CASE = ("cases", 0)
INPUTS = (*CASE, "inputs")
BROKEN = {
    "not-json": ('{"estimator": "rloo",', "rloo.json: got what is not JSON"),
    "empty": ("", "rloo.json: got what is not JSON"),
    "not-a-number": ('{"a": NaN}', "rloo.json: got what is not JSON (the number NaN)"),
    "infinity": ('{"a": -Infinity}', "(the number -Infinity)"),
    "deep": ("[" * 100_000, "rloo.json: got what is not JSON"),
    "a-list": ("[]", "rloo.json: got a list, allowed an object"),
    "no-version": (change(lambda d: d.pop("schema_version")), "rloo.json: got no 'schema_version'"),
    "other-version": (put("schema_version", value=2), "rloo.json schema_version: got 2, allowed 1"),
    "true-version": (put("schema_version", value=True), "rloo.json schema_version: got True, allowed 1"),
    "no-tolerance": (change(lambda d: d.pop("tolerance")), "got no 'tolerance'"),
    "no-atol": (change(lambda d: d["tolerance"].pop("atol")), "rloo.json tolerance: got no 'atol'"),
    "negative-rtol": (put("tolerance", "rtol", value=-1.0), "rloo.json tolerance rtol: got -1.0"),
    "no-cases": (put("cases", value=[]), "rloo.json cases: got an empty list"),
    "cases-object": (put("cases", value={}), "rloo.json cases: got a dict, allowed a list of cases"),
    "estimator-number": (put("estimator", value=3), "rloo.json estimator: got a int, allowed a string"),
    "case-list": (put(*CASE, value=[]), "rloo.json case 0: got a list"),
    "no-name": (change(lambda d: d["cases"][0].pop("name")), "rloo.json case 0: got no 'name'"),
    "same-name": (put(*CASE, "name", value="alone"), "two cases named 'alone'"),
    "no-inputs": (change(lambda d: d["cases"][0].pop("inputs")), "rloo.json case pair: got no 'inputs'"),
    "misspelt": (change(lambda d: d["cases"][0].update(input=d["cases"][0].pop("inputs"))), "nearest: input"),
    "empty-inputs": (put(*INPUTS, value={}), "rloo.json case pair: got no inputs"),
    "nothing-expected": (put(*CASE, "expected", value={}), "nothing expected"),
    "scalar-input": (put(*INPUTS, "score", value=1.0), "case pair inputs score: got a float, allowed a list"),
    "no-rows": (put(*INPUTS, "group", value=[]), "case pair inputs group: got 0 rows"),
    "ragged-rows": (put(*INPUTS, "score", value=[1.0]), "case pair inputs score: got 1 rows, allowed 2 as in group"),
    "text-score": (put(*INPUTS, "score", value=["1", "2"]), "inputs score: got '1', allowed numbers"),
    "null-score": (put(*INPUTS, "score", value=[None, 1.0]), "inputs score: got None, allowed numbers"),
    "nested-score": (put(*INPUTS, "score", value=[[1.0], [2.0]]), "score row 0: got a list, allowed a single value"),
    "float-label": (put(*INPUTS, "group", value=[0.5, 0.5]), "inputs group: got 0.5, allowed strings or integers"),
    "float-length": (put(*INPUTS, "response_length", value=[1.5, 2]), "length: got 1.5, allowed integers >= 0"),
    "param-text": (put(*CASE, "params", value={"epsilon": "small"}), "params epsilon: got 'small', allowed a number"),
    "param-flag": (put(*CASE, "params", value={"norm_by_std": 1}), "params norm_by_std: got 1, allowed true or false"),
    "param-list": (put(*CASE, "params", value={"reward_weights": []}), "reward_weights: got [], allowed a list"),
    "expected-text": (put(*CASE, "expected", "advantage", value=["a", "b"]), "expected advantage: got 'a'"),
    "expected-rows": (put(*CASE, "expected", "advantage", value=[1.0]), "expected advantage: got 1 rows, allowed 2"),
    "nested-expected": (put(*CASE, "expected", value={"verl": {"advantage": [1.0]}}), "expected verl advantage: got 1"),
}  # fmt: skip


@pytest.mark.parametrize(("data", "message"), BROKEN.values(), ids=BROKEN)
def test_broken_files(data: Any, message: str, tmp_path: Path):
    with pytest.raises(CorruptFileError) as error:
        read_golden(write(tmp_path, data))
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert isinstance(error.value, ValueError)


def rectangle(mask: Any, reward: Any) -> dict[str, Any]:
    return put(*INPUTS, value={"mask": mask, "reward": reward, "value": [[0.0, 0.0], [0.0, 0.0]]})


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (rectangle([[1, 1], [1]], [[0.0, 0.0], [0.0, 0.0]]), "inputs mask row 1: got 1 entries, allowed 2"),
        (rectangle([[1, 1], [1, 0]], [[0.0, 0.0], [0.0]]), "inputs reward row 1: got 1 entries, allowed 2"),
        (rectangle([[1, 1], [1, 0]], [0.0, 0.0]), "inputs reward row 0: got a single value, allowed a list"),
        (rectangle([[1, 1], [1, 0]], [[[0.0], 0.0], [0.0, 0.0]]), "reward row 0: got a list of lists"),
        (
            put(*INPUTS, value={"group": ["a", "a"], "response_length": [1, 2], "token_reward": [[0.0], [0.0]]}),
            "inputs token_reward row 1: got 1 entries, allowed 2",
        ),
        (put(*INPUTS, value={"rewards_per_func": [[None], [1.0, 2.0]]}), "rewards_per_func row 1: got 2 entries"),
        (put(*INPUTS, value={"own": [1.0, [2.0]]}), "inputs own row 1: got a list, allowed a single value"),
    ],
)
def test_ragged_rectangles(data: Any, message: str, tmp_path: Path):
    with pytest.raises(CorruptFileError) as error:
        read_golden(write(tmp_path, data))
    assert message in str(error.value)


def test_bytes_that_are_no_text(tmp_path: Path):
    (tmp_path / "rloo.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(CorruptFileError, match=r"not JSON"):
        read_golden(tmp_path / "rloo.json")


def test_a_good_file_needs_no_more_than_the_required_keys(tmp_path: Path):
    file = read_golden(write(tmp_path, good()))
    assert (file.estimator, file.rtol, file.atol) == ("rloo", 1e-4, 1e-6)
    assert run_file(file).ok


def test_asking_for_a_field_that_is_not_there_names_file_and_case():
    fields = Fields("rloo.json case pair inputs", {"score": [1.0]})
    with pytest.raises(
        CorruptFileError, match=r"rloo.json case pair inputs: got no field 'scores', .*; nearest: score"
    ):
        fields["scores"]
    assert fields.get("scores") is None


def test_an_input_that_the_estimator_misses_is_told_before_anything_is_printed(tmp_path: Path):
    file = read_golden(write(tmp_path, change(lambda d: d["cases"][0]["inputs"].pop("group"))))
    with pytest.raises(CorruptFileError, match=r"rloo.json case pair inputs: got no field 'group'"):
        run_file(file)


def test_numbers_that_make_no_sense_to_the_estimator_name_the_case(tmp_path: Path):
    data = json.loads((GOLDEN / "grpo_agent.json").read_text())
    data["cases"][0]["inputs"]["group"][0] = "another"
    file = read_golden(write(tmp_path, data, "grpo_agent.json"))
    with pytest.raises(CorruptFileError, match=r"grpo_agent.json case .* group: got trajectory 't000' in two"):
        run_file(file)


def test_an_estimator_without_adapter_names_the_nearest(tmp_path: Path):
    write(tmp_path, put("estimator", value="rlooo"), "mine.json")
    with pytest.raises(UnknownNameError, match=r"mine.json estimator: got 'rlooo', .*; nearest: rloo"):
        read_folder(tmp_path)


def test_folders(tmp_path: Path):
    with pytest.raises(InputError, match=r"DIR: got no \*.json in"):
        golden_paths(tmp_path)
    with pytest.raises(InputError, match=r"DIR: got .*nowhere.*, allowed a folder of golden files"):
        golden_paths(tmp_path / "nowhere")
    second, first = write(tmp_path, good(), "b.json"), write(tmp_path, good(), "a.json")
    (tmp_path / "notes.txt").write_text("not read")
    assert golden_paths(tmp_path) == [first, second]
    assert golden_paths(first) == [first]


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, child in inner for place in places(child, (*path, key)))]


@pytest.mark.parametrize("name", ["grpo", "reinforce_plus_plus", "trl_grpo", "rloo_agent"])
def test_random_damage_is_a_result_or_a_one_line_error(name: str, tmp_path: Path):
    """A hundred edits of each file: deleted, replaced and doubled nodes never end in anything else."""
    source = json.loads((GOLDEN / f"{name}.json").read_text())
    rng = random.Random(0)  # noqa: S311 # edits to try, not secrets
    outcomes = {"result": 0, "error": 0}
    for _ in range(100):
        data = json.loads(json.dumps({**source, "cases": [rng.choice(source["cases"])]}))
        place = rng.choice([place for place in places(data) if 0 < len(place) < 6])
        at, key = inside(data, place[:-1]), place[-1]
        if rng.random() < 0.4:
            del at[key]
        else:
            at[key] = rng.choice([None, "x", -1, 0, 2.5, True, [], {}, [1.0], [[1.0]]])
        try:
            for file in read_folder(write(tmp_path, data)):
                run_file(file)
            outcomes["result"] += 1
        except CreditsimError as error:
            assert "\n" not in str(error)
            outcomes["error"] += 1
    assert min(outcomes.values()) > 5
