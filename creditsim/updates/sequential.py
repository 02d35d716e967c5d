"""SeeUPO's update: turn after turn, each corrected by what the turns before it have become."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from creditsim.errors import InputError, choose
from creditsim.rollouts import Rollouts
from creditsim.updates.base import RowPolicy, State, row_weight, update
from creditsim.updates.kl import kl_estimate
from creditsim.updates.optimiser import ascend
from creditsim.updates.turn_order import Order, turn_order

__all__ = ["Turns", "sequential"]

Ratio = Literal["sequence", "geometric"]
RatioRef = Literal["iteration", "previous_turn"]


@dataclass(frozen=True, eq=False)
class Turns:
    """The turns of a batch: which rows belong to each, and the ratio of two policies over a turn."""

    rollouts: Rollouts
    weight: np.ndarray
    """(M,) weight of each row in the loss; rows of weight 0 are padding."""
    geometric: bool

    def log_ratio(self, log_prob: np.ndarray, reference: np.ndarray, active: np.ndarray) -> np.ndarray:
        """(N,) log-ratio of each trajectory's rows among `active`: their sum or mean per token, 0 without any."""
        r = self.rollouts
        live = active & (self.weight > 0)
        total = np.bincount(r.trajectory[live], (log_prob - reference)[live], r.n_trajectories)
        return total / self.size(active) if self.geometric else total

    def size(self, active: np.ndarray) -> np.ndarray:
        """(N,) tokens of each trajectory's rows among `active`, at least 1."""
        r = self.rollouts
        live = active & (self.weight > 0)
        tokens = np.asarray(r.columns.get("tokens", np.ones(r.n_rows)), np.float64)
        return np.maximum(np.bincount(r.trajectory[live], tokens[live], r.n_trajectories), 1.0)

    def counted(self, replicates: int) -> np.ndarray:
        """(R,) trajectories of each batch that have a row with weight, at least 1."""
        r = self.rollouts
        used = np.zeros(r.n_trajectories, bool)
        used[r.trajectory[self.weight > 0]] = True
        return np.maximum(np.bincount(r.batch[used], minlength=replicates), 1)


