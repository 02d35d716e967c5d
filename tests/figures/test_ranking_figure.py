"""The ranking of a twin as a picture: every number that was given is drawn, and nothing else."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("matplotlib", reason="the figures extra is not installed")

from matplotlib.figure import Figure

from figures.ranking import draw_ranking, ranking_file


def row(name: str, rank: int, value: float | None, low: float | None, high: float | None, *share: float) -> Any:
    line = {"value": value, "low": low, "high": high}
    return SimpleNamespace(estimator=name, rank=rank, ties=(rank, rank), share=share, quantities={"mse": line})


ROWS = [row("gigpo", 1, 0.2, 0.1, 0.4), row("grpo", 2, 0.5, 0.3, 0.9), row("rloo", 3, 0.7, None, None)]


def drawn(figure: Figure) -> dict[str, tuple[float, ...]]:
    """Per label of the axis: the ends of its line and its point, read off the picture."""
    axis = figure.axes[0]
    names = {round(at): text.get_text() for at, text in zip(axis.get_yticks(), axis.get_yticklabels(), strict=True)}
    lines = [(list(map(float, line.get_xdata())), round(float(line.get_ydata()[0]))) for line in axis.lines]  # type: ignore[arg-type, index]
    ends = {at: xs for xs, at in lines if len(xs) == 2}
    points = {at: xs[0] for xs, at in lines if len(xs) == 1}
    return {names[at]: (*ends[at], points[at]) for at in ends}


def test_points_and_intervals_stand_at_their_estimators() -> None:
    figure = draw_ranking(ROWS, "mse", "twin")
    assert drawn(figure) == {"gigpo": (0.1, 0.4, 0.2), "grpo": (0.3, 0.9, 0.5), "rloo": (0.7, 0.7, 0.7)}
    (axis,) = figure.axes
    assert axis.get_title() == "twin" and "squared error of the advantage" in axis.get_xlabel()
    heights = dict(zip([t.get_text() for t in axis.get_yticklabels()], axis.get_yticks(), strict=True))
    assert heights["gigpo"] > heights["grpo"] > heights["rloo"], "the best at the top"


@pytest.mark.parametrize("field", ["value", "low", "high"])
def test_another_number_is_another_picture(field: str) -> None:
    changed = row("gigpo", 1, 0.2, 0.1, 0.4)
    changed.quantities["mse"][field] = 0.25
    assert drawn(draw_ranking([changed, *ROWS[1:]], "mse")) != drawn(draw_ranking(ROWS, "mse"))


def test_the_order_of_the_rows_does_not_matter() -> None:
    assert drawn(draw_ranking(ROWS[::-1], "mse")) == drawn(draw_ranking(ROWS, "mse"))


def test_what_has_no_number_says_so_and_draws_none() -> None:
    figure = draw_ranking([row("grpo", 1, None, None, None)], "mse")
    assert drawn(figure) == {} and not figure.axes[0].lines
    assert [text.get_text() for text in figure.axes[0].texts] == ["no gradient to estimate"]


def test_shares_of_first_places_are_bars_beside_their_rows() -> None:
    rows = [row("gigpo", 1, 0.2, 0.1, 0.4, 0.75, 0.25), row("grpo", 2, 0.5, 0.3, 0.9, 0.25, 0.75)]
    figure = draw_ranking(rows, "mse")
    assert len(figure.axes) == 2
    bars = {round(bar.get_y() + bar.get_height() / 2): bar.get_width() for bar in figure.axes[1].patches}  # type: ignore[attr-defined]
    assert bars == {1: 0.75, 0: 0.25}
    assert figure.axes[1].get_xlim() == (0.0, 1.0)
    assert len(draw_ranking(ROWS, "mse").axes) == 1, "without resamples no second half"


@pytest.mark.parametrize("kind", ["svg", "png", "pdf"])
def test_a_file_is_of_its_kind_and_the_same_again(kind: str) -> None:
    first, second = (ranking_file(ROWS, "mse", "twin", kind) for _ in range(2))
    assert first.startswith({"svg": b"<?xml", "png": b"\x89PNG", "pdf": b"%PDF"}[kind])
    assert first == second


def test_markup_in_names_is_escaped_in_a_vector_file() -> None:
    rows = [row("<script>x</script>", 1, 0.2, 0.1, 0.4)]
    text = ranking_file(rows, "mse", "<b>log</b> & more", "svg").decode()
    assert not re.search(r"<script|<b>", text) and "&lt;script&gt;" in text and "&amp; more" in text
