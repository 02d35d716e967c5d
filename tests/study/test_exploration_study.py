"""`creditsim study exploration`: cells hold what the runner found, and bad input is refused at once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from creditsim.cli import main
from creditsim.conservative import explore
from creditsim.study.exploration import config_of, exploration_cells, run_cell
from creditsim.study.launch import How, launch
from creditsim.study.results import exploration_summary
from creditsim.study.spec import ExplorationStudy

SMALL = ExplorationStudy(methods=("stepmix", "ucbvi"), episodes=60, replicates=3)


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_cell_holds_the_run_of_the_same_settings() -> None:
    for cell in exploration_cells(SMALL):
        run, result = explore(config_of(cell.spec, cell.seed)), run_cell(cell.spec, cell.seed)
        assert np.array_equal(result.table["regret"].reshape(-1, 3), run.regret)
        assert np.array_equal(result.table["value"].reshape(-1, 3), run.value)
        assert result.meta["violations"] == run.violations.tolist() and result.meta["bar"] == run.bar


def test_the_safe_method_violates_nothing_and_the_optimistic_one_does() -> None:
    cells, store, _ = launch(SMALL, How(Path("out"), workers=1))
    safe, bold = exploration_summary(cells, store)
    assert safe["quantities"]["violations"]["value"] == 0.0 < bold["quantities"]["violations"]["value"]
    assert safe["quantities"]["baseline"]["value"] >= safe["bar"] and safe["optimum"] > safe["bar"]
    assert bold["quantities"]["cautious"]["value"] == 0.0


def test_settings_of_a_method_are_given_in_brackets() -> None:
    cell = exploration_cells(ExplorationStudy(methods=("stepmix(known=true, growth=0.5)",), episodes=5, replicates=2))[
        0
    ]
    config = config_of(cell.spec, 4)
    assert config.known and config.growth == 0.5 and config.seed == 4


def test_the_command_prints_what_came_out(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["study", "exploration", "--methods", "stepmix", "epsmix", "--episodes", "20", "--replicates", "2"]
    assert main([*words, "--workers", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("environment layered@tiny, kept 0.9, scale 1.0, episodes 20, replicates 2, bar")
    assert [line.split()[0] for line in lines[3:6]] == ["method", "stepmix", "epsmix"]
    assert lines[3].split() == "method regret value below the bar cautious episodes".split()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("--methods stepmx", ["method", "'stepmx'", "nearest: stepmix"]),
        ("--methods stepmix(knwn=true)", ["setting", "'knwn'", "nearest: known"]),
        ("--methods stepmix(growth=-1.0)", ["growth", "-1.0"]),
        ("--kept 1.5", ["kept", "1.5", "[0, 1]"]),
        ("--episodes 0", ["episodes", "0", ">= 1"]),
        ("--replicates 1", ["replicates", "1", ">= 2"]),
        ("--environments layerd@tiny", ["environment", "'layerd'", "nearest: layered"]),
        ("--alpha 0", ["alpha", "0"]),
    ],
)
def test_bad_input_is_told_in_one_line(words: str, told: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["study", "exploration", *words.split()]) == 2
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 1 and all(part in err for part in told), err
    assert not Path("results").exists()
