"""The report: everything is in it, nothing is loaded from elsewhere, nothing that it is given becomes markup."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from creditsim.study.cells import CellResult
from creditsim.study.files import write_file
from figures.publish import Drawn
from figures.report import text
from figures.report.build import Report, html, write
from figures.report.own import own_studies
from figures.report.plot import interval_plot
from theory.ledger import Row
from theory.question import Answered, Question

NASTY = "<script>alert('x')</script> & \"quotes\" <img src=http://evil.example/x>"


def evidence(verdict: str = "supported", **changes: Any) -> dict[str, Any]:
    return {
        "kind": "<=",
        "statistic": 0.25,
        "prediction": 0.5,
        "interval": [None, 0.3],
        "margin": 0.0,
        "alpha": 0.01,
        "n": 1200,
        "verdict": verdict,
        "method": "t; normal",
        "note": "",
        "detail": {},
        "parts": [],
        **changes,
    }


def row(name: str = "toy.holds", verdict: str = "supported", **changes: Any) -> Row:
    made = Row(
        id=name,
        paper="Toy",
        statement="One equals one: 1 = 1.",
        text="One equals one: 1 = 1.\n\n    x = 1\n\nThat is all.",
        source="inferred",
        kind="identity",
        verdict=verdict,
        alpha=0.0,
        n=0,
        statistic=1.0,
        prediction=1.0,
        interval=(1.0, 1.0),
        margin=1e-12,
        relation="equality",
        p_adjusted=None,
        method="exact",
        note="",
        detail={"rounding": 3e-17, "many": list(range(30))},
        parts=(),
        broken="two instead",
        twin_verdict="refuted",
        twin_refuted=True,
        twin=evidence("refuted"),
        control=None,
        control_verdict=None,
        repaired=None,
        figure="",
        size="quick",
        seed=0,
        seconds=0.01,
        cell="0",
        defects=(),
    )
    return replace(made, **changes)


def report(rows: list[Row], folder: Path, **more: Any) -> str:
    return html(Report(rows, "quick", folder, **more))


class Page(HTMLParser):
    """Collects tags, ids, links and what would be loaded."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.loads: list[str] = []
        self.feed(source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            elif name == "href" and tag == "a":
                self.links.append(value or "")
            elif name in ("src", "href", "srcset", "data", "action", "poster"):
                self.loads.append(value or "")
            assert not name.startswith("on") or value == "return false"


def a_figure(folder: Path, caption: str = "A line.") -> Drawn:
    (folder / "line.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg" width="234pt" height="100pt"/>')
    return Drawn("line", "A line", caption, ("toy.holds",), {"line.svg": "0", "line.toy.holds.parquet": "0"}, "0")


def a_question(sentence: str = "It is `0.25`.", figure: str = "line") -> Answered:
    def answer(found: Any) -> str:
        """Why it matters.

        - one thing
        - another
        """
        return sentence

    asked = Question("question", "why", answer, title="Why?", asked="somebody #1", claims=("toy.holds",), figure=figure)
    return Answered(asked, sentence)


def test_all_of_it_is_there(tmp_path: Path) -> None:
    rows = [
        row(),
        row("toy.fails", "refuted", control="one", control_verdict="supported", repaired=evidence()),
        row("toy.sometimes", "conditional", parts=(evidence(note="small"), evidence("refuted", note="large"))),
        row("toy.sampled", "inconclusive", alpha=2e-5, n=4000, p_adjusted=1e-12, interval=(0.5, 1.5)),
        row("toy.broken", defects=("the twin came out supported",), twin_refuted=False, twin_verdict="supported"),
    ]
    source = report(
        rows,
        tmp_path,
        figures=[a_figure(tmp_path)],
        questions=[a_question()],
        failed={"toy.crashed": "ValueError: no"},
        changed=["toy.fails: supported -> refuted"],
    )
    page = Page(source)
    for made in rows:
        assert f"claim-{made.id}" in page.ids and f"#claim-{made.id}" in page.links
        assert f"creditsim claims check {made.id} --size quick" in source
    assert {"question-why", "figure-line"} <= set(page.ids)
    for words in (
        "toy.crashed",
        "ValueError: no",
        "supported -&gt; refuted",
        "the twin came out supported",
        "Not decided",
    ):
        assert words in source, words
    assert "figures/line.toy.holds.parquet" in page.links
    assert len(page.ids) == len(set(page.ids))
    assert [link for link in page.links if link.startswith("#") and link[1:] not in page.ids] == []
    # What does not hold comes before the ledger, and refuted before conditional.
    assert source.index("Refuted (1)") < source.index("Holds in one regime") < source.index('id="ledger"')


def test_without_questions_figures_or_rows(tmp_path: Path) -> None:
    page = Page(report([row()], tmp_path))
    assert "questions" not in page.ids and "figures" not in page.ids and "claim-toy.holds" in page.ids
    assert "ledger" in Page(report([], tmp_path)).ids


def test_hostile_text_stays_text(tmp_path: Path) -> None:
    made = row(
        "toy.x",
        "conditional",
        statement=NASTY,
        text=NASTY,
        paper=NASTY,
        note=NASTY,
        broken=NASTY,
        detail={NASTY: NASTY, "critical": NASTY},
        parts=(evidence(note=NASTY), evidence("refuted", note=NASTY)),
        defects=(NASTY,),
    )
    source = report(
        [made],
        tmp_path,
        figures=[a_figure(tmp_path, caption=NASTY)],
        questions=[a_question(NASTY)],
        failed={NASTY: NASTY},
        changed=[NASTY],
    )
    page = Page(source)
    assert page.tags.count("script") == 1 and "evil.example" in source
    assert page.tags.count("img") == 2 and all(load.startswith("data:image/") for load in page.loads)


def test_nothing_is_loaded_and_only_our_script_may_run(tmp_path: Path) -> None:
    source = report([row()], tmp_path, figures=[a_figure(tmp_path)])
    assert all(load.startswith("data:") for load in Page(source).loads)
    assert not re.search(r"url\(|@import|https?://(?!www\.w3\.org)", source)
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', source)
    (script,) = re.findall(r"<script>(.*?)</script>", source, re.S)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy.replace("&#39;", "'") == (
        f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    )


def test_filters_are_hidden_without_script_and_every_item_can_be_filtered(tmp_path: Path) -> None:
    source = report([row(), row("toy.fails", "refuted")], tmp_path)
    assert re.search(r'<form class="filters" id="filters" hidden', source)
    assert source.count('data-paper="Toy" data-verdict="refuted"') == 2  # its line and its article


def test_large_drawings_are_embedded_as_png(tmp_path: Path) -> None:
    (tmp_path / "line.png").write_bytes(b"png")
    drawn = a_figure(tmp_path)
    (tmp_path / "line.svg").write_text("<svg>" + " " * 800_000)
    assert "data:image/png;base64," + base64.b64encode(b"png").decode() in report([row()], tmp_path, figures=[drawn])


def test_the_file_is_whole(tmp_path: Path) -> None:
    path = write(Report([row()], "quick", tmp_path), tmp_path)
    assert path.read_text(encoding="utf-8").rstrip().endswith("</html>")
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.123456, "0.1235"),
        (-2.0, "−2"),
        (1e-17, "0"),
        (-3.3e-16, "0"),
        (1.5e-7, "1.5 × 10⁻⁷"),
        (123456.789, "1.235 × 10⁵"),
        (99999.0, "99999"),
        (0.5, "0.5"),
        (None, "–"),
        (float("inf"), "∞"),
        (float("nan"), "–"),
        (True, "yes"),
        (12345, "12\u2009345"),
        ("text", "text"),
    ],
)
def test_numbers_as_shown(value: Any, shown: str) -> None:
    assert text.number(value) == shown


