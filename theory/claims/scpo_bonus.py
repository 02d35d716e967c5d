"""SCPO's bonus: how large it can get, when it pays, and where it is a bias."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from creditsim.estimators.base import advantage
from creditsim.exact.moments import Credit, GradientMoments, exact_moments
from creditsim.mdp import SoftmaxPolicy, TabularMDP, make
from creditsim.rollouts import Rollouts
from creditsim.stats.joint import all_of, conditional
from creditsim.stats.verdict import Evidence, exact_equality, exact_inequality
from theory.claim import Trial, claim
from theory.claims.scpo import GROUP, PAPER, ROUNDING
from theory.failed_steps import fatal_chain
from theory.laws import policy_of
from theory.shared import alignment, credit_column

PLAIN = {"normalize": "mean"}
"""No division by the standard deviation: the bonus enters the gradient linearly."""
ON, DOOR, DAWDLE = 0, 1, 2


# --- Once only --------------------------------------------------------------------------------------------------------


def repeating(repeats: int) -> Rollouts:
    """A success that dawdles once at its second station, and a failure that does so `repeats` times before a door."""
    won = [(0, ON), (1, DAWDLE), (1, ON), (2, ON)]
    lost = [(0, ON), *[(1, DAWDLE)] * repeats, (1, DOOR)]
    observation, action = np.array(won + lost).T
    reward = np.zeros(observation.size)
    reward[len(won) - 1] = 1.0
    return Rollouts.flat(
        offsets=[0, len(won), len(won) + len(lost)], group=[0, 0], observation=observation, action=action, reward=reward
    )


REFERENCE_LENGTH = 4


def _check_bound(trial: Trial, order: str) -> Evidence:
    repeats = np.array(trial.pick((1, 2, 4, 8, 16), (1, 2, 4, 8, 16, 32, 64), (1, 2, 4, 8, 16, 32, 64, 256)))
    total = {}
    for each in dict.fromkeys((order, "none")):
        credit = credit_column("scpo@paper", "shared_credit", order=each)
        total[each] = np.array([credit(repeating(int(k))).sum() for k in repeats])
        trial.table(order=each, repeats=repeats, credit=total[each], bound=REFERENCE_LENGTH)
    parts = {
        "bound": exact_inequality(total[order], "<=", REFERENCE_LENGTH),
        "does not grow": exact_inequality(np.diff(total[order]), "<=", 0.0),
        "dawdling": exact_inequality(_dawdling(order), "<=", _dawdling("none")),
    }
    detail = {each: dict(zip(map(str, repeats.tolist()), sums.tolist(), strict=True)) for each, sums in total.items()}
    return replace(all_of(parts, alpha=trial.alpha), detail={**detail, "dawdling": _dawdling(order).tolist()})


def _dawdling(order: str) -> np.ndarray:
    """Expected push of the bonus on the logit of dawdling at both stations of a small task."""
    mdp = make("dead_ends", length=2, distractors=1, horizon=4)
    policy = SoftmaxPolicy.uniform(mdp)
    law = _gradient(mdp, policy, _bonus(order=order), group_size=2, symmetric=False)
    return law.mean.reshape(-1, mdp.n_actions)[:2, DAWDLE]


def _bonus(**params: Any) -> Credit:
    """What SCPO adds to GiGPO's advantages, neither divided by a standard deviation."""
    shared, plain = credit_column("scpo@paper", **PLAIN, **params), credit_column("gigpo@paper", **PLAIN)
    return lambda rollouts: shared(rollouts) - plain(rollouts)


def _gradient(
    mdp: TabularMDP, policy: SoftmaxPolicy, credit: Credit, group_size: int = GROUP, symmetric: bool = True
) -> GradientMoments:
    law = exact_moments(credit, mdp, policy, group_size=group_size, symmetric=symmetric, covariance=False)
    return law.gradient


@claim("scpo.bounded-credit", paper=PAPER, source="notes", kind="identity", figure="scpo_bonus")
def bounded_credit(trial: Trial) -> Evidence:
    """Crediting each reference step once bounds what a failure can earn: sum_i r_i <= length of the reference, and it
    does not grow with the number of times a matched step is repeated; the bonus then pushes dawdling up no more than
    without the rule. (The rule is from notes, the bound derived here.)
    """
    return _check_bound(trial, "score")


@bounded_credit.broken("let every repeat take the same match")
def _(trial: Trial) -> Evidence:
    return _check_bound(trial, "none")


# --- Over the horizon -------------------------------------------------------------------------------------------------


