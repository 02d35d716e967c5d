"""The schema of a golden file's cases: kinds and shapes of parameters, inputs and expected values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from creditsim.errors import CorruptFileError

__all__ = ["check_expected", "check_inputs", "check_params", "is_integer", "is_number"]

_LABELS = ("group", "traj", "anchor")
_INTEGERS = ("step", "response_length", "action_valid", "mask")
_NULLABLE = ("rewards_per_func",)
_MATRICES = ("token_reward", "rewards_per_func")
_VECTORS = ("group", "traj", "anchor", "step", "reward", "episode_reward", "response_length", "action_valid", "score",
            "greedy_baseline", "logprob", "ref_logprob")  # fmt: skip
_NUMBER, _INTEGER, _FLAG, _TEXT, _NUMBERS = "a number", "an integer", "true or false", "a string", "a list of numbers"
_PARAMS = {
    "gamma": _NUMBER, "lam": _NUMBER, "epsilon": _NUMBER, "f_norm": _NUMBER, "step_advantage_w": _NUMBER,
    "length_weight_alpha": _NUMBER, "clip_ratio_low": _NUMBER, "clip_ratio_high": _NUMBER, "clip_ratio_c": _NUMBER,
    "similarity_thresh": _NUMBER + " or null", "invalid_action_penalty_coef": _NUMBER + " or null",
    "num_generations": _INTEGER, "history_length": _INTEGER,
    "compute_mean_std_cross_steps": _FLAG, "norm_by_std": _FLAG, "base_group": _FLAG, "normalize_advantages": _FLAG,
    "handle_zero_tail": _FLAG,
    "mode": _TEXT, "scale_rewards": _TEXT, "multi_objective_aggregation": _TEXT, "loss": _TEXT, "loss_agg_mode": _TEXT,
    "kind": _TEXT, "reward_weights": _NUMBERS,
}  # fmt: skip


def check_params(where: str, params: Mapping[str, Any]) -> None:
    """Check the kinds of the parameters that the schema knows; others are the adapter's affair."""
    for name, value in params.items():
        kind = _PARAMS.get(name)
        good = {
            None: True,
            _NUMBER: is_number(value),
            _NUMBER + " or null": value is None or is_number(value),
            _INTEGER: is_integer(value),
            _FLAG: isinstance(value, bool),
            _TEXT: isinstance(value, str),
            _NUMBERS: isinstance(value, list) and bool(value) and all(map(is_number, value)),
        }[kind]
        if not good:
            raise CorruptFileError(f"{where} {name}", repr(value), str(kind))


def check_inputs(where: str, inputs: Mapping[str, Any]) -> int:
    """Check kinds and shapes; return the number of rows, which every input shares."""
    first, rows = "", 0
    for name, values in inputs.items():
        if not isinstance(values, list):
            raise CorruptFileError(f"{where} {name}", f"a {type(values).__name__}", "a list with an entry per row")
        first, rows = (first, rows) if first else (name, len(values))
        if not values or len(values) != rows:
            raise CorruptFileError(f"{where} {name}", f"{len(values)} rows", f"{rows or 1} as in {first}")
        _check_leaves(f"{where} {name}", name, values)
        _check_depth(f"{where} {name}", name, values, "mask" in inputs)
    _check_rows(where, inputs, rows)
    return rows


def _check_depth(where: str, name: str, values: list[Any], in_rectangle: bool) -> None:
    if in_rectangle:
        wanted = name != "group"
    elif name in _MATRICES or name in _VECTORS:
        wanted = name in _MATRICES
    else:
        wanted = isinstance(values[0], list)
    for row, value in enumerate(values):
        nested = isinstance(value, list) and any(isinstance(inner, list) for inner in value)
        if nested or isinstance(value, list) != wanted:
            got = "a list of lists" if nested else "a list" if isinstance(value, list) else "a single value"
            raise CorruptFileError(f"{where} row {row}", got, "a list" if wanted else "a single value")


def _check_rows(where: str, inputs: Mapping[str, Any], rows: int) -> None:
    """Rows of a matrix are as long as the mask's, as `response_length` says of `token_reward`, or else as its first."""
    for name, values in inputs.items():
        if not isinstance(values[0], list):
            continue
        like = [len(inputs["mask"][0] if "mask" in inputs else values[0])] * rows
        wanted = inputs.get("response_length") if name == "token_reward" else like
        for row, (value, length) in enumerate(zip(values, wanted or [], strict=False)):
            if len(value) != length:
                raise CorruptFileError(f"{where} {name} row {row}", f"{len(value)} entries", f"{length}")


def _check_leaves(where: str, name: str, values: list[Any]) -> None:
    for leaf in _leaves(values):
        if name in _LABELS:
            good, allowed = isinstance(leaf, str) or is_integer(leaf), "strings or integers"
        elif name in _INTEGERS:
            good, allowed = is_integer(leaf) and leaf >= 0, "integers >= 0"
        else:
            good = is_number(leaf) or (leaf is None and name in _NULLABLE)
            allowed = "numbers or null" if name in _NULLABLE else "numbers"
        if not good:
            raise CorruptFileError(where, repr(leaf), allowed)


def check_expected(where: str, expected: Mapping[str, Any], rows: int) -> None:
    """Check that lists have a row per input row and that leaves are numbers or null; blocks may nest."""
    for name, value in expected.items():
        if isinstance(value, dict):
            check_expected(f"{where} {name}", value, rows)
            continue
        if isinstance(value, list) and len(value) != rows:
            raise CorruptFileError(f"{where} {name}", f"{len(value)} rows", f"{rows}, as many as the inputs have")
        bad = next((leaf for leaf in _leaves(value) if leaf is not None and not is_number(leaf)), None)
        if bad is not None:
            raise CorruptFileError(f"{where} {name}", repr(bad), "numbers or null")


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, list):
        for inner in value:
            yield from _leaves(inner)
    else:
        yield value


def is_number(value: Any) -> bool:
    """Whether a JSON value is a number; true and false are not."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def is_integer(value: Any) -> bool:
    """Whether a JSON value is a whole number."""
    return isinstance(value, int) and not isinstance(value, bool)