def test_intervals_p_values_and_what_is_stated() -> None:
    assert text.interval((None, 0.25)) == "[−∞, 0.25]"
    assert (text.p_value(1e-12), text.p_value(0.00321)) == ("< 10⁻⁹", "= 0.00321")
    assert text.predicted(evidence()) == "≤\u00a00.5"
    assert text.predicted(evidence(kind="equality", margin=0.1)) == "=\u00a00.5 ± 0.1"
    assert text.predicted(evidence(kind="equality", margin=1e-12, alpha=0.0)) == "=\u00a00.5"
    assert text.predicted(row(parts=(evidence(), evidence()))) == "≤\u00a00.5"


def test_headlines_end_at_a_sentence_and_prose_keeps_formulas() -> None:
    assert text.headline("Short: a = b, and so it goes on for quite a while until it ends. More.") == (
        "Short: a = b, and so it goes on for quite a while until it ends."
    )
    assert text.headline("x" * 40 + " over 1 ... 100 for all, and also for the rest: yes") == (
        "x" * 40 + " over 1 ... 100 for all, and also for the rest."
    )
    assert text.headline("By its tenth visit a state can still get 3 of 8 branches (README, fig. 9). More.") == (
        "By its tenth visit a state can still get 3 of 8 branches (README, fig. 9)."
    )
    assert text.headline(
        "What is saved is not lost: alignment(a) >= alignment(b), alignment = E[g . d] / E|g|. So."
    ) == ("What is saved is not lost: alignment(a) &gt;= alignment(b), alignment = E[g . d] / E|g|.")
    assert str(text.headline("word " * 100)).endswith(" …")
    assert "<pre>x &lt; 1</pre>" in text.prose("Text.\n\n    x < 1\n\nMore `code`.")
    assert "<code>code</code>" in text.prose("More `code`.") and "<li>b</li>" in text.prose("- a\n- b")


