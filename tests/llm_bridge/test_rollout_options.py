"""`creditsim bridge rollout`: files of numbers alone, and models that imitate before they act."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from creditsim.cli import main
from creditsim.rollouts_file import read_numbers
from llm_bridge.collect.store import read_rollouts

LINE = "bridge rollout --env table --groups 2 --group-size 3 --seed 4"


def said(capsys: pytest.CaptureFixture[str], line: str) -> tuple[int, str]:
    code = main(line.split())
    out = capsys.readouterr()
    return code, out.out + out.err


def test_numbers_alone_are_the_same_numbers_in_a_smaller_file(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    whole, bare = tmp_path / "whole", tmp_path / "bare"
    assert said(capsys, f"{LINE} --out {whole}")[0] == 0
    assert said(capsys, f"{LINE} --out {bare} --numbers-only")[0] == 0
    words, numbers = read_rollouts(whole), read_rollouts(bare)
    assert words.records is not None and numbers.records is None
    assert bare.stat().st_size < whole.stat().st_size
    for name in ("offsets", "observation", "action", "reward", "state", "task"):
        np.testing.assert_array_equal(words.rollouts.column(name), numbers.rollouts.column(name))
    # Names of tasks stay, nothing that was seen or said does.
    assert words.interner is not None and numbers.interner is not None
    assert numbers.interner.names() == {"task": words.interner.names()["task"]}
    assert b"You are at" not in bare.read_bytes()
    assert read_numbers(bare).facts["made"]["numbers_only"]


def test_what_cannot_learn_cannot_imitate(capsys: pytest.CaptureFixture[str]) -> None:
    code, text = said(capsys, f"{LINE} --imitate 2")
    assert code == 2 and "0 for random" in text and text.count("\n") == 1


@pytest.mark.slow
def test_a_model_that_has_imitated_wins_more(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    rate = []
    for more in ("", "--imitate 16 --imitate-epochs 12"):
        path = tmp_path / "r"
        line = f"bridge rollout --env table --policy tiny --style compact --groups 8 --seed 1 {more} --out {path}"
        assert said(capsys, line)[0] == 0
        rate.append(read_numbers(path).rollouts.trajectory_columns["success"].mean())
    assert rate[1] > rate[0] + 0.3
