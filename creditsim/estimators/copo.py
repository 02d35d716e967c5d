"""COPO: GRPO's credit inside the prompt, a second one between the prompts, and how much of each by agreement."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from creditsim.arrays import Array, namespace
from creditsim.errors import InputError, choose
from creditsim.estimators.base import estimator
from creditsim.estimators.scores import Entries, check_number, entries, episode_score
from creditsim.rollouts import Rollouts
from creditsim.segments import factorize, segment_count, segment_mean, segment_normalise
from creditsim.segments.api import Singleton

__all__ = ["GATES", "copo"]

Gate = Literal[
    "only-soft", "soft-with-zero", "soft-with-forced", "only-zero", "only-forced", "only-global", "no-global"
]
GATES: tuple[Gate, ...] = (
    "only-soft", "soft-with-zero", "soft-with-forced", "only-zero", "only-forced", "only-global", "no-global",
)  # fmt: skip


@estimator(
    "copo",
    paper="arXiv:2508.04138",
    evidence="code",
    needs=("answer",),
    makes=("advantage", "global_advantage", "blend"),
    min_groups=2,
    presets={
        "paper": {"gate": "only-soft", "consistency": True, "eps": 0.0},
        "code": {"eps_entropy": 1e-8, "singleton": "raw"},
    },
)
def copo(
    rollouts: Rollouts,
    *,
    sharpness: float = 5.0,
    midpoint: float = 1.0,
    gate: Gate = "soft-with-zero",
    consistency: bool = False,
    scale: bool = True,
    ddof: int = 1,
    eps: float = 1e-6,
    eps_entropy: float = 0.0,
    singleton: Singleton = "zero",
) -> dict[str, Array]:
    """Consistency-aware credit: a local and a global advantage, and a blend weight that falls as answers agree.

    H_q = - sum_a f_a log2(f_a + eps_entropy), f_a the share of answer a among the n trajectories of group q;
    local   A_i = (S_i - mean_q) / (std_q + eps), S_i the return: GRPO
    global  A_q = (R_q - mean R) / (std R + eps), R_q = mean_q(S) c_q, over the groups of the batch, each counted once,
            divisor groups - ddof; the same for all rows of the group. c_q = 1, with `consistency` 1 - H_q (1 - 1/n) /
            log2 n: 1 where all agree, 1/n where all n answers differ. `scale=False` only centres
    blend   w = sigmoid(sharpness (H_q - midpoint)), then by `gate`:
            only-soft         w                         only-global       0
            soft-with-zero    w, 0 where S_i = 0        no-global         1
            soft-with-forced  w, 0 where local is 0
            only-zero         1, 0 where S_i = 0        only-forced       1, 0 where local is 0
    The loss (`blended`) is w L(local) + (1 - w) L(global): at ratio 1 a row is credited w A_i + (1 - w) A_q.

    In: rewards (M,), `answer` per trajectory (N,), or per row, the last row's then; integer labels, one for each text
    (the code compares raw strings). Out, (M,): `advantage` the local one, `global_advantage`, `blend` in [0, 1].
    Degenerate input: equal scores give local 0, in a group of one 0, or S / (1 + eps) with `singleton="raw"`; c_q is 1
    there. Groups with equal R, or a batch of one group, give global 0 (inferred); a training run with one group per
    batch is refused. Rows of weight 0, and trajectories of such rows only, enter nothing and get 0.
    Errors: InputError for an unknown gate, answers that are no integers, a sharpness or midpoint that is not finite, a
    negative eps.

    preset  gate            c_q  eps   group of one
    paper   only-soft       H    0     zero          (the gate and c_q of the paper's runs: inferred)
    code    soft-with-zero  1    1e-6  raw           (the released main script, whose gate was meant so)
    Source: official code; its `gate` tests S_i = 0, so rewards of -1 and 1 disable the zero gates.
    """
    choose("gate", gate, GATES)
    for field, value in (("sharpness", sharpness), ("midpoint", midpoint)):
        if not math.isfinite(value):
            raise InputError(field, value, "a finite number")
    check_number("eps", eps, 0.0)
    check_number("eps_entropy", eps_entropy, 0.0)
    xp = namespace(rollouts.reward)
    entry = entries(rollouts, episode_score(rollouts), "trajectory", "exclude")
    local = segment_normalise(
        entry.score, entry.group, rollouts.n_groups, ddof=ddof, eps=eps, singleton=singleton
    )  # fmt: skip
    prompts = _Prompts.of(entry, _answers(rollouts), eps_entropy)
    reward = prompts.mean * (prompts.agreement(xp) if consistency else 1.0)
    whole = segment_normalise(reward, prompts.batch, rollouts.n_batches, scale=scale, ddof=ddof, eps=eps)
    soft = 1.0 / (1.0 + xp.exp(-sharpness * (prompts.entropy - midpoint)))
    at = xp.maximum(entry.group, 0)
    blend = _gated(gate, soft[at], entry.score != 0, local != 0, xp)
    return {
        "advantage": entry.to_rows(local),
        "global_advantage": entry.to_rows(whole[at]),
        "blend": entry.to_rows(blend),
    }


def _gated(gate: Gate, soft: Array, paid: Array, told: Array, xp: Array) -> Array:
    """(N,) blend weight of each trajectory."""
    if gate in ("only-global", "no-global"):
        return xp.zeros_like(soft) if gate == "only-global" else xp.ones_like(soft)
    weight = soft if "soft" in gate else xp.ones_like(soft)
    if gate == "only-soft":
        return weight
    return xp.where(paid if "zero" in gate else told, weight, 0.0)


@dataclass(frozen=True, eq=False)
class _Prompts:
    """What a batch knows of its G groups, each (G,): `mean` score, answers' `entropy` in bits, `size`, `batch` id."""

    mean: Array
    entropy: Array
    size: Array
    batch: Array

    @classmethod
    def of(cls, entry: Entries, answer: Array, eps: float) -> _Prompts:
        xp = namespace(entry.score)
        n, group = entry.rollouts.n_groups, entry.group
        size = segment_count(entry.score, group, n)
        kind, kinds = factorize(group, answer)
        inside = group >= 0
        count = segment_count(entry.score, xp.where(inside, kind, -1), kinds)
        # Every trajectory adds its share of -f log2 f: the sum runs over members, not over a table of answers.
        share = count[kind] / xp.maximum(size, 1)[xp.maximum(group, 0)]
        bits = xp.where(inside, -xp.log2(xp.where(inside, share, 1.0) + eps), 0.0)
        mean = segment_mean(entry.score, group, n)
        return cls(mean, segment_mean(bits, group, n), size, entry.batch_of_groups())

    def agreement(self, xp: Array) -> Array:
        """(G,) c_q, 1 where all agree and 1/n where all differ; 1 in a group of one."""
        several = self.size > 1
        n = xp.where(several, self.size, 2)
        return xp.where(several, 1.0 - self.entropy * (1.0 - 1.0 / n) / xp.log2(n * 1.0), 1.0)


def _answers(rollouts: Rollouts) -> Array:
    """(N,) label of each trajectory's answer."""
    if "answer" in rollouts.trajectory_columns:
        label = rollouts.trajectory_columns["answer"]
    else:
        label = rollouts.columns["answer"][namespace(rollouts.reward).maximum(rollouts.offsets[1:] - 1, 0)]
    if label.dtype.kind not in "biu":
        raise InputError("answer", f"values of type {label.dtype}", "integer labels; number the texts first")
    return label
