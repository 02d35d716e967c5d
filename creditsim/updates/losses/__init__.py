"""Surrogate losses: pure functions of log-probabilities that give their value and their derivative."""

from creditsim.updates.losses.base import AGGREGATIONS, LOSSES, LossResult, loss, loss_and_derivative

__all__ = ["AGGREGATIONS", "LOSSES", "LossResult", "loss", "loss_and_derivative"]