def test_details_are_flattened_and_cut() -> None:
    rows = dict(text.detail_rows({"a_b": 1.0, "one": {"x": 1, "y": 2.5}, "deep": {"k": {"x": [1, 2]}}, "l": [1] * 30}))
    assert rows == {
        "a_b": "1",
        "one": "x: 1; y: 2.5",
        "deep · k · x": "1, 2",
        "l": ", ".join("1" * 12) + ", … (30 entries)",
    }
    assert len(text.detail_rows({str(i): i for i in range(100)})) == 61


def test_plots_stay_inside_and_shade_what_is_allowed() -> None:
    drawn = str(interval_plot(evidence()))
    assert 'class="allowed"' in drawn
    places = [float(x) for x in re.findall(r'(?:x1|x2|cx)="([0-9.-]+)"', drawn)]
    assert len(places) == 5 and all(0 <= x <= 160 for x in places)
    assert interval_plot(evidence(prediction=None)) == ""


def cell(
    folder: Path, name: str, estimator: str, value: float, function: str = "creditsim.study.variance:run_cell"
) -> None:
    quantities = ["bias_rms", "variance", "mse", "gradient_cosine"]
    table = {
        "scope": np.array(["all"] * 4),
        "quantity": np.array(quantities),
        **{end: np.full(4, value + shift) for end, shift in (("value", 0), ("low", -0.1), ("high", 0.1))},
    }
    spec = {"estimator": estimator, "environment": "chain@tiny", "policy": "uniform", "group_size": 8, "groups": 1}
    write_file(folder / f"{name}.parquet", CellResult(table, {"replicates": 300}), {"function": function, "spec": spec})


def test_own_estimators_stand_beside_published_ones(tmp_path: Path) -> None:
    assert own_studies(tmp_path) == []
    study = tmp_path / "mine"
    study.mkdir()
    cell(study, "a", "grpo", 0.5)
    assert own_studies(tmp_path) == []
    cell(study, "b", "my_module:mine", 0.25)
    cell(study, "c", "other", 0.1, function="elsewhere:run")
    (study / "bad.parquet").write_bytes(b"no")
    (found,) = own_studies(tmp_path)
    assert [line[0] for line in found.lines] == ["my_module:mine", "grpo"]
    assert len(found.lines[0]) == len(found.columns)
    source = report([row()], tmp_path, own=[found])
    assert "my_module:mine" in source and "[0.15, 0.35]" in source and 'id="own"' in source
