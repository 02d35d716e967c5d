"""Environments that misbehave on command; a module of its own, so that worker processes can import it."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from creditsim.errors import InputError
from llm_bridge.envs.base import Observation, Outcome, Snapshot


@dataclass(frozen=True)
class Moody:
    """Tasks `a` and `b`; a walk is the commands so far. Commands `boom`, `bad`, `die` and `sleep` misbehave."""

    ids: tuple[str, ...] = ("a", "b")
    name: str = "moody"
    max_steps: int = 5
    reward_unit: float = 10.0

    def splits(self) -> Mapping[str, Sequence[str]]:
        return {"train": self.ids}

    def kind(self, task: str) -> str:
        return "any"

    def make(self) -> MoodyEnv:
        return MoodyEnv()


class MoodyEnv:
    def __init__(self) -> None:
        self.task, self.said = "", ()
        self.closed = False

    def _seen(self) -> Observation:
        text = f"{self.task}:{','.join(self.said)}"
        return Observation(text, text, ("go", "win"), "say win", text)

    def reset(self, task: str) -> Observation:
        self.task, self.said = task, ()
        return self._seen()

    def step(self, text: str) -> Outcome:
        if text == "boom":
            raise RuntimeError("two\nlines")
        if text == "bad":
            raise InputError("moody", "bad", "good")
        if text == "die":
            os._exit(3)
        if text == "sleep":
            time.sleep(60)
        self.said = (*self.said, text)
        return Outcome(self._seen(), float(text == "win"), text == "win", text == "win", text in ("go", "win"))

    def snapshot(self) -> Snapshot:
        return Snapshot(self.task, len(self.said), self.said)

    def restore(self, place: Snapshot) -> Observation:
        self.task, self.said = place.task, place.payload
        return self._seen()

    def oracle(self) -> list[str]:
        return ["win"]

    def close(self) -> None:
        self.closed = True
