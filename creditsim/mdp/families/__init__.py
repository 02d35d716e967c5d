"""Environment families: one file each, found by itself; a family is a seeded constructor with size presets."""

from creditsim.mdp.families.base import FAMILIES, family, make

__all__ = ["FAMILIES", "family", "make"]
