"""Figures of built-in studies and of baselines: deterministic, captioned, computing nothing."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

from creditsim.study.cells import Cell
from figures.base import FIGURES, Data
from figures.series import environment_title, in_order, lines, looks, short
from figures.style import look, render
from theory.claim import CLAIMS, Trial, facts
from theory.study import PREFIX, cells_of, join

STUDIES = {
    "bias_variance_plane": ("value", "low", "high"),
    "direction_plane": ("value", "low", "high"),
    "gradient_over_group": ("value", "low", "high"),
    "mse_over_horizon": ("value", "low", "high"),
    "learning_curves": ("j", "low", "high"),
    "baseline_noise": ("relative",),
}
"""Figures, and the columns that hold measured numbers."""

MODULES = (
    "baseline_noise", "bias_variance_plane", "gradient_over_group", "learning_curves", "mse_over_horizon", "series",
)  # fmt: skip


@cache
def data(name: str) -> Data:
    if not name.startswith(PREFIX):
        trial = Trial("quick", 1e-4, 0)
        evidence = CLAIMS[name].function(trial)
        return Data(trial.data, facts(evidence))
    few = {"replicates": 4, "updates": 2} if name.endswith("learning") else {"replicates": 20}
    made = [Cell(c.function, {**c.spec, **few}, c.seed, c.sources, c.title) for c in cells_of(name, "quick")]
    whole = join(made, [cell.compute() for cell in made])
    return Data(whole.table, whole.meta)


def results(figure: str) -> dict[str, Data]:
    return {name: data(name) for name in FIGURES[figure].claims}


def drawn(figure: str, given: dict[str, Data]) -> bytes:
    with look():
        return render(FIGURES[figure].function(given), "png", dpi=50)


@pytest.mark.parametrize("figure", STUDIES)
def test_equal_data_give_equal_bytes_and_other_data_do_not(figure: str) -> None:
    given = results(figure)
    once = drawn(figure, given)
    assert once == drawn(figure, given)
    first = FIGURES[figure].claims[0]
    table = given[first].table
    other = {**table, **{column: table[column] * 0.7 for column in STUDIES[figure]}}
    assert drawn(figure, {**given, first: Data(other)}) != once


@pytest.mark.parametrize("figure", STUDIES)
def test_caption_says_what_is_shown(figure: str) -> None:
    assert len(FIGURES[figure].caption.split()) > 40


@pytest.mark.parametrize("module", MODULES)
def test_nothing_is_computed(module: str) -> None:
    source = Path(__file__).parents[2] / "figures" / f"{module}.py"
    imports = [n for n in ast.walk(ast.parse(source.read_text(encoding="utf-8"))) if isinstance(n, ast.ImportFrom)]
    assert {(n.module or "").split(".")[0] for n in imports} <= {
        "__future__",
        "collections",
        "typing",
        "figures",
        "matplotlib",
    }


@pytest.mark.parametrize(
    ("estimator", "name"),
    [
        ("rloo", "RLOO"),
        ("grpo@paper", "GRPO"),
        ("grpo@verl-agent", "GRPO, rows"),
        ('gigpo@paper(gamma=1, normalize="mean")', "GiGPO, no std"),
        ("gae(gamma=1, lam=0.5)", "GAE λ=0.5"),
        ("mine", "mine"),
    ],
)
def test_short_names(estimator: str, name: str) -> None:
    assert short(estimator) == name


def test_names_of_a_study_and_their_looks_are_all_different() -> None:
    for study in ("bias-variance", "group-size", "horizon"):
        names = {short(cell.spec["estimator"]) for cell in cells_of(study, "quick")}
        assert len(names) == len({cell.spec["estimator"] for cell in cells_of(study, "quick")})
        assert len({tuple(look.values()) for look in looks(sorted(names)).values()}) == len(names)


def test_legend_goes_by_family_and_unknown_ones_come_last() -> None:
    assert in_order(["mine", "HGPO", "RLOO", "REINFORCE"]) == ["REINFORCE", "RLOO", "HGPO", "mine"]
    assert set(lines(["RLOO", "mine"])["mine"]) == {"color", "marker", "linestyle"}


def test_environment_titles() -> None:
    assert environment_title("layered@small(actions=2)") == environment_title("layered") == "layered"
