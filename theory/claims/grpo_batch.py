"""GRPO: the deviation of the group or of the batch, both in turn, and its divisor."""

from __future__ import annotations

from itertools import product

import numpy as np

from creditsim.estimators import advantage
from creditsim.rollouts import Rollouts
from creditsim.stats.joint import all_of, conditional
from creditsim.stats.verdict import Evidence, exact_equality, exact_inequality
from theory.claim import Trial, claim
from theory.mixes import CREDITS, MIX, MIX_SCALES, Credit, enumerated_factors, mix_degrees, mix_factors, standardised
from theory.shared import angle, responses


@claim("grpo.batch-std-direction", paper="GRPO", source="notes", kind="gradient", figure="group_or_batch_std")
def batch_std_direction(trial: Trial) -> Evidence:
    """Dividing by the batch's deviation keeps the direction of the gradient over a mix of tasks up to O(1/batch).

    The angle between E[g] and dJ/dtheta falls at least as fast as (number of groups)^-0.9 over the last doubling, for
    groups of n = 2..16; with the group's deviation it stays as it is. (scale_rewards="batch" against "group" in TRL.)
    """
    return _check_direction(trial, "batch")


@batch_std_direction.broken("divide by the deviation of the group")
def _(trial: Trial) -> Evidence:
    return _check_direction(trial, "group")


def _check_direction(trial: Trial, scale: str) -> Evidence:
    copies = trial.pick((1, 2, 4, 8), (1, 2, 4, 8, 16), (1, 2, 4, 8, 16, 32))
    sizes = (2, 4, 8, 16, 32)
    cells = list(product(MIX_SCALES, sizes, copies))
    degrees = {(name, n, c): mix_degrees(n, c, name) for name, n, c in cells}
    keys = list(degrees)
    trial.table(
        scale=np.array([k[0] for k in keys]),
        n=np.array([k[1] for k in keys]),
        groups=np.array([k[2] * len(MIX) for k in keys]),
        degrees=np.array(list(degrees.values())),
    )
    last, before = copies[-1], copies[-2]
    # At n = 2 every mixed group has the same deviation, so that the group's form keeps the direction too: n >= 4 tells.
    rates = np.array([_rate(degrees[scale, n, before], degrees[scale, n, last]) for n in (4, 8, 16)])
    detail = {f"{name} n={n}": degrees[name, n, last] for name in ("group", "batch") for n in (8, 32)}
    return all_of(
        {
            "rate": exact_inequality(rates, ">=", 0.9, detail=detail | {"groups": last * len(MIX)}),
            "estimator": _algebra_is_the_estimator(scale),
        },
        note=f"Five tasks, p = {', '.join(map(str, MIX))}; {before * len(MIX)} to {last * len(MIX)} groups.",
    )


def _rate(before: float, after: float) -> float:
    """Exponent r with angle ~ (number of groups)^-r over one doubling; 0 where the angle stays."""
    return float(np.log2(before / after))


def _algebra_is_the_estimator(scale: str) -> Evidence:
    """The sums of `mix_factors` against the registered estimators on every outcome of a small batch."""
    chance, n = (0.1, 0.4, 0.8), 3
    return exact_equality(
        enumerated_factors(CREDITS[scale], chance, n), mix_factors(chance, n, 1, scale), tolerance=1e-12
    )


@claim("grpo.double-normalisation", paper="GRPO", source="inferred", kind="identity", figure="group_or_batch_std")
def double_normalisation(trial: Trial) -> Evidence:
    """Standardising the results of GRPO over the batch multiplies all rows by one number, and by nothing else.

    With B groups of n, B_mixed of them mixed: A' = A sqrt((B n - 1) / (B_mixed (n - 1))), row by row. The second pass
    undoes no weighting of tasks; it only makes up for groups without signal.
    """
    return _check_double(trial, CREDITS["group, then batch"])


@double_normalisation.broken("the other order: over the batch first, then inside the group, which is GRPO again")
def _(trial: Trial) -> Evidence:
    def credit(rollouts: Rollouts) -> np.ndarray:
        whitened = standardised(rollouts.reward, rollouts.batch_rows, rollouts.n_batches)
        return standardised(whitened, rollouts.group_rows, rollouts.n_groups)

    return _check_double(trial, credit)


def _check_double(trial: Trial, credit: Credit) -> Evidence:
    n, got, want = 8, [], []
    for successes in ((0, 1, 4, 8), (0, 0, 0, 3), (1, 2, 3, 4, 5, 6, 7)):
        rollouts = responses([[1.0] * k + [0.0] * (n - k) for k in successes], one_batch=True)
        mixed = sum(0 < k < n for k in successes)
        factor = np.sqrt((len(successes) * n - 1) / (mixed * (n - 1)))
        computed, predicted = credit(rollouts), factor * advantage(rollouts, "grpo@paper")
        got.append(computed)
        want.append(predicted)
        trial.table(groups=len(successes), mixed=mixed, advantage=computed, predicted=predicted, factor=factor)
    return exact_equality(np.concatenate(got), np.concatenate(want), tolerance=1e-12)


@claim("grpo.ddof", paper="GRPO", source="code", kind="gradient", figure="ddof")
def divisor(trial: Trial) -> Evidence:
    """The divisor of the deviation (N - 1 or N) scales the whole expected gradient by one number, sqrt(N/(N-1)).

    Statement: the angle between the two expected gradients is 0 over a mix of tasks. The regime is groups of one size;
    outside it (groups of 2 and of 16 in one batch) small groups gain up to sqrt(2) with N, which turns the gradient.
    """
    return _check_divisor(trial, lambda r: advantage(r, "grpo@paper", ddof=0))


@divisor.broken("no deviation at all")
def _(trial: Trial) -> Evidence:
    return _check_divisor(trial, lambda r: advantage(r, "dr_grpo@paper"))


def _check_divisor(trial: Trial, credit: Credit) -> Evidence:
    chance = np.array((0.1, 0.5))
    found = {}
    for regime, sizes in (("equal", (8, 8)), ("unequal", (2, 16))):
        usual, other = (
            np.array([enumerated_factors(f, (p,), n)[0] for p, n in zip(chance, sizes, strict=True)])
            for f in (CREDITS["group"], credit)
        )
        exact = chance * (1 - chance)
        degrees = float(np.degrees(angle(other * exact, usual * exact)))
        trial.table(regime=regime, n=np.array(sizes), p=chance, usual=usual, other=other, degrees=degrees)
        found[regime] = exact_equality(degrees, 0.0, tolerance=1e-9, detail={"ratio": (other / usual).tolist()})
    return conditional(found["equal"], found["unequal"], note="Groups of 8 inside, groups of 2 and 16 outside.")
