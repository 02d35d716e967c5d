"""Exact answers: values, occupancy, gradients and the moments of estimators, without sampling."""

from creditsim.exact.dp import Solution, objective, optimal, solve
from creditsim.exact.gradient import gradient_weight, policy_gradient, score_norm
from creditsim.exact.infinite import infinite_value
from creditsim.exact.moments import exact_moments
from creditsim.exact.trajectories import enumerate_trajectories

__all__ = [
    "Solution",
    "enumerate_trajectories",
    "exact_moments",
    "gradient_weight",
    "infinite_value",
    "objective",
    "optimal",
    "policy_gradient",
    "score_norm",
    "solve",
]
