"""Advantage estimators: pure functions from rollouts to one credit per row; one family per file."""

from creditsim.estimators.base import ESTIMATORS, Pairs, advantage, credit, estimator, resolve

__all__ = ["ESTIMATORS", "Pairs", "advantage", "credit", "estimator", "resolve"]
