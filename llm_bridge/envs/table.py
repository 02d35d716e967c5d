"""A tabular MDP told in words: the text environment whose exact answers are known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from creditsim.errors import InputError
from creditsim.mdp import TabularMDP, make
from creditsim.mdp.checks import whole
from creditsim.rng import Purpose, derive_seed, uniforms
from llm_bridge.envs.base import Observation, Outcome, Snapshot, text_environment

__all__ = ["REFUSED", "TableEnv", "TableTasks", "command", "place", "table"]

REFUSED = "Nothing happens."
"""The answer to a command that the state does not allow."""

_TASK = "Earn as much reward as you can."


def place(observation: int) -> str:
    """Text, and anchor, of an observation id."""
    return f"You are at place {observation}."


def command(action: int) -> str:
    """The command that takes an action id."""
    return f"take path {action}"


@dataclass(frozen=True)
class TableTasks:
    """Tasks on one MDP: each has a start state, drawn once from the MDP's law by the task's number and `seed`."""

    mdp: TabularMDP
    n_train: int
    n_valid: int
    seed: int
    name: str = "table"
    reward_unit: float = 1.0

    @property
    def max_steps(self) -> int:
        """The MDP's horizon."""
        return self.mdp.horizon

    def splits(self) -> Mapping[str, Sequence[str]]:
        """`train` and `valid`: tasks 0, 1, ... of each."""
        sizes = {"train": self.n_train, "valid": self.n_valid}
        return {split: [f"{split}-{i}" for i in range(n)] for split, n in sizes.items()}

    def kind(self, task: str) -> str:
        """The name of the task's start state."""
        return f"from state {self.start_state(task)}"

    def start_state(self, task: str) -> int:
        """Hidden state that the task begins in."""
        split, _, number = task.rpartition("-")
        sizes = {"train": self.n_train, "valid": self.n_valid}
        if not (number.isdecimal() and int(number) < sizes.get(split, 0)):
            raise InputError("task", repr(task), " | ".join(f"{s}-0 .. {s}-{n - 1}" for s, n in sizes.items()))
        draw = uniforms(derive_seed(self.seed, split), 0, Purpose.START, 1, first=int(number))[0]
        return _pick(self.mdp.start, draw)

    def make(self) -> TableEnv:
        """A new environment."""
        return TableEnv(self)

    def vocabulary(self) -> dict[str, list[str]]:
        """Names by id as the MDP counts them; an interner that begins with these gives text rollouts its ids."""
        return {
            "observation": [place(o) for o in range(self.mdp.n_observations)],
            "action": [command(a) for a in range(self.mdp.n_actions)],
            "state": [_state_name(s) for s in range(self.mdp.n_states)],
        }

    @cached_property
    def cumulative(self) -> np.ndarray:
        """(S,A,B) running sums of the branch probabilities."""
        return self.mdp.probability.cumsum(axis=-1)


