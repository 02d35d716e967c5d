"""TOML file = dataclass: round trips, and one line for everything that is wrong with a file."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from creditsim.configs import dump, load, parse_value, read_toml
from creditsim.errors import CorruptFileError, InputError, UnknownNameError


@dataclass(frozen=True)
class Inner:
    """A nested table."""

    rate: float = 0.5
    tags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Outer:
    """A config with every kind of field that ours have."""

    name: str
    count: int = 1
    rate: float = 0.1
    flag: bool = False
    size: Literal["tiny", "small", "large"] = "small"
    maybe: str | None = None
    words: tuple[str, ...] = ()
    inner: Inner = field(default_factory=Inner)
    cells: tuple[Inner, ...] = ()
    table: dict[str, float] = field(default_factory=dict)


text = st.text(st.characters(blacklist_categories=("Cs",)), max_size=12)
number = st.floats(allow_nan=False, allow_subnormal=False)
inner = st.builds(Inner, rate=number, tags=st.lists(text, max_size=3).map(tuple))
outer = st.builds(
    Outer,
    name=text,
    count=st.integers(-(2**53), 2**53),
    rate=number,
    flag=st.booleans(),
    size=st.sampled_from(["tiny", "small", "large"]),
    maybe=st.none() | text,
    words=st.lists(text, max_size=3).map(tuple),
    inner=inner,
    cells=st.lists(inner, max_size=2).map(tuple),
    table=st.dictionaries(text, number, max_size=3),
)


@given(outer)
def test_dump_and_load_are_inverse(tmp_path_factory: pytest.TempPathFactory, config: Outer) -> None:
    path = tmp_path_factory.getbasetemp() / "round.toml"
    path.write_bytes(dump(config).encode())
    assert load(Outer, path) == config


def test_round_trip_check_sees_a_lossy_dump(tmp_path: Path) -> None:
    # Broken twin: a writer that rounds numbers must not pass as the inverse of `load`.
    config = Outer(name="x", rate=0.1 + 0.2)
    path = tmp_path / "lossy.toml"
    path.write_text(dump(config).replace(repr(config.rate), f"{config.rate:.3f}"))
    assert load(Outer, path) != config


def test_defaults_fill_what_a_file_leaves_out() -> None:
    assert load(Outer, {"name": "a"}) == Outer(name="a")
    assert load(Outer, {"name": "a", "rate": 2}).rate == 2.0


WRONG: list[tuple[dict[str, Any], list[str]]] = [
    ({}, ["name", "nothing", "no default"]),
    ({"name": 3}, ["name", "got 3", "a string"]),
    ({"name": "a", "count": "3"}, ["count", "got '3'", "a whole number"]),
    ({"name": "a", "count": 1.0}, ["count", "got 1.0", "a whole number"]),
    ({"name": "a", "count": True}, ["count", "got True", "a whole number"]),
    ({"name": "a", "rate": "x"}, ["rate", "got 'x'", "a number"]),
    ({"name": "a", "flag": 1}, ["flag", "got 1", "true or false"]),
    ({"name": "a", "size": "smal"}, ["size", "'smal'", "tiny | small | large", "nearest: small"]),
    ({"name": "a", "cuont": 1}, ["field", "'cuont'", "nearest: count"]),
    ({"name": "a", "words": "x"}, ["words", "got 'x'", "a list"]),
    ({"name": "a", "words": [1]}, ["words.0", "got 1", "a string"]),
    ({"name": "a", "inner": {"rat": 1.0}}, ["inner.field", "'rat'", "nearest: rate"]),
    ({"name": "a", "inner": {"rate": "x"}}, ["inner.rate", "got 'x'", "a number"]),
    ({"name": "a", "cells": [{}, {"tag": []}]}, ["cells.1.field", "'tag'", "nearest: tags"]),
    ({"name": "a", "table": {"k": "v"}}, ["table.k", "got 'v'", "a number"]),
]


@pytest.mark.parametrize(("values", "told"), WRONG)
def test_wrong_files_get_one_line_that_names_file_and_field(
    tmp_path: Path, values: dict[str, Any], told: list[str]
) -> None:
    with pytest.raises(InputError) as mapping_error:
        load(Outer, values)
    path = tmp_path / "bad.toml"
    path.write_text("\n".join(f"{key} = {_toml(value)}" for key, value in values.items()))
    with pytest.raises(InputError) as file_error:
        load(Outer, path)
    assert str(file_error.value) == f"{path}: {mapping_error.value}"
    for part in told:
        assert part in str(file_error.value)
    assert "\n" not in str(file_error.value)


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_toml(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return str(value).lower() if isinstance(value, bool) else repr(value)


@pytest.mark.parametrize("content", [b"a = ", b"a = 1\na = 2\n", b"\xff\xfe", b"[x\n"])
def test_files_that_are_no_toml(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "corrupt.toml"
    path.write_bytes(content)
    with pytest.raises(CorruptFileError, match=r"corrupt\.toml: .*TOML in UTF-8") as error:
        read_toml(path)
    assert "\n" not in str(error.value)


def test_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.toml: got No such file"):
        load(Outer, tmp_path / "none.toml")
    with pytest.raises(InputError, match="a readable TOML file"):
        load(Outer, tmp_path)


def test_dump_refuses_what_toml_cannot_hold() -> None:
    @dataclass(frozen=True)
    class Odd:
        value: Any = 1

    with pytest.raises(InputError, match="TOML has none"):
        dump(Odd(None))
    with pytest.raises(InputError, match="a set, allowed what TOML can hold"):
        dump(Odd({1}))


@pytest.mark.parametrize(
    ("given_text", "value"),
    [("0.5", 0.5), ("3", 3), ("true", True), ("'a b'", "a b"), ("ppo@dapo", "ppo@dapo"), ("[1, 2]", [1, 2]),
     ("{start = 1.0, end = 0.0}", {"start": 1.0, "end": 0.0}), ("mean_std", "mean_std")],
)  # fmt: skip
def test_values_on_the_command_line_are_read_as_toml(given_text: str, value: Any) -> None:
    assert parse_value(given_text, "field") == value


@pytest.mark.parametrize("bad", ["", "1 2", "{a", "0.5.1", "a b"])
def test_values_that_are_none(bad: str) -> None:
    with pytest.raises(InputError, match=r"^field: got .*a TOML value"):
        parse_value(bad, "field")


def test_unknown_field_is_an_unknown_name() -> None:
    with pytest.raises(UnknownNameError) as error:
        load(Outer, {"name": "a", "flg": True})
    assert error.value.nearest == "flag"
