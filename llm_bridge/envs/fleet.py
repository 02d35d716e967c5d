"""Many environments behind one object: in this process, or spread over worker processes.

A call names a slot for every request and answers all requests at once. What an environment sends back does not depend
on where it runs.
"""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, NamedTuple, Protocol, runtime_checkable

from creditsim.errors import CreditsimError, InputError, ResourceError
from llm_bridge.envs.base import Observation, Outcome, Snapshot, TextEnv, TextTasks

__all__ = ["Fleet", "RandomTransitions", "Seed"]

Request = tuple[int, str, tuple[Any, ...]]
_PATIENCE = 900.0
"""Seconds that a worker may take for one round of requests; loading a large catalogue is the slowest of them."""


class Seed(NamedTuple):
    """Which random numbers an episode's own transitions are drawn from, where an environment has any."""

    seed: int
    episode: int


@runtime_checkable
class RandomTransitions(Protocol):
    """An environment with random transitions: it is told whose numbers to draw. Others need not know of it."""

    def reseed(self, seed: int, episode: int) -> None:
        """Draw from that stream from here on."""
        ...


class Fleet:
    """`slots` environments of one family, made when a slot is first used; with `workers` > 0, in that many processes.

    Slot i lives in process i modulo `workers`. An error of an environment comes back as one InputError (or whatever
    one-line error it raised); a worker that died or does not answer as a ResourceError, after which the fleet is
    closed. Use it as a context manager, or call `close`.
    """

    def __init__(self, tasks: TextTasks, slots: int, *, workers: int = 0, patience: float = _PATIENCE) -> None:
        if slots < 1:
            raise InputError("slots", slots, "at least 1 environment")
        if workers < 0:
            raise InputError("workers", workers, "0 (this process) or more")
        empty = [split for split, ids in tasks.splits().items() if not ids]
        if empty or not tasks.splits():
            raise InputError(f"{tasks.name} games", f"none in split {empty[0]}" if empty else "none", "at least one")
        self.tasks, self.slots = tasks, slots
        self._closed = False
        self._hosts: list[_Here] | list[_Worker] = (
            [_Worker(tasks, i, patience) for i in range(min(workers, slots))] if workers else [_Here(tasks)]
        )

    def reset(self, asked: Sequence[tuple[int, str, Seed]]) -> list[Observation]:
        """Begin tasks: (slot, task, whose numbers)."""
        return self._call([(slot, "reset", (task, tuple(seed))) for slot, task, seed in asked])

    def step(self, asked: Sequence[tuple[int, str]]) -> list[tuple[Outcome, Snapshot]]:
        """Issue commands: (slot, text). Answers what they led to, and the place that was reached."""
        return self._call([(slot, "step", (text,)) for slot, text in asked])

    def restore(self, asked: Sequence[tuple[int, Snapshot, Seed]]) -> list[Observation]:
        """Go to places: (slot, place, whose numbers from there on)."""
        return self._call([(slot, "restore", (place, tuple(seed))) for slot, place, seed in asked])

    def replay(self, asked: Sequence[tuple[int, str, Sequence[tuple[str, Seed]], Seed]]) -> list[Observation]:
        """Go where commands lead from a task's start: (slot, task, (command, whose numbers) each, numbers then)."""
        return self._call([
            (slot, "replay", (task, [(text, tuple(own)) for text, own in commands], tuple(seed)))
            for slot, task, commands, seed in asked
        ])  # fmt: skip

    def oracle(self, slots: Sequence[int]) -> list[list[str]]:
        """Commands that win from where each slot stands."""
        return self._call([(slot, "oracle", ()) for slot in slots])

    def close(self) -> None:
        """End all environments and processes; harmless when repeated."""
        self._closed = True
        for host in self._hosts:
            host.close()

    def __enter__(self) -> Fleet:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _call(self, requests: Sequence[Request]) -> list[Any]:
        if self._closed:
            raise InputError("fleet", "a request after close", "a fleet that is open")
        wrong = next((slot for slot, _, _ in requests if not 0 <= slot < self.slots), None)
        if wrong is not None:
            raise InputError("slot", wrong, f"0..{self.slots - 1}")
        n = len(self._hosts)
        shares = [[i for i, request in enumerate(requests) if request[0] % n == k] for k in range(n)]
        busy = [k for k in range(n) if shares[k]]
        try:
            for k in busy:
                self._hosts[k].send([requests[i] for i in shares[k]])
            answers: list[Any] = [None] * len(requests)
            failed: CreditsimError | None = None
            # Every host is heard, so that none has an unread answer when the next round begins.
            for k in busy:
                for i, answer in zip(shares[k], self._hosts[k].receive(), strict=True):
                    failed = failed or (answer if isinstance(answer, CreditsimError) else None)
                    answers[i] = answer
        except BaseException:
            self.close()
            raise
        if failed is not None:
            raise failed
        return answers


