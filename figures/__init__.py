"""Figures: one file each; they draw stored results and compute nothing."""
