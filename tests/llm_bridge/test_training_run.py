"""Whole runs on a table told in words: they learn, they log, they refuse bad settings before anything is drawn."""

from __future__ import annotations

import json
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from training_cases import flat, lasting, small_run

from creditsim.configs import dump, load
from creditsim.errors import CreditsimError, InputError, NumericalError, UnknownNameError
from creditsim.stats.intervals import proportion_interval
from llm_bridge.policies.load import load_model
from llm_bridge.training import loop as loop_module
from llm_bridge.training import state
from llm_bridge.training.config import TextTrainConfig
from llm_bridge.training.evaluate import gain
from llm_bridge.training.loop import LOG, MODEL, TABLE, read_log, train_text
from llm_bridge.training.planning import planned

torch.set_num_threads(1)

METHODS = ("grpo", "rloo", "gigpo", "hgpo", "3spo")


@pytest.mark.parametrize("method", METHODS)
def test_every_method_learns_the_chain(method: str) -> None:
    run = train_text(small_run(method, iterations=8, group_size=8, eval_every=0))
    told = [line for line in run.log if line["phase"] == "update"]
    assert [line["iteration"] for line in told] == list(range(1, 9))
    assert told[-1]["success"] == 1.0
    assert all(np.isfinite(line["grad_norm"]) for line in told if line["steps_made"])


def test_without_credit_nothing_is_learnt() -> None:
    """Broken twin: an estimator that gives none leaves gradient and weights where they were."""
    run = train_text(small_run(estimator="no_credit", iterations=2, eval_every=0, weight_decay=0.0))
    begin = train_text(small_run(iterations=0, eval_every=0))
    assert (flat(run.policy) == flat(begin.policy)).all()
    assert [line["grad_norm"] for line in run.log] == [0.0, 0.0]
    assert [line["silent"] for line in run.log] == [1.0, 1.0]


def test_a_run_is_a_function_of_its_settings(tmp_path: Path) -> None:
    first, second = (train_text(small_run("gigpo", iterations=2)) for _ in range(2))
    assert (flat(first.policy) == flat(second.policy)).all()
    assert lasting(first.log) == lasting(second.log)
    other = train_text(small_run("gigpo", iterations=2, seed=1))
    assert not (flat(first.policy) == flat(other.policy)).all()


def test_a_warm_start_imitates_solutions() -> None:
    warm: dict[str, Any] = {"warm_episodes": 4, "warm_epochs": 8, "warm_batch": 8}
    run = train_text(small_run(iterations=0, eval_every=1, eval_splits=("train", "valid"), **warm))
    assert len(run.warm_losses) == 8 and run.warm_losses[-1] < 0.5 * run.warm_losses[0]
    cold = train_text(small_run(iterations=0, eval_every=1, eval_splits=("train", "valid")))
    before, after = (each.evaluations[-1]["evaluation"]["valid"] for each in (cold, run))
    assert after["success"] == 1.0 >= before["success"]


def test_solutions_that_do_not_win_stop_the_warm_start() -> None:
    with pytest.raises(InputError, match="2 of 2 solutions that do not win"):
        train_text(small_run(warm_episodes=2, max_steps=3))


def test_the_folder_of_a_run(tmp_path: Path) -> None:
    out = tmp_path / "run"
    config = small_run("hgpo", iterations=3, keep=2)
    run = train_text(config, out)
    assert load(TextTrainConfig, out / "config.toml") == config
    lines = read_log(out / LOG)
    assert lines == json.loads(json.dumps(run.log))
    assert [line["phase"] for line in lines] == ["evaluation", "update", "update", "evaluation", "update", "evaluation"]
    for line in lines:
        if line["phase"] == "update":
            spent = line["seconds"]
            known = spent["policy"] + spent["environment"] + spent["update"]
            assert line["overhead"] == pytest.approx(1 - known / spent["all"]) and 0 <= line["overhead"] < 1
    table = pq.read_table(out / TABLE)
    assert table["iteration"].to_pylist() == [1, 2, 3]
    assert table["success"].to_pylist() == [line["success"] for line in lines if line["phase"] == "update"]
    assert sorted(path.name for path in out.glob("checkpoint-*")) == ["checkpoint-000002", "checkpoint-000003"]
    model, tokenizer = load_model(out / MODEL)
    ours = run.policy.language
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), ours.model.parameters(), strict=True))
    assert tokenizer.get_vocab() == ours.tokenizer.get_vocab()
    with pytest.raises(InputError, match="--resume"):
        train_text(config, out)


def test_evaluations_have_their_intervals() -> None:
    run = train_text(small_run(iterations=2, eval_tasks=6))
    for line in run.evaluations:
        found = line["evaluation"]["valid"]
        interval = proportion_interval(np.array(sum(found["won"])), np.array(6), alpha=0.05)
        assert found["success"] == sum(found["won"]) / 6
        assert (found["low"], found["high"]) == (float(interval.low), float(interval.high))
        assert sum(tasks for _, tasks in found["kinds"].values()) == 6
    change = gain([0, 0, 1, 0], [1, 0, 1, 1])
    assert float(change.estimate) == 0.5
    assert float(change.high) == pytest.approx(0.5 + 3.182446 * np.sqrt(1 / 3 / 4), rel=1e-5)
    with pytest.raises(InputError, match="same tasks"):
        gain([0, 1], [1])
    # Four tasks that all stay lost show no spread, and yet are no proof: a share u changed otherwise at most,
    # (1 - u)^4 = alpha / 2.
    still = gain([0, 0, 0, 0], [0, 0, 0, 0])
    u = 1.0 - 0.025**0.25
    assert (float(still.low), float(still.high)) == pytest.approx((-u, u))
    every = gain([0, 0, 0, 0], [1, 1, 1, 1])
    assert float(every.high) == 1.0 and float(every.low) == pytest.approx(1.0 - 2.0 * u)


