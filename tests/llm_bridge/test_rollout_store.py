"""Stored rollouts come back bit by bit with their texts, and a damaged file is one line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from bridge_cases import DESIGNS as CASES
from bridge_cases import bare, same, text_sampler, told
from hypothesis import given
from hypothesis import strategies as st

from creditsim.errors import CorruptFileError, InputError
from creditsim.mdp import SoftmaxPolicy, make
from creditsim.rollouts import FIELDS, Rollouts
from creditsim.sampling import DESIGNS, TableSampler
from creditsim.study.files import write_sealed
from llm_bridge.collect.interner import Interner
from llm_bridge.collect.records import Records, with_outcomes
from llm_bridge.collect.sampler import TextSampler
from llm_bridge.collect.store import SCHEMA, read_rollouts, write_rollouts
from llm_bridge.policies.plain import RandomPolicy


def everything(rollouts: Rollouts) -> list[str]:
    return [*FIELDS, *rollouts.columns, *rollouts.trajectory_columns]


def identical(a: Rollouts, b: Rollouts) -> None:
    assert (list(a.columns), list(a.trajectory_columns)) == (list(b.columns), list(b.trajectory_columns))
    same(a, b, everything(a))
    assert {k: (v.dtype, v.tolist()) for k, v in a.labels.items()} == {
        k: (v.dtype, v.tolist()) for k, v in b.labels.items()
    }
    assert (a.row_order is None) == (b.row_order is None)
    if a.row_order is not None and b.row_order is not None:
        assert np.array_equal(a.row_order, b.row_order)


@pytest.mark.parametrize("name", CASES)
def test_every_design_comes_back_with_its_texts(name: str, tmp_path: Path) -> None:
    tasks = told("chain@small", slip=0.2)
    sampler = text_sampler(tasks, groups=2, seed=1)
    drawn, _ = DESIGNS.bind(name, **CASES[name])(sampler, RandomPolicy(), None)
    drawn = with_outcomes(drawn, sampler.records, sampler.interner)
    path = tmp_path / "r.parquet"
    write_rollouts(path, drawn, sampler.records, sampler.interner, {"policy": "random", "seed": 1})
    stored = read_rollouts(path)
    identical(drawn, stored.rollouts)
    assert stored.records is not None and stored.interner is not None
    for row, number in enumerate(drawn.columns["record"].tolist()):
        mine, its = sampler.records[number], stored.records[number]
        assert replace(mine, after=None, response=its.response) == its
        assert (mine.response.text, mine.response.action) == (its.response.text, its.response.action)
        np.testing.assert_array_equal(mine.response.tokens, its.response.tokens)
        assert mine.response.log_probs.tobytes() == its.response.log_probs.tobytes()
        assert stored.interner.names()["observation"][drawn.observation[row]] == its.observation.anchor
    assert stored.facts["made"] == {"policy": "random", "seed": 1}
    assert stored.facts["provenance"]["versions"]["creditsim"]


def test_stored_episodes_can_be_gone_on_from(tmp_path: Path) -> None:
    """The file stands for the run: going on from it draws what going on in memory draws."""
    tasks = told("chain@small", slip=0.3)
    sampler = text_sampler(tasks, groups=2, seed=4)
    drawn = sampler.extend(copies=2, steps=4, policy=RandomPolicy())
    path = tmp_path / "r.parquet"
    write_rollouts(path, drawn, sampler.records, sampler.interner)
    stored = read_rollouts(path)
    other = TextSampler(
        sampler.fleet, bare, groups=2, seed=4, records=stored.records, interner=stored.interner
    )  # fmt: skip
    rows = np.flatnonzero(sampler.continues(drawn))
    grown = [
        each.extend(rollouts, after=rows, policy=RandomPolicy())
        for each, rollouts in ((sampler, drawn), (other, stored.rollouts))
    ]
    same(grown[0], grown[1], everything(grown[0]))


def test_rollouts_of_tables_are_stored_as_well(tmp_path: Path) -> None:
    mdp = make("tokens@tiny")
    table = TableSampler(mdp, batches=3, groups=2, seed=1).extend(copies=4, policy=SoftmaxPolicy.random(mdp, 0))
    chain = make("chain@tiny")
    tree, _ = DESIGNS.bind("branching")(TableSampler(chain), SoftmaxPolicy.uniform(chain), None)
    for name, rollouts in {"plain": table, "tree": tree, "paths": tree.paths()[0]}.items():
        write_rollouts(tmp_path / name, rollouts)
        stored = read_rollouts(tmp_path / name)
        identical(rollouts, stored.rollouts)
        assert stored.records is None and stored.interner is None


def test_odd_numbers_shapes_labels_and_empty_trajectories_come_back(tmp_path: Path) -> None:
    quiet_nan = np.array([0x7FF8000000000123], np.uint64).view(np.float64)[0]
    odd = Rollouts(
        offsets=np.array([0, 0, 2, 2, 3]),
        parent=np.array([-1, -1, 0, 1]),
        group=np.array([0, 0, 0, 1]),
        batch=np.zeros(4, np.int64),
        terminated=np.array([True, False, True, False]),
        observation=np.array([2**62, 0, 1]),
        action=np.array([0, 1, 2]),
        reward=np.array([-0.0, np.inf, quiet_nan]),
        step=np.array([0, 1, 2]),
        columns={
            "reward_K": np.arange(6.0).reshape(3, 2),
            "deep": np.arange(12, dtype=np.int32).reshape(3, 2, 2),
            "single": np.array([1, 2, 3], np.float32),
            "flag": np.array([True, False, True]),
            "word": np.array(["a", "böse <b>", ""]),
        },
        trajectory_columns={"flag": np.array([True] * 4), "metric": np.arange(4.0), "who": np.array(list("abcd"))},
        row_order=np.array([2, 0, 1]),
        labels={"observation": np.array(["x", "y"], object), "group": np.array([7, -3]), "traj": np.array(["a", "bc"])},
    )
    write_rollouts(tmp_path / "odd", odd)
    identical(odd, read_rollouts(tmp_path / "odd").rollouts)


@given(
    lengths=st.lists(st.integers(0, 4), min_size=1, max_size=6),
    numbers=st.lists(st.floats(allow_nan=True), min_size=24, max_size=24),
)
def test_any_lengths_and_numbers_come_back(
    tmp_path_factory: pytest.TempPathFactory, lengths: list[int], numbers: list[float]
) -> None:
    m, n = sum(lengths), len(lengths)
    rollouts = Rollouts(
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        parent=np.full(n, -1),
        group=np.arange(n),
        batch=np.zeros(n, np.int64),
        terminated=np.zeros(n, bool),
        observation=np.arange(m),
        action=np.arange(m),
        reward=np.array(numbers[:m], np.float64),
        step=np.arange(m),
        columns={"x": np.array(numbers, np.float64)[: 2 * (m // 2)].reshape(-1, 2)[:0].reshape(0, 2)} if m == 0 else {},
    )
    path = tmp_path_factory.mktemp("r") / "r.parquet"
    write_rollouts(path, rollouts)
    identical(rollouts, read_rollouts(path).rollouts)


def test_any_tool_reads_the_file(tmp_path: Path) -> None:
    sampler = text_sampler(told())
    drawn = sampler.extend(copies=2, policy=RandomPolicy())
    write_rollouts(tmp_path / "r.parquet", drawn, sampler.records)
    table = pq.ParquetFile(tmp_path / "r.parquet").read()
    assert table.num_rows == 2
    assert table.column("reward").to_pylist()[0] == drawn.reward[: drawn.offsets[1]].tolist()
    assert table.column("text.observation").to_pylist()[0][0] == "You are at place 0."


def test_arrays_of_torch_are_stored_as_numpy(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    drawn = text_sampler(told()).extend(policy=RandomPolicy())
    write_rollouts(tmp_path / "r", drawn.map_arrays(torch.as_tensor))
    identical(drawn, read_rollouts(tmp_path / "r").rollouts)


# --- What cannot be read or written -----------------------------------------------------------------------------------


def stored_file(folder: Path) -> Path:
    path = folder / "r.parquet"
    sampler = text_sampler(told())
    drawn = sampler.extend(policy=RandomPolicy())
    write_rollouts(path, drawn, sampler.records)
    return path


def test_one_flipped_bit_anywhere_is_seen(tmp_path: Path) -> None:
    path = stored_file(tmp_path)
    whole = path.read_bytes()
    for at in np.linspace(0, len(whole) - 1, 40).astype(int):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :])
        with pytest.raises((CorruptFileError, InputError), match="checksum"):
            read_rollouts(path)
    for cut in (0, 10, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:cut])
        with pytest.raises(CorruptFileError) as told_of:
            read_rollouts(path)
        assert "\n" not in str(told_of.value)


def facts(**changes: Any) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "kind": "rollouts",
        "layout": {},
        "labels": {},
        "row_order": None,
        "texts": False,
    } | changes


@pytest.mark.parametrize(
    ("given_facts", "error", "message"),
    [
        (facts(kind="a study"), InputError, "results of another kind"),
        (facts(schema=SCHEMA + 1), InputError, "update creditsim"),
        (facts(), CorruptFileError, "KeyError 'observation'"),
    ],
)
def test_other_files_are_refused_in_one_line(
    tmp_path: Path, given_facts: dict[str, Any], error: type[Exception], message: str
) -> None:
    write_sealed(tmp_path / "x", pa.table({"a": [1]}), given_facts)
    with pytest.raises(error, match=message):
        read_rollouts(tmp_path / "x")


def test_paths_and_kinds_that_cannot_be_stored(tmp_path: Path) -> None:
    drawn = text_sampler(told()).extend(policy=RandomPolicy())
    with pytest.raises(InputError, match="no file"):
        read_rollouts(tmp_path / "none")
    with pytest.raises(InputError, match="no folder"):
        write_rollouts(tmp_path / "none" / "r", drawn)
    with pytest.raises(InputError, match="column mine: got values of type complex128"):
        write_rollouts(tmp_path / "r", drawn.with_columns(mine=drawn.reward * 1j))
    with pytest.raises(InputError, match="no axis of length 0"):
        write_rollouts(tmp_path / "r", drawn.with_columns(mine=np.zeros((drawn.n_rows, 0))))
    with pytest.raises(InputError, match="labels of group: got labels of type float"):
        write_rollouts(tmp_path / "r", replace(drawn, labels={"group": np.array([0.5])}))
    assert list(tmp_path.iterdir()) == []


# --- Records and names ------------------------------------------------------------------------------------------------


def test_records_keep_the_paths_that_are_asked_for_and_number_on() -> None:
    sampler = text_sampler(told())
    tree, _ = DESIGNS.bind("branching", **CASES["branching"])(sampler, RandomPolicy(), None)
    records = sampler.records
    leaf = int(tree.columns["record"][-1])
    path, many = records.path(leaf), len(records)
    records.keep([leaf])
    assert list(records) == path
    with pytest.raises(InputError, match="one of the"):
        records[max(set(range(many)) - set(path))]
    assert records.add(records[leaf]) == many
    assert records.path(-1) == []


def test_records_need_all_their_columns() -> None:
    with pytest.raises(InputError, match="no column previous"):
        Records.from_columns({"record": [0]})


def test_names_keep_their_ids() -> None:
    interner = Interner({"observation": ["b", "a"]})
    assert interner.ids("observation", ["a", "c", "b", "c"]).tolist() == [1, 2, 0, 2]
    assert interner.ids("action", ["a"]).tolist() == [0]
    again = Interner(interner.names())
    assert again.ids("observation", ["c", "d", "a"]).tolist() == [2, 3, 1]
    with pytest.raises(InputError, match="one name twice"):
        Interner({"action": ["a", "a"]})
