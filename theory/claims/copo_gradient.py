"""COPO: where the global credit's expected gradient points, and what is left of that with shared parameters."""

from __future__ import annotations

from functools import cache

import numpy as np

from creditsim.stats.joint import conditional
from creditsim.stats.verdict import Evidence, exact_equality, exact_inequality
from theory.claim import Trial, claim
from theory.claims.copo import BATCHES, PAPER
from theory.prompt_batches import Outcomes, expected_spread, global_factors
from theory.shared import angle

CHANCES = (0.05, 0.2, 0.5, 0.9)
FEATURES = ((1.0, 0.0), (0.6, 0.8), (-0.8, 0.6), (0.0, -1.0))
"""What each of four kinds of prompts reads of two shared parameters: logit of success = x . theta + its own bias."""
MEMBERS = 4


def _copies(trial: Trial) -> tuple[int, ...]:
    return trial.pick((1, 2, 4, 8), (1, 2, 4, 8, 16), (1, 2, 4, 8, 16, 32))


@cache
def slopes(copies: int) -> np.ndarray:
    """(4,) factors of grad p_q times n E[s_B]: 1 where the global credit gives grad p_q / (n E[s_B])."""
    return global_factors(CHANCES, MEMBERS, copies) * MEMBERS * expected_spread(CHANCES, MEMBERS, copies)


@claim("copo.expected-global-gradient", paper=PAPER, source="inferred", kind="gradient", figure="copo_global")
def expected_global_gradient(trial: Trial) -> Evidence:
    """The global credit is a policy gradient made n times smaller: E[g_q] = grad p_q / (n s_B) up to terms of order
    1/B; every rollout of the group shares one credit, and only its own reward in the group's mean points anywhere.

    Only centred, without s_B, the factor is exactly (1 - 1/B) / n; inside. Divided by the batch's deviation, as
    published, it is so only in the limit of many prompts, because the prompt's own luck is in the deviation; outside.
    """
    for copies in _copies(trial):
        for p, slope in zip(CHANCES, slopes(copies), strict=True):
            trial.table(prompts=4 * copies, p=p, slope=slope, centred=1.0 - 1.0 / (4 * copies))
    return _check_factor(consistency=False)


@expected_global_gradient.broken("weigh the prompts' rewards by consistency")
def _(trial: Trial) -> Evidence:
    return _check_factor(consistency=True)


def _check_factor(*, consistency: bool) -> Evidence:
    centred, exact = [], []
    for chance in BATCHES:
        outcomes = Outcomes.of(chance, MEMBERS)
        columns = outcomes.columns("copo@code", scale=False, consistency=consistency)
        centred.append(outcomes.factors(columns["global_advantage"])[0])
        exact.append((1.0 - 1.0 / len(chance)) / MEMBERS)
    found = slopes(4)
    detail = {"slope_16": found.tolist(), "chances": list(CHANCES), "centred": np.array(centred).tolist()}
    inside = exact_equality(np.array(centred), np.array(exact)[:, None], tolerance=1e-10, detail=detail)
    outside = exact_equality(found, 1.0, tolerance=1e-3, detail=detail)
    return conditional(inside, outside, note="centred only; with the deviation in the limit of many prompts")


def shared_angle(copies: int, rule: str) -> float:
    """Angle between the expected and the exact gradient by two parameters that all prompts share, in radians.

    `rule` "global" is COPO's global credit, "local" GRPO's, whose factor of grad p_q is E[sqrt(k (n-k))] / (n p (1-p))
    up to a constant.
    """
    p, x = np.array(CHANCES), np.array(FEATURES)
    if rule == "global":
        factor = slopes(copies)
    else:
        outcomes = [Outcomes.of((one,), MEMBERS) for one in CHANCES]
        factor = np.array([o.law @ np.sqrt(o.count * (o.n - o.count)) for o in outcomes])[:, 0] / (p * (1.0 - p))
    weight = p * (1.0 - p)
    return angle((factor * weight) @ x, weight @ x)


ORDER = -0.75
"""Half-way between the orders -1 (1 / B) and -1/2 (1 / sqrt(B)) of a deviation in the number of prompts."""


@claim("copo.shared-parameters", paper=PAPER, source="inferred", kind="bias", figure="copo_global")
def shared_parameters(trial: Trial) -> Evidence:
    """With parameters that prompts share the global credit turns the gradient by O(1/B) only: over the last doubling of
    the batch the angle falls like B^c with c <= -3/4, nearer to 1/B than to 1/sqrt(B). Four kinds of prompts, success
    chances 0.05 to 0.9, exact by convolution, up to B = 32 (quick), 64, 128. What is left are the prompts' own shares
    in mean and deviation; below B = 8 terms of higher order hide the rate.

    GRPO's local credit has no such limit: it weighs prompts by 1 / sqrt(p(1-p)) in batches of any size.
    """
    for copies in _copies(trial):
        for rule in ("global", "local"):
            trial.table(prompts=4 * copies, rule=rule, angle=float(np.degrees(shared_angle(copies, rule))))
    return _check_angle(trial, "global")


@shared_parameters.broken("GRPO's local credit")
def _(trial: Trial) -> Evidence:
    return _check_angle(trial, "local")


def _check_angle(trial: Trial, rule: str) -> Evidence:
    copies = np.array(_copies(trial))
    turned = np.array([shared_angle(int(c), rule) for c in copies])
    order = np.diff(np.log2(turned))
    detail = {"prompts": (4 * copies).tolist(), "degrees": np.degrees(turned).tolist(), "order": order.tolist()}
    return exact_inequality(order[-1], "<=", ORDER, detail=detail)
