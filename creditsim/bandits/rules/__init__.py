"""Allocation rules, one per file: adding a rule is adding a file."""
