"""Policies that act on text: what collection asks of them, and two that are built on transformers."""
