"""The reader of stored rollouts: what the bridge's own reader gives, bit by bit; one line for what is no such file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from creditsim.errors import CorruptFileError, InputError
from creditsim.mdp import SoftmaxPolicy, make
from creditsim.rollouts import FIELDS, Rollouts
from creditsim.rollouts_file import KIND, SCHEMA, read_numbers
from creditsim.sampling import DESIGNS, TableSampler
from creditsim.study.files import write_sealed
from llm_bridge.collect.interner import Interner
from llm_bridge.collect.store import read_rollouts, write_rollouts


def drawn(design: str = "independent") -> Rollouts:
    mdp = make("chain@tiny")
    rollouts, _ = DESIGNS.bind(design)(TableSampler(mdp, groups=2, seed=1), SoftmaxPolicy.uniform(mdp), None)
    return rollouts.with_trajectory_columns(who=np.array([f"é{i}" for i in range(rollouts.n_trajectories)]))


def identical(a: Rollouts, b: Rollouts) -> None:
    assert (list(a.columns), list(a.trajectory_columns)) == (list(b.columns), list(b.trajectory_columns))
    for name in [*FIELDS, *a.columns, *a.trajectory_columns]:
        one, other = a.column(name), b.column(name)
        assert (one.dtype, one.shape, one.tobytes()) == (other.dtype, other.shape, other.tobytes()), name
    assert {k: v.tolist() for k, v in a.labels.items()} == {k: v.tolist() for k, v in b.labels.items()}


@pytest.mark.parametrize("design", ["independent", "branching"])
def test_numbers_are_those_of_the_bridge_and_those_written(design: str, tmp_path: Path) -> None:
    rollouts = drawn(design)
    write_rollouts(tmp_path / "r", rollouts, None, Interner({"task": ["a", "b"]}), {"seed": 1})
    found = read_numbers(tmp_path / "r")
    identical(rollouts, found.rollouts)
    identical(read_rollouts(tmp_path / "r").rollouts, found.rollouts)
    assert found.facts["made"] == {"seed": 1} and found.facts["names"] == {"task": ["a", "b"]}
    assert found.facts["provenance"]["versions"]["creditsim"]


def test_labels_and_order_of_rows_come_back(tmp_path: Path) -> None:
    loose = Rollouts.from_steps(
        group=["g", "g", "h"], traj=["b", "a", "c"], reward=[1.0, 0.0, 2.0], observation=["x", "y", "x"],
    )  # fmt: skip
    write_rollouts(tmp_path / "r", loose)
    again = read_numbers(tmp_path / "r").rollouts
    identical(loose, again)
    assert again.labels["observation"].tolist() == ["x", "y"]


def test_damage_and_other_files_are_one_line(tmp_path: Path) -> None:
    path = tmp_path / "r"
    with pytest.raises(InputError, match="no file"):
        read_numbers(path)
    write_rollouts(path, drawn())
    whole = path.read_bytes()
    path.write_bytes(whole[:-9] + b"x" + whole[-8:])
    with pytest.raises(CorruptFileError, match="checksum") as told:
        read_numbers(path)
    assert "\n" not in str(told.value)
    facts = {"schema": SCHEMA, "kind": KIND, "layout": {}, "labels": {}, "row_order": None}
    for changed, error, message in (
        ({"kind": "a study"}, InputError, "another kind"),
        ({"schema": SCHEMA + 1}, InputError, "update creditsim"),
        ({}, CorruptFileError, "KeyError 'observation'"),
    ):
        write_sealed(path, pa.table({"a": [1]}), {**facts, **changed})
        with pytest.raises(error, match=message):
            read_numbers(path)
