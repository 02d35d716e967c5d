"""CPU bodies of the segment primitives, on NumPy arrays.

Floating results are float64 whatever the input: statistics of float32 rewards are taken in double precision and stay so
until the caller rounds them. `shift` and `repeat_to_rows` only move values and keep their type.
"""

from creditsim.segments.cpu_factorize import factorize
from creditsim.segments.cpu_normalise import segment_mean, segment_normalise, segment_std
from creditsim.segments.cpu_reduce import segment_count, segment_max, segment_min, segment_rank, segment_sum
from creditsim.segments.cpu_scan import backup, repeat_to_rows, reverse_scan, scan, shift, sum_rows

__all__ = [
    "backup",
    "factorize",
    "repeat_to_rows",
    "reverse_scan",
    "scan",
    "segment_count",
    "segment_max",
    "segment_mean",
    "segment_min",
    "segment_normalise",
    "segment_rank",
    "segment_std",
    "segment_sum",
    "shift",
    "sum_rows",
]
