"""Helpers around figures: styles, rendered bytes, names of series, selection, staleness, and words of the report."""

from __future__ import annotations

import math
import re
import struct
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup

from creditsim.errors import InputError
from figures import publish, style
from figures.base import FIGURES, Data, FigurePart
from figures.report import text
from figures.report.plot import interval_plot
from figures.report.words import GLOSSARY, SOURCES
from figures.results import figures_for
from figures.series import _POINTS, environment_title, in_order, lines, looks, short

# --- Style ------------------------------------------------------------------------------------------------------------


def luminance(colour: str) -> float:
    """Relative luminance of a colour, 0 black to 1 white (WCAG 2)."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(colour: str) -> float:
    """Contrast with a white page."""
    return 1.05 / (luminance(colour) + 0.05)


def test_colours_are_seen_on_white() -> None:
    assert all(re.fullmatch(r"#[0-9A-F]{6}", c) for c in (*style.COLOURS, style.NEUTRAL))
    assert min(map(contrast, style.COLOURS)) > 2.0
    assert contrast(style.NEUTRAL) > 4.5
    assert contrast("#F0E442") < 2.0  # the palette's yellow, which was darkened


@given(n=st.integers(0, 30))
def test_styles_repeat_only_after_all_were_used(n: int) -> None:
    names = [f"s{i}" for i in range(n)]
    styles = style.series_styles(names)
    assert list(styles) == names
    seen = [(s["color"], str(s["linestyle"]), s["marker"]) for s in styles.values()]
    assert len(set(seen)) == min(n, 8)
    assert all(seen[i] == seen[i - 8] for i in range(8, n))


@pytest.mark.parametrize(("kind", "start"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")])
def test_rendered_bytes_are_stable(kind: str, start: bytes) -> None:
    def bytes_of(height: float) -> bytes:
        with style.look():
            figure, axis = style.new(width=style.SINGLE, height=1.5)
            axis.plot([0.0, height], label="line")
            axis.set(xlabel="x", ylabel="y")
            return style.render(figure, kind, dpi=50.0)

    once = bytes_of(1.0)
    assert once.startswith(start)
    assert once == bytes_of(1.0) != bytes_of(2.0)


def test_unknown_kinds_are_no_format() -> None:
    with style.look(), pytest.raises(KeyError):
        style.render(style.new()[0], "bmp")


def test_the_look_is_left_when_drawing_fails() -> None:
    before = mpl.rcParams["font.size"]
    with pytest.raises(ZeroDivisionError), style.look():
        assert mpl.rcParams["font.size"] == 8
        _ = 1 / 0
    assert mpl.rcParams["font.size"] == before


@pytest.mark.parametrize(("rows", "columns", "shape"), [(1, 1, ()), (1, 3, (3,)), (2, 2, (2, 2))])
def test_axes_come_in_the_shape_asked_for(rows: int, columns: int, shape: tuple[int, ...]) -> None:
    figure, axes = style.new(rows, columns, height=2.0)
    assert np.shape(axes) == shape and len(figure.axes) == rows * columns
    assert tuple(figure.get_size_inches()) == (style.DOUBLE, 2.0)


def test_saved_files_are_what_is_rendered(tmp_path: Path) -> None:
    with style.look():
        figure, axis = style.new(width=style.SINGLE, height=1.0)
        axis.plot([0, 1])
        paths = style.save(figure, tmp_path / "a" / "b", "line")
        png = style.render(figure, "png")
    assert paths[2].read_bytes() == png
    assert struct.unpack(">II", png[16:24]) == (975, 300)


# --- Names of series --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("estimator", "shown"),
    [
        ("grpo", "GRPO"),
        ("grpo@verl", "GRPO"),
        ("grpo@verl-agent", "GRPO, rows"),
        ("gigpo@verl-agent(normalize=mean)", "GiGPO, rows, no std"),
        ("hgpo(normalize=mean)", "HGPO, no std"),
        ("gae(lam=0.95)", "GAE λ=0.95"),
        ("gae(lam=0.5, whiten=false)", "GAE λ=0.5"),
        ("optimal_token_baseline", "OTB"),
        ("mine", "mine"),
        ("mine@v2(x=1)", "mine"),
    ],
)
def test_short_names(estimator: str, shown: str) -> None:
    assert short(estimator) == shown


def test_known_series_have_looks_of_their_own() -> None:
    assert len(set(_POINTS.values())) == len(_POINTS)
    every = looks(list(_POINTS))
    assert {(v["color"], v["marker"]) for v in every.values()} == set(_POINTS.values())


@given(names=st.permutations(["OPO", "mine", "GRPO", "REINFORCE", "yours", "PPO"]))
def test_series_stand_by_family_and_unknown_ones_last(names: list[str]) -> None:
    ordered = in_order(names)
    assert ordered[:4] == ["REINFORCE", "GRPO", "OPO", "PPO"]
    assert ordered[4:] == [name for name in names if name in ("mine", "yours")]
    styled = lines(names)
    assert len({str(v["linestyle"]) for v in styled.values()}) == len(names)
    assert styled["mine"]["color"] != styled["yours"]["color"]


@pytest.mark.parametrize(("name", "title"), [("chain@small(length=4)", "chain"), ("tree", "tree"), ("a(b=1)", "a")])
def test_titles_of_environments(name: str, title: str) -> None:
    assert environment_title(name) == title


# --- Tables and selection ---------------------------------------------------------------------------------------------

COLUMN = st.lists(st.integers(0, 3), min_size=1, max_size=8)


@given(column=COLUMN, value=st.integers(0, 4))
def test_rows_of_a_value(column: list[int], value: int) -> None:
    data = Data({"x": np.array(column), "i": np.arange(len(column))}, {"k": 1})
    assert data.where(x=value)["i"].tolist() == [i for i, x in enumerate(column) if x == value]
    assert data.where()["x"].tolist() == column
    assert data.unique("x") == sorted(set(column), key=column.index)
    whole = [row for x in data.unique("x") for row in data.where(x=x)["i"].tolist()]
    assert sorted(whole) == list(range(len(column)))
    assert data.where(x=value).meta is data.meta


def test_unknown_columns_name_what_is_there() -> None:
    data = Data({"alpha": np.zeros(2), "gap": np.zeros(2)})
    for lookup in (lambda: data["alhpa"], lambda: data.where(alhpa=1), lambda: data.unique("alhpa")):
        with pytest.raises(InputError, match="nearest: alpha"):
            lookup()


def test_figures_by_title_by_claim_and_all() -> None:
    assert [f.name for f in figures_for("trap_defect", ())] == ["trap_defect"]
    assert "trap_defect" in [f.name for f in figures_for("truncated trap", ())]
    assert [f.name for f in figures_for("?", ["passk.unbiased"])] == ["passk"]
    both = [f.name for f in figures_for("ddof", ["passk.unbiased"])]
    assert sorted(both) == sorted({"ddof", "passk"}) and len(both) == 2
    assert len(figures_for("*", ())) == len(FIGURES.names())


def test_captions_flow() -> None:
    def drawing(results: Any) -> Any:
        """First line
        and second.
        """

    assert FigurePart("figure", "x", drawing).caption == "First line and second."
    assert FigurePart("figure", "x", lambda results: None).caption == ""


# --- What a drawing depends on ----------------------------------------------------------------------------------------


def drawn_from(table: dict[str, Any], meta: dict[str, Any] | None = None, title: str = "t") -> str:
    part = FigurePart("figure", "ddof", FIGURES["ddof"].function, title=title)
    data = {"toy": Data({k: np.asarray(v) for k, v in table.items()}, meta or {})}
    return publish._drawn_from(part, data)


def test_a_drawing_is_stale_when_anything_shown_changes() -> None:
    base = drawn_from({"x": [1.0, 2.0], "s": ["a", "b"]}, {"verdict": "supported"})
    assert base == drawn_from({"x": [1.0, 2.0], "s": ["a", "b"]}, {"verdict": "supported"})
    others = [
        drawn_from({"x": [1.0, 2.5], "s": ["a", "b"]}, {"verdict": "supported"}),
        drawn_from({"x": [1, 2], "s": ["a", "b"]}, {"verdict": "supported"}),
        drawn_from({"x": [1.0, 2.0], "s": ["a", "c"]}, {"verdict": "supported"}),
        drawn_from({"y": [1.0, 2.0], "s": ["a", "b"]}, {"verdict": "supported"}),
        drawn_from({"x": [1.0, 2.0], "s": ["a", "b"]}, {"verdict": "refuted"}),
        drawn_from({"x": [1.0, 2.0], "s": ["a", "b"]}, {"verdict": "supported"}, title="u"),
    ]
    assert base not in others and len(set(others)) == len(others)


def test_time_and_place_of_a_run_are_no_result() -> None:
    timed = {"verdict": "supported", "seconds": 3.0, "parts": [{"seconds": 1.0, "n": 2}], "provenance": {"host": "a"}}
    later = {"verdict": "supported", "seconds": 9.0, "parts": [{"seconds": 4.0, "n": 2}], "provenance": {"host": "b"}}
    assert drawn_from({"x": [1]}, timed) == drawn_from({"x": [1]}, later)
    later["parts"] = [{"seconds": 1.0, "n": 3}]
    assert drawn_from({"x": [1]}, timed) != drawn_from({"x": [1]}, later)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"schema": 1}', '{"schema": 1, "figures": [{"name": "a"}]}'])
def test_an_index_that_cannot_be_read_is_empty(tmp_path: Path, content: str) -> None:
    (tmp_path / publish.NAME).write_text(content)
    assert publish.read_index(tmp_path) == {}
    assert publish.publish([], tmp_path) == ([], {}, 0)
    assert publish.read_index(tmp_path / "absent") == {}


# --- Numbers and prose ------------------------------------------------------------------------------------------------


def read_back(shown: str) -> float:
    plain = shown.replace("−", "-").replace("\u2009", "")
    raised = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")
    if " × 10" in plain:
        mantissa, _, exponent = plain.partition(" × 10")
        return float(mantissa) * 10.0 ** int(exponent.translate(raised))
    return float(plain)


@given(x=st.floats(-1e12, 1e12).filter(lambda x: abs(x) > 1e-12))
def test_numbers_keep_four_digits(x: float) -> None:
    shown = text.number(x)
    assert read_back(shown) == pytest.approx(x, rel=5.1e-4)
    assert "-" not in shown and "e" not in shown
    assert text.number(-x) == (shown[1:] if x < 0 else "−" + shown)
    assert text.number(np.float64(x)) == shown


@given(n=st.integers(-(10**9), 10**9))
def test_whole_numbers_are_whole(n: int) -> None:
    assert read_back(text.count(n)) == n == read_back(text.number(n))
    groups = text.count(abs(n)).split("\u2009")
    assert 1 <= len(groups[0]) <= 3 and all(len(g) == 3 for g in groups[1:])


@given(low=st.one_of(st.none(), st.integers(-9, 0)), high=st.one_of(st.none(), st.integers(1, 9)))
def test_intervals_show_both_ends(low: int | None, high: int | None) -> None:
    shown = text.interval((low, high))
    left, right = shown[1:-1].split(", ")
    assert (left == "−∞") == (low is None) and (right == "∞") == (high is None)
    assert shown[0] == "[" and shown[-1] == "]"


HOSTILE = st.text("<>&\"'`ab \n", max_size=40)


@given(said=HOSTILE)
def test_nothing_said_becomes_markup(said: str) -> None:
    for made in (text.sentence(said), text.headline(said or "x"), text.prose(said)):
        bare = re.sub(r"</?(code|pre|p|ul|li)>", "", str(made))
        assert isinstance(made, Markup) and "<" not in bare and ">" not in bare
        assert re.fullmatch(r"(?:[^&]|&(?:lt|gt|amp|#34|#39);)*", bare)


def test_code_is_set_as_code_and_stays_escaped() -> None:
    assert text.sentence("a `b < c` d") == Markup("a <code>b &lt; c</code> d")
    assert text.sentence("``x`` and `y`") == Markup("<code>x</code> and <code>y</code>")
    assert text.sentence("a ` alone") == Markup("a ` alone")


def test_cut_headlines_end_at_a_word() -> None:
    made = str(text.headline("some words " * 60))
    assert made.endswith(" …") and len(made) <= 263
    assert made[:-2].split()[-1] in ("some", "words")
    assert text.headline("Short.\n\nNext paragraph.") == "Short."


# --- Plots and words --------------------------------------------------------------------------------------------------


@given(
    point=st.floats(-5, 5),
    aim=st.floats(-5, 5),
    below=st.one_of(st.none(), st.floats(0, 3)),
    above=st.one_of(st.none(), st.floats(0, 3)),
    kind=st.sampled_from(["equality", "<=", ">=", "conditional"]),
)
def test_plots_keep_order_and_stay_inside(
    point: float, aim: float, below: float | None, above: float | None, kind: str
) -> None:
    ends = (None if below is None else point - below, None if above is None else point + above)
    made = str(
        interval_plot({"kind": kind, "prediction": aim, "margin": 0.1, "statistic": point, "interval": list(ends)})
    )
    low, high = (float(re.search(rf'class="range"[^>]* {x}="([-0-9.]+)"', made)[1]) for x in ("x1", "x2"))  # type: ignore[index]
    dot = float(re.search(r'cx="([-0-9.]+)"', made)[1])  # type: ignore[index]
    dashed = float(re.search(r'class="aim" x1="([-0-9.]+)"', made)[1])  # type: ignore[index]
    assert 0.0 <= low <= dot <= high <= 160.0 and 0.0 < dashed < 160.0
    assert (dot - dashed) * (point - aim) >= -0.05
    assert ('class="allowed"' in made) == (kind != "conditional")
    assert "nan" not in made and "inf" not in made


def test_words_cover_verdicts_and_sources() -> None:
    terms = [term for term, _ in GLOSSARY]
    assert len(set(terms)) == len(terms) and set(style.VERDICT_COLOURS) <= set(terms)
    assert {f"source: {name}" for name in SOURCES} <= set(terms)
    assert all(meaning.endswith(".") and meaning[0].isupper() for _, meaning in GLOSSARY)
    assert math.isfinite(min(len(meaning) for _, meaning in GLOSSARY))
