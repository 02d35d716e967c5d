"""`creditsim study regret`: rules on bandits, against numbers known without simulation, and what bad input gets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from creditsim.bandits.bounds import lai_robbins
from creditsim.bandits.instances import bernoulli
from creditsim.cli import main
from creditsim.study.cells import table_hash
from creditsim.study.launch import How, launch
from creditsim.study.regret import bandit_of, regret_cells, run_cell
from creditsim.study.results import regret_summary
from creditsim.study.spec import RegretStudy

SMALL = RegretStudy(rules=("uniform", "ucb1"), horizon=400, replications=64)


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def _told(study: RegretStudy, out: str = "out") -> list[dict[str, Any]]:
    cells, store, report = launch(study, How(Path(out), workers=1))
    assert not report.failed
    return regret_summary(cells, store)


def test_uniform_allocation_wastes_half_and_is_linear() -> None:
    uniform = _told(SMALL)[0]["quantities"]
    # n = 64 runs, 95 % band over all times together: the exact mean is 200 pulls of the wrong arm.
    assert uniform["waste"]["low"] <= 200.0 <= uniform["waste"]["high"]
    assert uniform["regret"]["value"] == pytest.approx(0.2 * uniform["waste"]["value"], rel=1e-12)
    assert uniform["exponent"]["low"] <= 1.0 <= uniform["exponent"]["high"]
    assert uniform["exponent"]["low"] > 0.9  # so that a logarithm would be refuted
    assert uniform["lai_robbins"]["value"] == lai_robbins(bernoulli([0.3, 0.5]), "min", waste=True)


def test_a_cell_is_the_same_bits_again_and_is_not_computed_twice() -> None:
    cells = regret_cells(SMALL)
    assert [cell.spec["rule"] for cell in cells] == ["uniform", "ucb1"]
    first, again = (run_cell(cells[0].spec, cells[0].seed) for _ in range(2))
    assert table_hash(first.table) == table_hash(again.table)
    other = run_cell(cells[0].spec, cells[0].seed + 1)
    assert table_hash(first.table) != table_hash(other.table)
    _told(SMALL)
    assert launch(SMALL, How(Path("out"), workers=1))[2].computed == 0


def test_curves_are_in_order() -> None:
    cell = regret_cells(SMALL)[1]
    table = run_cell(cell.spec, cell.seed).table
    assert set(table["quantity"]) == {"regret", "waste"}
    for name in ("regret", "waste"):
        at = table["quantity"] == name
        assert (np.diff(table["time"][at]) > 0).all() and (np.diff(table["mean"][at]) >= 0).all()
        assert (table["low"][at] <= table["mean"][at]).all() and (table["mean"][at] <= table["high"][at]).all()
        assert (table["q05"][at] <= table["median"][at]).all() and (table["median"][at] <= table["q95"][at]).all()


def test_bandits_are_read_with_their_parameters() -> None:
    assert bandit_of("bernoulli(p=[0.1, 0.4, 0.9])").mean.tolist() == [0.1, 0.4, 0.9]
    assert bandit_of("gaussian(mean=[0, 1], deviation=2.0)").deviation == 2.0
    assert bandit_of("drifting(p=[0.1, 0.4], final=[0.4, 0.1], over=9)").over == 9


def test_the_command_prints_the_table_and_json(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["study", "regret", "--rules", "uniform", "kl_ucb", "--horizon", "300", "--replications", "20"]
    assert main([*words, "--workers", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("bandit bernoulli(p=[0.3, 0.5]), objective min, feedback bandit, horizon 300")
    assert lines[3].startswith("rule ") and "Lai-Robbins / ln I" in lines[3]
    assert [line.split()[0] for line in lines[4:6]] == ["uniform", "kl_ucb"] and "?" not in lines[4]
    assert main([*words, "--workers", "1", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [cell["rule"] for cell in told["cells"]] == ["uniform", "kl_ucb"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("--bandits bernouli(p=[0.3,0.5])", ["bandits", "'bernouli'", "nearest: bernoulli"]),
        ("--bandits bernoulli(p=[0.3,1.5])", ["p:", "1.5", "[0, 1]"]),
        ("--bandits bernoulli(p=[0.3])", ["p:", "1 arms", "K >= 2"]),
        ("--bandits bernoulli(p=[0.5,0.5])", ["0.5 for every arm"]),
        ("--bandits bernoulli(q=[0.5,0.5])", ["bandits", "bernoulli(p=[...])"]),
        ("--rules ucb2", ["rule", "'ucb2'", "nearest: ucb1"]),
        ("--rules ucb1 --feedback full", ["feedback", "'full' for ucb1", "bandit"]),
        ("--rules 3spo_proportional(alpha=0)", ["alpha", "0", "a number > 0"]),
        ("--rules 3spo_ceil(xi=0)", ["xi", "0"]),
        ("--rules 3spo_ceil(zeta=2.0)", ["zeta", "2.0"]),
        ("--horizon 0", ["horizon", "0", ">= 2"]),
        ("--replications 1", ["replications", "1", ">= 2"]),
        ("--alpha 2", ["alpha", "2"]),
        ("--objective least", ["objective", "least"]),
    ],
)
def test_bad_input_is_told_in_one_line(words: str, told: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["study", "regret", *words.split()]) == 2
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 1 and all(part in err for part in told), err
    assert not Path("results").exists()
