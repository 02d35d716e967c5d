"""The settings of learning curves from one warm start; nothing heavy here."""

from __future__ import annotations

from dataclasses import dataclass

from creditsim.errors import InputError

__all__ = ["CurveSettings", "method_of"]


@dataclass(frozen=True)
class CurveSettings:
    """What is compared: every method goes on from the same model, once for each seed."""

    methods: tuple[str, ...] = ("grpo=40", "gigpo=40", "hgpo=40", "3spo=400")
    """Methods of the catalogue, each with its updates: a method that draws less per update takes more of them."""
    seeds: int = 5
    """Runs of each method; seeds are 0, 1, ..., and a seed is the same start for every method."""
    env: str = "alfworld@easy"
    """A text environment, `name` or `name@preset`."""
    groups: int = 4
    """Tasks in the batch of one update."""
    group_size: int = 8
    """Episodes of each task; children of a state where a method branches."""
    learning_rate: float = 3e-4
    """Step size of AdamW, for all methods."""
    points: int = 6
    """Evaluations after the first, evenly over a run."""
    episodes: int = 8
    """Episodes of each task of the train split by which start and end of a run are measured."""
    warm_episodes: int = 64
    """Solutions imitated by the model that all runs begin with."""
    warm_epochs: int = 6
    """Passes over them."""

    def check(self) -> None:
        """Raise an InputError for a number below 1 or a method without its updates."""
        for name in ("seeds", "groups", "group_size", "points", "episodes", "warm_episodes", "warm_epochs"):
            if getattr(self, name) < 1:
                raise InputError(name, getattr(self, name), "a whole number >= 1")
        for text in self.methods:
            method_of(text)


def method_of(text: str) -> tuple[str, int]:
    """Read `method=updates`; InputError for anything else."""
    name, equals, number = text.partition("=")
    if not equals or not number.isdecimal() or int(number) < 1:
        raise InputError("methods", repr(text), "method=updates, as in grpo=20")
    return name, int(number)
