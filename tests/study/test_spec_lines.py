"""What no study can have is told in one line that names the field; everything else passes."""

from __future__ import annotations

import dataclasses
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from creditsim.errors import InputError
from creditsim.study.spec import LearningStudy, VarianceStudy

INF, NAN = float("inf"), float("nan")

WRONG_IN_BOTH: list[tuple[str, Any]] = [
    ("name", ""),
    ("name", ".hidden"),
    ("name", "-flag"),
    ("name", "a/b"),
    ("name", "a b"),
    ("name", "x" * 65),
    ("name", "näme"),
    ("name", "a\n"),
    ("environments", ()),
    ("group_sizes", ()),
    ("group_sizes", (0,)),
    ("group_sizes", (4, -1)),
    ("groups", 0),
    ("replicates", 0),
    ("alpha", 0.0),
    ("alpha", -0.1),
    ("alpha", 1.0),
    ("alpha", NAN),
    ("seed", -1),
    ("seed", 1 << 63),
]
WRONG_VARIANCE: list[tuple[str, Any]] = [
    ("estimators", ()),
    ("policies", ()),
    ("horizons", (0,)),
    ("horizons", (3, -2)),
    ("replicates", (1 << 31) + 1),
    ("precision", 0.0),
    ("precision", -0.01),
    ("precision", INF),
    ("precision", NAN),
    ("alpha", 0.21),
    ("gamma", -0.01),
    ("gamma", 1.01),
    ("gamma", NAN),
]
WRONG_LEARNING: list[tuple[str, Any]] = [
    ("methods", ()),
    ("learning_rates", (0.0,)),
    ("learning_rates", (0.1, -1.0)),
    ("learning_rates", (INF,)),
    ("learning_rates", (NAN,)),
    ("updates", -1),
]
CASES = [
    *[(VarianceStudy(), *case) for case in [*WRONG_IN_BOTH, *WRONG_VARIANCE]],
    *[(LearningStudy(), *case) for case in [*WRONG_IN_BOTH, *WRONG_LEARNING]],
]


@pytest.mark.parametrize(("study", "field", "value"), CASES, ids=lambda value: str(value)[:24])
def test_a_wrong_field_is_one_line_that_names_it(study: VarianceStudy | LearningStudy, field: str, value: Any) -> None:
    with pytest.raises(InputError) as caught:
        replace(study, **{field: value}).check()
    assert caught.value.field == field
    line = str(caught.value)
    assert line.startswith(f"{field}: got ") and ", allowed " in line and "\n" not in line


RIGHT: list[tuple[VarianceStudy | LearningStudy, str, Any]] = [
    (VarianceStudy(), "name", "0.9-a_B"),
    (VarianceStudy(), "name", "x" * 64),
    (VarianceStudy(), "alpha", 0.2),
    (VarianceStudy(), "gamma", 0.0),
    (VarianceStudy(), "gamma", 1.0),
    (VarianceStudy(), "replicates", 1 << 31),
    (VarianceStudy(), "replicates", 1),
    (VarianceStudy(), "precision", 1e-9),
    (VarianceStudy(), "horizons", ()),
    (VarianceStudy(), "seed", (1 << 63) - 1),
    (LearningStudy(), "alpha", 0.99),
    (LearningStudy(), "updates", 0),
    (LearningStudy(), "learning_rates", ()),
    (LearningStudy(), "seed", 0),
]


@pytest.mark.parametrize(("study", "field", "value"), RIGHT, ids=lambda value: str(value)[:24])
def test_the_borders_of_what_is_allowed_pass(study: VarianceStudy | LearningStudy, field: str, value: Any) -> None:
    replace(study, **{field: value}).check()


@given(st.text(max_size=8))
def test_a_name_that_passes_stays_in_its_folder(name: str) -> None:
    try:
        VarianceStudy(name=name).check()
    except InputError:
        return
    assert name and "/" not in name and "\\" not in name and not name.startswith(".")
    assert name.isascii() and name.isprintable()


@pytest.mark.parametrize("kind", [VarianceStudy, LearningStudy])
def test_defaults_pass_and_studies_are_frozen(kind: type[Any]) -> None:
    study = kind()
    study.check()
    with pytest.raises(dataclasses.FrozenInstanceError):
        study.seed = 3
    assert hash(study) == hash(kind())


@pytest.mark.parametrize("kind", [VarianceStudy, LearningStudy])
def test_the_first_wrong_field_is_the_one_told(kind: type[Any]) -> None:
    # One line only, so a name that is wrong is told before numbers that are.
    with pytest.raises(InputError, match=r"^name: "):
        kind(name="/", groups=0, seed=-1).check()
