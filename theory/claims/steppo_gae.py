"""StepPO: what one advantage per step does that token-wise ones do not, exactly."""

from __future__ import annotations

import numpy as np

from creditsim.estimators.base import advantage
from creditsim.exact import exact_moments, solve
from creditsim.exact.moments import GradientMoments
from creditsim.exact.trajectories import enumerate_trajectories
from creditsim.mdp import SoftmaxPolicy, make
from creditsim.rollouts import Rollouts
from creditsim.stats.joint import conditional
from creditsim.stats.verdict import Evidence, exact_equality
from theory.claim import Trial, claim
from theory.claims.steppo import PAPER, ROUNDING

MATCHED_TOKENS = 4


# --- Step-level GAE ---------------------------------------------------------------------------------------------------


def _step_law(lam: float, error: float, before: bool = True) -> GradientMoments:
    """Gradient of step-level GAE, two tokens per step, where the critic is off by `error` times fixed numbers.

    `before` False reads the value when the response has been spoken, Q of the step's last token: no baseline any more.
    """
    mdp = make("tokens", length=2, tokens=2, vocabulary=2, horizon=3)
    policy = SoftmaxPolicy.random(mdp, 7, 0.7)
    solution = solve(mdp, policy.probabilities(mdp))
    wrong = error * np.sin(1.0 + np.arange(mdp.n_states) * 2.0)

    def credit(r: Rollouts) -> np.ndarray:
        value = solution.row_value(r) if before else np.repeat(solution.row_q(r)[1::2], 2)
        return advantage(
            r.with_columns(value=value + wrong[r.columns["state"]]), "steppo", gamma=1.0, lam=lam, whiten=False
        )

    return exact_moments(credit, mdp, policy, group_size=1, covariance=False).gradient


def _check_unbiased(trial: Trial, before: bool) -> Evidence:
    lams = trial.pick((0.0, 0.5, 0.9, 1.0), tuple(np.linspace(0, 1, 11)), tuple(np.linspace(0, 1, 21)))
    bias = {}
    for error in (0.0, 0.2, 0.5):
        laws = [_step_law(float(lam), error, before) for lam in lams]
        bias[error] = np.array([np.linalg.norm(law.bias) / np.linalg.norm(law.exact) for law in laws])
        trial.table(error=error, lam=np.array(lams), bias=bias[error])
    inside = exact_equality(
        np.concatenate([bias[0.0], [bias[0.2][-1], bias[0.5][-1]]]), 0.0, tolerance=ROUNDING,
        detail={"bias_at_half": float(bias[0.5][0])},
    )  # fmt: skip
    outside = exact_equality(np.concatenate([bias[0.2][:-1], bias[0.5][:-1]]), 0.0, tolerance=ROUNDING)
    return conditional(inside, outside, note="Inside: an exact critic, or lambda = 1. Outside: neither.")


@claim("steppo.step-gae-unbiased", paper=PAPER, source="inferred", kind="gradient")
def step_gae_unbiased(trial: Trial) -> Evidence:
    """One advantage per step, repeated to its tokens, gives the exact gradient: E[g] = dJ/dtheta, for every lambda with
    the exact value read before a step's first token, and for any critic at lambda = 1, where its error is a baseline; a
    wrong critic and lambda < 1 bias it. (The paper argues in words; derived here.)
    """
    return _check_unbiased(trial, True)


@step_gae_unbiased.broken("read the value at the step's last token")
def _(trial: Trial) -> Evidence:
    return _check_unbiased(trial, False)


# --- Discount per token -----------------------------------------------------------------------------------------------


def _corridor(steps: int, tokens: int) -> Rollouts:
    """One trajectory without choices that pays 1 at its end."""
    rows = steps * tokens
    reward = np.zeros(rows)
    reward[-1] = 1.0
    return Rollouts.flat(
        offsets=[0, rows], group=[0], reward=reward, step=np.arange(rows) // tokens, columns={"value": np.zeros(rows)}
    )


def _check_signal(trial: Trial, discount: str) -> Evidence:
    steps, found, predicted, detail = 10, [], [], {}
    for gamma in (0.99, 0.95):
        for tokens in (1, 10, 50, 200):
            rollouts = _corridor(steps, tokens)
            of_step = advantage(rollouts, "steppo", gamma=gamma, whiten=False)[0]
            of_token = advantage(rollouts, "gae_token", gamma=gamma, lam=1.0, discount=discount)[0]
            found += [of_step, of_token]
            predicted += [gamma ** (steps - 1), gamma ** (steps * tokens - 1)]
            trial.table(gamma=gamma, tokens=tokens, step=of_step, token=of_token, token_formula=predicted[-1])
            detail[f"{gamma:g}, {tokens}"] = (float(of_step), float(of_token))
    relative = np.array(found) / np.array(predicted)
    return exact_equality(relative, 1.0, tolerance=ROUNDING, detail=detail)


@claim("steppo.signal-at-start", paper=PAPER, source="inferred", kind="identity", figure="steppo_ratio")
def signal_at_start(trial: Trial) -> Evidence:
    """A reward at the end of T steps of L tokens reaches the first step as gamma^(T-1) under step-level GAE and as
    gamma^(L T - 1) under token-level GAE with the same gamma: at gamma = 0.99, T = 10 and L = 200 the first is 0.914,
    the second 1.9e-9. (Derived here.)
    """
    return _check_signal(trial, "row")