class _Here:
    """Environments in this process, by slot."""

    def __init__(self, tasks: TextTasks) -> None:
        self._tasks = tasks
        self._envs: dict[int, TextEnv] = {}
        self._answers: list[Any] = []

    def send(self, requests: Sequence[Request]) -> None:
        self._answers = [self._answer(*request) for request in requests]

    def receive(self) -> list[Any]:
        return self._answers

    def close(self) -> None:
        while self._envs:
            self._envs.popitem()[1].close()

    def _answer(self, slot: int, verb: str, arguments: tuple[Any, ...]) -> Any:
        try:
            if slot not in self._envs:
                self._envs[slot] = self._tasks.make()
            return _VERBS[verb](self._envs[slot], *arguments)
        except CreditsimError as error:
            return error
        except Exception as error:
            told = " ".join(f"{type(error).__name__}: {error}".split())
            return InputError(f"{self._tasks.name} environment", told, "an environment that answers")


class _Worker:
    """The same in a process of its own."""

    def __init__(self, tasks: TextTasks, number: int, patience: float) -> None:
        # Not fork: the caller may hold threads of torch or a CUDA context, which do not survive it.
        context = multiprocessing.get_context("spawn")
        self._pipe, other = context.Pipe()
        self._patience = patience
        self._name = f"{tasks.name} worker {number}"
        self.process = context.Process(target=_serve, args=(other, tasks), daemon=True, name=self._name)
        self.process.start()
        other.close()

    def send(self, requests: Sequence[Request]) -> None:
        try:
            self._pipe.send(list(requests))
        except (BrokenPipeError, OSError):
            raise self._lost() from None

    def receive(self) -> list[Any]:
        try:
            if self._pipe.poll(self._patience):
                return self._pipe.recv()
        except (EOFError, OSError):
            raise self._lost() from None
        self.process.kill()
        raise ResourceError(f"{self._name} gave no answer for {self._patience:g} s")

    def _lost(self) -> ResourceError:
        self.process.join(5)
        return ResourceError(f"{self._name} died (exit code {self.process.exitcode})")

    def close(self) -> None:
        with suppress(OSError, ValueError):
            self._pipe.send(None)
        self._pipe.close()
        self.process.join(5)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()


def _serve(pipe: Any, tasks: TextTasks) -> None:
    """Answer rounds of requests until None comes or the other side is gone."""
    # Ctrl-C reaches the whole terminal group; the parent decides when its workers end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    here = _Here(tasks)
    with suppress(EOFError, BrokenPipeError):
        while (requests := pipe.recv()) is not None:
            here.send(requests)
            pipe.send(here.receive())
    here.close()


def _reset(env: TextEnv, task: str, seed: tuple[int, int]) -> Observation:
    seen = env.reset(task)
    _reseed(env, seed)
    return seen


def _restore(env: TextEnv, place: Snapshot, seed: tuple[int, int]) -> Observation:
    seen = env.restore(place)
    _reseed(env, seed)
    return seen


def _step(env: TextEnv, text: str) -> tuple[Outcome, Snapshot]:
    outcome = env.step(text)
    return outcome, env.snapshot()


def _replay(
    env: TextEnv, task: str, commands: Sequence[tuple[str, tuple[int, int]]], seed: tuple[int, int]
) -> Observation:
    seen = env.reset(task)
    for text, own in commands:
        _reseed(env, own)
        seen = env.step(text).observation
    _reseed(env, seed)
    return seen


def _oracle(env: TextEnv) -> list[str]:
    return env.oracle()


def _reseed(env: TextEnv, seed: tuple[int, int]) -> None:
    if isinstance(env, RandomTransitions):
        env.reseed(*seed)


_VERBS = {"reset": _reset, "restore": _restore, "step": _step, "replay": _replay, "oracle": _oracle}
