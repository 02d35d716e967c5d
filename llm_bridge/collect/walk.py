"""Walking: all live episodes act together, slot by slot refilled as episodes end."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from creditsim.errors import NumericalError
from llm_bridge.collect.records import Record, Records
from llm_bridge.envs.base import Observation
from llm_bridge.envs.fleet import Fleet, Seed
from llm_bridge.policies.base import Prompt, Response, Stream
from llm_bridge.policies.plain import Acts, FollowsOracle
from llm_bridge.prompts import Turn

__all__ = ["Clock", "Episode", "Prompter", "Timed", "walk"]

Prompter = Callable[[Observation, Sequence[Turn]], Prompt]
"""How a step is put to the policy: what is seen now, and the turns before it in order (`prompts.make_prompt`)."""


_NOWHERE = Observation("", "", (), "")
"""What an episode sees before it has a slot."""


@dataclass
class Clock:
    """Seconds spent in all calls of `extend` of a sampler and its copies."""

    policy: float = 0.0
    environment: float = 0.0
    total: float = 0.0

    @property
    def overhead(self) -> float:
        """Share of the time that is neither the policy's nor the environment's; 0 before any walk."""
        return 1.0 - (self.policy + self.environment) / self.total if self.total else 0.0


@dataclass
class Episode:
    """One trajectory being drawn: from a task's start, or on from a record."""

    task: str
    number: int
    """Its stream's number among all episodes of the seed."""
    begin: int
    """Step it begins at."""
    stop: int
    """Step not to begin any more."""
    previous: int = -1
    """Record it goes on from; -1: from the start."""
    done: bool = False
    steps: list[Record] = field(default_factory=list)
    """What was drawn; `previous` of these is filled in when they get their ids."""
    turns: list[Turn] = field(default_factory=list)
    seen: Observation = _NOWHERE

    @property
    def step(self) -> int:
        """The step that comes next."""
        return self.begin + len(self.steps)

    @property
    def live(self) -> bool:
        """Whether it goes on."""
        return not self.done and self.step < self.stop


def walk(
    fleet: Fleet,
    policy: Acts,
    prompter: Prompter,
    episodes: Sequence[Episode],
    records: Records,
    *,
    seed: int,
    greedy: bool = False,
    clock: Clock | None = None,
    progress: Callable[[int], object] | None = None,
) -> None:
    """Draw every episode to its end or its stop, as many side by side as the fleet has slots.

    A decision's random numbers are named by (seed, episode, step), so slots, workers and the order of ending change
    nothing but the make-up of the policy's batches. `progress` is told how many episodes have just ended.
    Errors: NumericalError for log-probabilities that are no finite numbers, and what environments raise.
    """
    clock = clock or Clock()
    waiting = deque(episodes)
    at: dict[int, Episode] = {}
    while waiting or at:
        entering = [(slot, waiting.popleft()) for slot in range(fleet.slots) if slot not in at and waiting]
        at.update(entering)
        with Timed(clock, "environment"):
            _enter(fleet, policy, entering, records, seed)
        slots = sorted(at)
        acting = [at[slot] for slot in slots]
        prompts = [prompter(episode.seen, episode.turns) for episode in acting]
        streams = [Stream(seed, episode.number, episode.step) for episode in acting]
        with Timed(clock, "policy"):
            responses = policy.act(prompts, streams, greedy=greedy)
        for response in responses:
            _check(response)
        with Timed(clock, "environment"):
            answers = fleet.step([
                (slot, response.action) for slot, response in zip(slots, responses, strict=True)
            ])  # fmt: skip
        for slot, episode, prompt, stream, response, (outcome, place) in zip(
            slots, acting, prompts, streams, responses, answers, strict=True
        ):
            seen = episode.seen
            episode.steps.append(Record(episode.task, -1, stream, seen, prompt, response, outcome, place))
            episode.turns.append(Turn(seen.text, response.action))
            episode.seen, episode.done = outcome.observation, outcome.done
            if not episode.live:
                del at[slot]
        if progress is not None and len(acting) > len(at):
            progress(len(acting) - len(at))


def _enter(fleet: Fleet, policy: Acts, entering: Sequence[tuple[int, Episode]], records: Records, seed: int) -> None:
    """Put episodes into their slots: at the start of their task, at a place, or where commands lead."""
    starts, places, replays = [], [], []
    for slot, episode in entering:
        own = Seed(seed, episode.number)
        if episode.previous < 0:
            starts.append((slot, episode.task, own))
            continue
        path = [records[number] for number in records.path(episode.previous)]
        episode.turns = [Turn(record.observation.text, record.response.action) for record in path]
        after = path[-1].after
        if after is not None:
            places.append((slot, after, own))
        else:
            said = [(r.response.action, Seed(r.stream.seed, r.stream.episode)) for r in path]
            replays.append((slot, episode.task, said, own))
    by_slot = dict(entering)
    for asked, answer in ((starts, fleet.reset), (places, fleet.restore), (replays, fleet.replay)):
        for request, seen in zip(asked, answer(asked) if asked else (), strict=True):
            by_slot[request[0]].seen = seen
    if isinstance(policy, FollowsOracle) and entering:
        for (_, episode), commands in zip(entering, fleet.oracle([slot for slot, _ in entering]), strict=True):
            policy.follow(Stream(seed, episode.number, episode.begin), commands)


def _check(response: Response) -> None:
    if not (np.isfinite(response.log_probs).all() and np.isfinite(response.entropy)):
        raise NumericalError(f"policy: log-probabilities that are NaN or infinite for {response.action[:60]!r}")


class Timed:
    """Adds the time of a block to one field of a clock."""

    def __init__(self, clock: Clock, name: str) -> None:
        self._clock, self._name = clock, name

    def __enter__(self) -> None:
        self._began = time.perf_counter()

    def __exit__(self, *error: object) -> None:
        spent = time.perf_counter() - self._began
        setattr(self._clock, self._name, getattr(self._clock, self._name) + spent)
