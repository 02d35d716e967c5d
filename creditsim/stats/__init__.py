"""Statistics: streaming moments, intervals, confidence sequences, rate fits, multiplicity and verdicts."""
