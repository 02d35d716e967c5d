"""docs/golden-files.md: its example runs, and it names everything there is."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from golden_cases import GOLDEN

from creditsim.cli import main
from creditsim.conformance.base import ADAPTERS
from creditsim.conformance.read import read_golden

PAGE = (Path(__file__).parents[2] / "docs" / "golden-files.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)


def test_the_example_writes_a_file_that_passes(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    subprocess.run([sys.executable, "-c", BLOCKS[0]], cwd=tmp_path, check=True)
    assert main(["conformance", str(tmp_path)]) == 0
    assert "ok   my_rloo.json  2/2 cases" in capsys.readouterr().out


def test_the_example_with_a_mistake_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Leaving one's own score in the mean is the mistake the comparison is for."""
    wrong = BLOCKS[0].replace(" and j != i", "")
    assert wrong != BLOCKS[0]
    subprocess.run([sys.executable, "-c", wrong], cwd=tmp_path, check=True)
    assert main(["conformance", str(tmp_path)]) == 1
    assert "first failing case pairs" in capsys.readouterr().out


def test_the_adapter_example_works(tmp_path: Path):
    names: dict[str, object] = {}
    exec(BLOCKS[1], names)  # noqa: S102 # our own page
    try:
        file = read_golden(GOLDEN / "grpo.json")
        case = file.cases[0]
        got = ADAPTERS["my_estimator"].function(case.params, case.inputs)
        assert len(got["advantage"]) == len(case.inputs["group"])
    finally:
        ADAPTERS.remove("my_estimator")


def test_the_page_names_every_adapter_and_every_field_of_the_golden_files():
    words = set(re.findall(r"`([^`]+)`", re.sub(r"```.*?```", "", PAGE, flags=re.DOTALL)))
    named = words | {part for word in words for part in re.findall(r"\w+", word)}
    assert set(ADAPTERS.names()) <= named
    for path in GOLDEN.glob("*.json"):
        for case in read_golden(path).cases:
            for part in (case.params, case.inputs, case.expected):
                assert set(part) <= named, path.name