@signal_at_start.broken("let a new step, not a token, carry the discount")
def _(trial: Trial) -> Evidence:
    return _check_signal(trial, "step")


Case = tuple[bool, bool, float]
"""Whether the reward is paid at a step's first token, whether the critic is exact inside steps, and lambda."""


def _matched(case: Case, power: float) -> float:
    """Largest |A(first token) - A_t| over the steps of one path, with rates gamma^power and lambda^power per token."""
    reward_first, exact_inside, lam = case
    steps, tokens, gamma = 5, MATCHED_TOKENS, 0.9
    rows = steps * tokens
    first = np.arange(rows) % tokens == 0
    place = np.arange(steps)
    pay, boundary = 0.3 + 0.2 * np.cos(place), 0.5 + 0.4 * np.sin(2.0 + place)
    reward = np.zeros(rows)
    reward[first if reward_first else np.roll(first, -1)] = pay
    value = np.empty(rows)
    value[first] = boundary
    after = np.append(boundary[1:], 0.0)
    rate = gamma**power
    for j in range(1, tokens):
        known = rate ** (tokens - j) * after + (0.0 if reward_first else rate ** (tokens - 1 - j) * pay)
        value[j::tokens] = known if exact_inside else 0.7 * np.sin(5.0 + place + j)
    rollouts = Rollouts.flat(
        offsets=[0, rows], group=[0], reward=reward, step=np.arange(rows) // tokens, columns={"value": value}
    )
    of_step = advantage(rollouts, "steppo", gamma=gamma, lam=lam, whiten=False)
    of_token = advantage(rollouts, "gae_token", gamma=rate, lam=lam**power)
    return float(np.abs(of_token - of_step)[first].max())


def _check_matched(trial: Trial, cases: dict[str, Case], power: float = 1.0 / MATCHED_TOKENS) -> Evidence:
    found = {name: _matched(case, power) for name, case in cases.items()}
    trial.table(case=list(found), difference=list(found.values()))
    return exact_equality(list(found.values()), 0.0, tolerance=ROUNDING, detail=found)


PLAIN_CASES: dict[str, Case] = {
    "reward at the last token, lambda 1": (False, False, 1.0),
    "reward at the last token, lambda 0.8": (False, False, 0.8),
    "reward at the first token, lambda 0.8": (True, False, 0.8),
}
REPAIRED_CASES: dict[str, Case] = {
    "reward at the first token, lambda 1": (True, False, 1.0),
    "reward at the first token, lambda 0.8, inner values exact": (True, True, 0.8),
}


@claim("steppo.matched-discount", paper=PAPER, source="inferred", kind="identity")
def matched_discount(trial: Trial) -> Evidence:
    """Rates per token matched to those per step, gamma^(1/L) and lambda^(1/L), make token-level GAE step-level GAE:
    A(first token) - A_t = 0 on every path. Refuted: a reward at the last token is discounted inside its step, and inner
    TD errors are weighed by lambda. (The natural repair, tested here.)
    """
    return _check_matched(trial, PLAIN_CASES)


@matched_discount.broken("rates per step used per token, in the repaired cases")
def _(trial: Trial) -> Evidence:
    return _check_matched(trial, REPAIRED_CASES, 1.0)


@matched_discount.control("pay at the first token, and lambda = 1 or inner values exact")
def _(trial: Trial) -> Evidence:
    return _check_matched(trial, REPAIRED_CASES)


def _first_token_mean(place: int, tokens: int, lam: float) -> tuple[float, float]:
    """E[A(first token) | right decision] under token GAE with the exact critic, and the exact advantage of being right.

    One step, undiscounted, in which only the token at `place` counts.
    """
    mdp = make("tokens", length=1, tokens=tokens, vocabulary=2, horizon=1, decisive=place)
    pi = SoftmaxPolicy.uniform(mdp).probabilities(mdp)
    law = enumerate_trajectories(mdp, pi)
    solution = solve(mdp, pi)
    r = law.rollouts.with_columns(value=solution.row_value(law.rollouts))
    first = advantage(r, "gae_token", gamma=1.0, lam=lam)[r.offsets[:-1]]
    right = np.add.reduceat(r.reward, r.offsets[:-1]) > 0
    mean = float((law.joint * right) @ first / (law.joint @ right))
    return mean, 1.0 - solution.j


def _check_place(trial: Trial, matched: bool) -> Evidence:
    tokens = trial.pick(5, 7, 10)
    found, predicted = [], []
    for lam in (0.5, 0.9, 1.0):
        per_token = lam ** (1.0 / tokens) if matched else lam
        for place in range(tokens):
            mean, whole = _first_token_mean(place, tokens, per_token)
            found.append(mean)
            predicted.append(whole * lam ** (place / tokens))
            trial.table(lam=lam, place=place, tokens=tokens, measured=mean, formula=predicted[-1])
    return exact_equality(found, predicted, tolerance=ROUNDING)


@claim("steppo.decision-place", paper=PAPER, source="inferred", kind="bias")
def decision_place(trial: Trial) -> Evidence:
    """Even with the exact critic and matched rates, token-level GAE shrinks the first token's share of a decision made
    later in the step: E[A(first token) | s, a] = lambda^(j/L) A(s, a) where token j of L decides, so 1 at j = 0 and
    towards lambda at the end; a step-level advantage is the same at every place. (Derived here.)
    """
    return _check_place(trial, True)


@decision_place.broken("lambda per step used per token")
def _(trial: Trial) -> Evidence:
    return _check_place(trial, False)
