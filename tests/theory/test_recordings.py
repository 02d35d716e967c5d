"""Recordings that claims read: small, whole, told how they came about, and made again by the command they name."""

from __future__ import annotations

import shlex
from pathlib import Path

import numpy as np
import pytest

import theory.data as data
from creditsim.cli import main
from creditsim.errors import CorruptFileError
from creditsim.rollouts_file import read_numbers
from theory.data import FOLDER, RECORDED, Recording, path_of, recorded_rollouts

ROLLOUTS = [name for name in RECORDED if name != "bridge_learning"]


def options(command: str) -> dict[str, str]:
    """Settings named in a command."""
    words = shlex.split(command)
    named = {w: n for w, n in zip(words, [*words[1:], "--"], strict=True) if w.startswith("--")}
    return {name[2:].replace("-", "_"): "True" if value.startswith("--") else value for name, value in named.items()}


def test_recordings_are_small_and_all_of_them_are_named() -> None:
    files = {path.stem: path.stat().st_size for path in FOLDER.glob("*.parquet")}
    assert set(files) == set(RECORDED)
    assert sum(files.values()) < 1_500_000


@pytest.mark.parametrize("name", ROLLOUTS)
def test_a_file_of_rollouts_was_made_by_its_command_and_holds_numbers_only(name: str) -> None:
    stored = recorded_rollouts(name)
    made = stored.facts["made"]
    asked = options(RECORDED[name].command)
    assert {key: str(made[key]) for key in asked} == asked
    assert stored.facts["provenance"]["versions"]["creditsim"] and not stored.facts["texts"]
    assert set(stored.facts["names"]) == {"task"}
    rollouts = stored.rollouts
    assert {"state", "next_state", "valid", "log_prob"} <= set(rollouts.columns)
    assert rollouts.n_trajectories == int(asked["groups"]) * int(asked["group_size"])
    assert np.bincount(rollouts.group).tolist() == [int(asked["group_size"])] * int(asked["groups"])
    # One reward of 10, at a step that wins.
    won = rollouts.trajectory_columns["success"]
    assert rollouts.reward.sum() == 10.0 * won.sum()
    assert rollouts.columns["valid"].all()


def test_several_kinds_of_tasks_are_there() -> None:
    names = recorded_rollouts("alfworld_random").facts["names"]["task"]
    kinds = ("pick_and_place", "look_at_obj", "clean", "heat", "cool", "pick_two")
    assert sum(any(kind in name for name in names) for kind in kinds) >= 5


def test_webshop_under_a_random_policy_comes_out_again_to_the_bit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("bm25s")
    words = shlex.split(RECORDED["webshop_random"].command)
    assert words[0] == "creditsim"
    assert main([*words[1:], "--out", str(tmp_path / "r")]) == 0
    capsys.readouterr()
    again, kept = read_numbers(tmp_path / "r").rollouts, recorded_rollouts("webshop_random").rollouts
    for name in ("offsets", "group", "observation", "action", "reward", "state", "log_prob", "task"):
        assert again.column(name).tobytes() == kept.column(name).tobytes(), name


def test_a_changed_or_missing_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "FOLDER", tmp_path)
    monkeypatch.setattr(data, "RECORDED", {"x": Recording("creditsim", "0" * 64)})
    with pytest.raises(CorruptFileError, match="no file"):
        path_of("x")
    (tmp_path / "x.parquet").write_bytes(b"other")
    with pytest.raises(CorruptFileError, match="theory/data says"):
        path_of("x")