class TableEnv:
    """One walk through the MDP at a time.

    A transition is drawn from a stream named by (key, episode) at the number of the step, so that commands and stream
    decide a whole episode. After `reset` the stream is the task's own: the same commands lead to the same places in
    any process. `reseed` names another stream, which is how episodes of one group come to differ where the environment
    itself is random, and how a branch gets a future of its own. A place remembers its stream: `restore` without
    `reseed` goes on as the original would have.
    """

    def __init__(self, tasks: TableTasks) -> None:
        self._tasks, self._mdp = tasks, tasks.mdp
        self._task: str | None = None
        self._state, self._steps, self._refused, self._done = 0, 0, False, True
        self._key, self._episode = 0, 0

    def reset(self, task: str) -> Observation:
        """Begin in the task's start state."""
        self._state = self._tasks.start_state(task)
        self._task, self._steps, self._refused, self._done = task, 0, False, False
        self._key, self._episode = derive_seed(self._tasks.seed, "transitions", task), 0
        return self._seen()

    def reseed(self, seed: int, episode: int) -> None:
        """Draw the transitions from here on from the stream of that seed and episode number."""
        self._key, self._episode = derive_seed(seed, "transitions"), episode

    def step(self, text: str) -> Outcome:
        """Take the action that the command names; a command the state does not allow costs a step and does nothing."""
        self._open()
        action = self._action(text)
        self._refused = action is None
        reward = 0.0
        if action is not None:
            branch = self._branch(self._state, action, self._steps)
            reward = float(self._mdp.scalar_reward[self._state, action, branch])
            self._state = int(self._mdp.successor[self._state, action, branch])
            self._done = bool(self._mdp.terminal[self._state])
        self._steps += 1
        won = self._done and reward > 0
        return Outcome(self._seen(), reward, self._done, won, action is not None, float(won))

    def snapshot(self) -> Snapshot:
        """The present place; the payload is (hidden state, was the last command refused, key, episode)."""
        if self._task is None:
            raise InputError("table", "a snapshot before any task", "reset first")
        return Snapshot(self._task, self._steps, (self._state, self._refused, self._key, self._episode))

    def restore(self, place: Snapshot) -> Observation:
        """Go there."""
        self._task, self._steps = place.task, place.steps
        self._state, self._refused, self._key, self._episode = place.payload
        self._done = bool(self._mdp.terminal[self._state])
        return self._seen()

    def oracle(self) -> list[str]:
        """A shortest way from here into a terminal state that pays, on this episode's own stream, within the horizon.

        Commands only win where transitions are drawn from that stream: after `reseed` ask again.
        """
        self._open()
        paths: dict[int, tuple[int, ...]] = {self._state: ()}
        for step in range(self._steps, self._mdp.horizon):
            reached: dict[int, tuple[int, ...]] = {}
            for state, path in paths.items():
                for action in np.flatnonzero(self._mdp.mask[state]).tolist():
                    branch = self._branch(state, action, step)
                    there = int(self._mdp.successor[state, action, branch])
                    if self._mdp.terminal[there]:
                        if self._mdp.scalar_reward[state, action, branch] > 0:
                            return [command(a) for a in (*path, action)]
                    else:
                        reached.setdefault(there, (*path, action))
            paths = reached
        raise InputError(f"task {self._task}", "no way to win from here", "a state from which a paying end is in reach")

    def close(self) -> None:
        """Nothing is held."""

    def _open(self) -> None:
        if self._done:
            raise InputError("table", "a command after the end of the episode", "reset or restore first")

    def _branch(self, state: int, action: int, step: int) -> int:
        draw = uniforms(self._key, self._episode, Purpose.DATA, 1, first=step)[0]
        return _pick(self._mdp.probability[state, action], draw, self._tasks.cumulative[state, action])

    def _action(self, text: str) -> int | None:
        allowed = {command(a): a for a in np.flatnonzero(self._mdp.mask[self._state]).tolist()}
        return allowed.get(text.strip().lower())

    def _seen(self) -> Observation:
        actions = () if self._done else np.flatnonzero(self._mdp.mask[self._state]).tolist()
        text = REFUSED if self._refused else place(int(self._mdp.observation[self._state]))
        return Observation(text, text, tuple(command(a) for a in actions), _TASK, _state_name(self._state))


@text_environment("table", paper="", evidence="inferred")
def table(
    *, family: str = "chain@tiny", settings: Any = None, tasks: int = 64, valid: int = 16, seed: int = 0
) -> TableTasks:
    """A tabular family told in words, so that everything of the bridge has exact values beside it.

    `family` and `settings` (a table of its parameters) make the MDP; `tasks` and `valid` are the sizes of the two
    splits, `seed` names their start states. A win is entering a terminal state with positive reward; episodes are cut
    at the MDP's horizon. Errors: InputError for an MDP whose steps are several decisions each: a command is a step.
    """
    if not isinstance(settings, Mapping | None):
        raise InputError("settings", repr(settings), "a table of parameters, as in {length = 4}")
    mdp = make(family, **(settings or {}))
    if not mdp.tick[~mdp.terminal].all():
        raise InputError("family", repr(family), "an environment whose steps are one decision each")
    return TableTasks(mdp, whole("tasks", tasks, 1), whole("valid", valid, 1), int(seed))


def _state_name(state: int) -> str:
    return f"state {state}"


def _pick(law: np.ndarray, draw: float, cumulative: np.ndarray | None = None) -> int:
    """The outcome whose share of [0, 1) the draw falls in; rounding at the top never picks an impossible one."""
    sums = law.cumsum() if cumulative is None else cumulative
    return min(int(np.searchsorted(sums, draw, side="right")), int(np.flatnonzero(law)[-1]))
