"""The sub-commands of `creditsim bridge`, one module each."""
