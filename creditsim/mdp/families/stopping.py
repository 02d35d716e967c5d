"""Stopping: the policy decides how long the episode is."""

from __future__ import annotations

import numpy as np

from creditsim.arrays import numbers
from creditsim.errors import InputError
from creditsim.mdp.checks import finite, fraction, whole
from creditsim.mdp.families.base import family
from creditsim.mdp.table import TabularMDP

__all__ = ["stopping"]


@family(
    "stopping",
    tiny={"turns": 3, "noise": 0.1},
    small={"turns": 8, "noise": 0.1},
    large={"turns": 50, "noise": 0.1},
)
def stopping(
    *,
    turns: int = 8,
    stop: float | tuple[float, ...] = 0.6,
    go: float | tuple[float, ...] = 0.3,
    last: float = 0.5,
    choices: tuple[int, ...] | None = None,
    control: float = 1.0,
    noise: float = 0.0,
    gamma: float = 1.0,
) -> TabularMDP:
    """Stop or go on at each of `turns` turns, with a reward for either; the last turn ends the episode anyhow.

    Regime: variable length chosen by the policy, intermediate rewards, returns that depend on length.

    Action 0 stops and pays `stop`, 1 goes on and pays `go` (one number, or one per turn before the last); the last turn
    allows action 0 only and pays `last`. `choices` names the turns, from 0, in which stopping is allowed (default:
    all); elsewhere only going on is. With probability 1 - `control` a fair coin, not the action, says whether the
    episode ends; the reward follows the action. `noise` adds plus or minus that much to each reward, evenly. Settings:
    `turns=2, stop=0.6, go=0.3, last=0.5` has dJ/dP(go on) = 0.2; `turns=50, choices=(4,), stop=1, go=0, last=0` has
    success after 5 steps and failure after 50. Errors: InputError for turns < 1, another number of rewards, a choice
    outside 0..turns - 2, control outside [0, 1].
    """
    before = whole("turns", turns, 1) - 1
    fraction("control", control)
    allowed = range(before) if choices is None else [whole("choices", turn, 0, before - 1) for turn in choices]
    pay = np.zeros((turns + 1, 2))
    pay[:before, 0], pay[:before, 1] = _per_turn("stop", stop, before), _per_turn("go", go, before)
    pay[before, 0] = finite("last", last)
    here = np.arange(turns + 1)
    mask = np.ones((turns + 1, 2), bool)
    mask[:before, 0] = np.isin(here[:before], list(allowed))
    mask[before, 1] = False
    ends = np.stack([np.full(turns + 1, 0.5 + control / 2), np.full(turns + 1, 0.5 - control / 2)], axis=1)
    # A turn without a choice, and the last, go as they must.
    ends[:before][~mask[:before, 0]] = 0.0
    ends[before:] = 1.0
    onward = np.minimum(here + 1, turns)[:, None, None]
    outcome = np.stack([1.0 - ends, ends], axis=-1)
    signs = np.array([1.0, -1.0])[: 1 if noise == 0 else 2]
    successor = np.broadcast_to(np.concatenate([onward, np.full_like(onward, turns)], -1), outcome.shape)
    return TabularMDP.build(
        successor=np.repeat(successor, signs.size, axis=-1),
        probability=np.repeat(outcome, signs.size, axis=-1) / signs.size,
        reward=pay[..., None] + finite("noise", noise) * np.tile(signs, 2),
        terminal=here == turns,
        mask=mask,
        horizon=turns,
        gamma=gamma,
        name=f"stopping(turns={turns}, control={control:g}, noise={noise:g})",
    )


def _per_turn(field: str, got: float | tuple[float, ...], turns: int) -> np.ndarray:
    allowed = f"a finite number, or {turns} of them: one per turn before the last"
    values = numbers(field, got, allowed)
    if values.ndim > 1 or (values.ndim == 1 and values.size != turns) or not np.isfinite(values).all():
        raise InputError(field, repr(got), allowed)
    return np.broadcast_to(values, turns)
