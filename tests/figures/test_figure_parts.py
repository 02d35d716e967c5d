"""What figures are given and drawn with: tables, styles, sizes; and that drawing leaves the user's settings alone."""

from __future__ import annotations

import struct
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest

import creditsim.commands.reproduce as command
from creditsim.errors import ExtraMissingError, InputError
from figures import style
from figures.base import FIGURES, Data
from figures.results import figures_for

TABLE = Data({"n": np.array([1, 2, 2, 4]), "name": np.array(["b", "a", "b", "a"], object)}, {"verdict": "supported"})


def test_rows_are_selected_by_columns() -> None:
    assert TABLE.where(n=2)["name"].tolist() == ["a", "b"]
    assert TABLE.where(n=2, name="b")["n"].tolist() == [2]
    assert TABLE.where(n=9)["n"].size == 0
    assert TABLE.where(n=2).meta == {"verdict": "supported"}
    assert TABLE.unique("name") == ["b", "a"]
    with pytest.raises(InputError, match=r"column: got 'nam', allowed n \| name; nearest: name"):
        TABLE["nam"]


def test_no_two_series_look_alike_and_none_by_colour_alone() -> None:
    styles = style.series_styles([str(i) for i in range(8)])
    for key in ("color", "linestyle", "marker"):
        assert len({str(look[key]) for look in styles.values()}) == 8, key
    assert set(style.VERDICT_COLOURS) == {"supported", "refuted", "conditional", "inconclusive"}


def test_the_look_ends_with_its_context() -> None:
    before = dict(mpl.rcParams)
    with style.look():
        assert mpl.rcParams["pdf.fonttype"] == 42 and mpl.rcParams["svg.hashsalt"] == "creditsim"
    assert dict(mpl.rcParams) == before


@pytest.mark.parametrize(("width", "pixels"), [(style.SINGLE, 975), (style.DOUBLE, 2025)])
def test_saved_figures_have_the_width_of_a_column_at_300_dpi(tmp_path: Path, width: float, pixels: int) -> None:
    with style.look():
        figure, axes = style.new(1, 2, width=width)
        axes[0].plot([0, 1])
        paths = style.save(figure, tmp_path / "new", "two")
        small = style.render(figure, "png", dpi=100.0)
    assert [path.name for path in paths] == ["two.pdf", "two.svg", "two.png"]
    assert struct.unpack(">I", paths[2].read_bytes()[16:20])[0] == pixels
    assert struct.unpack(">I", small[16:20])[0] == pixels // 3


def test_figures_are_found_by_name_and_by_claim() -> None:
    every = figures_for(None, ())
    assert [f.name for f in every] == FIGURES.names()
    for figure in every[:5]:
        assert figure in figures_for(figure.name, ())
        assert figure in figures_for("no figure has this name", figure.claims[:1])
    assert figures_for("no figure has this name", ()) == []


def test_a_missing_extra_is_told_before_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = {"jinja2": True, "matplotlib": False}
    monkeypatch.setattr(command.importlib.util, "find_spec", lambda name: found[name] or None)
    config = command.Config(out=str(tmp_path / "results"))
    with pytest.raises(ExtraMissingError, match=r"pip install 'creditsim\[figures\]'"):
        command.run(config)
    assert list(tmp_path.iterdir()) == []


def test_one_size_only() -> None:
    assert command.size_of(False, False, False) == "quick"
    assert command.size_of(False, False, True) == "full"
    with pytest.raises(InputError, match="--quick and --standard"):
        command.size_of(True, True, False)
