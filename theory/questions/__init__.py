"""Questions that users ask, answered by computation; one file each, found by themselves."""
