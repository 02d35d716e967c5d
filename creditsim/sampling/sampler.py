"""The verb `extend`: what it means for any sampler on a table, however its draws are made."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np

from creditsim.errors import InputError, choose
from creditsim.mdp.policy import Policy
from creditsim.mdp.table import TabularMDP
from creditsim.rollouts import Rollouts
from creditsim.sampling.expand import Plan, Walk, append
from creditsim.sampling.joining import asked_copies, asked_rows
from creditsim.sampling.tables import policy_rows

__all__ = ["Sampler"]

Self = TypeVar("Self", bound="Sampler")

_RECORDS = ("entropy", "sum_pi_squared")


class Sampler(ABC):
    """Draws episodes of an MDP for `batches` batches of `groups` groups, by one verb.

    A group is one task: it has one start state, whatever is asked of it. Group g of batch b has id b * groups + g.
    `record` names further columns: `entropy` (of the policy in the row's state, nats) and `sum_pi_squared`.
    Subclasses say how start states and decisions are drawn.
    """

    def __init__(self, mdp: TabularMDP, *, batches: int = 1, groups: int = 1, record: Sequence[str] = ()) -> None:
        for field, value in (("batches", batches), ("groups", groups)):
            if value < 1:
                raise InputError(field, value, "at least 1")
        for name in record:
            choose("record", name, _RECORDS)
        self.mdp, self.batches, self.groups, self.record = mdp, batches, groups, tuple(record)
        self.threads: int | None = None
        self._round = 0
        self._start: np.ndarray | None = None

    def fresh(self: Self) -> Self:
        """Return this sampler with another task (start state) in every group.

        Both go on numbering trajectories together, so nothing drawn by one is drawn again by the other.
        """
        other = copy.copy(self)
        other._round, other._start = self._round + 1, None
        return other

    def extend(
        self,
        rollouts: Rollouts | None = None,
        after: Any = None,
        copies: Any = 1,
        steps: int | None = None,
        policy: Policy | None = None,
        weight: float = 1.0,
    ) -> Rollouts:
        """Draw trajectories that go on after rows, or from the start, and append them.

        Parameters: `rollouts` made by this sampler, or None; `after` rows of them, any number of times each, or None:
        from the start of every group; `copies` how many trajectories, an integer or one per row (per group, for
        `after=None`); `steps` the most environment steps a new trajectory may take (the rest of a step that its parent
        row left unfinished counts as one), None: to the end; `policy` with probabilities (S, A), or (batches, S, A)
        for one policy per batch; `weight` in the loss (0: auxiliary).
        Returns rollouts with the new trajectories at the end, in the order of `after` (of group ids); no row or
        trajectory there before changes its index. Columns: `state`, `next_state`, `context`, `log_prob`, those named
        by `record`, `reward_K` (M, K) where the MDP has several rewards (`reward` is their sum), and `weight` once
        some weight is not 1. `step` counts environment steps through forks.
        Errors: InputError for a row that ended its episode, rows out of range, a policy of the wrong shape, columns
        this sampler does not make, and when the result would hold no trajectory.
        """
        if policy is None:
            raise InputError("policy", None, "a policy")
        if steps is not None and steps < 1:
            raise InputError("steps", steps, "at least 1 step, or None")
        if not (np.isfinite(weight) and weight >= 0):
            raise InputError("weight", weight, "a finite number >= 0")
        pi = policy_rows(self.mdp, policy, self.batches)
        plan = self._from_start(rollouts, copies, steps) if after is None else self._from_rows(
            rollouts, after, copies, steps
        )  # fmt: skip
        if rollouts is None and plan.batch.size == 0:
            raise InputError("copies", "no trajectory at all", "at least one trajectory")
        return append(rollouts, plan, self._walk(plan, pi), self.mdp, pi, float(weight), self.record, self.threads)

    def continues(self, rollouts: Rollouts) -> np.ndarray:
        """(M,) bool: rows that an episode goes on from, so that `extend` may branch after them."""
        following = rollouts.column("next_state", "extend")
        step = rollouts.step + self.mdp.tick[following]
        return ~self.mdp.terminal[following] & (step < self.mdp.horizon)

    @abstractmethod
    def _draw_starts(self) -> np.ndarray:
        """(batches * groups,) start states of this round."""

    @abstractmethod
    def _walk(self, plan: Plan, pi: np.ndarray) -> Walk:
        """Draw the decisions of every trajectory of the plan."""

    def _from_start(self, rollouts: Rollouts | None, copies: Any, steps: int | None) -> Plan:
        if self._start is None:
            self._start = self._draw_starts()
        n_groups = self.batches * self.groups
        group = np.repeat(np.arange(n_groups), asked_copies(copies, n_groups, "group"))
        if rollouts is not None and rollouts.n_groups > n_groups:
            raise InputError("rollouts", f"{rollouts.n_groups} groups", f"at most {n_groups}, those of the sampler")
        begin = np.zeros(group.size, np.int64)
        return Plan(
            batch=group // self.groups,
            group=group,
            parent=np.full(group.size, -1),
            state=self._start[group],
            step=begin,
            stop=self._stop(begin, steps),
        )

    def _from_rows(self, rollouts: Rollouts | None, after: Any, copies: Any, steps: int | None) -> Plan:
        rollouts, rows = asked_rows(rollouts, after, copies, self.continues)
        state = rollouts.columns["next_state"][rows]
        begin = rollouts.step[rows] + self.mdp.tick[state]
        return Plan(
            batch=rollouts.batch_rows[rows],
            group=rollouts.group_rows[rows],
            parent=rows,
            state=state,
            step=begin,
            stop=self._stop(begin, steps),
        )

    def _stop(self, begin: np.ndarray, steps: int | None) -> np.ndarray:
        horizon = self.mdp.horizon
        return np.full(begin.size, horizon) if steps is None else np.minimum(begin + steps, horizon)
