"""Drawing: equal results give equal bytes, what is current is left alone, a failing figure stops no other."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from matplotlib.figure import Figure

import figures.base
from creditsim.errors import InputError
from creditsim.registry import Registry
from figures import publish as publishing
from figures import style
from figures.base import Data, FigurePart, figure
from figures.publish import NAME, Job, draw_job, publish, read_index, stale


@pytest.fixture(autouse=True)
def toys(monkeypatch: pytest.MonkeyPatch) -> Registry[FigurePart]:
    registry: Registry[FigurePart] = Registry("figure")
    for module in (figures.base, publishing):
        monkeypatch.setattr(module, "FIGURES", registry)

    @figure("line", title="A line", claims=("toy.a",))
    def line(results: Mapping[str, Data]) -> Figure:
        """A line through the points."""
        drawn, axes = style.new(width=style.SINGLE)
        axes.plot(results["toy.a"]["x"], results["toy.a"]["y"])
        return drawn

    @figure("broken", title="Broken", claims=("toy.a",))
    def broken(results: Mapping[str, Data]) -> Figure:
        """Cannot be drawn."""
        return results["toy.a"]["nothing"]  # type: ignore[return-value]

    return registry


def job(folder: Path, name: str = "line", drawn_from: str = "1", **meta: Any) -> Job:
    table = {"x": np.arange(4.0), "y": np.arange(4.0) ** 2, "label": np.array(["a", "b", "c", "d"])}
    return Job(name, {"toy.a": Data(table, {"statistic": 1.0, "seconds": 0.5, **meta})}, str(folder), drawn_from)


def test_the_same_results_give_the_same_bytes(tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    for folder in (first, second):
        folder.mkdir()
    one, two = draw_job(job(first)), draw_job(job(second, seconds=77.0))
    assert one.files == two.files
    assert set(one.files) == {"line.pdf", "line.svg", "line.png", "line.toy.a.parquet"}
    assert one.data_files() == ["line.toy.a.parquet"]
    for name in one.files:
        assert (first / name).read_bytes() == (second / name).read_bytes(), name
    assert b"Date" not in (first / "line.svg").read_bytes() and b"CreationDate" not in (first / "line.pdf").read_bytes()


def test_the_data_beside_a_figure_can_be_read_by_anyone(tmp_path: Path) -> None:
    draw_job(job(tmp_path))
    table = pq.ParquetFile(tmp_path / "line.toy.a.parquet").read(use_threads=False)
    assert table.column("y").to_pylist() == [0.0, 1.0, 4.0, 9.0]
    assert table.column("label").to_pylist() == ["a", "b", "c", "d"]
    facts = json.loads((table.schema.metadata or {})[b"creditsim"])
    assert facts == {"source": "toy.a", "facts": {"statistic": 1.0}}


def test_what_is_current_is_not_drawn_again(tmp_path: Path) -> None:
    assert publish([job(tmp_path)], tmp_path)[2] == 1
    entries, failed, drawn = publish([job(tmp_path)], tmp_path)
    assert ([e.name for e in entries], failed, drawn) == (["line"], {}, 0)
    assert stale([job(tmp_path)], tmp_path) == 0
    # Other results, a lost file and an edited file are each drawn again.
    assert publish([job(tmp_path, drawn_from="2")], tmp_path)[2] == 1
    (tmp_path / "line.pdf").unlink()
    assert publish([job(tmp_path, drawn_from="2")], tmp_path)[2] == 1
    (tmp_path / "line.svg").write_text("edited")
    assert publish([job(tmp_path, drawn_from="2")], tmp_path)[2] == 1


def test_a_failing_figure_is_told_and_stops_no_other(tmp_path: Path) -> None:
    entries, failed, drawn = publish([job(tmp_path, "broken"), job(tmp_path)], tmp_path)
    assert [e.name for e in entries] == ["line"] and drawn == 1
    assert "nothing" in failed["broken"]
    assert set(read_index(tmp_path)) == {"line"}


def test_the_index_keeps_figures_outside_this_call(tmp_path: Path, toys: Registry[FigurePart]) -> None:
    @figure("other", title="Other", claims=("toy.a",))
    def other(results: Mapping[str, Data]) -> Figure:
        """Another one."""
        return style.new()[0]

    publish([job(tmp_path)], tmp_path)
    publish([job(tmp_path, "other")], tmp_path)
    assert set(read_index(tmp_path)) == {"line", "other"}
    toys.remove("line")
    publish([job(tmp_path, "other")], tmp_path)
    assert set(read_index(tmp_path)) == {"other"}


def test_a_damaged_index_is_made_again_and_a_newer_one_refused(tmp_path: Path) -> None:
    (tmp_path / NAME).write_text("{")
    assert read_index(tmp_path) == {}
    (tmp_path / NAME).write_text('{"schema": 99, "figures": []}')
    with pytest.raises(InputError, match="schema 99"):
        publish([job(tmp_path)], tmp_path)


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="output folder"):
        publish([], tmp_path / "file" / "figures")
