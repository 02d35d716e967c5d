"""StepPO: generalised advantage estimation over whole interaction steps, whitened over steps."""

from __future__ import annotations

from creditsim.arrays import Array, namespace
from creditsim.estimators.base import estimator
from creditsim.estimators.gae import gae
from creditsim.estimators.scores import check_number, live_rows
from creditsim.rollouts import Rollouts
from creditsim.segments import scan, segment_normalise, segment_std

__all__ = ["steppo"]

_REWARD_EPS = 1e-8


@estimator(
    "steppo",
    paper="arXiv:2604.18401",
    evidence="code",
    needs=("value",),
    makes=("advantage", "value_target"),
    presets={"paper": {"gamma": 0.99}, "code": {}},
)
def steppo(
    rollouts: Rollouts,
    *,
    gamma: float = 1.0,
    lam: float = 1.0,
    whiten: bool = True,
    whiten_eps: float = 1e-8,
    scale_reward: bool = False,
) -> dict[str, Array]:
    """Advantage of a whole response: GAE over steps, the value read before the step's first decision.

    delta_t = r_t + gamma V_{t+1} - V_t,  A_t = delta_t + gamma lam A_{t+1}, r_t summed over the step's decisions
    V = 0 after the last step, also where a time limit cut the episode. `advantage` is (A - mean) / (std + whiten_eps)
    over the steps of the batch, std with ddof 1: each step counts once, however many decisions it has, and all of them
    get its advantage. `value_target` = A_t + V_t before whitening.

    In: rewards and column `value` (M,), of which only a step's first entry is read: the value of what the policy saw
    before it began to act. Out: (M,), `advantage` in standard deviations, without `whiten` in units of reward.
    `scale_reward` divides the rewards by sqrt(Var(R) + 1e-8), R_t = r_t + gamma R_{t-1} over the steps of the batch
    (ddof 0); the code's variance runs over all batches so far, which a pure function cannot remember (inferred).
    Steps of `weight` 0 are left out and get 0. A batch of one step or of equal advantages gets 0.

    preset  gamma  lam  whiten        paper  0.99  1  yes  (gamma of its analysis, through notes; lam inferred)
                                      code   1     1  yes  (its base configuration)
    Errors: InputError for gamma or lam outside [0, 1] or a negative whiten_eps. Source: the official code.
    """
    check_number("whiten_eps", whiten_eps, 0.0)
    if scale_reward:
        rollouts = rollouts.with_columns(reward=_scaled(rollouts, gamma))
    plain = gae(rollouts, gamma=gamma, lam=lam, bootstrap=False, holes="skip")
    if not whiten:
        return plain
    live = live_rows(rollouts) if "weight" in rollouts.columns else None
    advantage = segment_normalise(
        plain["advantage"], rollouts.batch_rows, rollouts.n_batches, ddof=1, eps=whiten_eps, where=live
    )
    if live is not None:
        advantage = namespace(advantage).where(live, advantage, 0.0)
    return {**plain, "advantage": advantage}


def _scaled(rollouts: Rollouts, gamma: float) -> Array:
    """(M,) rewards over the deviation of the running discounted return in the batch."""
    check_number("gamma", gamma, 0.0, 1.0)
    xp = namespace(rollouts.reward)
    live = live_rows(rollouts)
    running = scan(xp.where(live, rollouts.reward, 0.0), gamma, rollouts.offsets)
    deviation = segment_std(running, rollouts.batch_rows, rollouts.n_batches, ddof=0, where=live)
    return rollouts.reward / xp.sqrt(deviation**2 + _REWARD_EPS)[rollouts.batch_rows]
