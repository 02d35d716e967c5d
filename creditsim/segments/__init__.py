"""Segment primitives: the few ragged operations from which estimators are written.

`ids` (M,) name the segment of each row, dense in 0..n-1; a negative id means the row is in no segment: it enters no
statistics and gets 0. NumPy arrays run on Numba kernels, CuPy arrays on CuPy and numba-cuda, torch tensors share memory
with one of the two and come back as torch tensors.

Floating results are float64 for input of any type: statistics of float32 rewards are taken in double precision and are
not rounded between one primitive and the next. `shift` and `repeat_to_rows` only move values and keep their type.
Input that is not contiguous, read-only or in foreign byte order is copied. Errors are InputError: an id of n or more,
arrays of unequal length, values that are no numbers, offsets that do not rise from 0 to the number of rows.
"""

from creditsim.segments.api import (
    backup,
    context_ids,
    factorize,
    repeat_to_rows,
    reverse_scan,
    scan,
    segment_count,
    segment_max,
    segment_mean,
    segment_min,
    segment_normalise,
    segment_rank,
    segment_std,
    segment_sum,
    shift,
    sum_rows,
)

__all__ = [
    "backup",
    "context_ids",
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