@update(
    "sequential",
    paper="arXiv:2602.06554",
    evidence="code",
    needs=("advantage",),
    presets={
        "paper": {},
        "code": {"ratio": "geometric", "ratio_ref": "previous_turn", "factor_clip": 0.2, "product_clip": 0.2},
    },
)
def sequential(
    policy: RowPolicy,
    rollouts: Rollouts,
    credit: Mapping[str, np.ndarray],
    state: State,
    *,
    order: Order = "reverse",
    ratio: Ratio = "sequence",
    ratio_ref: RatioRef = "iteration",
    clip_low: float = 0.2,
    clip_high: float = 0.2,
    factor_clip: float | None = None,
    product_clip: float | None = None,
    epochs: int = 1,
    learning_rate: float = 0.1,
    optimiser: str = "adam",
    kl_weight: float = 0.0,
    kl: str = "k3",
    entropy_weight: float = 0.0,
) -> tuple[RowPolicy, State]:
    """Update the turns one after the other on one batch, each with the running importance product of the others.

    For turn t, `epochs` gradient steps up E_i[min(rho_t M, clip(rho_t, 1 - clip_low, 1 + clip_high) M)] (eq. 6), M =
    C_i A_{i,t}; then C_i <- C_i pi(a_t|.) / pi_ref(a_t|.) at the new parameters (eqs. 7, 8); C = 1 before the first
    turn. rho_t is the turn's ratio to the same reference. The mean is over the batch's trajectories; those without
    turn t (or with weight 0 there, which is how padding is masked) neither push nor change their C.

    order         reverse (last turn first), forward, random (a permutation for each replicate and update), or
                  simultaneous: every turn from the parameters of the iteration and with C = 1, their moves added
    ratio         sequence: product over the turn's rows; geometric: its mean per token (column `tokens`, else rows)
    ratio_ref     reference of ratios and of C: the policy of the iteration, or that just before the turn's own update;
                  the two differ where turns share parameters
    factor_clip, product_clip   c clips each factor, and C, to [1 - c, 1 + c]; None leaves them
    epochs        with 1, rho = 1 at every step: the clip does nothing and C is all that differs from `reinforce`
    kl_weight, kl, entropy_weight   as in `surrogate`, over the turn's rows

    preset  ratio      ratio_ref      factor and product
    paper   sequence   iteration      unclipped
    code    geometric  previous_turn  both in [0.8, 1.2]
    Turns are told by `step`. Errors: InputError for a tree of rollouts, clips <= 0, epochs < 1. Source: AgentEvolver's
    seeupo branch (code), equations from the paper; the optimiser and the mean over trajectories are inferred.
    """
    choose("ratio", ratio, ("sequence", "geometric"))
    choose("ratio_ref", ratio_ref, ("iteration", "previous_turn"))
    clips = {"clip_low": clip_low, "clip_high": clip_high, "factor_clip": factor_clip, "product_clip": product_clip}
    for name, value in clips.items():
        if value is not None and not value > 0:
            raise InputError(f"update sequential {name}", value, "a number > 0")
    if epochs < 1:
        raise InputError("update sequential epochs", epochs, "a whole number >= 1")
    if rollouts.is_tree:
        raise InputError("update sequential", "a tree of rollouts", "rollouts without forks; unroll them with paths()")
    state = {**state, "reference_theta": state.get("reference_theta", policy.theta)}
    turns = Turns(rollouts, row_weight(rollouts), ratio == "geometric")
    replicates, together = policy.theta.shape[0], order == "simultaneous"
    advantage = np.asarray(credit["advantage"])
    counted = turns.counted(replicates)[rollouts.batch_rows]
    number = int(rollouts.step.max(initial=-1)) + 1
    stages = turn_order(order, number, replicates, state)
    first, start = policy.log_prob(rollouts), policy
    anchor = policy.with_theta(state["reference_theta"]).log_prob(rollouts) if kl_weight else first
    correction = np.ones(rollouts.n_trajectories)
    moved = np.zeros_like(policy.theta)
    for stage in range(number):
        active = rollouts.step == stages[rollouts.batch_rows, stage]
        share = np.where(active, turns.weight, 0.0) / counted
        target = correction[rollouts.trajectory] * advantage
        reference = first if ratio_ref == "iteration" else policy.log_prob(rollouts)
        for _ in range(epochs):
            log_prob = policy.log_prob(rollouts)
            rho = np.exp(turns.log_ratio(log_prob, reference, active))[rollouts.trajectory]
            plain, cut = rho * target, np.clip(rho, 1.0 - clip_low, 1.0 + clip_high) * target
            slope = np.where(cut < plain, 0.0, plain)
            if turns.geometric:
                slope = slope / turns.size(active)[rollouts.trajectory]
            if kl_weight:
                slope = slope - kl_weight * np.asarray(kl_estimate(log_prob, anchor, kl)[1])
            gradient = policy.pullback(rollouts, share * slope)
            if entropy_weight:
                gradient = gradient + entropy_weight * policy.entropy_pullback(rollouts, share)
            theta, state = ascend(policy.theta, gradient, state, learning_rate=learning_rate, optimiser=optimiser)
            policy = policy.with_theta(theta)
        if together:
            moved += policy.theta - start.theta
            policy = start
            continue
        factor = np.exp(turns.log_ratio(policy.log_prob(rollouts), reference, active))
        correction = _clipped(correction * _clipped(factor, factor_clip), product_clip)
    return (start.with_theta(start.theta + moved) if together else policy), state


def _clipped(x: np.ndarray, width: float | None) -> np.ndarray:
    return x if width is None else np.clip(x, 1.0 - width, 1.0 + width)
