"""The CUDA kernels, in Numba's simulator or on a device, do what the CPU does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from creditsim.bandits.instances import bernoulli, drifting, gaussian
from creditsim.bandits.rules.base import RULES
from creditsim.bandits.simulate import simulate

SCRIPT = """
import sys; sys.path.insert(0, sys.argv[1])
from numba import config
from test_bandit_gpu import twins
assert config.ENABLE_CUDASIM
print(twins(30, 4))
"""


def twins(horizon: int, replications: int) -> int:
    """Compare every rule on both targets; return the number of pulls compared."""
    pulls = 0
    for part in RULES:
        for feedback in part.feedback:
            options = {"horizon": horizon, "replications": replications, "feedback": feedback, "snapshots": True}
            bandits = [bernoulli((0.3, 0.5, 0.6)), drifting((0.2, 0.8), (0.8, 0.2), over=9)]
            for bandit in bandits if part.binary else [bandits[1], gaussian((0.0, 1.0))]:
                cpu, gpu = (simulate(bandit, part.name, device=device, **options) for device in ("cpu", "cuda"))
                for name in ("waste", "spent", "pulls", "counts"):
                    assert np.array_equal(getattr(cpu, name), getattr(gpu, name)), (part.name, feedback, name)
                assert cpu.totals is not None and gpu.totals is not None
                np.testing.assert_allclose(gpu.totals, cpu.totals, rtol=1e-12)
                np.testing.assert_allclose(gpu.regret, cpu.regret, rtol=1e-12, atol=1e-12)
                pulls += int(cpu.pulls.sum())
    return pulls


def test_cuda_kernels_in_the_simulator() -> None:
    environment = {**os.environ, "NUMBA_ENABLE_CUDASIM": "1"}
    command = [sys.executable, "-c", SCRIPT, str(Path(__file__).parent)]
    ran = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert ran.returncode == 0, ran.stderr
    assert int(ran.stdout) > 3000


@pytest.mark.gpu
def test_cuda_kernels_on_a_device() -> None:
    from numba import cuda

    if not cuda.is_available():
        pytest.skip("no CUDA device")
    assert twins(200, 500) > 1_000_000
