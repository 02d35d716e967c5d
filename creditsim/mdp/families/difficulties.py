"""Difficulties: prompts from easy to hard, one decision each, with many ways to be wrong."""

from __future__ import annotations

import numpy as np

from creditsim.errors import InputError
from creditsim.mdp.checks import fraction, generator, whole
from creditsim.mdp.families.base import family
from creditsim.mdp.table import TabularMDP

__all__ = ["difficulties"]


@family(
    "difficulties",
    tiny={"prompts": 3, "answers": 4},
    small={"prompts": 8, "answers": 16},
    large={"prompts": 128, "answers": 64, "alike": 4},
)
def difficulties(
    *,
    prompts: int = 8,
    answers: int = 16,
    easiest: float = 0.5,
    alike: int = 1,
    luck: float = 0.0,
    gamma: float = 1.0,
    seed: int = 0,
) -> TabularMDP:
    """Answer one prompt once, out of `answers`; a right answer earns 1, a wrong one 1 with chance `luck`, else 0.

    Regime: single-step with success chances far apart, where batch statistics meet groups that all win or all lose.

    Prompts are drawn evenly. From the first to the last the number of right answers falls geometrically from
    easiest * answers to 1, so the uniform policy succeeds with chances from `easiest` to 1 / answers. Right answers are
    drawn by `seed`. `alike` > 1 makes prompts in so many blocks indistinguishable, one of each difficulty band: they
    share an observation, no answer is right for two of them, and what is learnt on one is lost on the others.
    Errors: InputError for no prompt, fewer than two answers, chances outside [0, 1], `alike` that does not divide the
    prompts, blocks with more right answers than answers.
    """
    n, width = whole("prompts", prompts, 1), whole("answers", answers, 2)
    if n % whole("alike", alike, 1, n):
        raise InputError("alike", alike, f"a divisor of prompts = {n}")
    most = max(1, round(fraction("easiest", easiest) * width))
    number = np.rint(most ** np.linspace(1.0, 0.0, n)).astype(np.int64)
    looks = n // alike
    rng = generator(seed)
    right = np.zeros((n, width), bool)
    for look in range(looks):
        mine = np.arange(look, n, looks)
        total = int(number[mine].sum())
        if total > width:
            raise InputError("answers", answers, f"at least {total}, the right answers of prompts that look alike")
        right[np.repeat(mine, number[mine]), rng.permutation(width)[:total]] = True
    chance = np.where(right, 1.0, fraction("luck", luck))
    chance = np.concatenate([chance, np.zeros((1, width))])
    return TabularMDP.build(
        successor=np.full((n + 1, width, 2), n),
        probability=np.stack([chance, 1.0 - chance], axis=-1),
        reward=np.broadcast_to([1.0, 0.0], (n + 1, width, 2)),
        observation=np.append(np.arange(n) % looks, looks),
        start=np.append(np.full(n, 1.0 / n), 0.0),
        terminal=np.arange(n + 1) == n,
        horizon=1,
        gamma=gamma,
        name=f"difficulties(prompts={n}, answers={width}, alike={alike})",
    )
