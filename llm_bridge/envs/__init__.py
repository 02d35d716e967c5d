"""Text environments: one protocol, and one module or package for each family."""
