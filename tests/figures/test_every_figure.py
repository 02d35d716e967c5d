"""What every figure owes its reader: labels, legends that match, series told apart without colour, a caption."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from figures.allocation_regret import CEIL, FORCED, RULES, STATED
from figures.base import FIGURES, Data
from figures.stepmix_value import OFFLINE, SAFE
from figures.style import look, new, render, series_styles
from figures.three_spo_vs import STATES, SUCCESS
from theory.claim import CLAIMS, Trial, facts

CHECKED = (
    "alpha_delta_phase",
    "anchor_size",
    "conformance_matrix",
    "ddof",
    "degenerate_share",
    "float32_noise",
    "group_or_batch_std",
    "passk",
    "per_turn",
    "rejected_answers",
    "row_weighting",
    "score_over_visits",
    "singleton_rules",
    "std_reweighting",
    "stepmix_mixture",
    "whitening",
)
"""Figures whose claims are exact and quick; they get the claims' own tables."""

SYNTHETIC = ("allocation_regret", "stepmix_value", "three_spo_vs")
"""Figures of simulations; they get small tables made up here."""

EVERY = (*CHECKED, *SYNTHETIC)
BY_COLOUR: set[str] = set()
"""Figures with a panel in which some curves differ in colour only."""


BESIDE = {"group_or_batch_std": 1, "score_over_visits": 1}
"""How many of its claims a figure is only listed with: their tables are not drawn."""


# --- Tables -----------------------------------------------------------------------------------------------------------


@cache
def checked(claim: str) -> Data:
    trial = Trial("quick", 1e-4, 0)
    evidence = CLAIMS[claim].function(trial)
    return Data(trial.data, facts(evidence))


def long(rows: Iterable[Mapping[str, Any]]) -> Data:
    """Rows as columns."""
    found = list(rows)
    return Data({name: np.array([row[name] for row in found]) for name in found[0]}, {"verdict": "supported"})


def band(value: float) -> dict[str, float]:
    return {"low": 0.9 * value, "high": 1.1 * value}


def regret_tables() -> dict[str, Data]:
    times = (1, 10, 100, 1000)
    full = [("full", 0.3, 0.5, alpha, t) for alpha in (10.0, 50.0) for t in times]
    stuck = [("bandit", 0.3, 0.5, 50.0, t) for t in times]
    regimes = [
        {"regime": r, "low": low, "high": high, "alpha": a, "time": t, "waste": 1.0 + t**0.5 / a, "bound": 9.0 + t}
        for r, low, high, a, t in full + stuck
    ]
    rules = [
        {"rule": rule, "time": t, "mean": t / 9.0, "median": t / 20.0, "lai_robbins": np.log(t), **band(t / 9.0)}
        for rule in ("3spo_proportional", "ucb1", "my_rule")
        for t in times
    ]
    forced = [{"time": t, "mean": 2.0 * np.log(t) + 1.0, "slope": 2.0, **band(2.0 * np.log(t) + 1.0)} for t in times]
    ceil = [{"time": t, "waste": 4.0 * t, "spent": 8.0 * t} for t in times]
    return {STATED: long(regimes), RULES: long(rules), FORCED: long(forced), CEIL: long(ceil)}


def race_tables() -> dict[str, Data]:
    def rows(quantities: tuple[str, ...]) -> Data:
        return long(
            {"environment": e, "way": w, "quantity": q, "transitions": t, "value": t / 900.0, **band(t / 900.0)}
            for e in ("tree", "grid")
            for w in ("3SPO", "GRPO")
            for q in quantities
            for t in (0, 300, 600, 900)
        )

    return {SUCCESS: rows(("j", "silent")), STATES: rows(("met",))}


def safe_tables() -> dict[str, Data]:
    episodes = (1, 10, 100)
    blank = {"panel": "value", "method": "", "episode": 0, "value": 0.0, "least": 0.0, "most": 0.0, "optimum": 0.9,
             "baseline": 0.5, "bar": 0.45, "scale": 0.0, "share": 0.0, "low": 0.0, "high": 0.0}  # fmt: skip
    value = [
        {**blank, "method": m, "episode": k, "value": 0.6, "least": 0.4, "most": 0.8}
        for m in ("ucbvi", "stepmix", "epsmix")
        for k in episodes
    ]
    scale = [
        {**blank, "panel": "scale", "scale": s, "share": 0.3, "low": 0.2, "high": 0.4, "episode": 0} for s in (0.1, 1.0)
    ]
    offline = [
        {"environment": e, "n": n, "violating": 0.2, "share": 0.2, "low": 0.1, "high": 0.3}
        for e in ("a", "b")
        for n in (10, 100)
    ]
    return {SAFE: long([*value, *scale]), OFFLINE: long(offline)}


