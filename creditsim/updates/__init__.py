"""Update rules: what turns advantages into a new policy; one file each."""

from creditsim.updates.base import UPDATES, RowPolicy, update

__all__ = ["UPDATES", "RowPolicy", "update"]
