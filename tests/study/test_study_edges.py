"""Regret and exploration cells against numbers known beforehand, and commands that refuse before they write."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from creditsim.cli import main
from creditsim.errors import InputError, UnknownNameError
from creditsim.study.exploration import config_of, exploration_cells
from creditsim.study.exploration import run_cell as explored
from creditsim.study.regret import bandit_of, regret_cells
from creditsim.study.regret import run_cell as regretted
from creditsim.study.spec import ExplorationStudy, RegretStudy

REGRET = RegretStudy(rules=("uniform",), horizon=200, replications=128)
EXPLORATION = ExplorationStudy(methods=("ucbvi",), episodes=20, replicates=2)


@pytest.mark.parametrize(
    ("bandit", "share", "gap"),
    [("bernoulli(p=[0.2, 0.7])", 1 / 2, 0.5), ("gaussian(mean=[0.0, 1.0, 1.0], deviation=0.5)", 2 / 3, 1.0)],
)
def test_uniform_allocation_wastes_the_share_of_the_arms_not_wanted(bandit: str, share: float, gap: float) -> None:
    """`min` wants the arm of least mean: of I pulls (K - 1) / K go elsewhere, each at the cost of its gap."""
    study = replace(REGRET, bandits=(bandit,), objective="min")
    (cell,) = regret_cells(study)
    found = regretted(cell.spec, cell.seed)
    last = {
        name: (found.table["quantity"] == name) & (found.table["time"] == study.horizon) for name in ("waste", "regret")
    }
    low, high = (float(found.table[end][last["waste"]][0]) for end in ("low", "high"))
    assert low <= share * study.horizon <= high
    assert not low <= 0.8 * share * study.horizon <= high, "the band is narrow enough to refuse a fifth less"
    means = [float(found.table["mean"][last[name]][0]) for name in ("waste", "regret")]
    assert means[1] == pytest.approx(gap * means[0], rel=1e-9)


def test_too_few_times_have_no_exponent_and_equal_arms_no_regret_to_study() -> None:
    (cell,) = regret_cells(replace(REGRET, horizon=2))
    found = regretted(cell.spec, cell.seed)
    assert found.meta["exponent"] is None and found.meta["law"] is None
    with pytest.raises(InputError, match=r"p: got 0.5 for every arm, allowed means that differ"):
        regret_cells(replace(REGRET, bandits=("bernoulli(p=[0.5, 0.5])",)))


@pytest.mark.parametrize(
    "text", ["bernoulli", "bernoulli(q=[0.1])", "gaussian(p=[0.1, 0.2])", "drifting(p=[0.1, 0.2])"]
)
def test_bandits_with_other_parameters_tell_the_forms(text: str) -> None:
    with pytest.raises(InputError, match=r"bandits: got .* allowed bernoulli\(p="):
        bandit_of(text)


def test_an_exploration_table_is_plans_by_replicates() -> None:
    (cell,) = exploration_cells(EXPLORATION)
    found = explored(cell.spec, cell.seed)
    plans = found.table["episode"].size // 2
    assert found.table["replicate"].tolist() == [0, 1] * plans
    assert found.table["episode"].reshape(plans, 2).std(axis=1).max() == 0
    assert (np.diff(found.table["episode"].reshape(plans, 2)[:, 0]) > 0).all()
    assert (np.diff(found.table["regret"].reshape(plans, 2), axis=0) >= -1e-12).all(), "regret only grows"
    assert (found.table["value"] <= found.meta["optimum"] + 1e-12).all()
    last = found.table["regret"].reshape(plans, 2)[-1]
    assert (last <= EXPLORATION.episodes * found.meta["optimum"] + 1e-9).all()


def test_settings_that_methods_do_not_have() -> None:
    (cell,) = exploration_cells(EXPLORATION)
    with pytest.raises(UnknownNameError, match=r"methods ucbvi setting: got 'delt', allowed .*; nearest: delta"):
        config_of({**cell.spec, "method": "ucbvi(delt=0.1)"}, 0)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("claims list nosuchclaim", "claim pattern: got 'nosuchclaim'"),
        ("claims show nosuchclaim", "claim pattern"),
        ("claims check --size big", "size: got 'big', allowed quick | standard | full"),
        ("claims check gigpo grpo", "one pattern, quoted"),
        ("claims check gigpo --workers 0", "workers: got 0"),
        ("claims check gigpo --out FILE", "a folder; this is a file"),
        ("claims show gigpo --out FILE", "a folder; this is a file"),
        ("study regret --out FILE", "a folder that can be written"),
        ("study regret --rules nosuch", "rule: got 'nosuch'"),
        ("study regret --bandits bernoulli(p=3)", "a list of K >= 2 means"),
        ("study exploration --kept 2", "kept: got 2.0, allowed a share in [0, 1]"),
        ("study exploration --environments nosuch", "environment: got 'nosuch'"),
        ("train --figure x.gif", ".png | .svg | .pdf"),
        ("train --figure no/such/x.svg", "figure: got 'no/such/x.svg'"),
        ("train --out no/such/x", "no folder no/such"),
        ("train --updates -1", "updates: got -1"),
    ],
)
def test_a_refused_command_is_one_line_and_writes_nothing(
    line: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "FILE").write_text("mine")
    code = main(line.split())
    said = capsys.readouterr()
    assert (code, said.out) == (2, "")
    assert said.err.startswith("creditsim: ") and said.err.count("\n") == 1 and words in said.err, said.err
    assert [path.name for path in tmp_path.iterdir()] == ["FILE"] and (tmp_path / "FILE").read_text() == "mine"
