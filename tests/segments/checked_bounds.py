"""Run by a test in a process of its own with bounds checks compiled in: one case of each primitive and shape."""

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

from segment_cases import CASES

import creditsim.segments as segments

for case in CASES:
    case.check(case.result(segments, np.asarray), np.asarray)

# Growth of the hash table, and a forest deep enough to climb.
rng = np.random.default_rng(3)
key = rng.integers(-(2**60), 2**60, 30_000)
ids, n = segments.factorize(key)
np.testing.assert_array_equal(
    np.unique(key)[np.unique(key, return_inverse=True)[1]], key[np.unique(ids, return_index=True)[1]][ids]
)
sys.stdout.write(f"passed {len(CASES)}\n")
