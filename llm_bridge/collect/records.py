"""What was said: observation, prompt, response and outcome of every row, found by the column `record`.

Rollouts hold numbers only, and designs take, reorder, drop and carry their rows; the column `record` (M,) int64 goes
with a row wherever it goes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from creditsim.errors import InputError
from creditsim.rollouts import Rollouts
from llm_bridge.collect.interner import Interner
from llm_bridge.envs.base import Observation, Outcome, Snapshot
from llm_bridge.policies.base import Prompt, Response, Stream

__all__ = ["FIELD_TYPES", "Record", "Records", "with_outcomes"]


@dataclass(frozen=True)
class Record:
    """One step of a text episode."""

    task: str
    """Id of the task."""
    previous: int
    """Record of the step before, through forks; -1 at the start of an episode."""
    stream: Stream
    """Whose random numbers policy and environment drew."""
    observation: Observation
    prompt: Prompt
    response: Response
    outcome: Outcome
    after: Snapshot | None = None
    """The place reached; None where it is not known any more and commands must be replayed."""


class Records:
    """Records by id; ids are given in order and never again."""

    def __init__(self, known: dict[int, Record] | None = None) -> None:
        self._known = dict(known or {})
        self._next = max(self._known, default=-1) + 1

    def add(self, record: Record) -> int:
        """Keep a record and return its id."""
        number, self._next = self._next, self._next + 1
        self._known[number] = record
        return number

    def __len__(self) -> int:
        return len(self._known)

    def __iter__(self) -> Iterator[int]:
        return iter(sorted(self._known))

    def __getitem__(self, number: int) -> Record:
        if number not in self._known:
            raise InputError("record", number, f"one of the {len(self._known)} records kept")
        return self._known[number]

    def of(self, rollouts: Rollouts) -> list[Record]:
        """The record of each row."""
        return [self[int(number)] for number in rollouts.column("record", "its texts")]

    def path(self, number: int) -> list[int]:
        """Ids from the start of the episode up to a record, itself included; [] for -1."""
        out = []
        while number >= 0:
            out.append(number)
            number = self[number].previous
        return out[::-1]

    def keep(self, numbers: Iterable[int]) -> None:
        """Forget all but the records named and those before them on their paths; for a loop that runs long."""
        wanted: set[int] = set()
        for number in map(int, numbers):
            while number >= 0 and number not in wanted:
                wanted.add(number)
                number = self[number].previous
        self._known = {number: self._known[number] for number in sorted(wanted)}

    def next_episode(self, seed: int) -> int:
        """The first episode number of that seed that no record has drawn from."""
        return max((r.stream.episode + 1 for r in self._known.values() if r.stream.seed == seed), default=0)

    def columns(self, numbers: Iterable[int]) -> dict[str, list[Any]]:
        """Records as plain lists by field, for a table; places are left out, replay finds them again."""
        rows = [(int(number), self[int(number)]) for number in numbers]
        return {name: [read(number, record) for number, record in rows] for name, (read, _) in _FIELDS.items()}

    @classmethod
    def from_columns(cls, columns: dict[str, list[Any]]) -> Records:
        """The other way; repeats of one record are one."""
        missing = next((name for name in _FIELDS if name not in columns), None)
        if missing is not None:
            raise InputError("texts", f"no column {missing}", " | ".join(_FIELDS))
        known = {}
        for values in zip(*(columns[name] for name in _FIELDS), strict=True):
            row = dict(zip(_FIELDS, values, strict=True))
            known.setdefault(row["record"], _record(row))
        return cls(known)


def with_outcomes(rollouts: Rollouts, records: Records, interner: Interner) -> Rollouts:
    """Add trajectory columns: `task` (N,) int64, `success` (N,) bool and `task_score` (N,), by each one's last step."""
    column = rollouts.column("record", "outcomes")
    last = [records[int(column[end - 1])] for end in rollouts.offsets[1:]]
    return rollouts.with_trajectory_columns(
        task=interner.ids("task", (record.task for record in last)),
        success=np.array([record.outcome.won for record in last], bool),
        task_score=np.array([record.outcome.score for record in last], np.float64),
    )


def _record(row: dict[str, Any]) -> Record:
    seen = Observation(
        row["observation"], row["anchor"], tuple(row["admissible"]), row["task_text"], row["state"]
    )  # fmt: skip
    then = replace(
        seen,
        text=row["next_observation"],
        anchor=row["next_anchor"],
        admissible=tuple(row["next_admissible"]),
        state=row["next_state"],
    )
    response = Response(
        row["response"],
        row["action"],
        np.asarray(row["token_ids"], np.int64),
        np.asarray(row["token_log_probs"], np.float64),
        row["entropy"],
        row["well_formed"],
    )
    outcome = Outcome(then, row["env_reward"], row["done"], row["won"], row["accepted"], row["score"])
    return Record(
        row["task"],
        row["previous"],
        Stream(int(row["seed"]), row["episode"], row["step"]),
        seen,
        Prompt(row["prompt"], tuple(row["choices"])),
        response,
        outcome,
    )


# Field of a table: how it is read off a record, and its Arrow type.
_FIELDS: dict[str, tuple[Any, str]] = {
    "record": (lambda number, r: number, "int64"),
    "previous": (lambda number, r: r.previous, "int64"),
    "task": (lambda number, r: r.task, "string"),
    # Any Python integer is a seed; as text none overflows.
    "seed": (lambda number, r: str(r.stream.seed), "string"),
    "episode": (lambda number, r: r.stream.episode, "int64"),
    "step": (lambda number, r: r.stream.step, "int64"),
    "task_text": (lambda number, r: r.observation.task, "string"),
    "observation": (lambda number, r: r.observation.text, "string"),
    "anchor": (lambda number, r: r.observation.anchor, "string"),
    "admissible": (lambda number, r: list(r.observation.admissible), "strings"),
    "state": (lambda number, r: r.observation.state, "string"),
    "prompt": (lambda number, r: r.prompt.text, "string"),
    "choices": (lambda number, r: list(r.prompt.admissible), "strings"),
    "response": (lambda number, r: r.response.text, "string"),
    "action": (lambda number, r: r.response.action, "string"),
    "token_ids": (lambda number, r: r.response.tokens.tolist(), "integers"),
    "token_log_probs": (lambda number, r: r.response.log_probs.tolist(), "numbers"),
    "entropy": (lambda number, r: float(r.response.entropy), "float64"),
    "well_formed": (lambda number, r: bool(r.response.well_formed), "bool"),
    "next_observation": (lambda number, r: r.outcome.observation.text, "string"),
    "next_anchor": (lambda number, r: r.outcome.observation.anchor, "string"),
    "next_admissible": (lambda number, r: list(r.outcome.observation.admissible), "strings"),
    "next_state": (lambda number, r: r.outcome.observation.state, "string"),
    "env_reward": (lambda number, r: float(r.outcome.reward), "float64"),
    "done": (lambda number, r: bool(r.outcome.done), "bool"),
    "won": (lambda number, r: bool(r.outcome.won), "bool"),
    "accepted": (lambda number, r: bool(r.outcome.admissible), "bool"),
    "score": (lambda number, r: float(r.outcome.score), "float64"),
}
FIELD_TYPES = {name: kind for name, (_, kind) in _FIELDS.items()}
"""Kind of each field of `Records.columns`: an Arrow type, or strings, integers, numbers for a list of them."""
