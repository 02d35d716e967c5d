"""Golden files: numbers that published libraries produced, recomputed with this library."""
