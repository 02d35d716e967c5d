"""Generalised advantage estimation on ragged rows: over steps (`gae`) and over single decisions (`gae_token`)."""

from __future__ import annotations

from typing import Literal

from creditsim.arrays import Array, namespace
from creditsim.errors import choose
from creditsim.estimators.base import estimator
from creditsim.estimators.scores import check_number, episode_score, live_rows
from creditsim.rollouts import Rollouts
from creditsim.segments import repeat_to_rows, reverse_scan, segment_normalise, shift

__all__ = ["gae", "gae_token"]

Discount = Literal["row", "step"]
Holes = Literal["keep", "skip"]
Turns = Literal["joined", "separate"]

_VERL = {"gamma": 1.0, "lam": 1.0, "whiten": True, "bootstrap": False, "holes": "skip"}
_VERL_AGENT = {**_VERL, "holes": "keep", "turns": "separate"}


@estimator(
    "gae",
    paper="arXiv:1506.02438",
    evidence="code",
    needs=("value",),
    makes=("advantage", "value_target"),
    presets={"paper": {}, "verl": _VERL, "verl-agent": _VERL_AGENT},
)
def gae(
    rollouts: Rollouts,
    *,
    gamma: float = 0.99,
    lam: float = 0.95,
    whiten: bool = False,
    whiten_eps: float = 1e-8,
    bootstrap: bool = True,
    holes: Holes = "keep",
    turns: Turns = "joined",
) -> dict[str, Array]:
    """Generalised advantage estimation over environment steps.

    delta_t = r_t + gamma V_{t+1} - V_t,  A_t = delta_t + gamma lam A_{t+1}, per trajectory;
    `value_target` = A_t + V_t before whitening. Needs column `value` (M,); results (M,) in units of reward, A with
    `whiten` in units of its standard deviation.
    After the last row V = 0; with `bootstrap` a trajectory whose `terminated` is False takes the column `next_value` of
    its last row instead, where there is such a column. Leave it off for a finite-horizon objective.
    `whiten`: (A - mean) / sqrt(var + whiten_eps) over the rows of the batch whose `weight` is not 0, ddof 1; a batch of
    one row or of equal rows gets 0 (code: verl, where one row is an error).
    `holes`, rows of `weight` 0: "keep" treats them like any row (code: verl-agent); "skip" leaves them out with their
    rewards, so that V_{t+1} and A_{t+1} are those of the next other row, and gives them 0 (code: verl).
    `turns`: "separate" ends a sequence after every step and pays the whole episode return on its last row, with no
    discount or bootstrap from one step to the next (code: PPO in verl-agent): A_t = R_i - V_t at this level.
    Errors: InputError for gamma or lam outside [0, 1] or a negative whiten_eps.
    """
    advantage = _gae(rollouts, (gamma, lam), "row", bootstrap, holes, turns)
    return _columns(rollouts, advantage, whiten, whiten_eps)


@estimator(
    "gae_token",
    paper="arXiv:1506.02438",
    evidence="code",
    needs=("value",),
    makes=("advantage", "value_target"),
    level="decision",
    presets={"verl": _VERL, "verl-agent": _VERL_AGENT},
)
def gae_token(
    rollouts: Rollouts,
    *,
    gamma: float = 1.0,
    lam: float = 1.0,
    discount: Discount = "row",
    whiten: bool = False,
    whiten_eps: float = 1e-8,
    bootstrap: bool = True,
    holes: Holes = "keep",
    turns: Turns = "joined",
) -> dict[str, Array]:
    """Generalised advantage estimation over single decisions: tokens, action factors, switches.

    The recursion of `gae` with one row per decision; equation, shapes, whitening, holes and bootstrap as there.
    `discount`: "row" applies gamma and lam between any two rows (code: verl, where both count tokens); "step" only
    where a new environment step begins, which is how tables count time (inferred).
    `turns="separate"`: the rows of each step are a sequence of their own whose last row is paid the whole episode
    return R_i; nothing is passed from turn to turn (code: PPO in verl-agent).
    Errors: InputError for gamma or lam outside [0, 1] or a negative whiten_eps.
    """
    advantage = _gae(rollouts, (gamma, lam), discount, bootstrap, holes, turns)
    return _columns(rollouts, advantage, whiten, whiten_eps)


