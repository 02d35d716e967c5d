"""A run that is killed and resumed is the run that was not: weights, log, and all that its parts remember."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from training_cases import flat, lasting, policy_and_batch, small_run

from creditsim.configs import dump
from creditsim.errors import CorruptFileError, InputError
from llm_bridge.training import state
from llm_bridge.training.config import TextTrainConfig
from llm_bridge.training.loop import CONFIG, LOG, read_log, train_text

torch.set_num_threads(1)

KL = ("env.family=chain@small", "update.kl_weight=0.1")
SLIPPERY = ("env.settings={length = 5, slip = 0.2}", "env.family=chain")
RUNS: dict[str, dict[str, Any]] = {
    "gigpo": {"method": "gigpo"},
    "dfs": {"method": "3spo", "params": SLIPPERY, "iterations": 5},
    "reference": {"params": KL, "warm_episodes": 2, "warm_epochs": 1},
    "adapter": {"params": KL, "policy": {"lora_rank": 2}},
    "warm adapter": {"params": KL, "policy": {"lora_rank": 2}, "warm_episodes": 2, "warm_epochs": 1},
    "minibatches": {"params": (*KL, "update.minibatches=3", "update.epochs=2")},
    "filtered": {"design": "filtered"},
}


def cut(config: TextTrainConfig, out: Path, after: int) -> None:
    """Stop a run by the interrupt of Ctrl-C, once an iteration is done but not stored."""

    def tell(line) -> None:
        if line["phase"] == "update" and line["iteration"] == after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_text(config, out, tell=tell)


@pytest.mark.parametrize("name", RUNS)
def test_a_resumed_run_is_the_same_to_the_bit(name: str, tmp_path: Path) -> None:
    config = small_run(**{"iterations": 3, **RUNS[name]})
    whole = train_text(config, tmp_path / "whole")
    cut(config, tmp_path / "cut", 2)
    resumed = train_text(config, tmp_path / "cut", resume=True)
    assert (flat(resumed.policy) == flat(whole.policy)).all()
    assert lasting(resumed.log) == lasting(whole.log) == lasting(read_log(tmp_path / "cut" / LOG))
    assert any(line.get("grad_norm", 0) > 0 for line in whole.log)
    mine, theirs = (_stored(tmp_path / side / f"checkpoint-{config.iterations:06d}") for side in ("cut", "whole"))
    assert mine.keys() == theirs.keys()
    for key in mine:
        assert mine[key] == theirs[key], key


def _stored(place: Path) -> dict[str, Any]:
    """Everything of a checkpoint; which number a text has is nobody's business."""
    from safetensors.torch import load_file

    out: dict[str, Any] = {}
    for file in ("policy", "optimiser", "parts"):
        tensors = load_file(place / f"{file}.safetensors")
        out |= {f"{file} {name}": tensor.numpy().tobytes() for name, tensor in tensors.items() if "record" not in name}
    told = json.loads((place / "run.json").read_text())
    out |= {name: told[name] for name in ("facts", "iteration", "names", "parts", "optimiser")}
    return out


def test_a_killed_process_resumes(tmp_path: Path) -> None:
    config = small_run("3spo", params=SLIPPERY, iterations=40, eval_every=0)
    out, toml = tmp_path / "run", tmp_path / "run.toml"
    toml.write_text(dump(config))
    command = [sys.executable, "-m", "creditsim", "bridge", "train", "--config", str(toml), "--out", str(out)]
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    try:
        end = time.monotonic() + 120
        while (state.latest(out) or Path("checkpoint-0")).name < "checkpoint-000002":
            assert process.poll() is None and time.monotonic() < end
            time.sleep(0.005)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    stopped = len(read_log(out / LOG))
    assert stopped < 40
    resumed, whole = train_text(config, out, resume=True), train_text(config)
    assert (flat(resumed.policy) == flat(whole.policy)).all()
    assert lasting(resumed.log) == lasting(whole.log)


# --- broken twins -----------------------------------------------------------------------------------------------------


def _resumed_with(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, wrong: Any, config: TextTrainConfig
) -> np.ndarray:
    cut(config, tmp_path / "cut", 3)
    with monkeypatch.context() as patch:
        patch.setattr(state, name, wrong)
        return flat(train_text(config, tmp_path / "cut", resume=True).policy)


