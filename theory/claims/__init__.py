"""The claims, one file per paper; found by themselves."""
