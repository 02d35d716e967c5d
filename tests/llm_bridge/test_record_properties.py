"""Records, names and files with any text in them, against plain models; and damage anywhere is one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from creditsim.errors import CorruptFileError, InputError
from creditsim.rollouts import Rollouts
from llm_bridge.collect import records as module
from llm_bridge.collect.interner import Interner
from llm_bridge.collect.records import Record, Records
from llm_bridge.collect.store import read_rollouts, write_rollouts
from llm_bridge.envs.base import Observation, Outcome, Snapshot
from llm_bridge.policies.base import Prompt, Response, Stream

ODD = (
    "<script>alert(1)</script>", "&lt;", "", " ", "\x00", "a\r\nb", "看", "👩\u200d🚀", "\u202e", "NaN", "null", "a/b",
    "'\"\\",
)  # fmt: skip
text = st.one_of(st.sampled_from(ODD), st.text(max_size=12))
commands = st.lists(text, max_size=3).map(tuple)
number = st.floats(allow_nan=False, width=64)
count = st.integers(-(2**62), 2**62)


@st.composite
def observations(draw: st.DrawFn, task: str) -> Observation:
    return Observation(draw(text), draw(text), draw(commands), task, draw(st.one_of(st.none(), text)))


@st.composite
def steps(draw: st.DrawFn, previous: int = -1) -> Record:
    task = draw(text)
    drawn = draw(st.lists(st.tuples(count, number), max_size=3))
    tokens, log_probs = np.array([t for t, _ in drawn], np.int64), np.array([p for _, p in drawn], np.float64)
    said = Response(draw(text), draw(text), tokens, log_probs, draw(number), draw(st.booleans()))
    done, won, accepted = (draw(st.booleans()) for _ in range(3))
    outcome = Outcome(draw(observations(task)), draw(number), done, won, accepted, draw(number))
    stream = Stream(draw(st.integers(-(10**30), 10**30)), draw(st.integers(0, 2**40)), draw(st.integers(0, 2**30)))
    prompt = Prompt(draw(text), draw(commands))
    place = draw(st.one_of(st.none(), st.just(Snapshot(task, 1, ("go",)))))
    return Record(task, previous, stream, draw(observations(task)), prompt, said, outcome, place)


def like(a: Record, b: Record) -> bool:
    """Equal but for the place, arrays by their bits."""
    fields = ("task", "previous", "stream", "observation", "prompt", "outcome")
    if any(getattr(a, name) != getattr(b, name) for name in fields):
        return False
    x, y = a.response, b.response
    bits = all(
        getattr(x, n).dtype == getattr(y, n).dtype and getattr(x, n).tobytes() == getattr(y, n).tobytes()
        for n in ("tokens", "log_probs")
    )
    return bits and (x.text, x.action, x.entropy, x.well_formed) == (y.text, y.action, y.entropy, y.well_formed)


def chained(drawn: list[Record]) -> Records:
    """One episode: each record after the one before."""
    records = Records()
    for i, record in enumerate(drawn):
        records.add(Record(**{**record.__dict__, "previous": i - 1}))
    return records


def rows(n: int) -> Rollouts:
    """One trajectory of n rows whose records are 0, 1, ..., n - 1."""
    return Rollouts(
        offsets=np.array([0, n]), parent=np.array([-1]), group=np.zeros(1, np.int64), batch=np.zeros(1, np.int64),
        terminated=np.array([True]), observation=np.arange(n), action=np.zeros(n, np.int64), reward=np.zeros(n),
        step=np.arange(n), columns={"record": np.arange(n)},
    )  # fmt: skip


# --- round trips ------------------------------------------------------------------------------------------------------


@given(st.lists(steps(), min_size=1, max_size=4))
def test_any_records_go_through_columns(drawn: list[Record]) -> None:
    records = chained(drawn)
    columns = records.columns(records)
    back = Records.from_columns(columns)
    assert list(back) == list(records) and all(like(records[i], back[i]) for i in records)
    assert back.columns(back) == columns
    assert all(back[i].after is None for i in back)


@settings(max_examples=12)
@given(drawn=st.lists(steps(), min_size=1, max_size=4), names=st.lists(text, unique=True, max_size=5))
def test_any_records_go_through_a_file(
    tmp_path_factory: pytest.TempPathFactory, drawn: list[Record], names: list[str]
) -> None:
    path = tmp_path_factory.mktemp("records") / "r.parquet"
    records, interner = chained(drawn), Interner({"observation": names, "": [], "<b>": ["x"]})
    made = {"text": names, "nested": {"a": [1, None, 0.5]}}
    write_rollouts(path, rows(len(drawn)), records, interner, made)
    stored = read_rollouts(path)
    assert stored.records is not None and stored.interner is not None
    assert all(like(records[i], stored.records[i]) for i in records)
    assert stored.interner.names() == interner.names() and stored.facts["made"] == made
    first = path.read_bytes()
    write_rollouts(path, stored.rollouts, stored.records, stored.interner, stored.facts["made"])
    assert len(path.read_bytes()) == len(first), "what was read is written as it was"


@pytest.mark.parametrize("field", ["action", "next_state", "seed", "score", "token_log_probs", "won"])
def test_a_field_that_is_read_off_wrongly_is_seen(field: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The twin of the round trip: one field reads a constant."""
    constant: dict[str, Any] = {
        "action": "x", "next_state": "y", "seed": "3", "score": 0.5, "token_log_probs": [1.0], "won": True
    }  # fmt: skip
    drawn = Record(
        "t", -1, Stream(7, 0, 0), Observation("o", "a", (), "t", "s"), Prompt("p", ()),
        Response("r", "act", np.array([1]), np.array([-0.5]), 0.1),
        Outcome(Observation("o2", "a2", (), "t", "s2"), 0.0, False),
    )  # fmt: skip
    fields = dict(module._FIELDS)
    fields[field] = (lambda n, r: constant[field], fields[field][1])
    monkeypatch.setattr(module, "_FIELDS", fields)
    records = chained([drawn])
    assert not like(records[0], Records.from_columns(records.columns(records))[0])


