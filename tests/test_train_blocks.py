"""Blocks of replicates on threads of their own: the same bits however a run is cut and however many threads it has."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from itertools import pairwise

import numba
import numpy as np
import pytest

from creditsim import threads
from creditsim import train as loop
from creditsim.errors import InputError
from creditsim.mdp import SoftmaxPolicy, make
from creditsim.mdp.row_kernels import add_to_cells, read_cells
from creditsim.rollouts import Rollouts
from creditsim.row_counts import mark_met, silent_share
from creditsim.sampling.table import TableSampler
from creditsim.threads import limited_threads, side_by_side
from creditsim.train import TrainConfig, TrainResult, train

SMALL = TrainConfig(env="chain@tiny", replicates=7, updates=4, groups=2, group_size=4)
CURVES = ("j", "mean_return", "success", "generated", "silent", "met", "failed_at")


def same(a: TrainResult, b: TrainResult) -> bool:
    curves = all(np.array_equal(getattr(a, name), getattr(b, name), equal_nan=True) for name in CURVES)
    return curves and np.array_equal(a.theta, b.theta)


@pytest.mark.parametrize("method", ["reinforce", "gigpo", "ppo", "hgpo", "3spo", "dapo", "seeupo"])
def test_cutting_a_run_into_blocks_changes_nothing(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    config = SMALL.replaced(method=method)
    whole = train(config)
    for most, least in ((1, 1), (200, 1), (10**6, 1)):
        monkeypatch.setattr(loop, "_MOST_ROWS", most)
        monkeypatch.setattr(loop, "_LEAST_ROWS", least)
        assert all(same(train(config.replaced(threads=n)), whole) for n in (1, 2, None))
    # Broken twin: other replicates are seen to be others.
    assert not same(train(config.replaced(first_replicate=1)), whole)


def test_blocks_cover_the_replicates_evenly() -> None:
    for replicates in (1, 2, 7, 200, 1000):
        for rows in (8, 320, 2560, 80_000):
            for n in (1, 2, 8):
                parts = loop._parts(replicates, rows, n)
                sizes = [part.stop - part.start for part in parts]
                assert sum(sizes) == replicates and max(sizes) - min(sizes) <= 1 and parts[0].start == 0
                assert all(a.stop == b.start for a, b in pairwise(parts))
                assert len(parts) == replicates or (max(sizes) - 1) * rows <= loop._MOST_ROWS
                assert len(parts) == 1 or n == 1 or min(sizes) * rows >= loop._LEAST_ROWS / 2 or rows < loop._LEAST_ROWS
    # The size of the performance page: one block for each of two threads.
    assert [part.stop - part.start for part in loop._parts(200, 16 * 8 * 20, 2)] == [100, 100]
    assert len(loop._parts(16, 4 * 8 * 12, 8)) == 1


def test_pieces_run_at_once_each_with_one_thread_for_its_kernels() -> None:
    barrier, seen = threading.Barrier(2, timeout=20), []

    def work(item: int) -> None:
        barrier.wait()
        seen.append((item, threading.current_thread() is threading.main_thread(), numba.get_num_threads()))
        with limited_threads(None, 10**9):
            seen.append((item, False, numba.get_num_threads()))

    if threads.workers(None) < 2:
        pytest.skip("one core")
    with side_by_side(2, 2) as run:
        run(work, [0, 1])
    assert sorted(seen) == sorted([(i, False, 1) for i in (0, 1)] * 2)


@pytest.mark.parametrize("threads_wanted", [1, None])
def test_one_after_another_where_kernels_may_not_meet(
    threads_wanted: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads, "_layer", lambda: "workqueue")
    order: list[tuple[int, bool]] = []
    with side_by_side(threads_wanted, 3) as run:
        run(lambda item: order.append((item, threading.current_thread() is threading.main_thread())), [2, 0, 1])
    assert order == [(2, True), (0, True), (1, True)]


def test_the_first_error_is_raised_once_all_have_ended() -> None:
    ended: list[int] = []

    def work(item: int) -> None:
        if item == 1:
            raise InputError("item", item, "another")
        if item == 2:
            time.sleep(0.05)
        ended.append(item)
        if item == 3:
            raise ValueError("later")

    with side_by_side(2, 4) as run, pytest.raises(InputError, match="item: got 1"):
        run(work, [0, 1, 2, 3])
    assert sorted(ended) == [0, 2, 3]


def rows(rng: np.random.Generator, n: int, batches: int, **columns: np.ndarray) -> Rollouts:
    """Trajectories of 0 to 12 rows in batches, with columns per row of the arrays given, cut to the rows there are."""
    length = np.where(np.arange(n) % 5 == 4, 0, rng.integers(1, 13, n))
    offsets = np.concatenate([[0], np.cumsum(length)])
    m = int(offsets[-1])
    mine = {name: x[:m] for name, x in columns.items()}
    ids = np.sort(rng.integers(0, batches, n))
    return Rollouts(
        offsets, np.full(n, -1), ids, ids, np.ones(n, bool), np.zeros(m, np.int64), mine.pop("action"), np.zeros(m),
        np.arange(m), columns=mine,
    )  # fmt: skip


def test_cells_are_read_and_added_as_numpy_does() -> None:
    rng = np.random.default_rng(0)
    table = rng.normal(size=(3, 5, 2))
    drawn = rows(rng, 60, 3, action=rng.integers(0, 2, 720), state=rng.integers(0, 5, 720))
    batch, state, action, m = drawn.batch_rows, drawn.columns["state"], drawn.action, drawn.n_rows
    weight = rng.normal(size=m)
    # A table in another memory order is read alike.
    for given in (table, np.asfortranarray(table)):
        assert np.array_equal(read_cells(given, drawn, state), table[batch, state, action])
    want = np.zeros(table.shape)
    np.add.at(want, (batch, state, action), weight)
    assert np.array_equal(add_to_cells((3, 5, 2), drawn, state, weight), want)
    # Broken twin: another order of the axes.
    assert not np.array_equal(read_cells(table, drawn, state), table[batch, action, state % 2])
    for wrong in (-1, 5):
        bad = np.where(np.arange(m) == 7, wrong, state)
        with pytest.raises(InputError, match="at row 7"):
            read_cells(table, drawn, bad)
        with pytest.raises(InputError, match="at row 7"):
            add_to_cells((3, 5, 2), drawn, bad, weight)


def test_counts_of_rows() -> None:
    rng = np.random.default_rng(1)
    columns = {name: rng.integers(0, 9, 480) for name in ("action", "state", "next_state")}
    drawn = rows(rng, 40, 3, **columns, weight=rng.choice([0.0, 0.5, 1.0], 480))
    batch, m = drawn.batch_rows, drawn.n_rows
    advantage = rng.choice([0.0, 1.0, -1.0], m)
    plain = replace(drawn, columns={name: drawn.columns[name] for name in ("state", "next_state")})
    for some, live in ((drawn, drawn.columns["weight"] > 0), (plain, np.ones(m, bool))):
        want = [(advantage[live & (batch == r)] == 0).mean() for r in range(3)] + [1.0]
        assert silent_share(some, advantage, 4) == pytest.approx(want, abs=1e-15)
    seen, want_seen = np.zeros((3, 9), bool), np.zeros((3, 9), bool)
    mark_met(seen, drawn)
    last = drawn.offsets[1:][drawn.length > 0] - 1
    want_seen[batch, drawn.columns["state"]] = True
    want_seen[batch[last], drawn.columns["next_state"][last]] = True
    assert np.array_equal(seen, want_seen)


def test_states_met_are_those_of_all_moves() -> None:
    mdp = make("chain@tiny")
    drawn = TableSampler(mdp, batches=3, groups=2).extend(copies=4, policy=SoftmaxPolicy.uniform(mdp, 3))
    seen, want = np.zeros((3, mdp.n_states), bool), np.zeros((3, mdp.n_states), bool)
    mark_met(seen, drawn)
    for name in ("state", "next_state"):
        want[drawn.batch_rows, drawn.columns[name]] = True
    assert np.array_equal(seen, want)
