"""Run by a test in a process of its own, in Numba's CUDA simulator: the whole table through the device bodies."""

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

from segment_cases import CASES

import creditsim.segments as segments
from creditsim.segments import api, gpu, gpu_kernels, gpu_sorted

# NumPy arrays stand for device arrays here; small chunks and blocks make a few rows take
# several rounds of several blocks.
api._cpu = lambda: gpu  # pyright: ignore[reportAttributeAccessIssue]
gpu_sorted.CHUNK = 3
gpu_kernels._THREADS = 4

for case in CASES:
    case.check(case.result(segments, np.asarray), np.asarray)
sys.stdout.write(f"passed {len(CASES)}\n")
