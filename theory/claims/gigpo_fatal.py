"""GiGPO's step level where one mistake ends the episode: exact for any group size and any number of observations."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import NamedTuple

import numpy as np

from creditsim.exact.moments import exact_moments
from creditsim.mdp.families import make
from creditsim.mdp.policy import SoftmaxPolicy
from creditsim.stats.joint import all_of
from creditsim.stats.verdict import Evidence, exact_inequality
from theory.claim import Trial, claim
from theory.claims.gigpo import PAPER
from theory.claims.gigpo_edge import MIXES, environments, sample
from theory.shared import alignment, credit_column


class Law(NamedTuple):
    """Moments of the two levels' gradients by the logit of one decision, step returns undiscounted."""

    episode: float
    step: float
    episode_square: float
    step_square: float
    product: float


@cache
def _counts(n: int, kinds: int) -> np.ndarray:
    """All ways (C, kinds) to share n among `kinds`."""
    if kinds == 1:
        return np.full((1, 1), n)
    parts = [np.insert(_counts(n - k, kinds - 1), 0, k, axis=1) for k in range(n + 1)]
    return np.concatenate(parts)


def _chance(counts: np.ndarray, p: np.ndarray) -> np.ndarray:
    """Multinomial probability of each row of counts."""
    from scipy.special import gammaln, xlogy

    n = counts[0].sum()
    return np.exp(gammaln(n + 1) + (xlogy(counts, p) - gammaln(counts + 1)).sum(axis=1))


def decision_law(n: int, reach: float, right: float, after: float, marks: int) -> Law:
    """Law of one decision of a fatal lock in a group of n, by sums over multinomial counts.

    A rollout reaches the decision with probability `reach`, is right with `right`, and then succeeds with `after`; it
    carries one of `marks` observations. Of K that reach it J are right and X succeed: A^E gives the gradient
    ((1-p) X - (J - p K) X/N) / N, and A^S gives (X - sum_c J_c X_c / n_c) / N over observations c, p = `right`. The sum
    over c needs one observation for its mean and its products with totals, and two for its square.
    """
    kinds = reach * np.array([1.0 - right, right * (1.0 - after), right * after])
    counts = _counts(n, 7)
    one = _chance(counts, np.append(np.concatenate([kinds, kinds * (marks - 1)]) / marks, 1.0 - reach))
    first, rest = counts[:, :3], counts[:, 3:6]
    size, term = first.sum(axis=1), _term(first)
    x = first[:, 2] + rest[:, 2]
    j = x + first[:, 1] + rest[:, 1]
    k = size + rest.sum(axis=1)
    episode = ((1.0 - right) * x - (j - right * k) * x / n) / n
    square = marks * (one @ term**2)
    if marks > 1:
        nobody = 1.0 - reach + reach * (marks - 2) / marks
        two = _chance(counts, np.append(np.concatenate([kinds, kinds]) / marks, nobody))
        square += marks * (marks - 1) * (two @ (term * _term(rest)))
    return Law(
        episode=float(one @ episode),
        step=float(one @ x - marks * (one @ term)) / n,
        episode_square=float(one @ episode**2),
        step_square=float(one @ x**2 - 2.0 * marks * (one @ (term * x)) + square) / n**2,
        product=float(one @ (episode * x) - marks * (one @ (episode * term))) / n,
    )


def _term(counts: np.ndarray) -> np.ndarray:
    """J X / n of one observation, 0 where nobody saw it."""
    wrong, failed, won = counts.T
    return (failed + won) * won / np.maximum(wrong + failed + won, 1)


