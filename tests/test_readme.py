"""The README: its example runs as printed, its commands exist, its links lead somewhere, its picture is small."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from doc_blocks import ROOT, blocks, commands, run, scripts, write_modules

from creditsim.cli import COMMANDS

PAGES = ("README.md", "docs/index.md", "docs/own-estimator.md", "CONTRIBUTING.md")
MADE = ("docs/gallery", "docs/questions")
"""Folders that `make gallery` fills."""


def test_the_example_runs_as_printed(tmp_path: Path) -> None:
    (example,) = scripts("README.md")
    assert example.printed
    done = run(["-c", example.text], tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == example.printed


def test_the_example_is_short() -> None:
    (example,) = scripts("README.md")
    assert len([line for line in example.text.splitlines() if line.strip()]) <= 22


def test_a_changed_example_would_be_noticed(tmp_path: Path) -> None:
    """The twin: another seed prints other numbers."""
    (example,) = scripts("README.md")
    done = run(["-c", example.text.replace("seed=0", "seed=1").replace("10_000", "100")], tmp_path)
    assert done.returncode == 0
    assert done.stdout != example.printed


def test_the_study_of_an_own_estimator_runs(tmp_path: Path) -> None:
    write_modules("README.md", tmp_path)
    (arguments,) = [a for a in commands("README.md") if a[:2] == ["study", "variance"]]
    arguments[arguments.index("--replicates") + 1] = "64"
    done = run(["-m", "creditsim", *arguments, "--workers", "1"], tmp_path)
    assert done.returncode == 0, done.stderr
    assert "my_module:same_step" in done.stdout
    assert list((tmp_path / "results/study").glob("*.parquet"))


@pytest.mark.parametrize("page", PAGES)
def test_commands_of_a_page_exist(page: str) -> None:
    for arguments in commands(page):
        assert arguments[0] in COMMANDS or arguments[0] == "--help", arguments


def test_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    named = {m for b in blocks("README.md") for m in re.findall(r"^make (\w+)", b.text, re.MULTILINE)}
    assert named == {"demo", "reproduce", "test"}
    for target in (*named, "docs", "gallery"):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    links = [link.split("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link]
    for link in links:
        target = ((ROOT / page).parent / link).resolve()
        made = target.relative_to(ROOT.resolve()).as_posix() in MADE
        assert target.exists() or made, link


def test_the_picture_is_there_and_small() -> None:
    (picture,) = re.findall(r"!\[[^\]]+\]\(([^)]+\.png)\)", (ROOT / "README.md").read_text(encoding="utf-8"))
    content = (ROOT / picture).read_bytes()
    assert content.startswith(b"\x89PNG")
    assert len(content) < 300_000


def test_nothing_of_the_workshop_is_named() -> None:
    for path in [ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")]:
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"/work/|/root/|/tmp/|issue \d|helper session", text), path