@cache
def tables(name: str) -> Mapping[str, Data]:
    made = {"allocation_regret": regret_tables, "three_spo_vs": race_tables, "stepmix_value": safe_tables}
    return made[name]() if name in made else {claim: checked(claim) for claim in FIGURES[name].claims}


class Recorded(dict[str, Data]):
    """Results that note which of them are read, with columns that cannot be written."""

    def __init__(self, results: Mapping[str, Data]) -> None:
        super().__init__({name: Data(_locked(data.table), data.meta) for name, data in results.items()})
        self.read: set[str] = set()

    def __getitem__(self, name: str) -> Data:
        self.read.add(name)
        return super().__getitem__(name)


def _locked(table: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    out = {name: values.copy() for name, values in table.items()}
    for values in out.values():
        values.flags.writeable = False
    return out


@cache
def drawing(name: str) -> tuple[Figure, Recorded]:
    """A figure with its layout settled and its tick labels known, and what it was drawn from."""
    results = Recorded(tables(name))
    with look():
        figure = FIGURES[name].function(results)
        figure.draw_without_rendering()
    return figure, results


def drawn(name: str) -> Figure:
    return drawing(name)[0]


# --- What is asked ----------------------------------------------------------------------------------------------------


def is_number(text: str) -> bool:
    plain = re.sub(r"\\(mathdefault|times|mathrm)|[${}^×\s]", "", text).replace("−", "-")
    return re.fullmatch(r"[-+]?[0-9.]+(e?[-+]?[0-9]+)?%?", plain) is not None


def unlabelled(figure: Figure) -> list[str]:
    """Directions of axes that say neither themselves nor beside them what they measure."""
    out = []
    for place, axis in enumerate(figure.axes):
        if not axis.axison or axis.get_label() == "<colorbar>":
            continue
        for which, label in (("x", axis.get_xlabel()), ("y", axis.get_ylabel())):
            ticks = axis.get_xticklabels() if which == "x" else axis.get_yticklabels()
            words = [t.get_text() for t in ticks if t.get_text()]
            categories = bool(words) and not any(is_number(word) for word in words)
            beside = any(_in_line(axis, other, which) for other in figure.axes if other is not axis)
            if not (label or categories or beside):
                out.append(f"{which} of axes {place}")
    for place, axis in enumerate(figure.axes):
        if axis.get_label() == "<colorbar>" and not (axis.get_ylabel() or axis.get_xlabel()):
            out.append(f"colour bar {place}")
    return out


def _in_line(axis: Axes, other: Axes, which: str) -> bool:
    """Whether another panel of the same row (y) or column (x) carries the label for both."""
    one, two = axis.get_subplotspec(), other.get_subplotspec()
    if one is None or two is None:
        return False
    if which == "y":
        return bool(other.get_ylabel()) and one.rowspan.start == two.rowspan.start
    return bool(other.get_xlabel()) and one.colspan.start == two.colspan.start


def alike(figure: Figure) -> list[tuple[str, str]]:
    """Pairs of named curves of one panel with equal dashes, marker, filling and width."""
    out = []
    for axis in figure.axes:
        seen: dict[tuple[Any, ...], str] = {}
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            if not isinstance(handle, Line2D):
                continue
            style = (_dashes(handle), str(handle.get_marker()), handle.get_fillstyle(), handle.get_linewidth())
            if style in seen:
                out.append((seen[style], label))
            seen[style] = label
    return out


def _dashes(line: Line2D) -> str:
    return "none" if line.get_linestyle() == "None" else str(getattr(line, "_unscaled_dash_pattern", None))


def legends(figure: Figure) -> list[list[str]]:
    found = [*figure.legends, *(axis.get_legend() for axis in figure.axes)]
    return [[text.get_text() for text in legend.get_texts()] for legend in found if legend is not None]


def strangers(figure: Figure) -> set[str]:
    """Entries of legends that name nothing drawn."""
    named = {label for axis in figure.axes for label in axis.get_legend_handles_labels()[1]}
    return {text for legend in legends(figure) for text in legend} - named


def words(text: str) -> set[str]:
    return {word.lower() for word in re.findall(r"[A-Za-zλαγδΔ]{3,}", text)}


def shown(figure: Figure) -> set[str]:
    texts = [text for legend in legends(figure) for text in legend]
    for axis in figure.axes:
        texts += [axis.get_xlabel(), axis.get_ylabel(), axis.get_title()]
        texts += [t.get_text() for t in (*axis.get_xticklabels(), *axis.get_yticklabels(), *axis.texts)]
    return words(" ".join(texts))


# --- Every figure -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", EVERY)
def test_axes_say_what_they_measure(name: str) -> None:
    figure = drawn(name)
    assert figure.axes and unlabelled(figure) == []


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.xfail(strict=True, reason="curves that differ in colour only"))
        if name in BY_COLOUR
        else name
        for name in EVERY
    ],
)
def test_no_curves_differ_in_colour_only(name: str) -> None:
    assert alike(drawn(name)) == []


