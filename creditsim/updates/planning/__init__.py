"""Planning on counts: optimistic values for exploration, lower bounds that certify a policy."""

from creditsim.updates.planning.model import Model, tally
from creditsim.updates.planning.update import optimistic_planning, pessimistic_policy

__all__ = ["Model", "optimistic_planning", "pessimistic_policy", "tally"]
