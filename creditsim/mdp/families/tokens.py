"""Tokens: each step is a response of several tokens."""

from __future__ import annotations

import numpy as np

from creditsim.errors import choose
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
    decisive: int | None = None,
    wrong: str = "retry",
    slip: float = 0.0,
    goal_reward: float = 1.0,
    gamma: float = 1.0,
    seed: int = 0,
) -> TabularMDP:
    """Say `tokens` tokens per step; a step whose tokens are all right advances, `length` advances reach the goal.

    Regime: many decisions per step (gamma and horizon count steps), credit inside a response, retries after a mistake.

    The right tokens are drawn by `seed`; a step with a mistake, or one that slips, is tried again; with `wrong="end"` a
    mistake ends the episode. With `decisive` only the token at that place (from 0) counts and the others are filler, so
    that steps of any length hold one decision. State (stage, token, mistake made) is numbered stage * (2 tokens - 1) +
    (0 for the first token, else 2 token - 1 + mistake); only the first token's states begin a step. After them come the
    goal and, where mistakes end the episode, the dead end. The observation is the stage; the context, what the policy
    sees, is the state: it knows what it has said. Errors: InputError for counts < 1, vocabulary < 2, decisive outside
    0..tokens-1, slip outside [0, 1]; UnknownNameError for another `wrong`.
    """
    ends = choose("wrong", wrong, ("retry", "end")) == "end"
    width = 2 * whole("tokens", tokens, 1) - 1
    whole("vocabulary", vocabulary, 2)
    goal = whole("length", length, 1) * width
    right = generator(seed).integers(vocabulary, size=(length, tokens))
    stage, place = np.divmod(np.arange(goal), width)
    token, mistake = (place + 1) // 2, (place > 0) & (place % 2 == 0)
    counts = np.ones(goal, bool) if decisive is None else token == whole("decisive", decisive, 0, tokens - 1)
    broken = mistake[:, None] | ((np.arange(vocabulary) != right[stage, token][:, None]) & counts[:, None])
    last = (token == tokens - 1)[:, None]
    retry = np.broadcast_to((stage * width)[:, None], broken.shape)
    said = (stage * width + 2 * token + 1)[:, None] + broken
    done = np.where(broken, goal + 1 if ends else retry, retry + width)
    successor = np.stack([np.where(last, done, said), np.where(last, retry, said)], axis=-1)
    states = np.arange(goal + 1 + ends)
    over = np.broadcast_to(states[goal:, None, None], (1 + ends, vocabulary, 2))
    successor = np.concatenate([successor, over])
    return TabularMDP.build(
        successor=successor,
        probability=np.broadcast_to([1.0 - fraction("slip", slip), slip], successor.shape),
        reward=np.where(successor == goal, finite("goal_reward", goal_reward), 0.0),
        observation=np.where(states > goal, length + 1, states // width),
        context=states,
        terminal=states >= goal,
        tick=(states % width == 0) | (states > goal),
        horizon=whole("horizon", horizon, 1),
        gamma=gamma,
        name=f"tokens(length={length}, tokens={tokens}, vocabulary={vocabulary}, horizon={horizon}, seed={seed})",
    )