def test_a_penalty_costs_answers_without_the_format() -> None:
    """A model that writes gibberish is never well-formed: each of its steps costs the penalty and nothing else pays."""
    policy = {"kind": "generate", "max_new_tokens": 4, "context": 512}
    run = train_text(small_run(iterations=1, eval_every=0, max_steps=3, invalid_penalty=0.25, policy=policy))
    assert run.log[0]["valid"] == 0.0 and run.log[0]["accepted"] == 0.0 and run.log[0]["success"] == 0.0
    assert np.isfinite(run.log[0]["loss"])


def test_sequences_are_steps_or_trajectories() -> None:
    one, two = (
        train_text(small_run(iterations=1, group_size=16, eval_every=0, sequences=kind))
        for kind in ("step", "trajectory")
    )
    assert one.log[0]["success"] == two.log[0]["success"] > 0
    assert not (flat(one.policy) == flat(two.policy)).all()


def test_what_no_part_remembers_is_forgotten() -> None:
    config = small_run("grpo", iterations=1)
    kept = _state_after(config)
    assert len(kept.records) == 0 and kept.interner.names() == {}
    carried = _state_after(replace(config, method="3spo", iterations=3))
    assert carried.interner.names()["observation"]
    assert {"score", "dfs_open"} <= set(carried.parts)


def _state_after(config: TextTrainConfig) -> state.RunState:
    seen: list[state.RunState] = []
    true = loop_module._Loop.finish

    def finish(self):
        seen.append(self.state)
        return true(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop_module._Loop, "finish", finish)
        train_text(config)
    return seen[0]


# --- refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "match"),
    [
        ({"method": "grop"}, "nearest: grpo"),
        ({"env": "tabel"}, "nearest: table"),
        ({"estimator": "gigop"}, "nearest: gigpo"),
        ({"params": ("update.learning_rate=0.5",)}, "update.learning_rate"),
        ({"params": ("env.familly=chain",)}, "nearest: family"),
        ({"params": ("polcy.model=3",)}, "polcy"),
        ({"method": "ppo"}, "text has none|on text"),
        ({"update": "natural"}, "update: got 'natural'"),
        ({"split": "trian"}, "nearest: train"),
        ({"eval_splits": ("valid_seen",)}, "nearest: valid"),
        ({"iterations": -1}, "iterations"),
        ({"learning_rate": float("nan")}, "learning_rate"),
        ({"minibatch_steps": 0}, "minibatch_steps"),
        ({"eval_temperature": 0.0}, "eval_temperature"),
        ({"seed": -1}, "seed"),
        ({"policy": {"model": "no-such-folder"}}, "no-such-folder"),
        ({"policy": {"device": "cuda"}}, "cuda") if not torch.cuda.is_available() else ({"groups": 0}, "groups"),
    ],
)
def test_bad_settings_are_one_line_and_leave_no_folder(how: dict, match: str, tmp_path: Path) -> None:
    config = small_run(**how)
    with pytest.raises(CreditsimError, match=match) as caught:
        train_text(config, tmp_path / "run")
    assert "\n" not in str(caught.value)
    assert state.latest(tmp_path / "run") is None


def test_methods_that_ask_for_tables_are_refused() -> None:
    for method in ("ucbvi", "ppo"):
        with pytest.raises(CreditsimError) as caught:
            planned(TextTrainConfig(method=method))
        assert "text" in str(caught.value)
    with pytest.raises(UnknownNameError):
        planned(TextTrainConfig(design="branchign"))


def test_numbers_that_are_not_finite_leave_the_last_checkpoint_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, true = tmp_path / "run", loop_module.make_batch
    calls = []

    def poisoned(*arguments, **named):
        batch = true(*arguments, **named)
        calls.append(1)
        return replace(batch, advantage=batch.advantage * np.nan) if len(calls) == 3 else batch

    config = small_run("grpo", iterations=4)
    monkeypatch.setattr(loop_module, "make_batch", poisoned)
    with pytest.raises(NumericalError, match="not finite"):
        train_text(config, out)
    monkeypatch.setattr(loop_module, "make_batch", true)
    assert state.latest(out) == out / "checkpoint-000002"
    resumed, whole = train_text(config, out, resume=True), train_text(config)
    assert (flat(resumed.policy) == flat(whole.policy)).all()


def test_a_config_goes_to_toml_and_back() -> None:
    config = small_run("gigpo", policy={"lora_rank": 4, "model": "small"}, params=("a.b=[1, 2]", 'c.d="x"'))
    text = dump(config)
    assert "[policy]" in text and "lora_rank = 4" in text
    assert load(TextTrainConfig, tomllib.loads(text)) == config
    with pytest.raises(UnknownNameError, match=r"policy\.field"):
        load(TextTrainConfig, {"policy": {"modle": "tiny"}})
