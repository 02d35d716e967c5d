"""`creditsim bridge train | eval` as a user meets them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from training_cases import flat, lasting, small_run

from creditsim.cli import main
from creditsim.configs import dump, load
from creditsim.errors import CreditsimError, InputError
from llm_bridge.commands import train
from llm_bridge.training import state
from llm_bridge.training.config import TextTrainConfig
from llm_bridge.training.loop import LOG, MODEL, read_log, train_text
from llm_bridge.training.planning import planned
from llm_bridge.training.presets import PRESETS

torch.set_num_threads(1)

Capture = pytest.CaptureFixture[str]
SMALL = (
    "train --env table --history 0 --iterations 2 --groups 2 --group-size 4 --eval-every 1 --eval-tasks 4 "
    "--eval-splits valid --params env.family=chain@small --learning-rate 3e-3 --slots 8 --checkpoint-every 1 --keep 10 "
    "--policy.vocabulary 300 --policy.context 256"
)


def said(capsys: Capture, line: str) -> tuple[int, str, str]:
    code = main(["bridge", *line.split()])
    out = capsys.readouterr()
    return code, out.out, out.err


def settings_of(line: str) -> TextTrainConfig:
    """What a command line comes to, without running it."""
    from creditsim.cli import _parse

    config = _parse(train.Config, line.split()[1:], "creditsim bridge train")
    assert config is not None
    return train._settings(config)


# --- train ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def a_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("train") / "run"
    assert main(["bridge", *SMALL.split(), "--method", "grpo", "--out", str(out)]) == 0
    return out


def test_a_run_is_told_and_is_that_of_python(a_run: Path, capsys: Capture) -> None:
    config = small_run("grpo", iterations=2, eval_every=1)
    assert load(TextTrainConfig, a_run / "config.toml") == config
    run = train_text(config)
    assert lasting(read_log(a_run / LOG)) == lasting(json.loads(json.dumps(run.log)))
    code, text, err = said(capsys, f"{SMALL} --method grpo --out {a_run}")
    assert code == 2 and text == "" and "--resume" in err and err.count("\n") == 1
    code, text, _ = said(capsys, f"{SMALL} --method grpo --out {a_run} --resume")
    assert code == 0
    assert "grpo on table: 2 iterations" in text and "change" in text and "same 4 tasks" in text


def test_json_is_one_document(capsys: Capture) -> None:
    code, text, _ = said(capsys, f"{SMALL} --method rloo --json")
    told = json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))
    assert code == 0 and told["method"] == "rloo" and told["iterations"] == 2
    found = told["evaluation"]["valid"]
    assert found["last"]["tasks"] == 4
    assert found["change"][0] == pytest.approx(found["last"]["success"] - found["first"]["success"])


def test_flags_and_toml_are_one(tmp_path: Path) -> None:
    config = small_run("hgpo", params=("env.family=chain@small", "estimator.gamma=0.9"))
    path = tmp_path / "run.toml"
    path.write_text(dump(config))
    assert settings_of(f"train --config {path}") == config
    changed = settings_of(f"train --config {path} --policy.lora-rank 4 --groups 7 --device cuda:1")
    assert (changed.policy.lora_rank, changed.groups, changed.policy.device) == (4, 7, "cuda:1")
    assert changed.policy.vocabulary == config.policy.vocabulary


def test_presets_are_the_published_settings(tmp_path: Path) -> None:
    for name, batch, tasks, norm in (("alfworld", 256, 128, "mean_std"), ("webshop", 64, 256, "mean")):
        config = settings_of(f"train --preset {name}")
        assert (config.method, config.iterations, config.groups, config.group_size) == ("gigpo", 150, 16, 8)
        assert (config.learning_rate, config.weight_decay, config.grad_clip) == (1e-6, 0.01, 1.0)
        assert (config.minibatch_steps, config.eval_tasks, config.eval_every) == (batch, tasks, 5)
        assert (config.eval_temperature, config.policy.temperature, config.history) == (0.4, 1.0, 2)
        assert (config.reward, config.policy.kind, config.policy.max_new_tokens) == ("published", "generate", 512)
        assert (config.policy.dtype, config.policy.autocast) == ("float32", True)
        plan, _ = planned(config)
        update, estimator = plan.update.params, plan.estimator.params
        assert (update["kl_weight"], update["kl"], update["entropy_weight"]) == (0.01, "k3", 0.001)
        assert (update["loss"], update["epochs"]) == ("ppo@verl-agent", 1)
        assert (estimator["gamma"], estimator["step_weight"], estimator["penalty"]) == (0.95, 1.0, 0.1)
        assert estimator["normalize"] == norm
        for method in ("grpo", "rloo", "hgpo"):
            planned(settings_of(f"train --preset {name} --method {method}"))
    assert (settings_of("train --preset webshop").policy.tail, settings_of("train --preset alfworld").policy.tail) == (
        20,
        30,
    )


def test_what_is_named_wins_over_a_preset(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('groups = 3\npreset = "webshop"\n[policy]\nmodel = "tiny"\n')
    config = settings_of(f"train --config {path} --iterations 9 --params update.kl_weight=0.5 env.seed=1")
    assert (config.groups, config.iterations, config.policy.model, config.policy.tail) == (3, 9, "tiny", 20)
    assert "update.kl_weight=0.5" in config.params and "update.kl_weight=0.01" not in config.params
    assert {"update.kl=k3", "env.seed=1", "estimator.penalty=0.1"} <= set(config.params)
    assert settings_of("train --preset webshop --config " + str(path)).groups == 3
    other = settings_of("train --preset webshop --method grpo")
    assert not [text for text in other.params if text.startswith("estimator.")]
    for name in PRESETS:
        settings_of(f"train --preset {name}").check()


@pytest.mark.parametrize(
    ("line", "match"),
    [
        ("train --preset alfwrld", "nearest: alfworld"),
        ("train --policy.modle tiny", "nearest: --policy.model"),
        ("train --groups x", "a whole number"),
        ("train --resume", "--out FOLDER"),
        ("train --preset alfworld", "Qwen2.5-1.5B-Instruct|no CUDA|cuda"),
        ("train --env table --method ucbvi", "text has none"),
        ("train --env table --iterations -1", "iterations: got -1"),
        ("train --env table --policy.kind scorign --iterations 0", "nearest: scoring"),
        ("train --config no-such.toml", "no-such.toml"),
        ("eval", "POLICY"),
        ("eval tinny", "nearest: tiny"),
        ("eval random --env table --splits vlaid", "nearest: valid"),
        ("eval random --env table --tasks 0", "tasks: got 0"),
        ("eval random --env table --iteration 3", "iteration"),
        ("eval random --env table --temperature 0.5", "temperature"),
        ("eval random --env table --alpha 1.5", "alpha"),
    ],
)
def test_bad_input_is_one_line_and_code_2(line: str, match: str, capsys: Capture) -> None:
    code, _, err = said(capsys, line)
    assert code == 2 and err.count("\n") == 1
    assert any(each in err for each in match.split("|")), err


def test_an_interrupt_is_code_130_and_leaves_whole_checkpoints(tmp_path: Path) -> None:
    out, toml = tmp_path / "run", tmp_path / "run.toml"
    config = small_run("gigpo", iterations=500, eval_every=0)
    toml.write_text(dump(config))
    command = [sys.executable, "-m", "creditsim", "bridge", "train", "--config", str(toml), "--out", str(out)]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    try:
        end = time.monotonic() + 120
        while (state.latest(out) or Path("checkpoint-0")).name < "checkpoint-000001":
            assert process.poll() is None and time.monotonic() < end
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    assert "--resume goes on" in err and "Traceback" not in err
    place = state.latest(out)
    assert place is not None
    state._check_sums(place)


# --- eval -------------------------------------------------------------------------------------------------------------


def test_eval_of_a_run_is_that_of_its_log(a_run: Path, capsys: Capture) -> None:
    logged = {line["iteration"]: line["evaluation"]["valid"] for line in read_log(a_run / LOG) if "evaluation" in line}
    for iteration in (0, 2):
        asked = f"eval {a_run} --tasks 4 --iteration {iteration} --json"
        code, text, _ = said(capsys, asked)
        found = json.loads(text)["evaluation"]["valid"]
        assert code == 0
        for name in ("success", "low", "high", "won", "steps", "tasks", "score"):
            assert found[name] == logged[iteration][name], name
    code, text, _ = said(capsys, f"eval {a_run} --splits train valid --tasks 3 --temperature 1.0")
    assert code == 0 and [line.split()[0] for line in text.splitlines()] == ["train", "from", "valid", "from"]
    assert "95 %" in text and "3 tasks" in text
    code, _, err = said(capsys, f"eval {a_run} --iteration 9")
    assert code == 2 and "0 | 1 | 2" in err


def test_eval_of_the_final_model_is_eval_of_the_run(a_run: Path, capsys: Capture) -> None:
    options = "--tasks 4 --json"
    run = json.loads(said(capsys, f"eval {a_run} {options}")[1])["evaluation"]["valid"]
    model = json.loads(
        said(
            capsys,
            f"eval {a_run / MODEL} {options} --env table --params env.family=chain@small --history 0 --style compact",
        )[1]
    )["evaluation"]["valid"]
    assert model["won"] == run["won"] and model["steps"] == run["steps"]


def test_eval_of_policies_by_name(capsys: Capture) -> None:
    oracle = json.loads(said(capsys, "eval oracle --env table --json --params env.family=grid@small")[1])
    assert oracle["evaluation"]["valid"]["success"] == 1.0 and oracle["evaluation"]["valid"]["tasks"] == 16
    assert oracle["evaluation"]["valid"]["low"] == pytest.approx(0.025 ** (1 / 16))
    random = json.loads(said(capsys, "eval random --env table --params env.family=chain@small --json")[1])
    assert random["evaluation"]["valid"]["success"] < 1.0


def test_an_adapter_is_merged_into_the_final_model(tmp_path: Path) -> None:
    from llm_bridge.policies.load import load_model

    run = train_text(
        small_run("grpo", iterations=3, group_size=8, eval_every=0, learning_rate=0.02, policy={"lora_rank": 2}),
        tmp_path / "run",
    )
    model, _ = load_model(tmp_path / "run" / MODEL)
    ids = torch.arange(3, 9)[None]
    with torch.no_grad():
        ours = run.policy.language.model(input_ids=ids).logits
        assert torch.allclose(model(input_ids=ids).logits, ours, atol=1e-5)
    begin = train_text(small_run("grpo", iterations=0, eval_every=0, policy={"lora_rank": 2}))
    with torch.no_grad():
        assert not torch.allclose(begin.policy.language.model(input_ids=ids).logits, ours, atol=1e-3)


def test_settings_hold_nothing_but_plain_values() -> None:
    assert json.loads(json.dumps(asdict(TextTrainConfig())))["policy"]["model"] == "tiny"
    with pytest.raises(InputError, match="keep"):
        TextTrainConfig(keep=0).check()
    with pytest.raises(CreditsimError):
        load(TextTrainConfig, {"policy": {"lora_rank": "4"}})


# --- both environments ------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("env", ["alfworld@easy", "webshop@tiny"])
@pytest.mark.parametrize("method", ["grpo", "rloo", "gigpo", "hgpo", "3spo"])
def test_every_method_trains_on_both_environments(method: str, env: str, tmp_path: Path, capsys: Capture) -> None:
    split = "valid_seen" if env.startswith("alfworld") else "valid"
    line = (
        f"train --env {env} --method {method} --iterations 2 --groups 2 --group-size 3 --max-steps 4 --eval-every 2 "
        f"--eval-tasks 2 --eval-splits {split} --policy.vocabulary 600 --out {tmp_path / 'run'}"
    )
    code, text, err = said(capsys, line)
    assert code == 0, err
    assert f"{method} on {env}: 2 iterations" in text
    log: list[dict[str, Any]] = read_log(tmp_path / "run" / LOG)
    assert all(line["steps_made"] == 1 for line in log if line["phase"] == "update")
    code, text, _ = said(capsys, f"eval {tmp_path / 'run'} --tasks 2 --max-steps 4 --json")
    assert code == 0 and split in json.loads(text)["evaluation"]
    assert (flat(_reloaded(tmp_path / "run")) == _stored_weights(tmp_path / "run")).all()


def _reloaded(out: Path) -> Any:
    from llm_bridge.envs.base import make_tasks
    from llm_bridge.training.loop import policy_of

    config = load(TextTrainConfig, out / "config.toml")
    policy, _ = policy_of(config, make_tasks(config.env))
    place = state.latest(out)
    assert place is not None
    state.load_weights(place, policy)
    return policy


def _stored_weights(out: Path) -> Any:
    from llm_bridge.policies.load import load_model

    model, _ = load_model(out / MODEL)
    return torch.nn.utils.parameters_to_vector(model.parameters()).detach().double().numpy()