@pytest.mark.parametrize("name", EVERY)
def test_legends_name_what_is_drawn_once(name: str) -> None:
    figure = drawn(name)
    for entries in legends(figure):
        assert all(entries) and len(set(entries)) == len(entries)
    if name != "three_spo_vs":  # its legend is of handles by name
        assert not strangers(figure)


@pytest.mark.parametrize("name", EVERY)
def test_captions_are_about_the_picture(name: str) -> None:
    part = FIGURES[name]
    assert part.caption == " ".join(part.caption.split()) and part.caption.endswith(".")
    assert len(part.caption) > 150 and part.title and not part.title.endswith(".")
    assert len(words(part.caption) & shown(drawn(name))) >= 2, shown(drawn(name))


@pytest.mark.parametrize("name", EVERY)
def test_claims_named_are_drawn_and_no_others(name: str) -> None:
    claims = FIGURES[name].claims
    assert set(tables(name)) == set(claims) and len(set(claims)) == len(claims)
    unread = len(claims) - len(drawing(name)[1].read)
    assert unread == BESIDE.get(name, 0)


@pytest.mark.parametrize("name", EVERY)
def test_drawing_changes_no_table(name: str) -> None:
    results = drawing(name)[1]
    for claim, data in tables(name).items():
        for column, values in data.table.items():
            np.testing.assert_array_equal(dict.__getitem__(results, claim).table[column], values)


@pytest.mark.parametrize("name", ["ddof", "singleton_rules"])
def test_a_figure_without_one_of_its_tables_is_no_figure(name: str) -> None:
    for claim in FIGURES[name].claims:
        with look(), pytest.raises(KeyError, match=re.escape(claim)):
            FIGURES[name].function({other: data for other, data in tables(name).items() if other != claim})


@pytest.mark.parametrize("name", ["ddof", "passk"])
def test_pictures_are_the_same_bytes_whatever_the_order_of_results(name: str) -> None:
    results = tables(name)
    turned = dict(reversed(list(results.items())))
    with look():
        once, again = (render(FIGURES[name].function(r), "png", dpi=60.0) for r in (results, turned))
        first = next(iter(results))
        half = {
            c: 0.5 * v if v.dtype.kind == "f" and c not in ("p", "gamma") else v
            for c, v in results[first].table.items()
        }
        other = render(FIGURES[name].function({**results, first: Data(half, results[first].meta)}), "png", dpi=60.0)
    assert once == again != other
    assert once.startswith(b"\x89PNG\r\n\x1a\n")


# The same questions, of pictures that fail them.


def plain(labels: tuple[str, ...], styled: bool) -> Figure:
    with look():
        figure, axis = new()
        for i, (label, style) in enumerate(series_styles(list(labels)).items()):
            axis.plot([0, 1], [0, i], **(style if styled else {"color": style["color"]}), label=label)
        axis.set(xlabel="x", ylabel="y")
        axis.legend()
        figure.draw_without_rendering()
    return figure


def test_curves_in_colours_alone_are_told() -> None:
    assert alike(plain(("a", "b", "c"), styled=True)) == []
    assert alike(plain(("a", "b", "c"), styled=False)) == [("a", "b"), ("b", "c")]


def test_missing_labels_are_told() -> None:
    figure = plain(("a",), styled=True)
    assert unlabelled(figure) == []
    figure.axes[0].set_xlabel("")
    assert unlabelled(figure) == ["x of axes 0"]
    figure.axes[0].set_xticks([0, 1], ["rows", "trajectories"])
    assert unlabelled(figure) == []
    figure.axes[0].set_ylabel("")
    assert unlabelled(figure) == ["y of axes 0"]


def test_a_label_on_another_row_is_not_enough() -> None:
    with look():
        figure, axes = new(2, 2)
        for axis in axes.flat:
            axis.plot([0, 1])
            axis.set_xlabel("x")
        axes[0, 0].set_ylabel("y")
        figure.draw_without_rendering()
    assert unlabelled(figure) == ["y of axes 2", "y of axes 3"]


def test_legends_of_nothing_are_told() -> None:
    figure = plain(("a", "b"), styled=True)
    assert strangers(figure) == set()
    figure.axes[0].legend(figure.axes[0].lines, ["a", "c"])
    # The legend says c, the curve says b.
    assert strangers(figure) == {"c"}


@pytest.mark.parametrize(
    ("text", "number"),
    [("0.5", True), ("−2", True), ("$\\mathdefault{10^{-3}}$", True), ("50%", True), ("rows", False), ("GRPO", False)],
)
def test_tick_labels_that_are_numbers(text: str, number: bool) -> None:
    assert is_number(text) == number
