"""Forty wrong TOML files for `train` and `study`: one line that names the field, exit 2, nothing written."""

from __future__ import annotations

from pathlib import Path

import pytest

from creditsim.cli import main

TRAIN: list[tuple[str, list[str]]] = [
    ('metod = "grpo"', ["field: got 'metod'", "nearest: method"]),
    ("method = 3", ["method: got 3", "a string"]),
    ('method = "gigop"', ["method: got 'gigop'", "nearest: gigpo"]),
    ('env = "chian"', ["environment: got 'chian'", "nearest: chain"]),
    ('env = "chain@tny"', ["chain preset: got 'tny'", "nearest: tiny"]),
    ('size = "smal"', ["size: got 'smal'", "nearest: small"]),
    ("size = 2", ["size: got 2"]),
    ('updates = "3"', ["updates: got '3'", "a whole number"]),
    ("updates = 1.0", ["updates: got 1.0", "a whole number"]),
    ("updates = true", ["updates: got True", "a whole number"]),
    ("updates = -1", ["updates: got -1", ">= 0"]),
    ("replicates = 0", ["replicates: got 0", ">= 1"]),
    ("groups = 0", ["groups: got 0"]),
    ("group_size = 0", ["group_size: got 0"]),
    ("first_replicate = -1", ["first_replicate: got -1"]),
    ("seed = -3", ["seed: got -3"]),
    ("threads = 0", ["threads: got 0"]),
    ('learning_rate = "fast"', ["learning_rate: got 'fast'", "a number"]),
    ("learning_rate = nan", ["learning_rate"]),
    ("learning_rate = 0.0", ["learning_rate: got 0.0", "> 0"]),
    ('params = "env.length=2"', ["params: got 'env.length=2'", "a list"]),
    ("params = [1]", ["params.0: got 1", "a string"]),
    ('params = ["env.lenght=2"]', ["'lenght'", "nearest: length"]),
    ('params = ["estimater.gamma=1"]', ["estimater", "nearest: estimator"]),
    ('params = ["estimator.gamma"]', ["part.name=value"]),
    ('params = ["update.learning_rate={start=1.0}"]', ["learning_rate"]),
    ("params = [\"update.learning_rate={start=1.0, end=0.1, shap='cosine'}\"]", ["a schedule with 'shap'"]),
    ('signals = "critic"', ["signals: got 'critic'", "a list"]),
    ('signals = ["crtic"]', ["signal: got 'crtic'", "nearest: critic"]),
    ('estimator = "gae"', ["no column 'value'", "nearest: signal critic"]),
    ("updates = ", ["Invalid value"]),
    ("updates = 1\nupdates = 2", ["Cannot overwrite a value"]),
]
STUDY: list[tuple[str, list[str]]] = [
    ('estimatrs = ["grpo"]', ["field: got 'estimatrs'", "nearest: estimators"]),
    ('estimators = "grpo"', ["estimators: got 'grpo'", "a list"]),
    ('estimators = ["gropo"]', ["'gropo'", "nearest: grpo"]),
    ('environments = ["chain@tinny"]', ["'tinny'", "nearest: tiny"]),
    ("group_sizes = [0]", ["group_sizes"]),
    ("group_sizes = []", ["group_sizes"]),
    ('replicates = "many"', ["replicates: got 'many'", "a whole number"]),
    ("alpha = 2.0", ["alpha: got 2.0"]),
    ('policies = ["unifrom"]', ["unifrom"]),
    ("horizons = [0]", ["horizon"]),
]


def told(command: list[str], text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> str:
    path = tmp_path / "run.toml"
    path.write_text(text + "\n")
    assert main([*command, "--config", str(path)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("creditsim: ") and captured.err.count("\n") == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["run.toml"], "something was written"
    return captured.err


@pytest.mark.parametrize(("text", "words"), TRAIN, ids=[text.replace("\n", "; ") for text, _ in TRAIN])
def test_wrong_training_files(
    text: str, words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    line = told(["train", "--out", "curves.parquet"], text, tmp_path, capsys)
    assert all(word in line for word in words), line


@pytest.mark.parametrize(("text", "words"), STUDY, ids=[text for text, _ in STUDY])
def test_wrong_study_files(
    text: str, words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    line = told(["study", "variance", "--workers", "1", "--out", "results"], text, tmp_path, capsys)
    assert all(word in line for word in words), line


def test_there_are_forty_and_a_right_file_passes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert len(TRAIN) + len(STUDY) >= 40
    path = tmp_path / "run.toml"
    path.write_text('method = "rloo"\nenv = "chain@tiny"\nupdates = 1\nreplicates = 1\nparams = ["env.length=2"]\n')
    assert main(["train", "--config", str(path), "--json"]) == 0
    assert '"method": "rloo"' in capsys.readouterr().out
