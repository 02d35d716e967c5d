"""Conservative exploration: a safe baseline mixed with an optimistic policy as far as lower bounds allow."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from creditsim.errors import InputError, choose
from creditsim.mdp.mixtures import FixedPolicy
from creditsim.rng import Purpose, uniforms
from creditsim.rollouts import Rollouts
from creditsim.sampling.designs.base import State, design
from creditsim.sampling.table import TableSampler

__all__ = ["conservative", "step_mixture"]

Mix = Literal["step", "episode", "none"]


@design(
    "conservative",
    paper="arXiv:2306.06265",
    evidence="inferred",
    presets={"stepmix": {"mix": "step"}, "epsmix": {"mix": "episode"}, "ucbvi": {"mix": "none"}},
    tables=("baseline", "baseline_value"),
)
def conservative(
    sampler: TableSampler,
    policy: Any,
    state: State,
    *,
    group_size: int = 1,
    mix: Mix = "step",
    kept: float = 0.9,
    known: bool = False,
) -> tuple[Rollouts, dict[str, np.ndarray]]:
    """Play the optimistic policy as much as keeps the expected return above a share `kept` of the baseline's.

    With bar = kept * V^b and L_j the lower bound on the value of candidate j (optimistic in j steps, baseline in the
    others; L_0 the baseline itself), `mix`:

    - "step" (StepMix): j the most with L_j >= bar; in the one step where j and j+1 differ, play the optimistic policy
      with probability w, w L_{j+1} + (1-w) L_j = bar. Values are linear in w because only one step changes.
    - "episode" (EpsMix): play a whole episode by the optimistic policy with probability e = max{e in [0, 1]:
      e L_H + (1-e) L_0 >= bar}, else by the baseline; one coin for each episode.
    - "none": always the optimistic policy (UCBVI); the constraint is not looked at.

    Where no candidate reaches the bar, and before the first plan, the baseline is played ("none": `policy`). `known`:
    L_0 is the baseline's exact value, not its bound. The constraint is on the expected return of the policy played.

    Takes from the state `baseline` (S,A) or (R,S,A), `baseline_value`, and of the planning update `hand_over` and
    `lower`. Makes entries `played` (R,2,S,A), `share` (R,): an episode is played by the first policy with probability
    `share`, else by the second; `optimism` (R,): share of the steps ("step") or episodes played optimistically.
    Draws batches * groups * group_size trajectories, ordered by group ("episode": optimistic ones first, then the
    others). Errors: InputError for kept outside [0, 1]. Source: inferred (the abstract says no more than mixtures by
    step and by episode); `@stepmix`, `@epsmix`, `@ucbvi` name the three.
    """
    choose("mix", mix, ("step", "episode", "none"))
    if not 0.0 <= kept <= 1.0:
        raise InputError("kept", kept, "a share in [0, 1]")
    state = {} if state is None else state
    optimistic = np.asarray(policy.probabilities(sampler.mdp))
    baseline = np.broadcast_to(state["baseline"], optimistic.shape)
    share, optimism, first = np.ones(sampler.batches), np.ones(sampler.batches), optimistic
    if mix != "none":
        if "lower" not in state:
            optimism, first = np.zeros(sampler.batches), baseline
        else:
            lower, bar = state["lower"].copy(), kept * np.broadcast_to(state["baseline_value"], sampler.batches)
            if known:
                lower[:, 0] = state["baseline_value"]
            if mix == "episode":
                share = optimism = _coin(lower, bar)
            else:
                handed, weight = step_mixture(lower, bar)
                optimism = (handed + weight) / (lower.shape[1] - 1)
                first = _mixed(optimistic, baseline, state["hand_over"], handed, weight)
    state = {**state, "played": np.stack([first, baseline], axis=1), "share": share, "optimism": optimism}
    return _draw(sampler, state, group_size), state


def step_mixture(lower: np.ndarray, bar: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(R,) steps handed over and (R,) weight of the next one, from bounds (R,H+1) and the bar (R,).

    j is the largest with L_j >= bar, w = (L_j - bar) / (L_j - L_{j+1}), 0 where j is the last or none reaches the bar.
    """
    reaches = lower >= bar[:, None]
    most = lower.shape[1] - 1
    handed = np.where(reaches.any(axis=1), most - reaches[:, ::-1].argmax(axis=1), 0)
    row = np.arange(lower.shape[0])
    here, following = lower[row, handed], lower[row, np.minimum(handed + 1, most)]
    mixes = reaches[row, handed] & (handed < most)
    weight = np.divide(here - bar, here - following, out=np.zeros_like(bar), where=mixes)
    return handed, weight


def _coin(lower: np.ndarray, bar: np.ndarray) -> np.ndarray:
    """(R,) the largest e in [0, 1] with e L_H + (1-e) L_0 >= bar; 0 where there is none."""
    safe, bold = lower[:, 0], lower[:, -1]
    mixes = (safe >= bar) & (bold < bar)
    inside = np.divide(safe - bar, safe - bold, out=np.zeros_like(bar), where=mixes)
    return np.where(bold >= bar, 1.0, inside)


def _mixed(
    optimistic: np.ndarray, baseline: np.ndarray, hand_over: np.ndarray, handed: np.ndarray, weight: np.ndarray
) -> np.ndarray:
    """(R,S,A) candidate `handed`, going over to the next one by `weight` (R,) in the step where they differ."""
    here, following = hand_over[handed], hand_over[np.minimum(handed + 1, hand_over.shape[0] - 1)]
    bold = np.where(here, 1.0, np.where(following, weight[:, None], 0.0))[:, :, None]
    return bold * optimistic + (1.0 - bold) * baseline


def _draw(sampler: TableSampler, state: dict[str, np.ndarray], group_size: int) -> Rollouts:
    first, second = (FixedPolicy(state["played"][:, which]) for which in (0, 1))
    if (state["share"] == 1.0).all() or group_size < 1:
        return sampler.extend(copies=group_size, policy=first)
    # One coin per episode, of the replicate's own stream: another replicate beside it changes nothing.
    coin = uniforms(int(state["seed"]), state["replicate"], Purpose.ALLOCATION, (sampler.groups, group_size))
    heads = (coin < state["share"][:, None, None]).sum(axis=-1).reshape(-1)
    if not heads.any():
        return sampler.extend(copies=group_size, policy=second)
    return sampler.extend(sampler.extend(copies=heads, policy=first), copies=group_size - heads, policy=second)
