"""Sampling designs: which rollouts are drawn and which are kept; one design per file."""
