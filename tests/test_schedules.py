"""Schedules start and end where they say, and tables that are none are told apart from those that are wrong."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from creditsim.errors import InputError
from creditsim.schedules import Schedule, as_schedule, resolve

finite = st.floats(-1e6, 1e6)


@given(finite, finite, st.sampled_from(["linear", "cosine"]))
def test_ends_are_met_and_values_stay_between(start: float, end: float, shape: str) -> None:
    schedule = as_schedule({"start": start, "end": end, "shape": shape}, "x")
    tolerance = 1e-9 * (1 + abs(start) + abs(end))
    assert schedule.at(0.0) == pytest.approx(start, abs=tolerance)
    assert schedule.at(1.0) == pytest.approx(end, abs=tolerance)
    assert schedule.at(0.5) == pytest.approx((start + end) / 2, abs=tolerance)
    for progress in (-1.0, 0.3, 2.0):
        assert min(start, end) - tolerance <= schedule.at(progress) <= max(start, end) + tolerance


def test_cosine_is_flat_at_the_ends() -> None:
    schedule = Schedule(1.0, 0.0, "cosine")
    assert schedule.at(0.25) == pytest.approx((1 + math.cos(math.pi / 4)) / 2)
    assert schedule.at(0.01) > Schedule(1.0, 0.0).at(0.01)


def test_resolve_gives_numbers_to_parts() -> None:
    params = {"rate": Schedule(1.0, 0.0), "gamma": 0.9}
    assert [resolve(params, u, 5)["rate"] for u in range(5)] == [1.0, 0.75, 0.5, 0.25, 0.0]
    assert resolve(params, 0, 1) == {"rate": 1.0, "gamma": 0.9}


@pytest.mark.parametrize("value", [0.5, "word", {"a": 1}, {"first": 1.0}, [1, 2], None])
def test_other_values_pass(value: object) -> None:
    assert as_schedule(value, "x") is value


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ({"start": 1, "end": 0, "shap": "linear"}, "a schedule with 'shap'"),
        ({"start": "a", "end": 0}, "x start: got 'a'"),
        ({"start": 1.0}, "x end: got nothing, allowed a finite number"),
        ({"end": 0.0, "shape": "linear"}, "x start: got nothing"),
        ({"start": 1, "end": math.inf}, "x end: got inf"),
        ({"start": True, "end": 0}, "x start: got True"),
        ({"start": 1, "end": 0, "shape": "linaer"}, "nearest: linear"),
    ],
)
def test_wrong_schedules_are_told(table: dict[str, object], told: str) -> None:
    with pytest.raises(InputError) as error:
        as_schedule(table, "x")
    assert told in str(error.value)


def test_a_schedule_of_so_many_updates_has_no_value_past_them() -> None:
    params = {"mu": as_schedule({"start": 1.0, "end": 0.0, "updates": 3}, "mu")}
    assert [resolve(params, u, 9)["mu"] for u in range(3)] == [1.0, 0.5, 0.0]
    with pytest.raises(InputError, match="schedule of mu: got update 4, allowed at most 3 updates, its end"):
        resolve(params, 3, 9)
    # Without a length of its own it takes the run's, and is never past its end.
    assert resolve({"mu": Schedule(1.0, 0.0)}, 8, 9) == {"mu": 0.0}
    for wrong in (0, -1, 2.0, True, "ten"):
        with pytest.raises(InputError, match="x updates"):
            as_schedule({"start": 1.0, "end": 0.0, "updates": wrong}, "x")
