"""Tokens: each step is a response of several tokens."""

from __future__ import annotations

import numpy as np

from creditsim.mdp.checks import finite, fraction, generator, whole
from creditsim.mdp.families.base import family
from creditsim.mdp.table import TabularMDP

__all__ = ["tokens"]


@family(
    "tokens",
    tiny={"length": 2, "tokens": 2, "vocabulary": 2, "horizon": 2},
    small={"length": 3, "tokens": 3, "vocabulary": 3, "horizon": 8},
    large={"length": 8, "tokens": 16, "vocabulary": 8, "horizon": 40},
)
def tokens(
    *,
    length: int = 3,
    tokens: int = 3,
    vocabulary: int = 3,
    horizon: int = 8,
    slip: float = 0.0,
    goal_reward: float = 1.0,
    gamma: float = 1.0,
    seed: int = 0,
) -> TabularMDP:
    """Say `tokens` tokens per step; a step whose tokens are all right advances, `length` advances reach the goal.

    Regime: many decisions per step (gamma and horizon count steps), credit inside a response, retries after a mistake.

    The right tokens are drawn by `seed`; a step with a mistake, or one that slips, is tried again. State
    (stage, token, mistake made) is numbered stage * (2 tokens - 1) + (0 for the first token, else 2 token - 1 +
    mistake); only the first token's states begin a step. The observation is the stage; the context, what the policy
    sees, is the state: it knows what it has said. Errors: InputError for counts < 1, vocabulary < 2, slip outside
    [0, 1].
    """
    width = 2 * whole("tokens", tokens, 1) - 1
    whole("vocabulary", vocabulary, 2)
    goal = whole("length", length, 1) * width
    right = generator(seed).integers(vocabulary, size=(length, tokens))
    stage, place = np.divmod(np.arange(goal), width)
    token, mistake = (place + 1) // 2, (place > 0) & (place % 2 == 0)
    broken = mistake[:, None] | (np.arange(vocabulary) != right[stage, token][:, None])
    last = (token == tokens - 1)[:, None]
    retry = np.broadcast_to((stage * width)[:, None], broken.shape)
    said = (stage * width + 2 * token + 1)[:, None] + broken
    done = np.where(broken, retry, retry + width)
    successor = np.stack([np.where(last, done, said), np.where(last, retry, said)], axis=-1)
    states = np.arange(goal + 1)
    successor = np.concatenate([successor, np.full((1, vocabulary, 2), goal)])
    return TabularMDP.build(
        successor=successor,
        probability=np.broadcast_to([1.0 - fraction("slip", slip), slip], successor.shape),
        reward=np.where(successor == goal, finite("goal_reward", goal_reward), 0.0),
        observation=states // width,
        context=states,
        terminal=states == goal,
        tick=states % width == 0,
        horizon=whole("horizon", horizon, 1),
        gamma=gamma,
        name=f"tokens(length={length}, tokens={tokens}, vocabulary={vocabulary}, horizon={horizon}, seed={seed})",
    )
