"""Built-in studies: cells become one table with the labels of their specs; figures name it `study:<name>`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import theory.study
from creditsim.errors import InputError, UnknownNameError
from creditsim.registry import Registry
from creditsim.study.cells import Cell, CellResult
from creditsim.study.runner import run_cells
from creditsim.study.store import Store
from figures.base import FigurePart
from figures.results import Results, study_cells_of
from theory.claim import Size
from theory.study import STUDIES, BuiltInStudy, cells_of, join, study_cells


def square(spec: Mapping[str, Any], seed: int) -> CellResult:
    """A cell: x and its square, `points` of them."""
    x = np.arange(spec["points"], dtype=float)
    return CellResult({"x": x, "y": x ** spec["power"]}, {"largest": float(x[-1])})


@pytest.fixture
def studies(monkeypatch: pytest.MonkeyPatch) -> None:
    registry: Registry[BuiltInStudy] = Registry("built-in study")
    monkeypatch.setattr(theory.study, "STUDIES", registry)

    @study_cells("powers")
    def powers(size: Size) -> Sequence[Cell]:
        """Powers of small numbers."""
        points = {"quick": 3, "standard": 5, "full": 7}[size]
        return [
            Cell("test_built_in_studies:square", {"power": p, "name": f"x^{p}", "points": points}, 0, title=f"x^{p}")
            for p in (1, 2)
        ]


def test_a_study_goes_from_cells_to_a_figures_table(studies: None, tmp_path: Path) -> None:
    figure = FigurePart("figure", "curves", lambda results: None, claims=("study:powers",))
    cells = study_cells_of([figure, figure], "quick")
    assert [cell.title for cell in cells] == ["x^1", "x^2"]
    results = Results(Store(tmp_path), "quick", {})
    assert results.missing(figure) == ["study:powers"] and results.load(["study:powers"]) is None
    assert run_cells(cells, tmp_path, workers=1).computed == 2
    data = (results.load(["study:powers"]) or {})["study:powers"]
    assert results.missing(figure) == []
    assert data["name"].tolist() == ["x^1"] * 3 + ["x^2"] * 3
    assert data.where(power=2)["y"].tolist() == [0.0, 1.0, 4.0]
    assert [cell["largest"] for cell in data.meta["cells"]] == [2.0, 2.0]
    # Another size is another set of cells.
    assert Results(Store(tmp_path), "standard", {}).missing(figure) == ["study:powers"]


def test_columns_that_some_cells_lack() -> None:
    cells = [Cell("m:f", {"k": 1}, 0), Cell("m:f", {"label": "b"}, 0), Cell("m:f", {"k": 3}, 0)]
    results = [CellResult({"v": np.array([1.0, 2.0])}), CellResult({"v": np.array([3.0])}), CellResult({})]
    table = join(cells, results).table
    np.testing.assert_array_equal(table["k"], [1.0, 1.0, np.nan, 3.0])
    np.testing.assert_array_equal(table["v"], [1.0, 2.0, 3.0, np.nan])
    assert table["label"].tolist() == ["", "", "b", ""]


def test_a_column_of_the_table_wins_over_a_label() -> None:
    table = join([Cell("m:f", {"k": 1}, 0)], [CellResult({"k": np.array([7.0, 8.0])})]).table
    assert table["k"].tolist() == [7.0, 8.0]


def test_names_are_checked(studies: None) -> None:
    with pytest.raises(UnknownNameError, match="powers"):
        cells_of("study:power", "quick")

    def powers(size: Size) -> Sequence[Cell]:
        """Another function."""
        return []

    with pytest.raises(InputError, match="free name"):
        study_cells("powers")(powers)


@pytest.mark.parametrize("name", STUDIES.names())
def test_every_built_in_study_has_a_docstring_and_distinct_cells(name: str) -> None:
    cells = cells_of(name, "quick")
    assert STUDIES[name].summary and cells
    assert len({cell.id for cell in cells}) == len(cells)
