"""Small computations that several claims share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from creditsim.errors import InputError
from creditsim.estimators.base import Pairs, credit, resolve
from creditsim.exact.moments import Credit, GradientMoments
from creditsim.mdp import SoftmaxPolicy, TabularMDP, make
from creditsim.rollouts import Rollouts

__all__ = ["alignment", "angle", "binary_task", "binomial", "credit_column", "responses"]


def binomial(n: int, p: float) -> np.ndarray:
    """(n+1,) probabilities of k successes in n draws of chance p."""
    from scipy.special import gammaln, xlog1py, xlogy

    k = np.arange(n + 1)
    return np.exp(gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1) + xlogy(k, p) + xlog1py(n - k, -p))


def binary_task(p: float) -> tuple[TabularMDP, SoftmaxPolicy]:
    """One prompt with a wrong and a right answer, and the policy that gives the right one with probability p."""
    mdp = make("answers", p=((0.0, 1.0),))
    return mdp, SoftmaxPolicy.from_probabilities(mdp, np.array([[1.0 - p, p], [0.5, 0.5]]))


def responses(groups: Sequence[Sequence[float]], *, one_batch: bool = False, **columns: np.ndarray) -> Rollouts:
    """Rollouts of one row per trajectory that pay the scores given, one group per entry and, unless told, per batch."""
    sizes = [len(group) for group in groups]
    ids = np.repeat(np.arange(len(groups)), sizes)
    reward = np.concatenate([np.asarray(group, np.float64) for group in groups])
    batch = np.zeros_like(ids) if one_batch else ids
    return Rollouts.flat(offsets=np.arange(ids.size + 1), group=ids, batch=batch, reward=reward, columns=columns)


def angle(a: np.ndarray, b: np.ndarray) -> float:
    """Angle between two vectors in radians, accurate for small angles too."""
    unit_a, unit_b = a / np.linalg.norm(a), b / np.linalg.norm(b)
    return float(2.0 * np.arctan2(np.linalg.norm(unit_a - unit_b), np.linalg.norm(unit_a + unit_b)))


def credit_column(spec: str, column: str = "advantage", **params: Any) -> Credit:
    """One column of an estimator with its parameters bound, as enumeration takes it: rollouts -> (M,)."""
    bound = resolve(spec, **params)

    def of(rollouts: Rollouts) -> np.ndarray:
        columns = credit(rollouts, bound)
        if isinstance(columns, Pairs):
            raise InputError("credit_column", "preference pairs", "an estimator that makes columns")
        return columns[column]

    return of


def alignment(law: GradientMoments) -> float:
    """E[g . u] / sqrt(E|g|^2), u the direction of the exact gradient: the root-mean-square cosine, free of scale.

    With B independent groups averaged, the noise left beside the signal falls like (1/alignment^2 - 1) / B.
    """
    exact = law.exact / np.linalg.norm(law.exact)
    return float(law.mean @ exact) / float(np.sqrt(law.trace + law.mean @ law.mean))
