"""Everything a run must remember, written whole or not at all, and read back to the bit."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from creditsim.errors import CorruptFileError, InputError
from llm_bridge.collect.interner import Interner
from llm_bridge.collect.records import Records
from llm_bridge.policies.base import TextPolicy

__all__ = ["SCHEMA", "RunState", "latest", "load", "save"]

SCHEMA = 1
_PREFIX = "checkpoint-"


@dataclasses.dataclass
class RunState:
    """What one iteration hands to the next, beside policy and optimiser; no random state: draws are named by seeds."""

    iteration: int = 0
    """Updates made."""
    parts: dict[str, Any] = dataclasses.field(default_factory=dict)
    """The loop's dict of the method's parts: score tables, search trees."""
    records: Records = dataclasses.field(default_factory=Records)
    interner: Interner = dataclasses.field(default_factory=Interner)


def latest(folder: Path) -> Path | None:
    """The newest checkpoint of a run, None where there is none."""
    found = sorted(path for path in folder.glob(f"{_PREFIX}*") if path.is_dir() and path.suffix != ".tmp")
    return found[-1] if found else None


def save(
    folder: Path,
    state: RunState,
    policy: TextPolicy,
    optimiser: torch.optim.Optimizer,
    facts: Mapping[str, Any],
    keep: int,
) -> Path:
    """Write a checkpoint beside its place and move it there in one step; only then remove all but the newest `keep`.

    Weights, optimiser and arrays are safetensors, the rest is JSON; nothing is pickled.
    """
    from safetensors.numpy import save_file as save_arrays
    from safetensors.torch import save_file

    place = folder / f"{_PREFIX}{state.iteration:06d}"
    temporary = place.with_suffix(".tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    save_file(policy.state_dict(), temporary / "policy.safetensors")
    moments, groups = _flat(optimiser)
    save_file(moments, temporary / "optimiser.safetensors")
    arrays = {name: np.ascontiguousarray(value) for name, value in state.parts.items() if isinstance(value, np.ndarray)}
    save_arrays(arrays, temporary / "parts.safetensors")
    numbers = {name: value for name, value in state.parts.items() if name not in arrays}
    told = {
        "schema": SCHEMA,
        "iteration": state.iteration,
        "facts": dict(facts),
        "optimiser": groups,
        "parts": {name: _plain(name, value) for name, value in numbers.items()},
        "names": state.interner.names(),
        "records": state.records.columns(list(state.records)),
    }
    (temporary / "run.json").write_text(json.dumps(told), encoding="utf-8")
    for path in temporary.iterdir():
        with path.open("rb") as handle:
            os.fsync(handle.fileno())
    shutil.rmtree(place, ignore_errors=True)
    os.replace(temporary, place)
    for old in sorted(path for path in folder.glob(f"{_PREFIX}*") if path.is_dir())[:-keep]:
        shutil.rmtree(old, ignore_errors=True)
    return place


def load(place: Path, policy: TextPolicy, optimiser: torch.optim.Optimizer, facts: Mapping[str, Any]) -> RunState:
    """Put a checkpoint back into policy and optimiser and return the state.

    Errors: CorruptFileError for a file that is damaged or missing; InputError for a newer schema, for facts (settings,
    tokenizer, data) that are not those of the run, and for parameters of other shapes.
    """
    from safetensors.numpy import load_file as load_arrays
    from safetensors.torch import load_file

    try:
        told = json.loads((place / "run.json").read_text(encoding="utf-8"))
        schema, known = int(told["schema"]), told["facts"]
        weights, moments = load_file(place / "policy.safetensors"), load_file(place / "optimiser.safetensors")
        arrays = load_arrays(place / "parts.safetensors")
    except Exception as error:  # safetensors' own error has no other base
        allowed = "a whole checkpoint; remove it to go on from the one before"
        raise CorruptFileError(str(place), type(error).__name__, allowed) from None
    if schema > SCHEMA:
        raise InputError(str(place), f"a checkpoint of schema {schema}", f"schema {SCHEMA} or older; update creditsim")
    for name, value in facts.items():
        if known.get(name) != value:
            raise InputError(f"resume: {name}", value, f"{known.get(name)}, as the run in {place.parent} began")
    policy.load_state_dict(weights)
    _restore(optimiser, moments, told["optimiser"])
    return RunState(
        int(told["iteration"]),
        {**told["parts"], **arrays},
        Records.from_columns(told["records"]),
        Interner(told["names"]),
    )


def _plain(name: str, value: Any) -> Any:
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, np.generic):
        return value.item()
    raise InputError(f"state {name}", f"a {type(value).__name__}", "arrays and plain numbers, which can be stored")


def _flat(optimiser: torch.optim.Optimizer) -> tuple[dict[str, torch.Tensor], list[dict[str, Any]]]:
    """The optimiser's tensors by `index.name`, and its groups without the tensors."""
    state = optimiser.state_dict()
    tensors = {
        f"{index}.{name}": value.detach().cpu().contiguous().clone()
        for index, values in state["state"].items()
        for name, value in values.items()
    }
    return tensors, state["param_groups"]


def _restore(
    optimiser: torch.optim.Optimizer, tensors: Mapping[str, torch.Tensor], groups: list[dict[str, Any]]
) -> None:
    state: dict[int, dict[str, torch.Tensor]] = {}
    for key, value in tensors.items():
        index, _, name = key.partition(".")
        state.setdefault(int(index), {})[name] = value
    betas = [{**group, "betas": tuple(group["betas"])} for group in groups]
    optimiser.load_state_dict({"state": state, "param_groups": betas})
