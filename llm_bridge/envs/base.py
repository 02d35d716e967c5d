"""What a text environment is, and the registry of its families."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

from creditsim.registry import Evidence, Part, Registry

__all__ = [
    "ENVIRONMENTS",
    "Exports",
    "Observation",
    "Outcome",
    "Snapshot",
    "TextEnv",
    "TextTasks",
    "make_tasks",
    "text_environment",
]

F = TypeVar("F", bound=Callable[..., "TextTasks"])


@dataclass(frozen=True)
class Observation:
    """What an agent is shown before it acts."""

    text: str
    """The environment's own words."""
    anchor: str
    """The text whose equality makes two observations one anchor (GiGPO's step groups)."""
    admissible: tuple[str, ...]
    """Commands that the environment would accept now, in a fixed order; templates such as search[<your query>] too."""
    task: str
    """The sentence that says what to do."""
    state: str | None = None
    """Name of the hidden state, equal exactly where all futures are; None where the environment cannot tell."""


@dataclass(frozen=True)
class Outcome:
    """What one step led to."""

    observation: Observation
    reward: float
    """The environment's own reward of this step; conventions (10 for a win, penalties) are collection's affair."""
    done: bool
    won: bool = False
    admissible: bool = True
    """Whether the environment accepted the command."""
    score: float = 0.0
    """Partial success in [0, 1] at the end of an episode (WebShop's score); 1.0 where `won`, 0.0 before the end."""


@dataclass(frozen=True)
class Snapshot:
    """A place to come back to: any environment of the same family can be put there, in any process."""

    task: str
    """Id of the task."""
    steps: int
    """Commands issued since `reset`."""
    payload: Any = field(default=None, compare=False)
    """What the family needs besides: a plain, picklable value (a prefix of commands, a copied state)."""


class TextEnv(Protocol):
    """One episode at a time. An action that means nothing is answered, never an error."""

    def reset(self, task: str) -> Observation:
        """Begin the task of that id; the same id gives the same episode start, in any process."""
        ...

    def step(self, text: str) -> Outcome:
        """Issue a command; after the end of an episode an InputError."""
        ...

    def snapshot(self) -> Snapshot:
        """Name the present place."""
        ...

    def restore(self, place: Snapshot) -> Observation:
        """Go to a place that any environment of this family has named, and see what was seen there."""
        ...

    def oracle(self) -> list[str]:
        """Commands that win from here (or from the start, where only that is known); InputError if there are none."""
        ...

    def close(self) -> None:
        """Release processes and files; harmless when repeated."""
        ...


class TextTasks(Protocol):
    """A family of tasks with splits, and a maker of environments that play them. Picklable: processes are sent it."""

    @property
    def name(self) -> str:
        """Name of the family."""
        ...

    @property
    def max_steps(self) -> int:
        """Steps after which collection cuts an episode, as published runs do."""
        ...

    @property
    def reward_unit(self) -> float:
        """What a win is worth in the published convention (10 on ALFWorld and WebShop)."""
        ...

    def splits(self) -> Mapping[str, Sequence[str]]:
        """Task ids by split (`train`, `valid_seen`, ...), each in a fixed order and none empty."""
        ...

    def kind(self, task: str) -> str:
        """The type a task is reported under (`pick_two_obj_and_place`, a product category, ...)."""
        ...

    def make(self) -> TextEnv:
        """A new environment; several of one process do not disturb each other."""
        ...


@runtime_checkable
class Exports(Protocol):
    """Tasks that can be written in the file formats their published data come in."""

    def export(self, folder: Path) -> Iterator[Path]:
        """Write all tasks below a folder that is there, and yield the files as they are written."""
        ...


ENVIRONMENTS: Registry[Part] = Registry("text environment", "llm_bridge.envs")


def text_environment(
    name: str, *, paper: str, evidence: Evidence = "code", presets: Mapping[str, Mapping[str, Any]] | None = None
) -> Callable[[F], F]:
    """Register a constructor `f(*, parameters) -> TextTasks`."""

    def register(function: F) -> F:
        part = Part("text environment", name, function, paper=paper, evidence=evidence, presets=presets or {})
        ENVIRONMENTS.add(part)
        return function

    return register


def make_tasks(spec: str, **overrides: Any) -> TextTasks:
    """Make the tasks of `name` or `name@preset`, with parameters overridden; one-line errors for unknown names."""
    return ENVIRONMENTS.bind(spec, **overrides)()
