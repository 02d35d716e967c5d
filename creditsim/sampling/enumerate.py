"""A sampler that draws everything: a design replayed over every sequence of draws, with exact probabilities."""

from __future__ import annotations

from typing import Any

import numpy as np

from creditsim.errors import InputError, NumericalError, TooLargeError
from creditsim.mdp.policy import Policy
from creditsim.mdp.table import TabularMDP
from creditsim.registry import Bound
from creditsim.rollouts import FIELDS, Rollouts
from creditsim.sampling.designs.base import DESIGNS
from creditsim.sampling.expand import Plan, Walk
from creditsim.sampling.sampler import Sampler
from creditsim.sampling.tables import advance, most_rows, moves

__all__ = ["EnumeratingSampler", "Script", "enumerate_design"]

_TOLERANCE = 1e-9


class Script:
    """One sequence of draws, and the way to the next one, depth first."""

    def __init__(self) -> None:
        self._chosen: list[int] = []
        self._options: list[np.ndarray] = []
        self._at = 0
        self.probability = 1.0

    def draw(self, law: np.ndarray) -> int:
        """Return the outcome that this sequence draws from `law` (n,); impossible outcomes never come."""
        if self._at == len(self._chosen):
            self._chosen.append(0)
            self._options.append(np.flatnonzero(law > 0))
        outcome = int(self._options[self._at][self._chosen[self._at]])
        self._at += 1
        self.probability *= float(law[outcome])
        return outcome

    def advance(self) -> bool:
        """Move on to the next sequence; False when there is none."""
        while self._chosen and self._chosen[-1] + 1 == self._options[-1].size:
            self._chosen.pop()
            self._options.pop()
        if self._chosen:
            self._chosen[-1] += 1
        self._at, self.probability = 0, 1.0
        return bool(self._chosen)


class EnumeratingSampler(Sampler):
    """Sampler of one batch whose draws come from a script; states, steps and cuts are the kernels' own."""

    def __init__(self, mdp: TabularMDP, script: Script, *, groups: int = 1) -> None:
        super().__init__(mdp, batches=1, groups=groups)
        self._script = script
        s, a, b = mdp.successor.shape
        outcome = np.arange(s * a * b).reshape(s, a, b)
        self._move = moves(mdp, mdp.successor).reshape(-1)
        self._meaning = tuple(np.broadcast_to(i, (s, a, b)).reshape(-1) for i in np.indices((s, a, b)))
        self._outcome = outcome

    def _draw_starts(self) -> np.ndarray:
        return np.array([self._script.draw(self.mdp.start) for _ in range(self.groups)])

    def _walk(self, plan: Plan, pi: np.ndarray) -> Walk:
        n = plan.batch.size
        codes = np.zeros((n, most_rows(self.mdp)), np.uint32)
        length, terminated = np.zeros(n, np.int64), np.zeros(n, bool)
        sink, law = self.mdp.n_states, pi.reshape(-1, *pi.shape[-2:])[0]
        for i in range(n):
            place, step = int(plan.state[i]), int(plan.step[i])
            while place != sink:
                action = self._script.draw(law[place])
                slot = self._outcome[place, action, self._script.draw(self.mdp.probability[place, action])]
                codes[i, length[i]] = slot
                length[i] += 1
                moved = int(self._move[slot])
                terminated[i] |= bool(moved & 2)
                place, step = advance(moved, step, int(plan.stop[i]), sink)
        return Walk(codes, length, terminated, *self._meaning)


def enumerate_design(
    design: str | Bound,
    mdp: TabularMDP,
    policy: Policy,
    *,
    groups: int = 1,
    state: Any = None,
    limit: int = 2_000_000,
    **params: Any,
) -> tuple[Rollouts, np.ndarray]:
    """Return every outcome of a design as one batch each, and the exact probability of each.

    Parameters: `design` a name (with preset), or a Bound; `groups` per batch; `state` given to the design each time;
    `limit` on rows over all outcomes; `params` of the design. Draws: start state of each group, then action and
    successor of each decision. Returns (rollouts, probability (n_batches,)), whose sum is 1 to 1e-9. A column that
    only some outcomes have must be `weight`, and is 1 elsewhere.
    Errors: TooLargeError past the limit; NumericalError if probabilities do not sum to 1.
    """
    bound = DESIGNS.bind(design, **params) if isinstance(design, str) else design
    script = Script()
    outcomes: list[Rollouts] = []
    probability: list[float] = []
    rows = 0
    more = True
    while more:
        rollouts, _ = bound(EnumeratingSampler(mdp, script, groups=groups), policy, state)
        outcomes.append(rollouts)
        probability.append(script.probability)
        rows += rollouts.n_rows
        if rows > limit:
            raise TooLargeError(
                f"enumeration of {bound.label}",
                f"{rows} rows in {len(outcomes)} outcomes, {sum(probability):.3g} of the probability, and more to come",
                f"at most {limit} rows",
                "a smaller horizon, group_size or groups, or a larger limit",
            )
        more = script.advance()
    total = float(np.sum(probability))
    if abs(total - 1.0) > _TOLERANCE:
        raise NumericalError(f"probabilities of {len(outcomes)} outcomes sum to {total:.12g}, not to 1")
    return _side_by_side(outcomes, bound.label), np.array(probability)


def _side_by_side(outcomes: list[Rollouts], label: str) -> Rollouts:
    """Join one-batch rollouts into one of as many batches."""
    columns = {name for r in outcomes for name in r.columns}
    if any("weight" not in r.columns for r in outcomes) and "weight" in columns:
        outcomes = [r if "weight" in r.columns else r.with_columns(weight=np.ones(r.n_rows)) for r in outcomes]
    if any(r.columns.keys() != columns for r in outcomes):
        raise InputError(label, "columns that differ between outcomes", "the same columns whatever was drawn")
    row_shift = np.cumsum([0, *(r.n_rows for r in outcomes)])
    group_shift = np.cumsum([0, *(r.n_groups for r in outcomes)])
    fields: dict[str, Any] = {name: np.concatenate([getattr(r, name) for r in outcomes]) for name in FIELDS[4:]}
    each = list(zip(outcomes, row_shift, strict=False))
    return Rollouts(
        offsets=np.concatenate([[0], *(r.offsets[1:] + shift for r, shift in each)]),
        parent=np.concatenate([np.where(r.parent >= 0, r.parent + shift, -1) for r, shift in each]),
        group=np.concatenate([r.group + shift for r, shift in zip(outcomes, group_shift, strict=False)]),
        batch=np.repeat(np.arange(len(outcomes)), [r.n_trajectories for r in outcomes]),
        columns={name: np.concatenate([r.columns[name] for r in outcomes]) for name in outcomes[0].columns},
        trajectory_columns={
            name: np.concatenate([r.trajectory_columns[name] for r in outcomes])
            for name in outcomes[0].trajectory_columns
        },
        **fields,
    )
