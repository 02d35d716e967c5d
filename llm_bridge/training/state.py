"""Everything a run must remember, written whole or not at all, and read back to the bit."""

from __future__ import annotations

import dataclasses
import hashlib
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

__all__ = ["SCHEMA", "RunState", "checkpoint", "latest", "load", "load_weights", "save"]

SCHEMA = 1
_PREFIX, _UNFINISHED = "checkpoint-", ".tmp"
_POLICY, _OPTIMISER, _PARTS, _RUN = "policy.safetensors", "optimiser.safetensors", "parts.safetensors", "run.json"
_FILES = (_POLICY, _OPTIMISER, _PARTS, _RUN)
_SUMS = "checksums.json"


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
    found = _whole(folder)
    return found[-1] if found else None


def checkpoint(folder: Path, iteration: int | None) -> Path | None:
    """The checkpoint of an iteration, or the newest; InputError names those there are."""
    if iteration is None:
        return latest(folder)
    place = folder / f"{_PREFIX}{iteration:06d}"
    if not place.is_dir():
        numbers = [str(int(path.name.removeprefix(_PREFIX))) for path in _whole(folder)]
        raise InputError("iteration", iteration, " | ".join(numbers) or "none: the run has no checkpoint")
    return place


def save(
    folder: Path,
    state: RunState,
    policy: TextPolicy,
    optimiser: torch.optim.Optimizer,
    facts: Mapping[str, Any],
    keep: int,
) -> Path:
    """Write a checkpoint beside its place and move it there in one step; only then remove all but the newest `keep`.

    Weights, optimiser and arrays are safetensors, the rest is JSON, and a list of checksums tells damage; nothing is
    pickled.
    """
    from safetensors.numpy import save_file as save_arrays
    from safetensors.torch import save_file

    place = folder / f"{_PREFIX}{state.iteration:06d}"
    for left in folder.glob(f"{_PREFIX}*{_UNFINISHED}"):
        shutil.rmtree(left, ignore_errors=True)
    temporary = place.with_suffix(_UNFINISHED)
    temporary.mkdir(parents=True)
    save_file(policy.state_dict(), temporary / _POLICY)
    moments, groups = _flat(optimiser)
    save_file(moments, temporary / _OPTIMISER)
    arrays = {name: np.array(value, order="C") for name, value in state.parts.items() if isinstance(value, np.ndarray)}
    save_arrays(arrays, temporary / _PARTS)
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
    (temporary / _RUN).write_text(json.dumps(told), encoding="utf-8")
    sums = {name: _checksum(temporary / name) for name in _FILES}
    (temporary / _SUMS).write_text(json.dumps(sums), encoding="utf-8")
    for path in (*temporary.iterdir(), temporary):
        _sync(path)
    shutil.rmtree(place, ignore_errors=True)
    os.replace(temporary, place)
    _sync(folder)
    for old in _whole(folder)[:-keep]:
        shutil.rmtree(old, ignore_errors=True)
    return place


def load(place: Path, policy: TextPolicy, optimiser: torch.optim.Optimizer, facts: Mapping[str, Any]) -> RunState:
    """Put a checkpoint back into policy and optimiser and return the state.

    Errors: CorruptFileError for a file that is damaged or missing; InputError for a newer schema, for facts (settings,
    tokenizer) that are not those of the run, and for parameters of other shapes. Nothing is changed then.
    """
    from safetensors.numpy import load_file as load_arrays
    from safetensors.torch import load_file

    _check_sums(place)
    told = json.loads((place / _RUN).read_text(encoding="utf-8"))
    if told["schema"] > SCHEMA:
        found = f"a checkpoint of schema {told['schema']}"
        raise InputError(str(place), found, f"schema {SCHEMA} or older; update creditsim")
    for name, value in facts.items():
        if told["facts"].get(name) != value:
            first = told["facts"].get(name)
            raise InputError(f"resume: {name}", value, f"{first}, as the run in {place.parent} began")
    policy.load_state_dict(load_file(place / _POLICY))
    _restore(optimiser, load_file(place / _OPTIMISER), told["optimiser"])
    return RunState(
        int(told["iteration"]),
        {**told["parts"], **load_arrays(place / _PARTS)},
        Records.from_columns(told["records"]),
        Interner(told["names"]),
    )


def load_weights(place: Path, policy: TextPolicy) -> int:
    """Put a checkpoint's parameters into a policy, to look at it or go on otherwise; returns its iteration."""
    from safetensors.torch import load_file

    _check_sums(place)
    policy.load_state_dict(load_file(place / _POLICY))
    return int(json.loads((place / _RUN).read_text(encoding="utf-8"))["iteration"])


def _whole(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob(f"{_PREFIX}*") if path.is_dir() and path.suffix != _UNFINISHED)


def _check_sums(place: Path) -> None:
    allowed = "a whole checkpoint; remove this one to go on from the one before"
    try:
        sums = json.loads((place / _SUMS).read_text(encoding="utf-8"))
        damaged = next((name for name in _FILES if _checksum(place / name) != sums[name]), None)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CorruptFileError(str(place), type(error).__name__, allowed) from None
    if damaged is not None:
        raise CorruptFileError(str(place), f"a damaged {damaged}", allowed)


def _checksum(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "blake2b").hexdigest()[:32]


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


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
