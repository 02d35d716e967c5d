"""Aliased observations: the choice looks the same whatever was seen before it."""

from __future__ import annotations

import numpy as np

from creditsim.errors import InputError
from creditsim.mdp.checks import finite, whole
from creditsim.mdp.families.base import family
from creditsim.mdp.table import TabularMDP

__all__ = ["aliased"]


@family(
    "aliased",
    tiny={"cues": 2, "delay": 1},
    small={"cues": 2, "delay": 3},
    large={"cues": 3, "delay": 6},
)
def aliased(
    *,
    cues: int = 2,
    delay: int = 1,
    actions: int = 2,
    payoff: tuple[tuple[float, ...], ...] | None = None,
    noise: float = 0.0,
    gamma: float = 1.0,
) -> TabularMDP:
    """See one of `cues` fair cues at each of `delay` steps, then choose once where every history looks the same.

    Regime: aliased observations; a window of the last `delay` + 1 observations determines the state, a shorter one not.

    The episode starts in a neutral state; steps 1..delay show cues, the cues of different steps being different
    observations; step `delay` + 1 is the choice, with one observation for all cues**delay histories. `payoff[h][a]` is
    the reward of action a after history h (cues read as digits, the oldest first); default: 1 if a equals the oldest
    cue modulo `actions`, else 0. `noise` adds plus or minus that much, evenly. Before the choice only action 0 is
    allowed, so that one row of each trajectory carries a gradient. Two cues and delay 1 are two equally likely contexts
    behind one observation. Use `with_memory(mdp, k)` for policies that see more than the observation. Errors:
    InputError for cues < 2, delay < 1, actions < 2, a payoff of another shape, more than 2 million states.
    """
    histories = whole("cues", cues, 2) ** whole("delay", delay, 1, 20)
    whole("histories of cues and delay", histories, 2, 500_000)
    table = _payoff(payoff, cues, delay, whole("actions", actions, 2))
    seen = [cues**j for j in range(delay + 1)]
    first = np.concatenate([[0], np.cumsum(seen)])
    choice, end = int(first[-1]), int(first[-1]) + histories
    branches = max(cues, 2)
    successor = np.full((end + 1, actions, branches), end)
    probability = np.zeros(successor.shape)
    mask = np.zeros(successor.shape[:2], bool)
    observation = np.zeros(end + 1, np.int64)
    mask[:choice, 0] = True
    for j in range(delay):
        here = first[j] + np.arange(seen[j])
        successor[here, 0, :cues] = first[j + 1] + np.arange(seen[j])[:, None] * cues + np.arange(cues)
        probability[here, 0, :cues] = 1.0 / cues
        observation[first[j + 1] : first[j + 2]] = 1 + j * cues + np.arange(seen[j + 1]) % cues
    last = first[delay] + np.arange(histories)
    successor[last, 0, 0] = choice + np.arange(histories)
    probability[last, 0, 0] = 1.0
    mask[choice:] = True
    probability[choice:, :, :2] = 0.5
    reward = np.zeros(successor.shape)
    reward[choice:end, :, :2] = table[..., None] + finite("noise", noise) * np.array([1.0, -1.0])
    observation[choice:end] = 1 + delay * cues
    observation[end] = 2 + delay * cues
    if noise == 0:
        probability[choice:, :, :2] = [1.0, 0.0]
    return TabularMDP.build(
        successor=successor,
        probability=probability,
        reward=reward,
        observation=observation,
        terminal=np.arange(end + 1) == end,
        mask=mask,
        horizon=delay + 2,
        gamma=gamma,
        name=f"aliased(cues={cues}, delay={delay}, actions={actions}, noise={noise:g})",
    )


def _payoff(payoff: tuple[tuple[float, ...], ...] | None, cues: int, delay: int, actions: int) -> np.ndarray:
    histories = cues**delay
    if payoff is None:
        oldest = np.arange(histories) // cues ** (delay - 1)
        return (np.arange(actions) == (oldest % actions)[:, None]).astype(float)
    try:
        table = np.asarray(payoff, float)
    except (TypeError, ValueError):
        raise InputError("payoff", "rows of unequal length or no numbers", f"shape {(histories, actions)}") from None
    if table.shape != (histories, actions):
        raise InputError("payoff", f"shape {table.shape}", f"{(histories, actions)}, histories by actions")
    return table