# --- names ------------------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.sampled_from(["observation", "action"]), st.lists(text, max_size=6)), max_size=6))
def test_names_get_the_next_free_number_of_their_space(calls: list[tuple[str, list[str]]]) -> None:
    interner, plain = Interner(), {}
    for space, words in calls:
        known = plain.setdefault(space, [])
        got = interner.ids(space, iter(words))
        for word in words:
            if word not in known:
                known.append(word)
        assert got.dtype == np.int64 and got.tolist() == [known.index(word) for word in words]
    assert interner.names() == plain
    again = Interner(interner.names())
    for space, words in calls:
        assert again.ids(space, words).tolist() == interner.ids(space, words).tolist()
    assert again.names() == plain, "asking for known names makes no new ones"


def test_texts_that_look_alike_are_different_names() -> None:
    """No folding: case, blanks, composed and decomposed letters and empty text are all apart."""
    words = ["a", "A", " a", "a ", "", "é", "e\u0301", "ａ", "\u200ba", "0", "00"]
    assert Interner().ids("x", words).tolist() == list(range(len(words)))
    with pytest.raises(InputError, match="names of x: got one name twice"):
        Interner({"x": ["a", "b", "a"]})


# --- paths ------------------------------------------------------------------------------------------------------------


@st.composite
def forests(draw: st.DrawFn) -> list[int]:
    """For each record the one before it, or -1."""
    return [draw(st.integers(-1, i - 1)) for i in range(draw(st.integers(1, 12)))]


def grown(forest: list[int]) -> Records:
    records = Records()
    nothing = Observation("", "", (), "")
    silence = Response("", "", np.zeros(0, np.int64), np.zeros(0), 0.0)
    for previous in forest:
        stream = Stream(previous % 2, len(records), 0)
        records.add(Record("t", previous, stream, nothing, Prompt("", ()), silence, Outcome(nothing, 0.0, False)))
    return records


def plain_path(forest: list[int], leaf: int) -> list[int]:
    return [] if leaf < 0 else [*plain_path(forest, forest[leaf]), leaf]


@given(forests(), st.data())
def test_paths_and_forgetting_against_plain_recursion(forest: list[int], data: st.DataObject) -> None:
    records = grown(forest)
    for leaf in range(-1, len(forest)):
        assert records.path(leaf) == plain_path(forest, leaf)
    wanted = data.draw(st.lists(st.integers(0, len(forest) - 1), max_size=4))
    kept = {number for leaf in wanted for number in plain_path(forest, leaf)}
    records.keep(wanted)
    assert list(records) == sorted(kept) and len(records) == len(kept)
    for leaf in wanted:
        assert records.path(leaf) == plain_path(forest, leaf)
    for lost in set(range(len(forest))) - kept:
        with pytest.raises(InputError, match="record: got"):
            records[lost]
    assert records.add(grown([-1])[0]) == len(forest), "a number is never given twice"


@given(forests())
def test_the_next_episode_is_beyond_all_of_its_seed(forest: list[int]) -> None:
    records = grown(forest)
    for seed in (0, 1, 2):
        drawn = [records[i].stream.episode for i in records if records[i].stream.seed == seed]
        assert records.next_episode(seed) == max(drawn, default=-1) + 1


# --- files ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("written") / "r.parquet"
    write_rollouts(path, rows(3), grown([-1, 0, 1]), Interner({"observation": ["a", "b", "c"]}), {"seed": 1})
    return path.read_bytes()


@settings(max_examples=60)
@given(cut=st.floats(0, 0.999))
def test_a_file_cut_anywhere_is_one_line(written: bytes, tmp_path_factory: pytest.TempPathFactory, cut: float) -> None:
    path = tmp_path_factory.getbasetemp() / "cut.parquet"
    path.write_bytes(written[: int(cut * len(written))])
    with pytest.raises(CorruptFileError) as error:
        read_rollouts(path)
    assert "\n" not in str(error.value) and str(path) in str(error.value)


@settings(max_examples=40)
@given(at=st.floats(0, 0.999), value=st.integers(1, 255))
def test_a_byte_changed_anywhere_is_seen(
    written: bytes, tmp_path_factory: pytest.TempPathFactory, at: float, value: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "changed.parquet"
    damaged = bytearray(written)
    damaged[int(at * len(damaged))] ^= value
    path.write_bytes(damaged)
    with pytest.raises(InputError) as error:
        read_rollouts(path)
    assert "\n" not in str(error.value)


def test_what_cannot_be_written_leaves_the_old_file(written: bytes, tmp_path: Path) -> None:
    path = tmp_path / "r.parquet"
    path.write_bytes(written)
    strange = rows(2).with_columns(odd=np.array([1j, 2j]))
    with pytest.raises(InputError, match="column odd"):
        write_rollouts(path, strange)
    assert path.read_bytes() == written and list(tmp_path.iterdir()) == [path]