def fatal_alignments(n: int, length: int, right: float, marks: int) -> dict[str, float]:
    """E[g . u] / sqrt(E|g|^2) of every mix, for a fatal lock of `length` digits; all start at one observation.

    Decisions have logits of their own, so squares add over them. The two logits of a decision move by opposite amounts,
    which is a common factor.
    """
    laws = [decision_law(n, right**t, right, right ** (length - 1 - t), 1 if t == 0 else marks) for t in range(length)]
    exact = right**length * (1.0 - right)  # dJ/dlogit, the same at every decision
    unit = np.full(length, exact) / (exact * length**0.5)
    out = {}
    for name, (e, s) in MIXES.items():
        mean = np.array([e * law.episode + s * law.step for law in laws])
        square = sum(e * e * law.episode_square + s * s * law.step_square + 2 * e * s * law.product for law in laws)
        out[name] = float(mean @ unit / np.sqrt(square))
    return out


@claim("gigpo.step-level-edge-fatal", paper=PAPER, source="notes", kind="variance", figure="gigpo_edge")
def step_level_edge_fatal(trial: Trial) -> Evidence:
    """The step level helps wherever rollouts share anchors, so also where the first wrong action ends the episode:
    alignment(w) >= alignment(0) for w in {0.5, 1, 2} at equal rollouts, in a lock of four digits that a wrong digit
    ends, whatever the number of observations per state. (The paper's qualitative claim, read in notes, in a task where
    the return of a survivor holds no luck from other states.)
    """
    length, right, n = 4, 0.5, 8
    marks = trial.pick((1, 2, 4, 8, 16, 64), (1, 2, 4, 8, 16, 32, 64, 256), (1, 2, 4, 8, 16, 32, 64, 256, 1024))
    found = {d: fatal_alignments(n, length, right, d) for d in marks}
    for d, values in found.items():
        for mix, value in values.items():
            edge = value - values["w = 0"]
            trial.table(
                method="sums", marks=d, n=n, mix=mix, singletons=np.nan, alignment=value,
                edge=edge, edge_low=edge, edge_high=edge,
            )  # fmt: skip
    for d in trial.pick((1, 64), (1, 8, 64), (1, 8, 64)):
        # The sums take gamma = 1; so does this sample.
        cell = sample(environments()["lock, fatal"], d, n, trial.pick(2_000, 20_000, 100_000), trial.seed, gamma=1.0)
        for mix in MIXES:
            edge = cell.edge(mix, trial.alpha)
            trial.table(
                method="sampled", marks=d, n=n, mix=mix, singletons=cell.singletons,
                alignment=cell.alignment(mix, trial.alpha).estimate,
                edge=edge.estimate, edge_low=edge.low, edge_high=edge.high,
            )  # fmt: skip
    with_step = np.array([[values[f"w = {w}"] for w in ("0.5", "1", "2")] for values in found.values()])
    alone = np.array([[values["w = 0"]] for values in found.values()])
    detail = {f"{d} marks": values for d, values in found.items()}
    parts = {
        "four digits, N = 8, by sums": exact_inequality(with_step, ">=", alone),
        "two digits, N = 4, by enumeration": _enumerated("end", 1.0),
    }
    return replace(all_of(parts, note="the step level loses at every number of marks"), detail=detail)


@step_level_edge_fatal.broken("a step level of the opposite sign")
def _(trial: Trial) -> Evidence:
    return _enumerated("end", -1.0)


@step_level_edge_fatal.control("a wrong digit starts the code again")
def _(trial: Trial) -> Evidence:
    return _enumerated("restart", 1.0)


def _enumerated(wrong: str, sign: float) -> Evidence:
    """The same inequality by enumeration of groups of four, in a lock of two digits."""
    mdp = make("lock", length=2, actions=2, wrong=wrong, horizon=5)
    found = []
    for w in (0.0, 0.5, 1.0, 2.0):
        credit = credit_column("gigpo", normalize="mean", gamma=0.95, step_weight=sign * w, episode_singleton="zero")
        law = exact_moments(credit, mdp, SoftmaxPolicy.uniform(mdp), group_size=4, covariance=False)
        found.append(alignment(law.gradient))
    return exact_inequality(found[1:], ">=", found[0], detail={"alignments": found})
