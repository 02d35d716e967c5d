"""Tabular MDPs with sparse successors, their families, and tabular policies."""

from creditsim.mdp.families import FAMILIES, family, make
from creditsim.mdp.memory import Product, memory_product, time_product, with_memory, with_time
from creditsim.mdp.mixtures import FixedPolicy, MixturePolicy, check_probabilities, greedy
from creditsim.mdp.policy import LogLinearPolicy, Policy, SoftmaxPolicy
from creditsim.mdp.table import TabularMDP

__all__ = [
    "FAMILIES",
    "FixedPolicy",
    "LogLinearPolicy",
    "MixturePolicy",
    "Policy",
    "Product",
    "SoftmaxPolicy",
    "TabularMDP",
    "check_probabilities",
    "family",
    "greedy",
    "make",
    "memory_product",
    "time_product",
    "with_memory",
    "with_time",
]
