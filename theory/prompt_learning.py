"""Learning to answer prompts of spread difficulty, many replicates at once, from sampled groups and a credit rule."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from creditsim.estimators.base import advantage
from creditsim.mdp import make
from creditsim.rng import Purpose, derive_seed, uniforms
from creditsim.rollouts import Rollouts

__all__ = ["RULES", "Learning", "Prompts", "pass_at_k"]

RULES = {
    "GRPO": "grpo@paper",
    "A-GRAE": "a_grae@paper",
    "positive-dominant": "a_grae@positive-dominant",
    "negative-dominant": "a_grae@negative-dominant",
    "hard-focused": "a_grae@hard-focused",
    "easy-focused": "a_grae@easy-focused",
}


def pass_at_k(success: np.ndarray, k: np.ndarray) -> np.ndarray:
    """(K, ...) chance that one of k answers is right, the mean over the last axis's prompts, by chances (..., Q)."""
    return np.stack([(1.0 - (1.0 - success) ** each).mean(axis=-1) for each in k])


@dataclass(frozen=True, eq=False)
class Learning:
    """What a rule learnt: U updates, R replicates, Q prompts.

    `success` (U+1, R, Q) exact chance of a right answer; `entropy` (U+1, R) of the policy in nats, over its tables.
    """

    success: np.ndarray
    entropy: np.ndarray


@dataclass(frozen=True, eq=False)
class Prompts:
    """Q prompts with A answers each: `right` (Q, A) bool, and `look` (Q,) the table of the policy that answers them."""

    right: np.ndarray
    look: np.ndarray

    @classmethod
    def of(cls, **params: object) -> Prompts:
        """Those of the environment `difficulties`."""
        mdp = make("difficulties", **params)
        alive = ~mdp.terminal
        return cls(mdp.probability[alive, :, 0] == 1.0, mdp.context[alive])

    def learn(
        self, spec: str, *, members: int, updates: int, rate: float, replicates: int, seed: int, sharing: float = 0.0,
        match: bool = True,
    ) -> Learning:  # fmt: skip
        """Ascend along sum over prompts of (1/n) sum_i A_i d log pi(a_i), from the uniform policy, one group each.

        A prompt's logits are its own plus sqrt(sharing) times logits common to all prompts: with `sharing` above 0 what
        is learnt on one prompt moves the answers to all others.

        With `match` credit is multiplied by one number for the whole run, so that its root mean square in the first
        batches is that of GRPO: rules then differ in what they prefer, and not in how large a step they take. Draws are
        common to rules.
        """
        q, a = self.right.shape
        tables = int(self.look.max()) + 1
        theta = np.zeros((replicates, tables, a))
        group = np.repeat(np.arange(replicates * q), members)
        offsets, batch = np.arange(group.size + 1), group // q
        success, entropy = np.empty((updates + 1, replicates, q)), np.empty((updates + 1, replicates))
        factor = 0.0 if match else 1.0
        for update in range(updates + 1):
            lower = theta - theta.max(axis=-1, keepdims=True)
            power = np.exp(lower)
            whole = power.sum(axis=-1, keepdims=True)
            pi = power / whole
            success[update] = np.einsum("rqa,qa->rq", pi[:, self.look], self.right)
            entropy[update] = (np.log(whole[..., 0]) - np.einsum("rta,rta->rt", pi, lower)).mean(axis=-1)
            if update == updates:
                break
            draw = uniforms(derive_seed(seed, "update", update), 0, Purpose.STEP, (replicates, q, members))
            edges = pi.cumsum(axis=-1)[:, self.look]
            answer = np.minimum((draw[..., None] > edges[:, :, None]).sum(axis=-1), a - 1)
            won = self.right[np.arange(q)[:, None], answer]
            rollouts = Rollouts.flat(offsets=offsets, group=group, batch=batch, reward=won.reshape(-1).astype(float))
            credit = advantage(rollouts, spec).reshape(won.shape)
            if factor == 0.0:
                plain = advantage(rollouts, RULES["GRPO"])
                factor = float(np.sqrt(np.square(plain).sum() / np.square(credit).sum()))
            place = (np.arange(replicates)[:, None] * tables + self.look)[:, :, None] * a + answer
            push = np.bincount(place.ravel(), credit.ravel(), theta.size).reshape(theta.shape)
            total = push.sum(axis=-1, keepdims=True)
            step = rate * factor / members * (push - total * pi)
            theta = theta + step + sharing * step.sum(axis=1, keepdims=True)
        return Learning(success, entropy)
