"""What users import stays: nothing of the snapshot is gone or called another way.

`python tests/contracts/public_api.py` writes a new one after a change that is meant; additions need none.
"""

from __future__ import annotations

import copy
import importlib
import json
from collections.abc import Callable
from typing import Any

import public_api
import pytest

BEFORE: dict[str, Any] = json.loads(public_api.SNAPSHOT.read_text())


def test_nothing_public_is_gone_or_called_another_way() -> None:
    assert public_api.broken(BEFORE, public_api.snapshot()) == []


def test_the_snapshot_holds_the_names_of_every_public_module() -> None:
    for module in ("creditsim", "creditsim.segments", "creditsim.exact"):
        for name in importlib.import_module(module).__all__:
            assert f"{module}.{name}" in BEFORE["names"], "run python tests/contracts/public_api.py"


Edit = Callable[[dict[str, Any]], Any]
ADVANTAGE = "creditsim.advantage"
BREAKS: dict[str, tuple[Edit, str]] = {
    "name": (lambda d: d["names"].pop(ADVANTAGE), f"{ADVANTAGE} is gone"),
    "kind": (lambda d: d["names"][ADVANTAGE].update(kind="value"), f"{ADVANTAGE} is a value now, no function"),
    "parameter": (lambda d: d["names"][ADVANTAGE]["call"].pop(1), f"{ADVANTAGE}: parameter"),
    "required": (
        lambda d: d["names"][ADVANTAGE]["call"].append(["more", "KEYWORD_ONLY", False]),
        f"{ADVANTAGE}: parameter more is new and needs a value",
    ),
    "order": (lambda d: d["names"][ADVANTAGE]["call"].reverse(), "another order"),
    "named": (
        lambda d: d["names"]["creditsim.exact.solve"]["call"][2].__setitem__(1, "KEYWORD_ONLY"),
        "creditsim.exact.solve: parameter gamma must be named now",
    ),
    "default": (
        lambda d: d["names"]["creditsim.exact.solve"]["call"][2].__setitem__(2, False),
        "creditsim.exact.solve: parameter gamma needs a value now",
    ),
    "method": (lambda d: d["names"]["creditsim.Rollouts"]["members"].pop("paths"), "creditsim.Rollouts.paths is gone"),
    "method parameter": (
        lambda d: d["names"]["creditsim.Rollouts"]["members"]["take"].pop(2),
        "creditsim.Rollouts.take: parameter group is gone",
    ),
    "estimator": (lambda d: d["parts"].pop("estimators gigpo"), "estimators gigpo is gone"),
    "estimator parameter": (
        lambda d: d["parts"]["estimators gigpo"]["parameters"].remove("gamma"),
        "estimators gigpo: parameter gamma is gone",
    ),
    "preset": (
        lambda d: d["parts"]["estimators grpo"]["presets"].remove("verl"),
        "estimators grpo: preset verl is gone",
    ),
}


@pytest.mark.parametrize("change", BREAKS)
def test_breaking_changes_are_told(change: str) -> None:
    edit, told = BREAKS[change]
    after = copy.deepcopy(BEFORE)
    edit(after)
    assert any(told in line for line in public_api.broken(BEFORE, after))


def test_additions_break_nothing() -> None:
    after = copy.deepcopy(BEFORE)
    after["names"]["creditsim.more"] = {"kind": "value"}
    after["names"][ADVANTAGE]["call"].insert(-1, ["more", "KEYWORD_ONLY", True])
    after["names"]["creditsim.Rollouts"]["members"]["more"] = None
    after["parts"]["estimators more"] = {"parameters": [], "presets": []}
    after["parts"]["estimators gigpo"]["parameters"].append("more")
    assert public_api.broken(BEFORE, after) == []
