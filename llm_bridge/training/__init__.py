"""Training of text policies: imitation, then any registered method, resumable to the bit."""
