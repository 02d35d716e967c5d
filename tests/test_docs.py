"""Documentation pages: reference pages match the registries, the snippets of the guide run as printed."""

from __future__ import annotations

from pathlib import Path

import pytest
from doc_blocks import ROOT, commands, run, scripts, write_modules

from creditsim import estimators
from creditsim.inventory import Entry, entries
from creditsim.reference import formula, pages, write

GUIDE = "docs/own-estimator.md"


@pytest.mark.parametrize("name", ["estimators.md", "environments.md", "methods.md"])
def test_reference_page_is_not_stale(name: str) -> None:
    assert (ROOT / "docs" / name).read_text(encoding="utf-8") == pages()[name], f"docs/{name} is stale: make docs"


def test_every_registered_name_has_one_row() -> None:
    made = pages()
    for kind in ("estimators", "environments", "methods"):
        rows = [line for line in made[f"{kind}.md"].splitlines() if line.startswith("| `")]
        names = [entry.name for entry in entries(kind)]
        assert [row.split("`")[1] for row in rows] == names
        assert len({row.replace(r"\|", "").count("|") for row in rows}) == 1


def test_rows_carry_presets_and_evidence() -> None:
    rows = {line.split("`")[1]: line for line in pages()["estimators.md"].splitlines() if line.startswith("| `")}
    assert sorted(rows) == estimators()
    for entry in entries("estimators"):
        assert all(f"`{preset}`" in rows[entry.name] for preset in entry.presets)
        assert rows[entry.name].rstrip(" |").endswith(entry.evidence["estimator"])


@pytest.mark.parametrize(
    ("name", "equation"),
    [
        ("rloo", "A_i = S_i - 1/(n-1) sum_{j != i} S_j = n/(n-1) (S_i - mean_g)"),
        ("grpo", "A_i = (S_i - mean_g) / (std_g + eps)"),
        ("gigpo", "A_{i,t} = A^E_{i,t} + step_weight * A^S_{i,t}"),
        ("hgpo", "A = sum_L w_L a_L"),
    ],
)
def test_formula_is_the_first_equation_of_the_docstring(name: str, equation: str) -> None:
    (entry,) = [entry for entry in entries("estimators") if entry.name == name]
    assert formula(entry) == equation


def test_formula_of_a_text_without_one_is_empty() -> None:
    assert formula(Entry("estimator", "x", "", "Something. It has no equation; B = 2.", "", {})) == ""


def test_an_equation_ends_where_its_sentence_does() -> None:
    entry = Entry("estimator", "x", "", "Less the mean.\n\nA_t = G_t - b, b the mean of 1.5 G. Then more.", "", {})
    assert formula(entry) == "A_t = G_t - b"


def test_write_makes_the_folder(tmp_path: Path) -> None:
    written = write(tmp_path / "new" / "docs")
    assert [path.name for path in written] == list(pages())
    assert all(path.read_text(encoding="utf-8") == pages()[path.name] for path in written)


def test_guide_runs_as_printed(tmp_path: Path) -> None:
    write_modules(GUIDE, tmp_path)
    assert (tmp_path / "my_module.py").exists()
    found = list(scripts(GUIDE))
    assert sum(script.printed is not None for script in found) >= 2
    for script in found:
        done = run(["-c", script.text], tmp_path)
        assert done.returncode == 0, done.stderr
        if script.printed is not None:
            assert done.stdout == script.printed


@pytest.mark.parametrize("command", commands(GUIDE), ids=lambda command: command[0])
def test_guide_commands_run(command: list[str], tmp_path: Path) -> None:
    write_modules(GUIDE, tmp_path)
    shorter = {"--replicates": ["64", "--workers", "1"], "--updates": ["2"]}
    arguments: list[str] = []
    for before, argument in zip(["", *command], command, strict=False):
        arguments += shorter.get(before, [argument])
    done = run(["-m", "creditsim", *arguments], tmp_path)
    assert done.returncode == 0, done.stderr


def test_guide_and_readme_show_the_same_estimator(tmp_path: Path) -> None:
    texts = []
    for page in (GUIDE, "README.md"):
        write_modules(page, tmp_path)
        texts.append((tmp_path / "my_module.py").read_text(encoding="utf-8"))
    assert texts[0] == texts[1]
