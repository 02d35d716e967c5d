"""Bandits: arms, allocation rules, their regret and its bounds, and what is exact about them."""
