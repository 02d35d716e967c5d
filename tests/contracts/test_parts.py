"""What every registered part keeps, whatever its kind: a new part is tested here without a line of its own."""

from __future__ import annotations

import importlib
import inspect
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

from creditsim.bandits.rules.base import RULES
from creditsim.errors import InputError, UnknownNameError
from creditsim.estimators import ESTIMATORS
from creditsim.inventory import KINDS, entries, find
from creditsim.mdp import FAMILIES
from creditsim.methods import METHODS, Method
from creditsim.plan import RECORDABLE, SAMPLED
from creditsim.registry import EVIDENCE, Evidence, Part, Registry, parse_spec
from creditsim.rollouts import FIELDS
from creditsim.sampling.designs.base import DESIGNS
from creditsim.signals import SIGNALS
from creditsim.train import TrainConfig, planned
from creditsim.updates.base import UPDATES
from creditsim.updates.kl import KL_ESTIMATORS
from creditsim.updates.losses import LOSSES

REGISTRIES: dict[str, Registry[Any]] = {
    "designs": DESIGNS,
    "environments": FAMILIES,
    "estimators": ESTIMATORS,
    "kl": KL_ESTIMATORS,
    "losses": LOSSES,
    "rules": RULES,
    "signals": SIGNALS,
    "updates": UPDATES,
}
NEVER_MADE = {"rewards_K", "success", "answer", "is_weight", "head", "tokens"}
"""Columns that come from a text environment or a user; no part of the library makes them."""
ARGUMENTS = {
    "signals": ("rollouts", "state"),
    "updates": ("policy", "rollouts", "credit", "state"),
    "designs": ("sampler", "policy", "state"),
    "estimators": ("rollouts",),
    "environments": (),
    "kl": ("d",),
    "losses": ("log_prob", "old_log_prob", "advantage", "offsets", "weight", "batch"),
}


@dataclass(frozen=True)
class Entry:
    """A part and the registry that holds it."""

    kind: str
    part: Part

    def __str__(self) -> str:
        return f"{self.kind}-{self.part.name}"


def own(registry: Registry[Any]) -> Iterator[Part]:
    """The library's parts, whatever else a test run has registered."""
    return (part for part in registry if part.function.__module__.startswith("creditsim."))


ENTRIES = [Entry(kind, part) for kind, registry in REGISTRIES.items() for part in own(registry)]
every_part = pytest.mark.parametrize("entry", ENTRIES, ids=str)


def faults(entry: Entry) -> list[str]:
    """Everything about a part that breaks the contract of its kind."""
    part, kind = entry.part, entry.kind
    doc = inspect.getdoc(part.function) or ""
    parameters = list(inspect.signature(part.function).parameters.values())
    positional = tuple(p.name for p in parameters if p.kind is not p.KEYWORD_ONLY)
    wanted = (*ARGUMENTS.get(kind, ()), *(("columns",) if kind == "losses" and part.needs else ()))
    found = {
        "no docstring": not doc,
        "first sentence is no sentence": not part.summary.strip().endswith((".", "=", ":")) and kind != "rules",
        "name is no plain word": not part.name.replace("_", "").isalnum() or part.name != part.name.lower(),
        "no evidence label": part.evidence not in EVIDENCE,
        "no paper": not part.paper and kind != "environments" and part.name != "uniform",
        "starred parameters": any(p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in parameters),
        "arguments of another kind": kind in ARGUMENTS and positional != wanted,
        "untyped parameter": any(p.annotation is p.empty for p in parameters),
        "mutable default": any(isinstance(p.default, (list, dict, set, np.ndarray)) for p in parameters),
        "preset of an unknown parameter": any(set(v) - set(part.defaults) for v in part.presets.values()),
        "lives elsewhere": part.function.__module__.rpartition(".")[0] == "creditsim",
    }
    return [fault for fault, there in found.items() if there]


@every_part
def test_contract_of_every_part(entry: Entry) -> None:
    assert faults(entry) == []


