"""Tabular MDPs with sparse successors, their families, and tabular policies."""

from creditsim.mdp.families import FAMILIES, family, make
from creditsim.mdp.policy import LogLinearPolicy, Policy, SoftmaxPolicy
from creditsim.mdp.table import TabularMDP

__all__ = ["FAMILIES", "LogLinearPolicy", "Policy", "SoftmaxPolicy", "TabularMDP", "family", "make"]