def test_the_check_sees_an_optimiser_that_is_not_restored(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    config = small_run("gigpo", eval_every=0)
    whole = flat(train_text(config).policy)
    other = _resumed_with(monkeypatch, tmp_path, "_restore", lambda *arguments: None, config)
    assert not (other == whole).all()


def test_the_check_sees_a_search_that_is_not_restored(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    config = small_run("3spo", params=SLIPPERY, eval_every=0)
    whole, true = train_text(config), state.load

    def forgetful(*arguments: Any) -> state.RunState:
        found = true(*arguments)
        return state.RunState(found.iteration, {}, found.records, found.interner)

    other = _resumed_with(monkeypatch, tmp_path, "load", forgetful, config)
    assert not (other == flat(whole.policy)).all()


def test_the_check_sees_a_reference_that_is_not_restored(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    config = small_run(params=KL, learning_rate=0.01, eval_every=0)
    whole, true = flat(train_text(config).policy), state.load

    def forgetful(place: Path, policy: Any, *rest: Any) -> state.RunState:
        found = true(place, policy, *rest)
        policy.freeze_reference()
        return found

    assert not (_resumed_with(monkeypatch, tmp_path, "load", forgetful, config) == whole).all()


# --- damage -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("file", ["policy.safetensors", "optimiser.safetensors", "parts.safetensors", "run.json"])
@pytest.mark.parametrize("how", ["short", "flipped", "gone"])
def test_a_damaged_checkpoint_is_one_line_and_the_one_before_goes_on(
    file: str, how: str, whole_run: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    shutil.copytree(whole_run, out)
    path = out / "checkpoint-000003" / file
    content = bytearray(path.read_bytes())
    if how == "gone":
        path.unlink()
    else:
        content[len(content) // 2] ^= 1
        path.write_bytes(content if how == "flipped" else content[: len(content) // 2])
    config = small_run("3spo", iterations=3)
    with pytest.raises(CorruptFileError, match="remove this one") as caught:
        train_text(config, out, resume=True)
    assert "\n" not in str(caught.value) and "checkpoint-000003" in str(caught.value)
    if (how, file) == ("flipped", "policy.safetensors"):
        shutil.rmtree(out / "checkpoint-000003")
        train_text(config, out, resume=True)
        mine, theirs = (_stored(side / "checkpoint-000003") for side in (out, whole_run))
        assert mine == theirs


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("whole") / "run"
    train_text(small_run("3spo", iterations=3), out)
    return out


def test_another_runs_settings_change_nothing(whole_run: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    shutil.copytree(whole_run, out)
    before = {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()}
    for wrong in ({"learning_rate": 1e-2}, {"seed": 3}, {"policy": {"model": "small"}}):
        with pytest.raises(InputError, match="resume: settings"):
            train_text(small_run("3spo", iterations=3, **wrong), out, resume=True)
    assert before == {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()}
    with pytest.raises(InputError, match="resume: tokenizer"):
        _with_other_words(out)


def _with_other_words(out: Path) -> None:
    place = out / "checkpoint-000003"
    told = json.loads((place / "run.json").read_text())
    told["facts"]["tokenizer"] = "0"
    (place / "run.json").write_text(json.dumps(told))
    sums = json.loads((place / "checksums.json").read_text())
    sums["run.json"] = state._checksum(place / "run.json")
    (place / "checksums.json").write_text(json.dumps(sums))
    train_text(small_run("3spo", iterations=3), out, resume=True)


def test_more_iterations_may_be_asked_for_but_not_under_a_schedule(whole_run: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    shutil.copytree(whole_run, out)
    longer = small_run("3spo", iterations=5, keep=1, checkpoint_every=2)
    resumed = train_text(longer, out, resume=True)
    assert (flat(resumed.policy) == flat(train_text(longer).policy)).all()
    assert [path.name for path in out.glob("checkpoint-*")] == ["checkpoint-000005"]
    moving = (*KL, "update.entropy_weight={start = 0.1, end = 0.0}")
    train_text(small_run(params=moving, iterations=1), tmp_path / "moving")
    with pytest.raises(InputError, match="resume: settings"):
        train_text(small_run(params=moving, iterations=2), tmp_path / "moving", resume=True)


def test_resume_begins_where_there_is_no_checkpoint_yet(tmp_path: Path) -> None:
    """A kill before the first checkpoint leaves a log; the run that begins anew does not add to it."""
    out = tmp_path / "run"
    config = small_run(iterations=1, eval_every=0)
    out.mkdir()
    (out / LOG).write_text('{"iteration": 0, "phase": "imitation", "losses": [1.0], "steps": 3}\n{"iterat')
    (out / CONFIG).write_text("torn")
    (out / "checkpoint-000000.tmp").mkdir()
    run = train_text(config, out, resume=True)
    assert read_log(out / LOG) == json.loads(json.dumps(run.log))
    assert sorted(path.name for path in out.glob("checkpoint*")) == ["checkpoint-000000", "checkpoint-000001"]


def test_a_torn_last_line_of_the_log_is_left_out_and_others_are_errors(tmp_path: Path) -> None:
    path = tmp_path / LOG
    path.write_text('{"a": 1}\n{"b": ')
    assert read_log(path) == [{"a": 1}]
    path.write_text('{"a": 1}\n{"b": \n{"c": 2}\n')
    with pytest.raises(CorruptFileError, match="line 2"):
        read_log(path)


def test_an_unfinished_checkpoint_costs_no_whole_one(tmp_path: Path) -> None:
    policy, _ = policy_and_batch("scoring", 1)
    optimiser = torch.optim.AdamW(policy.parameters(), lr=0.1)
    for number in (1, 2):
        state.save(tmp_path, state.RunState(number), policy, optimiser, {}, keep=3)
    (tmp_path / "checkpoint-000009.tmp").mkdir()
    assert state.latest(tmp_path) == tmp_path / "checkpoint-000002"
    state.save(tmp_path, state.RunState(3), policy, optimiser, {}, keep=1)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-000003"]


def test_parts_of_every_shape_come_back(tmp_path: Path) -> None:
    policy, _ = policy_and_batch("scoring", 1)
    optimiser = torch.optim.AdamW(policy.parameters(), lr=0.1)
    parts = {
        "none": None, "flag": True, "number": 2**62 + 1, "real": 0.1, "word": "x", "scalar": np.array(3.5),
        "empty": np.zeros((0, 4), np.int64), "flags": np.array([[True, False]]),
        "turned": np.arange(6.0).reshape(2, 3).T,
    }  # fmt: skip
    place = state.save(tmp_path, state.RunState(1, parts), policy, optimiser, {}, keep=1)
    back = state.load(place, policy, optimiser, {}).parts
    assert back.keys() == parts.keys()
    for name, value in parts.items():
        if isinstance(value, np.ndarray):
            assert back[name].dtype == value.dtype and back[name].shape == value.shape
            assert (back[name] == value).all()
        else:
            assert back[name] == value and type(back[name]) is type(value)
    with pytest.raises(InputError, match="state wrong"):
        state.save(tmp_path, state.RunState(1, {"wrong": object()}), policy, optimiser, {}, keep=1)
    assert state.load_weights(place, policy) == 1