def _push(rollouts: Rollouts) -> np.ndarray:
    return advantage(rollouts, "scpo@paper")


def _gains(length: int, success: float, credit: Credit) -> tuple[float, float]:
    """Groups that GiGPO needs per group of SCPO for one signal-to-noise ratio, and the relative gain in signal."""
    mdp, policy = fatal_chain(length, success ** (1.0 / length))
    plain, shared = (_gradient(mdp, policy, c) for c in (credit_column("gigpo@paper"), credit))
    unit = plain.exact / np.linalg.norm(plain.exact)
    needed = [1.0 / alignment(law) ** 2 - 1.0 for law in (plain, shared)]
    return needed[0] / needed[1], float(shared.mean @ unit / (plain.mean @ unit)) - 1.0


def _check_gain(trial: Trial, credit: Credit, measure: str) -> Evidence:
    lengths = trial.pick((2, 4, 8, 12), (2, 4, 8, 12, 16), (2, 4, 8, 12, 16, 20))
    rises, detail = {}, {}
    for success in (0.25, 0.5):
        gains = np.array([_gains(length, success, credit) for length in lengths])
        trial.table(success=success, length=np.array(lengths), samples=gains[:, 0], signal=gains[:, 1])
        chosen = gains[:, 0 if measure == "samples" else 1]
        rises[f"success {success:g}"] = exact_inequality(np.diff(chosen), ">=", 0.0)
        detail[f"{success:g}"] = {str(n): gain for n, gain in zip(lengths, gains.tolist(), strict=True)}
    return replace(all_of(rises, alpha=trial.alpha), detail=detail)


@claim("scpo.gain-over-horizon", paper=PAPER, source="notes", kind="gradient", figure="scpo_horizon")
def gain_over_horizon(trial: Trial) -> Evidence:
    """Shared credit pays the more, the longer the task: groups that GiGPO needs per group of SCPO for one ratio of
    signal to noise, (1/a_GiGPO^2 - 1) / (1/a_SCPO^2 - 1) with a = E[g.u] / sqrt(E|g|^2), rises with the length L of a
    chain that a mistake ends, at equal chance of success; so (L + 4) >= (L). (The paper's experience, read in notes.)
    """
    return _check_gain(trial, _push, "samples")


@gain_over_horizon.broken("take the bonus away instead of giving it, and look at the signal alone")
def _(trial: Trial) -> Evidence:
    def opposite(rollouts: Rollouts) -> np.ndarray:
        return 2.0 * advantage(rollouts, "gigpo@paper") - advantage(rollouts, "scpo@paper")

    return _check_gain(trial, opposite, "signal")


@gain_over_horizon.control("the signal alone, E[g.u] against GiGPO's, rises with the length")
def _(trial: Trial) -> Evidence:
    return _check_gain(trial, _push, "signal")


# --- Bias -------------------------------------------------------------------------------------------------------------


def uphill_chain() -> tuple[TabularMDP, SoftmaxPolicy]:
    """Three choices, each right with 0.7, in which the steps matched are right ones."""
    return fatal_chain(3, 0.7)


def lucky_doors(luck: float) -> tuple[TabularMDP, SoftmaxPolicy]:
    """Two stations whose door leads on with chance `luck`: a success that took it makes it a step to share."""
    mdp = make("dead_ends", length=2, distractors=0, luck=luck, horizon=2)
    return mdp, policy_of(mdp, [[0.7, 0.3]] * 2)


def look_alike(likeness: float) -> np.ndarray:
    """(O, A, O, A) similarity 1 of equal steps, and `likeness` of opening a door with going on at the same station."""
    place = np.arange(5)
    table = np.zeros((5, 2, 5, 2))
    table[place, ON, place, ON] = table[place, DOOR, place, DOOR] = 1.0
    table[place, DOOR, place, ON] = likeness
    return table


def _right(law: GradientMoments, stations: int) -> np.ndarray:
    """Gradient by the logit of the right action of each station."""
    return law.mean.reshape(-1, 2)[:stations, ON]


