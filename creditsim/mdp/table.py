"""TabularMDP: sparse successors, observations, and states in which a step begins."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from creditsim.errors import InputError

__all__ = ["TabularMDP"]

_TOLERANCE = 1e-12


@dataclass(frozen=True, eq=False)
class TabularMDP:
    """A finite-horizon MDP on S states, A actions and B successors per state and action.

    ============= ============== =====================================================================
    field         shape          meaning
    ============= ============== =====================================================================
    `successor`   (S,A,B) int64  state reached by branch b
    `probability` (S,A,B)        its probability; rows of allowed actions sum to 1
    `reward`      (S,A,B[,K])    reward paid on the way (K rewards where there are several objectives)
    `observation` (S,) int64     what the agent sees: the anchor
    `start`       (S,)           distribution of the start state; a group of rollouts draws one
    `terminal`    (S,) bool      episode ends on entering
    `tick`        (S,) bool      states that begin a new step: gamma and horizon count only there
    `mask`        (S,A) bool     allowed actions (terminal states: none needed)
    `context`     (S,) int64     what the policy sees; default: the observation
    `horizon`     int            number of steps after which an episode is cut
    `gamma`       float          discount of the objective J (1: undiscounted)
    ============= ============== =====================================================================

    Time is no part of the state: an episode is cut when it would begin step number `horizon`. Moving into a state with
    `tick` costs one step; moves among states without it are decisions inside the step (tokens, factored actions).
    """

    successor: np.ndarray
    probability: np.ndarray
    reward: np.ndarray
    observation: np.ndarray
    start: np.ndarray
    terminal: np.ndarray
    tick: np.ndarray
    mask: np.ndarray
    context: np.ndarray
    horizon: int
    gamma: float = 1.0
    name: str = "mdp"

    @classmethod
    def build(
        cls,
        *,
        successor: np.ndarray,
        probability: np.ndarray,
        reward: np.ndarray,
        horizon: int,
        observation: np.ndarray | None = None,
        start: np.ndarray | int = 0,
        terminal: np.ndarray | None = None,
        tick: np.ndarray | None = None,
        mask: np.ndarray | None = None,
        context: np.ndarray | None = None,
        gamma: float = 1.0,
        name: str = "mdp",
    ) -> TabularMDP:
        """Fill defaults, copy to canonical types and check everything; see the class for shapes.

        Defaults: fully observed (`observation` = state), start in state 0, terminal where named (else none), every
        state begins a step, all actions allowed, the policy sees the observation. Errors: InputError naming the field.
        """
        successor = np.array(successor, np.int64, order="C")
        if successor.ndim != 3:
            raise InputError("successor", f"shape {successor.shape}", "(S, A, B)")
        s, a, _ = successor.shape
        probability = np.array(probability, np.float64, order="C")
        reward = np.array(reward, np.float64, order="C")
        observation = np.arange(s) if observation is None else np.array(observation, np.int64)
        if isinstance(start, (int, np.integer)):
            if not 0 <= start < s:
                raise InputError("start", int(start), f"a state in 0..{s - 1}")
            start = (np.arange(s) == start).astype(np.float64)
        mdp = cls(
            successor=successor,
            probability=probability,
            reward=reward,
            observation=observation,
            start=np.array(start, np.float64),
            terminal=np.zeros(s, bool) if terminal is None else np.array(terminal, bool),
            tick=np.ones(s, bool) if tick is None else np.array(tick, bool),
            mask=np.ones((s, a), bool) if mask is None else np.array(mask, bool, order="C"),
            context=observation if context is None else np.array(context, np.int64),
            horizon=int(horizon),
            gamma=float(gamma),
            name=name,
        )
        mdp._check()
        return mdp

    @property
    def n_states(self) -> int:
        """S."""
        return self.successor.shape[0]

    @property
    def n_actions(self) -> int:
        """A."""
        return self.successor.shape[1]

    @property
    def n_successors(self) -> int:
        """B."""
        return self.successor.shape[2]

    @cached_property
    def n_contexts(self) -> int:
        """Number of contexts, the rows of a policy table."""
        return int(self.context.max()) + 1

    @cached_property
    def n_observations(self) -> int:
        """Number of observations."""
        return int(self.observation.max()) + 1

    @cached_property
    def scalar_reward(self) -> np.ndarray:
        """(S,A,B) the reward, summed over objectives where there are several."""
        return self.reward if self.reward.ndim == 3 else self.reward.sum(axis=-1)

    @cached_property
    def sweep_order(self) -> np.ndarray:
        """(S,) states ordered so that, inside a step, successors come before the states that lead to them.

        Backward induction visits states in this order within one remaining-step count. Error: states without tick that
        lead to each other in a circle (a step that might never end).
        """
        inner = (self.probability > 0) & ~self.tick[self.successor] & ~self.terminal[self.successor]
        inner &= ~self.terminal[:, None, None] & self.mask[:, :, None]
        depth = np.zeros(self.n_states, np.int64)
        for _ in range(self.n_states + 1):
            deeper = np.where(inner, depth[self.successor] + 1, 0).max(axis=(1, 2))
            if (deeper == depth).all():
                return np.argsort(depth, kind="stable")
            depth = deeper
        raise InputError("tick", "states without tick that lead to each other in a circle", "steps that end")

    def _check(self) -> None:
        s, a, b = self.successor.shape
        shapes = {
            "probability": (s, a, b), "observation": (s,), "start": (s,), "terminal": (s,),
            "tick": (s,), "mask": (s, a), "context": (s,),
        }  # fmt: skip
        for field, shape in shapes.items():
            got = getattr(self, field).shape
            if got != shape:
                raise InputError(field, f"shape {got}", f"shape {shape}")
        if self.reward.shape[:3] != (s, a, b) or self.reward.ndim > 4:
            raise InputError("reward", f"shape {self.reward.shape}", f"shape {(s, a, b)} or {(s, a, b)} + (K,)")
        if not np.isfinite(self.reward).all():
            raise InputError("reward", "NaN or infinity", "finite numbers")
        if self.horizon < 1:
            raise InputError("horizon", self.horizon, "at least 1 step")
        if not 0.0 <= self.gamma <= 1.0:
            raise InputError("gamma", self.gamma, "0 <= gamma <= 1")
        if self.successor.size and (self.successor.min() < 0 or self.successor.max() >= s):
            raise InputError("successor", f"states {self.successor.min()}..{self.successor.max()}", f"0..{s - 1}")
        for field in ("observation", "context"):
            if getattr(self, field).min() < 0:
                raise InputError(field, int(getattr(self, field).min()), "ids >= 0")
        _check_distribution("start", self.start[None])
        active = ~self.terminal[:, None] & self.mask
        stuck = np.flatnonzero(~np.any(active, axis=1) & ~self.terminal)
        if stuck.size:
            state = int(stuck[0])
            raise InputError(
                "mask", f"state {state} without an allowed action", "an action in every state that is not terminal"
            )
        _check_distribution("probability", self.probability[active])
        if (self.start[self.terminal] > 0).any():
            raise InputError("start", "a terminal state", "states that are not terminal")
        if not self.tick[(self.start > 0)].all():
            raise InputError("tick", "a start state that begins no step", "tick in every start state")


def _check_distribution(field: str, rows: np.ndarray) -> None:
    if not (rows >= 0).all():
        raise InputError(field, f"{rows.min()}", "probabilities >= 0")
    total = rows.sum(axis=-1)
    worst = int(np.abs(total - 1).argmax()) if total.size else 0
    if total.size and abs(total[worst] - 1) > _TOLERANCE * max(rows.shape[-1], 8):
        raise InputError(field, f"a row that sums to {total[worst]:.12g}", "rows that sum to 1")
