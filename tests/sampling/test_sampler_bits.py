"""Same seed, same bits: threads, chunks of batches, chunks of extends, CUDA twin."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest
from sampling_oracles import awkward_mdp, random_policy

from creditsim.mdp import make
from creditsim.rollouts import FIELDS, Rollouts
from creditsim.sampling import TableSampler, sample_returns

HERE = os.path.dirname(__file__)


def digest(rollouts: Rollouts) -> str:
    h = hashlib.sha256()
    for name in (*FIELDS, "state", "next_state", "context", "log_prob"):
        h.update(np.ascontiguousarray(rollouts.column(name)).tobytes())
    return h.hexdigest()


def study(threads: int | None = None, first_batch: int = 0, batches: int = 12, replicates: bool = False) -> Rollouts:
    mdp = awkward_mdp(horizon=12)
    policy = random_policy(mdp, replicates=12 if replicates else None)
    if replicates:
        policy = policy.with_theta(policy.theta[first_batch : first_batch + batches])
    sampler = TableSampler(mdp, seed=1, batches=batches, groups=5, first_batch=first_batch, threads=threads)
    rollouts = sampler.extend(copies=4, policy=policy)
    forks = np.flatnonzero(sampler.continues(rollouts) & (rollouts.step == 2))
    return sampler.extend(rollouts, after=forks, copies=2, policy=policy)


THREADS = """
import sys; sys.path.insert(0, sys.argv[1])
from test_sampler_bits import digest, study, sample_returns, awkward_mdp, random_policy
import hashlib, numba
assert numba.config.NUMBA_NUM_THREADS == 4
for threads in (1, 2, 3, 4):
    value = sample_returns(awkward_mdp(), random_policy(awkward_mdp()), 3001, threads=threads).value
    print(digest(study(threads)), digest(study(threads, replicates=True)), hashlib.sha256(value.tobytes()).hexdigest())
"""


def test_threads_do_not_change_a_bit() -> None:
    environment = {**os.environ, "NUMBA_NUM_THREADS": "4"}
    run = subprocess.run(
        [sys.executable, "-c", THREADS, HERE], capture_output=True, text=True, env=environment, check=True
    )
    lines = run.stdout.split("\n")[:4]
    assert len(set(lines)) == 1
    value = sample_returns(awkward_mdp(), random_policy(awkward_mdp()), 3001).value
    here = [digest(study()), digest(study(replicates=True)), hashlib.sha256(value.tobytes()).hexdigest()]
    assert lines[0].split() == here


@pytest.mark.parametrize("replicates", [False, True])
@pytest.mark.parametrize("size", [1, 5, 7])
def test_chunks_of_batches_do_not_change_a_bit(size: int, replicates: bool) -> None:
    whole = study(replicates=replicates)
    for first in range(0, 12, size):
        n = min(size, 12 - first)
        part = study(first_batch=first, batches=n, replicates=replicates)
        inside = (whole.batch >= first) & (whole.batch < first + n)
        for name in ("action", "reward", "step", "observation"):
            assert np.array_equal(part.column(name), whole.column(name)[inside[whole.trajectory]])
        assert np.array_equal(part.terminated, whole.terminated[inside])
        assert np.array_equal(part.group, whole.group[inside] - 5 * first)
    shifted = study(first_batch=1, batches=1)  # broken twin: the wrong global batch number
    assert not np.array_equal(shifted.action, study(first_batch=0, batches=1).action)


def test_calls_in_parts_give_the_trajectories_of_one_call() -> None:
    mdp, one = make("chain@small"), TableSampler(make("chain@small"), seed=4)
    parts = TableSampler(mdp, seed=4)
    policy = random_policy(mdp)
    whole = one.extend(copies=9, policy=policy)
    grown = parts.extend(copies=2, policy=policy)
    grown = parts.extend(grown, copies=3, policy=policy)
    grown = parts.extend(grown, copies=4, policy=policy)
    assert digest(whole) == digest(grown)


def test_seeds_and_episodes_beyond_32_bits_matter() -> None:
    mdp = make("chain@small")
    policy = random_policy(mdp)

    def action(seed: int, drawn: int = 0) -> list[int]:
        sampler = TableSampler(mdp, seed=seed)
        sampler._drawn += drawn
        return sampler.extend(copies=20, policy=policy).action.tolist()

    draws = [action(0), action(1), action(1 << 32), action(0, 1 << 32), action(0, 1 << 33)]
    assert all(a != b for i, a in enumerate(draws) for b in draws[:i])


CUDA = """
import sys; sys.path.insert(0, sys.argv[1])
import numpy as np
from numba import config
from test_sampler_bits import cuda_twins
assert config.ENABLE_CUDASIM
print(cuda_twins(20, 4))
"""


def cuda_twins(episodes: int, horizon: int) -> int:
    """Compare words and rollouts of the CUDA kernels with the CPU's; return the number of steps compared."""
    from creditsim.rng import key_words, philox4x32
    from creditsim.sampling.gpu import words_on_gpu

    got = words_on_gpu(77, 3, 1, episodes, 4)
    for (i, block), _ in np.ndenumerate(got[:, :, 0]):
        counter = (np.uint64(i), np.uint64(block), np.uint64(3), np.uint64(1))
        assert got[i, block].tolist() == [int(w) for w in philox4x32(*counter, *key_words(77))]
    steps = 0
    wide = make("chain@small", horizon=horizon)
    for mdp in (awkward_mdp(horizon=horizon), wide):
        for replicates in (None, 2):
            policy = random_policy(mdp, replicates=replicates)
            cpu, gpu = (TableSampler(mdp, seed=6, batches=2, groups=2, device=device) for device in ("cpu", "cuda"))
            on_cpu, on_gpu = cpu.extend(copies=episodes, policy=policy), gpu.extend(copies=episodes, policy=policy)
            forks = np.flatnonzero(cpu.continues(on_cpu))[:5]
            on_cpu = cpu.extend(on_cpu, after=forks, steps=2, policy=policy)
            on_gpu = gpu.extend(on_gpu, after=forks, steps=2, policy=policy)
            assert digest(on_cpu) == digest(on_gpu)
            steps += on_gpu.n_rows
    return steps


def test_cuda_kernels_in_the_simulator() -> None:
    environment = {**os.environ, "NUMBA_ENABLE_CUDASIM": "1"}
    run = subprocess.run([sys.executable, "-c", CUDA, HERE], capture_output=True, text=True, env=environment)
    assert run.returncode == 0, run.stderr
    assert int(run.stdout) > 1000


@pytest.mark.gpu
def test_cuda_kernels_on_a_device() -> None:
    from numba import cuda

    if not cuda.is_available():
        pytest.skip("no CUDA device")
    assert cuda_twins(2000, 20) > 100_000


def test_no_device_no_silent_fallback() -> None:
    from numba import cuda

    from creditsim.errors import InputError

    if cuda.is_available():
        pytest.skip("a CUDA device is here")
    with pytest.raises(InputError, match="device: got cuda, allowed cpu"):
        TableSampler(make("chain@tiny"), device="cuda")
