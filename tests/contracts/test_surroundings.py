"""Results do not depend on the hash seed, the time zone, the locale or the folder a program runs in."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import hashlib, json, sys
import numpy as np
from creditsim import Rollouts, advantage, make
from creditsim.configs import dump
from creditsim.inventory import KINDS, entries
from creditsim.mdp import SoftmaxPolicy
from creditsim.registry import Registry
from creditsim.sampling import TableSampler
from creditsim.study.grid import variance_cells
from creditsim.study.spec import VarianceStudy
from creditsim.train import TrainConfig, train

def digest(*arrays):
    return hashlib.sha256(b"".join(np.ascontiguousarray(a).tobytes() for a in arrays)).hexdigest()

mdp = make("random@small", seed=3)
rollouts = TableSampler(mdp, seed=1, batches=2, groups=3).extend(copies=4, policy=SoftmaxPolicy.random(mdp, 0))
words = [f"observation {i}" for i in rollouts.observation]
steps = Rollouts.from_steps(
    traj=[f"t{i}" for i in rollouts.trajectory], group=[f"g{i}" for i in rollouts.group_rows],
    step=rollouts.step, observation=words, reward=rollouts.reward,
)
result = train(TrainConfig(method="gigpo", env="loop@tiny", updates=2, replicates=2, groups=2, threads=1))
study = VarianceStudy(estimators=("grpo", "rloo"), environments=("chain@tiny",))
told = {
    "rollouts": digest(rollouts.offsets, rollouts.action, rollouts.reward),
    "labels": [steps.labels["observation"].tolist(), steps.observation.tolist()],
    "advantage": digest(advantage(steps, "gigpo"), advantage(steps, "hgpo"), advantage(steps, "grpo@verl")),
    "train": digest(result.j, result.theta),
    "names": {kind: [entry.as_dict() for entry in entries(kind)] for kind in KINDS},
    "config": dump(TrainConfig(params=("env.length=2",))),
    "cells": [cell.id for cell in variance_cells(study)],
}
print(json.dumps(told, sort_keys=False))
"""
SURROUNDINGS: dict[str, dict[str, str]] = {
    "hash seed 0": {"PYTHONHASHSEED": "0"},
    "hash seed 1, far east, Turkish": {"PYTHONHASHSEED": "1", "TZ": "Pacific/Kiritimati", "LC_ALL": "tr_TR.UTF-8"},
    "no locale, far west": {"PYTHONHASHSEED": "random", "TZ": "Etc/GMT+12", "LC_ALL": "C", "PYTHONUTF8": "0"},
}


def told(folder: Path, surroundings: dict[str, str], script: str = SCRIPT) -> str:
    """What the script prints in a fresh interpreter in that folder and those surroundings."""
    environment = {**os.environ, **surroundings}
    command = [sys.executable, "-c", script]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder, env=environment)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


@pytest.fixture(scope="module")
def here() -> str:
    return told(Path(__file__).parent, SURROUNDINGS["hash seed 0"])


@pytest.mark.parametrize("name", list(SURROUNDINGS)[1:])
def test_surroundings_change_nothing(name: str, here: str, tmp_path: Path) -> None:
    other = told(tmp_path, SURROUNDINGS[name])
    one, two = json.loads(here), json.loads(other)
    for key, value in one.items():
        assert two[key] == value, key
    assert other == here
    assert not list(tmp_path.iterdir()), "a run left files in the folder"


def test_the_comparison_sees_a_program_that_depends_on_the_hash_seed(tmp_path: Path) -> None:
    # Broken twin: the order of a set of strings.
    script = "print(list({f'label {i}' for i in range(100)}))"
    first, second = (told(tmp_path, {"PYTHONHASHSEED": seed}, script) for seed in "01")
    assert first != second