def _check_direction(trial: Trial, sign: float) -> Evidence:
    mdp, policy = uphill_chain()
    plain = _right(_gradient(mdp, policy, credit_column("gigpo@paper", **PLAIN)), 3)
    bonus = _right(_gradient(mdp, policy, _bonus()), 3)
    trial.table(trap="none", strength=0.0, station=np.arange(3), bonus=bonus, gigpo=plain)
    outside = []
    for likeness in trial.pick(np.linspace(0.5, 1.0, 6), np.linspace(0.5, 1.0, 11), np.linspace(0.5, 1.0, 21)):
        found = _right(_gradient(mdp, policy, _bonus(similarity=look_alike(float(likeness)))), 3)
        trial.table(trap="look-alike", strength=likeness, station=np.arange(3), bonus=found, gigpo=plain)
        outside.append(found.sum())
    for luck in trial.pick((0.0, 0.2, 0.4, 0.6), (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6), np.linspace(0.0, 0.9, 10)):
        doors, by = lucky_doors(float(luck))
        found = _right(_gradient(doors, by, _bonus(), symmetric=False), 2)
        usual = _right(_gradient(doors, by, credit_column("gigpo@paper", **PLAIN), symmetric=False), 2)
        trial.table(trap="luck", strength=luck, station=np.arange(2), bonus=found, gigpo=usual)
        outside.append(found.min())
    detail = {"bonus": bonus.tolist(), "gigpo": plain.tolist(), "lowest_in_traps": min(outside)}
    return conditional(
        exact_inequality(sign * bonus, ">=", 0.0, tolerance=ROUNDING, detail=detail),
        exact_inequality(outside, ">=", 0.0, tolerance=ROUNDING),
        note="Inside: every matched step is right. Outside: doors that look like the way on, or sometimes are.",
    )


@claim("scpo.bonus-direction", paper=PAPER, source="inferred", kind="bias", figure="scpo_trap")
def bonus_direction(trial: Trial) -> Evidence:
    """The bonus pushes uphill: E[g_SCPO] - E[g_GiGPO] >= 0 by the logit of the right action of every station. It is no
    difference of potentials, so nothing keeps it from being a bias: true where matched steps are right ones, false
    where the best match of a step that leads to a dead end is the way on, by its looks or by luck. (Derived here.)
    """
    return _check_direction(trial, 1.0)


@bonus_direction.broken("a bonus of the opposite sign, where every matched step is right")
def _(trial: Trial) -> Evidence:
    return _check_direction(trial, -1.0)


# --- Scale ------------------------------------------------------------------------------------------------------------


def _margins(distance: np.ndarray, reward: float, alpha: float) -> np.ndarray:
    """Step advantage of a success less that of a failure for one shared first step, `distance` steps from the goal."""
    out = []
    for d in distance.tolist():
        rollouts = Rollouts.flat(
            offsets=[0, d + 1, d + 3],
            group=[0, 0],
            observation=[*range(d + 1), 0, d + 1],
            action=[0] * (d + 2) + [1],
            reward=[*[0.0] * d, reward, 0.0, 0.0],
        )
        step = credit_column("scpo@paper", "step_advantage", alpha=alpha, **PLAIN)(rollouts)
        out.append(step[0] - step[d + 1])
    return np.array(out)


def _check_scale(trial: Trial, alpha: float) -> Evidence:
    near, far = np.arange(2, 14), np.arange(14, trial.pick(20, 40, 80))
    at = np.concatenate([near, far])
    predicted = 0.95**at - 0.5
    found = _margins(at, 1.0, alpha)
    trial.table(distance=at, margin=found, predicted=predicted, margin_10=_margins(at, 10.0, alpha))
    detail = {"formula_error": float(np.abs(found - predicted).max()), "largest_safe_distance": int(near[-1])}
    inside = all_of(
        {
            "formula": exact_equality(found, predicted, tolerance=ROUNDING),
            "sign": exact_inequality(found[: near.size], ">=", 0.0),
        },
        alpha=trial.alpha,
    )
    return conditional(
        replace(inside, detail=detail),
        exact_inequality(found[near.size :], ">=", 0.0),
        note="Inside: up to 13 steps from the goal. Outside: 14 and more.",
    )


@claim("scpo.bonus-scale", paper=PAPER, source="inferred", kind="estimate", figure="scpo_horizon")
def bonus_scale(trial: Trial) -> Evidence:
    """A success keeps a larger step advantage than a failure that merely shared its step: gamma^d r - alpha >= 0, d
    steps from the goal of reward r. With gamma = 0.95, alpha = 0.5 and r = 1 that holds up to d = 13; beyond, going
    along and failing is credited above succeeding, so alpha must be set against the discounted reward. (Derived here.)
    """
    return _check_scale(trial, 0.5)


@bonus_scale.broken("a bonus of 0.9, above the reward of a success four steps from the goal")
def _(trial: Trial) -> Evidence:
    return _check_scale(trial, 0.9)