def no_words(rollouts, *values, scale=[]):  # pyright: ignore # noqa: B006
    return rollouts


def test_the_contract_rejects_a_careless_part() -> None:
    careless = Entry("estimators", Part("estimator", "No Words", no_words, presets={"a": {"sclae": 1}}))
    assert set(faults(careless)) >= {
        "no docstring", "name is no plain word", "no paper", "starred parameters", "arguments of another kind",
        "untyped parameter", "mutable default", "preset of an unknown parameter",
    }  # fmt: skip
    mislabelled = replace(ENTRIES[0].part, evidence="guessed")  # pyright: ignore[reportArgumentType]
    assert faults(Entry(ENTRIES[0].kind, mislabelled)) == ["no evidence label"]


@every_part
def test_presets_bind_and_misspelt_ones_name_the_nearest(entry: Entry) -> None:
    part = entry.part
    required = {name: 1 for name, value in part.defaults.items() if value is inspect.Parameter.empty}
    for preset in (None, *part.presets):
        bound = part.bind(preset, **required)
        assert set(bound.params) == set(part.defaults)
        assert bound.label == (part.name if preset is None else f"{part.name}@{preset}")
        for name, value in part.presets.get(preset or "", {}).items():
            assert bound.params[name] == value
    for preset in list(part.presets)[:1]:
        with pytest.raises(UnknownNameError) as error:
            part.bind(preset + "x")
        assert error.value.nearest in part.presets
    for name in list(part.defaults)[:1]:
        with pytest.raises(UnknownNameError) as error:
            part.bind(None, **{name + "_": 0})
        assert error.value.nearest == name
    for required_name in required:
        with pytest.raises(InputError, match=f"{required_name}: got nothing, allowed a value; it has no default"):
            part.bind(None, **{name: 1 for name in required if name != required_name})


def test_kinds_of_parts_speak_of_their_own_kind() -> None:
    for kind, registry in REGISTRIES.items():
        assert len({part.kind for part in registry}) == 1, kind
        with pytest.raises(UnknownNameError) as error:
            registry["no such part at all"]
        assert error.value.field == registry.kind
        first = registry.names()[0]
        assert first in registry
        with pytest.raises(UnknownNameError, match=f"nearest: {first}"):
            registry[first + "q"]


def known_columns() -> set[str]:
    made = {name for registry in (DESIGNS, SIGNALS, ESTIMATORS) for part in own(registry) for name in part.makes}
    return {*FIELDS, *SAMPLED, *RECORDABLE, *made, *NEVER_MADE, "weight"}


@every_part
def test_needs_and_makes_are_columns_that_somebody_knows(entry: Entry) -> None:
    unknown = set(entry.part.needs) - known_columns()
    assert not unknown
    assert len(set(entry.part.makes)) == len(entry.part.makes)
    doc = inspect.getdoc(entry.part.function) or ""
    if entry.kind in ("signals", "designs"):
        assert [name for name in entry.part.makes if name not in doc] == [], "columns made but not documented"


def test_the_column_check_sees_a_misspelt_need() -> None:
    assert "valeu" not in known_columns() and "value" in known_columns()


@pytest.mark.parametrize("kind", KINDS)
def test_inventory_holds_the_registry_and_json_holds_the_inventory(kind: str) -> None:
    module, attribute = KINDS[kind]
    registry = getattr(importlib.import_module(module), attribute)
    listed = entries(kind)
    assert [entry.name for entry in listed] == registry.names()
    for entry in listed:
        again = json.loads(json.dumps(entry.as_dict(), allow_nan=False))
        assert set(again) == set(entry.__dataclass_fields__)
        assert again["name"] == entry.name
        assert "\n" not in entry.summary
        assert [each.name for each in find(f"{entry.name}@anything", kind)] == [entry.name]