def _gae(
    rollouts: Rollouts, rates: tuple[float, float], discount: Discount, bootstrap: bool, holes: Holes, turns: Turns
) -> Array:
    """Advantage (M,) before whitening."""
    gamma, lam = rates
    check_number("gamma", gamma, 0.0, 1.0)
    check_number("lam", lam, 0.0, 1.0)
    choose("discount", discount, ("row", "step"))
    choose("holes", holes, ("keep", "skip"))
    choose("turns", turns, ("joined", "separate"))
    xp = namespace(rollouts.reward)
    offsets, reward, value, step = rollouts.offsets, rollouts.reward, rollouts.columns["value"], rollouts.step
    after = None
    if turns == "separate":
        offsets, reward = _turns(rollouts)
    elif bootstrap and "next_value" in rollouts.columns:
        after = _value_after_cut(rollouts)
    rows = None
    if holes == "skip" and "weight" in rollouts.columns:
        live = live_rows(rollouts)
        rows = xp.flatnonzero(live)
        offsets = xp.concatenate([xp.zeros(1, xp.int64), xp.cumsum(live)])[offsets]
        reward, value, step = reward[rows], value[rows], step[rows]
    ahead = shift(value, offsets, -1, 0.0)
    if after is not None:
        filled = offsets[1:] > offsets[:-1]
        ahead[offsets[1:][filled] - 1] = after[filled]
    new_step = 1.0 if discount == "row" else shift(step, offsets, -1, -1) != step
    decay = gamma * lam if discount == "row" else xp.where(new_step, gamma * lam, 1.0)
    gamma = gamma if discount == "row" else xp.where(new_step, gamma, 1.0)
    advantage = reverse_scan(reward + gamma * ahead - value, decay, offsets)
    if rows is None:
        return advantage
    everywhere = xp.zeros(rollouts.n_rows)
    everywhere[rows] = advantage
    return everywhere


def _columns(rollouts: Rollouts, advantage: Array, whiten: bool, whiten_eps: float) -> dict[str, Array]:
    check_number("whiten_eps", whiten_eps, 0.0)
    target = advantage + rollouts.columns["value"]
    if whiten:
        advantage = segment_normalise(
            advantage,
            rollouts.batch_rows,
            rollouts.n_batches,
            ddof=1,
            eps=0.0,
            eps_inside=whiten_eps,
            where=live_rows(rollouts) if "weight" in rollouts.columns else None,
        )
    return {"advantage": advantage, "value_target": target}


def _value_after_cut(rollouts: Rollouts) -> Array:
    """(N,) value after the last row: column `next_value` of that row where the trajectory was cut, else 0."""
    xp = namespace(rollouts.reward)
    cut = ~rollouts.terminated & (rollouts.length > 0)
    after = xp.zeros(rollouts.n_trajectories)
    after[cut] = rollouts.columns["next_value"][rollouts.offsets[1:][cut] - 1]
    return after


def _turns(rollouts: Rollouts) -> tuple[Array, Array]:
    """Offsets of the steps of all trajectories, and rewards (M,): the episode return on the last row of each step."""
    xp = namespace(rollouts.reward)
    first = rollouts.first_row.copy()
    first[1:] |= rollouts.step[1:] != rollouts.step[:-1]
    offsets = xp.concatenate([xp.flatnonzero(first), xp.asarray([rollouts.n_rows])])
    last = xp.zeros(rollouts.n_rows, bool)
    last[offsets[1:] - 1] = True
    return offsets, xp.where(last, repeat_to_rows(episode_score(rollouts), rollouts.offsets), 0.0)
