"""Learning curves from one warm start: cells that anybody can compute again, and the command that gathers them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from creditsim.cli import main
from creditsim.configs import dump, load
from creditsim.errors import InputError
from creditsim.study.files import read_file
from llm_bridge.commands.curves import Config
from llm_bridge.training.curve_settings import CurveSettings
from llm_bridge.training.curves import curve_cells, run_cell, warm_model

pytest.importorskip("transformers")
pytest.importorskip("alfworld")

SMALL = CurveSettings(
    methods=("grpo=1", "3spo=2"), seeds=1, groups=1, group_size=2, points=1, episodes=1, warm_episodes=4, warm_epochs=1
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("curves")


def test_settings_are_checked_in_one_line() -> None:
    for changed, message in (
        ({"seeds": 0}, "seeds"),
        ({"methods": ("grpo",)}, "method=updates"),
        ({"methods": ("grpo=0",)}, "method=updates"),
        ({"points": 0}, "points"),
    ):
        with pytest.raises(InputError, match=message):
            curve_cells(replace(SMALL, **changed))


def test_one_cell_per_seed_and_method_and_nothing_else_names_it(folder: Path) -> None:
    cells = curve_cells(replace(SMALL, seeds=2))
    assert [(cell.spec["method"], cell.seed) for cell in cells] == [("grpo", 0), ("3spo", 0), ("grpo", 1), ("3spo", 1)]
    assert len({cell.id for cell in cells}) == 4
    # More seeds or another place leave the cells that are there as they are.
    assert [cell.id for cell in curve_cells(SMALL, folder)] == [cell.id for cell in cells[:2]]
    assert curve_cells(replace(SMALL, learning_rate=1e-3))[0].id != cells[0].id
    assert load(CurveSettings, {name: cells[0].spec[name] for name in cells[0].spec if name not in (
        "method", "iterations",
    )}).episodes == SMALL.episodes  # fmt: skip


@pytest.mark.slow
def test_the_warm_model_is_made_once_and_the_same_each_time(folder: Path, tmp_path: Path) -> None:
    first = warm_model(SMALL, folder)
    stamp = (first / "model.safetensors").stat().st_mtime_ns
    assert warm_model(SMALL, folder) == first and (first / "model.safetensors").stat().st_mtime_ns == stamp
    again = warm_model(SMALL, tmp_path)
    for name in ("model.safetensors", "tokenizer.json"):
        assert (first / name).read_bytes() == (again / name).read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["warm"]


@pytest.mark.slow
def test_methods_are_paired_by_the_seed_and_runs_come_out_again(folder: Path) -> None:
    grpo, tree = curve_cells(SMALL, folder)
    one, two, other = (run_cell(cell.spec, cell.seed, str(folder)).table for cell in (grpo, grpo, tree))
    for name, values in one.items():
        assert np.array_equal(values, two[name]), name
    ends = one["what"] == "ends"
    assert one["iteration"][ends].tolist() == [0, 1] and one["episodes"][ends].tolist() == [16, 16]
    assert one["success"][ends][0] == other["success"][other["what"] == "ends"][0]
    assert one["steps"][-1] > other["steps"][-1] > 0
    assert one["steps"][0] == 0 and (np.diff(one["iteration"]) >= 0).all()
    assert set(one["method"]) == {"grpo"} and set(one["seed"]) == {0}
    assert ((one["success"] >= 0) & (one["success"] <= 1)).all()


def test_the_command_gathers_what_is_finished_and_says_how_it_was_made(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, settings = folder / "c.parquet", folder / "c.toml"
    config = Config(**{name: getattr(SMALL, name) for name in SMALL.__dataclass_fields__}, out=str(out), workers=1)
    settings.write_text(dump(replace(config, work=str(folder), methods=("3spo=2",))))
    warm_model(SMALL, folder / "models")
    assert main(["bridge", "curves", "--config", str(settings)]) == 0
    assert "3spo: success" in capsys.readouterr().out
    found, facts = read_file(out)
    assert found.meta["made"]["methods"] == ["3spo=2"] and found.meta["torch"]
    assert facts["provenance"]["versions"]["numpy"]
    assert set(found.table["what"]) == {"curve", "ends"} and set(found.table["method"]) == {"3spo"}
    # A second command finds every run finished.
    stamps = [path.stat().st_mtime_ns for path in sorted(folder.glob("*.parquet")) if path != out]
    assert main(["bridge", "curves", "--config", str(settings), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["failed"] == {} and told["ends"][0]["seeds"] == 1
    assert stamps == [path.stat().st_mtime_ns for path in sorted(folder.glob("*.parquet")) if path != out]