def test_inventory_finds_a_name_in_all_kinds_and_refuses_others() -> None:
    assert {entry.kind for entry in find("reinforce")} == {"method", "estimator", "update", "loss"}
    with pytest.raises(UnknownNameError, match="nearest: reinforce"):
        find("reinforec")
    with pytest.raises(UnknownNameError, match="nearest: signals"):
        entries("signal")


@pytest.mark.parametrize("name", METHODS.names())
def test_methods_are_made_of_registered_parts(name: str) -> None:
    method = METHODS[name]
    uses = [(DESIGNS, method.design), (ESTIMATORS, method.estimator), (UPDATES, method.update)]
    for registry, use in [*uses, *((SIGNALS, signal) for signal in method.signals)]:
        part_name, preset = parse_spec(use.spec)
        bound = registry[part_name].bind(preset, **use.params)
        assert str(use).startswith(use.spec) and all(key in str(use) for key in use.params)
        assert bound.part.name == part_name
    assert set(method.evidence) <= {"design", "signal", "estimator", "update"}
    assert ("signal" in method.evidence) == bool(method.signals)
    plan, env = planned(TrainConfig(method=name))
    assert plan.method.name == name and env == {}
    assert set(plan.record) <= set(RECORDABLE)
    assert list(method.described()) == ["design", "signals", "estimator", "update"]


def weaker(label: str) -> int:
    return EVIDENCE.index(label)  # pyright: ignore[reportArgumentType] # checked to be one


def upgraded(method: Method) -> list[str]:
    """Parts that a method says to know better than the part itself does."""
    parts = {
        "design": [DESIGNS[parse_spec(method.design.spec)[0]]],
        "signal": [SIGNALS[parse_spec(use.spec)[0]] for use in method.signals],
        "estimator": [ESTIMATORS[parse_spec(method.estimator.spec)[0]]],
        "update": [UPDATES[parse_spec(method.update.spec)[0]]],
    }
    return [
        kind for kind, each in parts.items() for part in each if weaker(method.evidence[kind]) < weaker(part.evidence)
    ]


@pytest.mark.parametrize("name", METHODS.names())
def test_no_method_upgrades_the_evidence_of_its_parts(name: str) -> None:
    method = METHODS[name]
    assert upgraded(method) == []
    # Broken twin: the same method with every label raised to `paper` is caught wherever a part says less.
    raised = method.replaced(evidence=dict.fromkeys(method.evidence, "paper"))
    assert ("estimator" in upgraded(raised)) == (ESTIMATORS[parse_spec(method.estimator.spec)[0]].evidence != "paper")


def test_evidence_labels_are_the_four_of_the_type() -> None:
    assert get_args(Evidence) == EVIDENCE == ("paper", "code", "notes", "inferred")


def test_every_module_of_a_package_of_parts_registers_or_is_shared() -> None:
    """A part in a file that registers nothing would be invisible: each module holds a part, or is imported by one."""
    for kind, package in (
        ("designs", "creditsim.sampling.designs"),
        ("environments", "creditsim.mdp.families"),
        ("signals", "creditsim.signals"),
        ("rules", "creditsim.bandits.rules"),
    ):
        folder = Path(str(importlib.import_module(package).__file__)).parent
        modules = {f"{package}.{path.stem}" for path in folder.glob("*.py")} - {f"{package}.__init__"}
        homes = {entry.part.function.__module__ for entry in ENTRIES if entry.kind == kind}
        assert modules - homes <= {f"{package}.base"}, kind


def change_registry(registry: Registry[Any], change: Callable[[Registry[Any]], object]) -> bool:
    """Whether the change went through."""
    try:
        change(registry)
    except InputError:
        return False
    return True


def test_a_taken_name_is_never_silently_replaced() -> None:
    for entry in ENTRIES:
        registry = REGISTRIES[entry.kind]
        thief = replace(entry.part, function=no_words)
        assert not change_registry(registry, lambda r, part=thief: r.add(part)), entry
        assert registry[entry.part.name] is entry.part
        assert change_registry(registry, lambda r, part=entry.part: r.add(part)), entry
