"""Exact values by backward induction beside the sparse products of which it could be made."""

from __future__ import annotations

import numpy as np

from benchmarks.report import line
from benchmarks.timing import Rounds, compare
from creditsim.exact.dp import solve
from creditsim.mdp import SoftmaxPolicy, make

__all__: list[str] = []


@line("exact values, S = 10^4, A = 4, H = 50", "50 SciPy CSR products for each action", target=1)
def finite_horizon() -> Rounds:
    from scipy.sparse import csr_array

    mdp = make("random@large", states=10_000, horizon=50)
    pi = SoftmaxPolicy.random(mdp, seed=0).probabilities(mdp)
    s, a, b = mdp.successor.shape
    first = np.arange(0, s * b + 1, b)
    # The products only: weighing them by the policy and adding rewards is left out on their side.
    matrices = [
        csr_array((mdp.probability[:, k].ravel(), mdp.successor[:, k].ravel().astype(np.int32), first), shape=(s, s))
        for k in range(a)
    ]
    v = np.linspace(0.0, 1.0, s)

    def products() -> None:
        for _ in range(mdp.horizon):
            for matrix in matrices:
                matrix.dot(v)

    return compare(lambda: solve(mdp, pi), products)
