"""Readers of the four layouts of golden files: plain lists in, Rollouts out, and the way back to the file's order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from creditsim.errors import CorruptFileError
from creditsim.labels import intern
from creditsim.rollouts import Rollouts

__all__ = ["TokenMatrix", "prompt_major", "ragged", "sequence_table", "step_table", "token_matrix", "token_rows"]

Inputs = Mapping[str, Any]

_COLUMN = {"response_length": "tokens", "action_valid": "valid", "old_logprob": "log_prob"}
"""Names of the files' fields that Rollouts knows under another name."""


def step_table(inputs: Inputs) -> Rollouts:
    """One row per environment step, in any order; `rollouts.to_input_order(values)` gives the file's order back.

    `anchor` becomes the observation (its text is `rollouts.labels["observation"][id]`), `response_length` the column
    `tokens`, `action_valid` the column `valid`, `episode_reward` a column of its own name.
    """
    names = ("response_length", "action_valid", "episode_reward")
    return Rollouts.from_steps(
        group=inputs["group"],
        traj=inputs["traj"],
        step=inputs["step"],
        observation=inputs["anchor"],
        reward=_floats(inputs["reward"]),
        columns={_COLUMN.get(name, name): np.asarray(inputs[name]) for name in names if name in inputs},
    )


def sequence_table(inputs: Inputs) -> Rollouts:
    """One row and one trajectory per response, in the file's order: reward = `score`, `tokens` = `response_length`.

    `greedy_baseline`, where given, becomes the trajectory column `greedy_score`.
    """
    count = len(inputs["score"])
    return Rollouts.flat(
        offsets=np.arange(count + 1),
        group=_ids(inputs["group"]),
        reward=_floats(inputs["score"]),
        columns={"tokens": np.asarray(inputs["response_length"])},
        trajectory_columns=_greedy(inputs),
    )


def token_rows(inputs: Inputs) -> Rollouts:
    """One row per token of a sequence table with `token_reward`; a response is one step of many decisions.

    `ragged(values, rollouts.offsets)` is the way back. `greedy_baseline` becomes the trajectory column `greedy_score`.
    """
    rows = inputs["token_reward"]
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
    reward = _floats([value for row in rows for value in row])
    return Rollouts.flat(
        offsets=offsets,
        group=_ids(inputs["group"]),
        reward=reward,
        step=np.zeros(reward.shape[0], np.int64),
        trajectory_columns=_greedy(inputs),
    )


def ragged(values: Any, offsets: Any) -> list[list[float]]:
    """Cut an array per row into one list per trajectory."""
    return [np.asarray(values)[a:b].tolist() for a, b in pairwise(offsets)]


def prompt_major(rewards: Sequence[Any], num_generations: int) -> Rollouts:
    """`num_generations` consecutive responses per prompt, one row each; reward = sum of the reward functions.

    `rewards` (rows) numbers or (rows, K) lists; null is not scorable: such a row gets reward 0 and weight 0. The single
    rewards are the trajectory column `rewards_K` (rows, K).
    """
    table: np.ndarray = np.array([row if isinstance(row, list) else [row] for row in rewards], dtype=np.float64)
    count = table.shape[0]
    if num_generations < 1 or count % num_generations:
        raise CorruptFileError("num_generations", num_generations, f"a divisor of {count}, the number of rows")
    scorable = np.asarray(np.isfinite(table).all(axis=1))
    table = np.where(scorable[:, None], table, 0.0)
    columns = {} if scorable.all() else {"weight": scorable.astype(np.float64)}
    return Rollouts.flat(
        offsets=np.arange(count + 1),
        group=np.arange(count) // num_generations,
        reward=table.sum(axis=1),
        columns=columns,
        trajectory_columns={"rewards_K": table},
    )


@dataclass(frozen=True)
class TokenMatrix:
    """Rollouts made of the cells of a rectangle of tokens: one trajectory per line, one row per cell taken."""

    rollouts: Rollouts
    cells: np.ndarray
    """(B, T) bool: the cells that became rows, in line order."""

    def to_matrix(self, values: Any, fill: float = 0.0) -> list[list[float]]:
        """Bring an array per row back to the rectangle; cells that were not taken get `fill`."""
        matrix: np.ndarray = np.full(self.cells.shape, fill)
        matrix[self.cells] = np.asarray(values)
        return matrix.tolist()


def token_matrix(inputs: Inputs, *, holes: bool = False) -> TokenMatrix:
    """Rows of the valid cells of a rectangle of tokens; a line is one trajectory and one step of many decisions.

    `holes=True` also takes masked cells that lie before the last valid one of their line. Columns: `valid` (the mask),
    `position` (the cell's column), `log_prob` for `old_logprob`, and every other matrix of `inputs` under its own name.
    `reward` is 0 and the groups are the lines where the inputs have none.
    """
    mask = np.array(inputs["mask"], dtype=bool)
    lines, width = mask.shape
    reach = np.where(mask, np.arange(width), -1).max(axis=1)
    cells = np.arange(width)[None, :] <= reach[:, None] if holes else mask
    matrices = {
        _COLUMN.get(name, name): np.asarray(values, dtype=np.float64)[cells]
        for name, values in inputs.items()
        if name not in ("mask", "group", "reward")
    }
    reward = np.asarray(inputs["reward"], np.float64)[cells] if "reward" in inputs else np.zeros(int(cells.sum()))
    rollouts = Rollouts.flat(
        offsets=np.concatenate([[0], np.cumsum(cells.sum(axis=1))]),
        group=_ids(inputs["group"]) if "group" in inputs else np.arange(lines),
        reward=reward,
        step=np.zeros(reward.shape[0], np.int64),
        columns={"valid": mask[cells], "position": np.nonzero(cells)[1], **matrices},
    )
    return TokenMatrix(rollouts, cells)


def _greedy(inputs: Inputs) -> dict[str, np.ndarray]:
    return {"greedy_score": _floats(inputs["greedy_baseline"])} if "greedy_baseline" in inputs else {}


def _floats(values: Any) -> np.ndarray:
    return np.asarray(values, dtype=np.float64)


def _ids(labels: Sequence[Any]) -> np.ndarray:
    return intern(list(labels), "group")[0]
