"""The sampler of text environments: what a design may ask of a table, asked of a fleet and a text policy."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from creditsim.errors import InputError, choose
from creditsim.rng import Purpose, uniforms
from creditsim.rollouts import Rollouts
from creditsim.sampling.designs.greedy import Greedy
from creditsim.sampling.joining import asked_copies, asked_rows, joined
from llm_bridge.collect.interner import Interner
from llm_bridge.collect.records import Record, Records
from llm_bridge.collect.walk import Clock, Episode, Prompter, Timed, walk
from llm_bridge.envs.fleet import Fleet
from llm_bridge.policies.base import Prompt

__all__ = ["REWARDS", "Reward", "TextSampler"]

Reward = Literal["environment", "published", "score"]
REWARDS = ("environment", "published", "score")


class TextSampler:
    """Draws text episodes for `batches` batches of `groups` groups; a group is one task of the split.

    Parameters: `fleet` of environments; `prompter` words a step; `split` of the fleet's tasks, or `tasks` by id;
    `seed` names every random number; `max_steps` cuts an episode (default: the environment's own); `records` and
    `interner` belong to the run and outlive the sampler (default: new ones); `shuffle`: tasks are drawn without
    replacement until all had their turn, False: in the order of the split; `greedy` acts greedily throughout.
    `reward` says what `reward` is: "environment" its own step rewards, "published" `reward_unit` at a step that wins
    and 0 elsewhere, "score" the task score at the step that ends the episode. A penalty for invalid actions is the
    estimator's (`penalty`, column `valid`), as in the published code, so none is in the reward.

    Group g of batch b has id b * groups + g and one task, whatever is asked of it; `fresh` gives other tasks. What is
    drawn depends on the seed, the tasks and the order of calls, not on slots or workers.
    """

    def __init__(
        self,
        fleet: Fleet,
        prompter: Prompter,
        *,
        split: str = "train",
        tasks: Sequence[str] | None = None,
        seed: int = 0,
        batches: int = 1,
        groups: int = 1,
        max_steps: int | None = None,
        records: Records | None = None,
        interner: Interner | None = None,
        reward: Reward = "environment",
        shuffle: bool = True,
        greedy: bool = False,
        progress: Callable[[int], object] | None = None,
    ) -> None:
        for field, value in (
            ("batches", batches),
            ("groups", groups),
            ("max_steps", 1 if max_steps is None else max_steps),
        ):
            if value < 1:
                raise InputError(field, value, "at least 1")
        choose("reward", reward, REWARDS)
        if tasks is None:
            splits = fleet.tasks.splits()
            tasks = splits[choose("split", split, splits)]
        if not tasks:
            raise InputError("tasks", "no task", "at least one")
        self.fleet, self.prompter, self.tasks, self.seed = fleet, prompter, list(tasks), int(seed)
        self.batches, self.groups = batches, groups
        self.max_steps = fleet.tasks.max_steps if max_steps is None else max_steps
        self.records = Records() if records is None else records
        self.interner = Interner() if interner is None else interner
        self.reward, self.shuffle, self.greedy, self.progress = reward, shuffle, greedy, progress
        self.clock = Clock()
        # Records of an earlier call with this seed have used up its first streams.
        self._drawn = [self.records.next_episode(self.seed)]
        self._round = [0]
        self._own_round = 0

    def fresh(self) -> TextSampler:
        """Return this sampler with another task in every group; records, ids and episode numbers go on."""
        other = copy.copy(self)
        self._round[0] += 1
        other._own_round = self._round[0]
        return other

    def group_tasks(self) -> list[str]:
        """The task of each group, by group id."""
        n, size = self.batches * self.groups, len(self.tasks)
        places = self._own_round * n + np.arange(n)
        if not self.shuffle:
            return [self.tasks[place % size] for place in places]
        turns = {turn: self._shuffled(int(turn)) for turn in np.unique(places // size)}
        return [self.tasks[turns[place // size][place % size]] for place in places]

    def extend(
        self,
        rollouts: Rollouts | None = None,
        after: Any = None,
        copies: Any = 1,
        steps: int | None = None,
        policy: Any = None,
        weight: float = 1.0,
    ) -> Rollouts:
        """Draw episodes that go on after rows, or from the start, and append them; as `creditsim.sampling.Sampler`.

        `rollouts` drawn with the same records, or None; `after` rows of them, any number of times each, or None: from
        the start of every group; `copies` an integer, or one per row (per group); `steps` the most a new trajectory
        may take; `policy` acts on prompts, or `Greedy` of one; `weight` in the loss.
        Columns: `state`, `next_state` (where the environment names hidden states), `context` (the prompt's id),
        `next_observation`, `valid` (the answer has the format), `admissible` (the environment accepted the command),
        `tokens`, `log_prob` (sums over the tokens), `entropy`, `record`, and `weight` once some weight is not 1.
        Errors: InputError for a row that ended its episode, rows out of range, columns that this sampler does not
        make, and when the result would hold no trajectory.
        """
        if policy is None:
            raise InputError("policy", None, "a policy")
        if steps is not None and steps < 1:
            raise InputError("steps", steps, "at least 1 step, or None")
        if not (np.isfinite(weight) and weight >= 0):
            raise InputError("weight", weight, "a finite number >= 0")
        with Timed(self.clock, "total"):
            return self._extended(rollouts, after, copies, steps, policy, float(weight))

    def continues(self, rollouts: Rollouts) -> np.ndarray:
        """(M,) bool: rows that an episode goes on from, so that `extend` may branch after them."""
        done = np.array([record.outcome.done for record in self.records.of(rollouts)], bool)
        return ~done & (rollouts.step + 1 < self.max_steps)

    def _extended(
        self, rollouts: Rollouts | None, after: Any, copies: Any, steps: int | None, policy: Any, weight: float
    ) -> Rollouts:
        greedy = self.greedy or isinstance(policy, Greedy)
        actor = policy.policy if isinstance(policy, Greedy) else policy
        parent, group, batch, episodes = (
            self._from_start(rollouts, copies, steps) if after is None
            else self._from_rows(rollouts, after, copies, steps)
        )  # fmt: skip
        if rollouts is None and not episodes:
            raise InputError("copies", "no trajectory at all", "at least one trajectory")
        walk(
            self.fleet, actor, self.prompter, episodes, self.records,
            seed=self.seed, greedy=greedy, clock=self.clock, progress=self.progress,
        )  # fmt: skip
        rows = [number for episode in episodes for number in self._kept(episode)]
        new = self._columns(rows)
        fields = {name: new.pop(name) for name in ("observation", "action", "reward", "step")}
        fields |= {"parent": parent, "group": group, "batch": batch}
        fields["terminated"] = np.array([episode.done for episode in episodes], bool)
        if rollouts is not None and not rows:
            # Nothing was drawn, so nothing tells whether the environment names its states.
            new = {name: values[:0] for name, values in rollouts.columns.items() if name != "weight"}
        length = np.array([len(episode.steps) for episode in episodes], np.int64)
        return joined(rollouts, length, fields, new, weight)

    def _shuffled(self, turn: int) -> np.ndarray:
        return np.argsort(uniforms(self.seed, turn, Purpose.START, len(self.tasks)), kind="stable")

    def _numbers(self, n: int) -> range:
        first = self._drawn[0]
        self._drawn[0] += n
        return range(first, first + n)

    def _from_start(
        self, rollouts: Rollouts | None, copies: Any, steps: int | None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[Episode]]:
        n_groups = self.batches * self.groups
        group = np.repeat(np.arange(n_groups), asked_copies(copies, n_groups, "group"))
        if rollouts is not None and rollouts.n_groups > n_groups:
            raise InputError("rollouts", f"{rollouts.n_groups} groups", f"at most {n_groups}, those of the sampler")
        tasks, stop = self.group_tasks(), self._stop(0, steps)
        episodes = [
            Episode(tasks[g], number, 0, stop) for g, number in zip(group, self._numbers(group.size), strict=True)
        ]
        return np.full(group.size, -1), group, group // self.groups, episodes

    def _from_rows(
        self, rollouts: Rollouts | None, after: Any, copies: Any, steps: int | None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[Episode]]:
        rollouts, rows = asked_rows(rollouts, after, copies, self.continues)
        record = rollouts.columns["record"][rows]
        begin = rollouts.step[rows] + 1
        episodes = [
            Episode(self.records[int(r)].task, number, int(b), self._stop(int(b), steps), int(r))
            for r, b, number in zip(record, begin, self._numbers(rows.size), strict=True)
        ]
        return rows, rollouts.group_rows[rows], rollouts.batch_rows[rows], episodes

    def _stop(self, begin: int, steps: int | None) -> int:
        return self.max_steps if steps is None else min(begin + steps, self.max_steps)

    def _kept(self, episode: Episode) -> list[int]:
        """Give an episode's steps their ids, in the order of trajectories, whichever episode ended first."""
        out = []
        previous = episode.previous
        for record in episode.steps:
            previous = self.records.add(replace(record, previous=previous))
            out.append(previous)
        return out

    def _columns(self, numbers: Sequence[int]) -> dict[str, np.ndarray]:
        records = [self.records[number] for number in numbers]
        ids = self.interner.ids
        columns = {
            "observation": ids("observation", (r.observation.anchor for r in records)),
            "action": ids("action", (r.response.action for r in records)),
            "reward": np.array([self._reward(r) for r in records], np.float64),
            "step": np.array([r.stream.step for r in records], np.int64),
            "context": ids("context", (_digest(r.prompt) for r in records)),
            "next_observation": ids("observation", (r.outcome.observation.anchor for r in records)),
            "valid": np.array([r.response.well_formed for r in records], bool),
            "admissible": np.array([r.outcome.admissible for r in records], bool),
            "tokens": np.array([r.response.tokens.size for r in records], np.int64),
            "log_prob": np.array([r.response.log_probs.sum() for r in records], np.float64),
            "entropy": np.array([r.response.entropy for r in records], np.float64),
            "record": np.array(numbers, np.int64),
        }
        here = [r.observation.state for r in records]
        there = [r.outcome.observation.state for r in records]
        named = [name for name in (*here, *there) if name is not None]
        if len(named) == 2 * len(records):
            columns["state"] = ids("state", named[: len(records)])
            columns["next_state"] = ids("state", named[len(records) :])
        elif named:
            raise InputError("hidden state", "a name on some steps only", "a name on all steps, or on none")
        return columns

    def _reward(self, record: Record) -> float:
        outcome = record.outcome
        if self.reward == "published":
            return self.fleet.tasks.reward_unit * outcome.won
        if self.reward == "score":
            return outcome.score if outcome.done else 0.0
        return outcome.reward


def _digest(prompt: Prompt) -> str:
    """A name of all that the policy saw; the words themselves are in the records."""
    told = "\x00".join((prompt.text, *prompt.admissible))
    return hashlib.blake2b(told.encode(), digest_size=16).hexdigest()
