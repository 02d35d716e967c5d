"""The short language of grids."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from creditsim.errors import InputError
from creditsim.study.entries import Entry, parse_entry, parse_policy

_VALUES = st.one_of(
    st.integers(-(10**6), 10**6),
    st.floats(allow_nan=False, allow_infinity=False, width=32),
    st.booleans(),
    st.from_regex(r"[A-Za-z_][A-Za-z0-9_.-]{0,8}", fullmatch=True),
    st.lists(st.integers(0, 9), max_size=3),
)


@given(st.dictionaries(st.from_regex(r"[a-z][a-z_]{0,6}", fullmatch=True), _VALUES, max_size=4))
def test_what_is_spelled_is_read_back(params: dict[str, Any]) -> None:
    entry = Entry("name@preset", params)
    assert parse_entry(str(entry), "field") == entry


@pytest.mark.parametrize(
    ("text", "name", "params"),
    [
        ("gigpo", "gigpo", {}),
        (" gigpo@verl-agent ( step_weight = 0.5 ) ", "gigpo@verl-agent", {"step_weight": 0.5}),
        ("gigpo(normalize=mean, ddof=0)", "gigpo", {"normalize": "mean", "ddof": 0}),
        ("m.n:f(flag=true, x=inf)", "m.n:f", {"flag": True, "x": float("inf")}),
        ("answers(p=[[0.2, 0.7]])", "answers", {"p": [[0.2, 0.7]]}),
        ("gigpo(estimator.gamma=0.9)", "gigpo", {"estimator": {"gamma": 0.9}}),
    ],
)
def test_entries(text: str, name: str, params: dict[str, Any]) -> None:
    assert parse_entry(text, "field") == Entry(name, params)


def test_order_of_parameters_does_not_matter() -> None:
    assert str(parse_entry("a(y=1,x=2)", "f")) == str(parse_entry("a( x = 2, y = 1 )", "f")) == "a(x=2, y=1)"


@pytest.mark.parametrize("text", ["", "a b", "a(x)", "a(x=1", "a(x=1) b", "a(x=1, x=2)", "a(=1)", "(x=1)"])
def test_what_is_no_entry_is_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"^estimators: got"):
        parse_entry(text, "estimators")


@pytest.mark.parametrize(
    ("text", "spelled"),
    [
        ("uniform", "uniform"),
        ("random", "random:0:1"),
        ("random:1234567", "random:1234567:1"),
        ("random:3:2.5@0.5", "random:3:2.5@0.5"),
        ("trained:20", "trained:20:0.1"),
        ("uniform@1.0", "uniform"),
        ("uniform@2", "uniform@2"),
    ],
)
def test_policies_have_one_spelling(text: str, spelled: str) -> None:
    entry = parse_policy(text)
    assert str(entry) == spelled
    assert parse_policy(spelled) == entry


@pytest.mark.parametrize(
    "text", ["", "unifrm", "uniform:1", "random:x", "random:1.5", "random:-1", "random:1:2:3", "uniform@0", "uniform@",
             "trained:inf", "random:1:nan", "uniform@-1", "uniform@inf"]
)  # fmt: skip
def test_what_is_no_policy_is_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"^policies: got"):
        parse_policy(text)
