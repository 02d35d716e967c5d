"""Update rules of turns a second time: SeeUPO's by automatic differentiation, exact rules by walking every history."""

from __future__ import annotations

import importlib
import math
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from mutants import mutant

from creditsim.mdp import SoftmaxPolicy, make
from creditsim.mdp.rows import TablePolicy
from creditsim.planning_tables import planning_tables
from creditsim.rollouts import Rollouts
from creditsim.updates.tabular import TABLES, best_response, mirror, natural
from creditsim.updates.turn_order import ORDERS, turn_order

STATES, ACTIONS = 4, 2
SEQUENTIAL = importlib.import_module("creditsim.updates.sequential")


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def learner(seed: int, replicates: int = 2) -> TablePolicy:
    mdp = make("chain@tiny")
    theta = np.random.default_rng(seed).normal(size=(replicates, STATES * ACTIONS))
    return TablePolicy(SoftmaxPolicy(theta, ACTIONS), mdp)


def batch(seed: int, masked: bool = False, per_batch: int = 3) -> tuple[Rollouts, np.ndarray]:
    """Ragged trajectories with turns of one to three rows, tokens per row, and one advantage for each turn."""
    rng = np.random.default_rng(seed)
    steps, state, weight, advantage, offsets = [], [], [], [], [0]
    for _ in range(2 * per_batch):
        for turn in range(rng.integers(1, 4)):
            size = int(rng.integers(1, 4))
            steps += [turn] * size
            advantage += [rng.normal()] * size
            weight += [float(not (masked and rng.random() < 0.3))] * size
            state += rng.integers(0, 3, size).tolist()
        offsets.append(len(steps))
    m = len(steps)
    rollouts = Rollouts.flat(
        offsets=np.array(offsets), group=np.arange(2 * per_batch), batch=np.repeat([0, 1], per_batch),
        reward=np.zeros(m), step=np.array(steps), action=rng.integers(0, ACTIONS, m),
        columns={
            "state": np.array(state), "context": np.array(state), "tokens": rng.integers(1, 4, m),
            **({"weight": np.array(weight)} if masked else {}),
        },
    )  # fmt: skip
    return rollouts, np.array(advantage)


def autograd(
    theta: np.ndarray, rollouts: Rollouts, advantage: np.ndarray, stages: list[int], *, ratio: str = "sequence",
    ratio_ref: str = "iteration", low: float = 0.2, high: float = 0.2, factor_clip: float | None = None,
    product_clip: float | None = None, epochs: int = 1, rate: float = 0.5, together: bool = False,
    entropy_weight: float = 0.0,
) -> np.ndarray:  # fmt: skip
    """One replicate's SeeUPO iteration; the objective of each turn is written down and torch differentiates it."""
    weight = rollouts.columns.get("weight", np.ones(rollouts.n_rows))
    members = np.unique(rollouts.trajectory[weight > 0])
    state, action = torch.tensor(rollouts.columns["state"]), torch.tensor(rollouts.action)

    def log_probs(x: torch.Tensor) -> torch.Tensor:
        return torch.log_softmax(x.reshape(STATES, ACTIONS), dim=1)

    def ratios(x: torch.Tensor, ref: torch.Tensor, rows: np.ndarray) -> torch.Tensor:
        """(N,) ratio over each trajectory's rows among `rows`: their product, or its root of as many tokens."""
        belongs = torch.tensor(rollouts.trajectory[:, None] == np.arange(rollouts.n_trajectories))[rows].double()
        difference = (log_probs(x) - log_probs(ref))[state[rows], action[rows]] @ belongs
        tokens = torch.tensor(rollouts.columns["tokens"][rows]).double() @ belongs
        return torch.exp(difference / tokens.clamp(min=1) if ratio == "geometric" else difference)

    def held(x: torch.Tensor, width: float | None) -> torch.Tensor:
        return x if width is None else x.clamp(1 - width, 1 + width)

    start = torch.tensor(theta, dtype=torch.float64)
    now, moved = start.clone(), torch.zeros_like(start)
    correction = torch.ones(rollouts.n_trajectories, dtype=torch.float64)
    for turn in stages:
        rows = np.flatnonzero((rollouts.step == turn) & (weight > 0))
        there = np.unique(rollouts.trajectory[rows])
        first = [int(rows[rollouts.trajectory[rows] == i][0]) for i in there]
        target = correction[there] * torch.tensor(advantage[first])
        reference = (start if ratio_ref == "iteration" else now).clone()
        for _ in range(epochs):
            x = now.clone().requires_grad_(True)
            rho = ratios(x, reference, rows)[there]
            surrogate = torch.minimum(rho * target, torch.clip(rho, 1 - low, 1 + high) * target).sum()
            pi = log_probs(x)[state[rows]]
            (surrogate - entropy_weight * (pi.exp() * pi).sum()).backward()
            assert x.grad is not None
            now = (x + rate * x.grad / max(members.size, 1)).detach()
        if together:
            moved, now = moved + now - start, start.clone()
            continue
        factor = ratios(now, reference, rows)
        # Those without this turn keep what they have.
        changed = held(correction * held(factor, factor_clip), product_clip)
        correction[there] = changed[there]
    return (start + moved if together else now).numpy()


def taken(r: Rollouts, advantage: np.ndarray, replicate: int) -> tuple[Rollouts, np.ndarray]:
    return r.take(r.batch == replicate), advantage[r.batch_rows == replicate]


OPTIONS: list[dict[str, Any]] = [
    {},
    {"ratio": "geometric", "epochs": 3, "rate": 2.0},
    {"ratio_ref": "previous_turn", "epochs": 2, "rate": 2.0},
    {"factor_clip": 0.1, "product_clip": 0.15, "rate": 3.0},
    {"epochs": 4, "low": 0.05, "high": 0.3, "rate": 2.0, "entropy_weight": 0.2},
]


def by_library(
    module: Any, policy: TablePolicy, r: Rollouts, advantage: np.ndarray, order: str, options: dict[str, Any]
) -> np.ndarray:
    names = {"low": "clip_low", "high": "clip_high", "rate": "learning_rate"}
    params = {names.get(name, name): value for name, value in {"rate": 0.5, **options}.items()}
    moved, _ = module.sequential(
        policy, r, {"advantage": advantage}, {"seed": 0, "replicate": np.arange(2)}, order=order, optimiser="sgd",
        **params,
    )  # fmt: skip
    return moved.theta


def by_autograd(policy: TablePolicy, r: Rollouts, advantage: np.ndarray, order: str, options: Any) -> np.ndarray:
    out = []
    number = int(r.step.max()) + 1
    for replicate in range(2):
        mine, credit = taken(r, advantage, replicate)
        stages = list(range(number))[:: -1 if order == "reverse" else 1]
        together = order == "simultaneous"
        out.append(autograd(policy.theta[replicate], mine, credit, stages, together=together, **options))
    return np.stack(out)


@pytest.mark.parametrize("order", ["reverse", "forward", "simultaneous"])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
@settings(max_examples=5)
@given(seed=st.integers(0, 10**6), masked=st.booleans())
def test_an_iteration_is_the_ascent_of_its_written_objective(
    order: str, options: dict[str, Any], seed: int, masked: bool
) -> None:
    policy, (r, advantage) = learner(seed), batch(seed + 1, masked)
    found = by_library(SEQUENTIAL, policy, r, advantage, order, options)
    np.testing.assert_allclose(found, by_autograd(policy, r, advantage, order, options), atol=1e-10)


FAULTS = [
    ("target = correction[rollouts.trajectory] * advantage", "target = advantage"),
    ("cut < plain, 0.0, plain", "cut > plain, 0.0, plain"),
    ("total / self.size(active)", "total"),
    ("first if ratio_ref ==", "first if ratio_ref !="),
    ("_clipped(factor, factor_clip)", "factor"),
    ("slope / turns.size(active)[rollouts.trajectory]", "slope"),
    ("gradient + entropy_weight", "gradient - entropy_weight"),
    ("theta - start.theta", "theta"),
    ("1.0 + clip_high", "1.0 + clip_low"),
    ("live = active & (self.weight > 0)", "live = active"),
]


@pytest.mark.parametrize(("old", "new"), FAULTS)
def test_faults_of_the_turn_order_are_noticed(old: str, new: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Forgotten corrections, clips on the wrong side, other references: each shows against the written objective."""
    monkeypatch.setattr("creditsim.updates.base.update", lambda *_, **__: lambda function: function)
    broken = mutant(SEQUENTIAL, old, new)
    for seed in range(3):
        policy, (r, advantage) = learner(seed), batch(seed + 1, masked=True)
        for order, options in product(("reverse", "simultaneous"), OPTIONS):
            found = by_library(broken, policy, r, advantage, order, options)
            if not np.allclose(found, by_autograd(policy, r, advantage, order, options), atol=1e-8):
                return
    pytest.fail(f"{new} went unnoticed")


# --- Exact rules on trees of turns ----------------------------------------------------------------------------------

History = tuple[int, ...]


class Tree:
    """All histories of a game of turns; policies are dictionaries from what is seen to chances."""

    def __init__(self, turns: int, actions: int, parameters: str, leaves: np.ndarray) -> None:
        self.turns, self.actions, self.parameters, self.leaves = turns, actions, parameters, leaves
        self.histories: list[History] = [h for t in range(turns) for h in product(range(actions), repeat=t)]

    def seen(self, h: History) -> int:
        return {"separate": self.histories.index(h), "aliased": len(h), "shared": 0}[self.parameters]

    def value(self, pi: dict[int, list[float]], h: History) -> float:
        if len(h) == self.turns:
            return float(self.leaves[int("".join(map(str, h)), self.actions)])
        return sum(p * self.value(pi, (*h, a)) for a, p in enumerate(pi[self.seen(h)]))

    def chance(self, pi: dict[int, list[float]], h: History) -> float:
        return math.prod(pi[self.seen(h[:t])][h[t]] for t in range(len(h)))

    def sweep(self, pi: dict[int, list[float]], stages: list[list[int]], rule: Any) -> dict[int, list[float]]:
        """Turns of one stage move together; `rule(old, q, met)` gives the new chances of a context."""
        for turns in stages:
            contexts = {self.seen(h) for h in self.histories if len(h) in turns}
            new = dict(pi)
            for c in contexts:
                mine = [h for h in self.histories if len(h) in turns and self.seen(h) == c]
                mass = [self.chance(pi, h) for h in mine]
                if sum(mass) > 0:
                    q = [
                        sum(m * self.value(pi, (*h, a)) for m, h in zip(mass, mine, strict=True)) / sum(mass)
                        for a in range(self.actions)
                    ]
                    new[c] = rule(pi[c], q, sum(mass), c)
            pi = new
        return pi


def chances(weights: list[float]) -> list[float]:
    return [w / sum(weights) for w in weights]


games = st.tuples(
    st.integers(1, 3), st.integers(2, 3), st.sampled_from(["separate", "aliased", "shared"]), st.integers(0, 10**6)
)


def prepared(game: tuple[int, int, str, int]) -> tuple[Tree, TablePolicy, dict[str, Any]]:
    turns, actions, parameters, seed = game
    leaves = np.random.default_rng(seed).normal(size=actions**turns)
    mdp = make("turns", turns=turns, actions=actions, parameters=parameters, leaves=tuple(leaves))
    policy = TablePolicy(SoftmaxPolicy.random(mdp, seed, replicates=1), mdp)
    tables = planning_tables(mdp)
    state = {name: tables[name]() for name in TABLES if name in tables} | {"context_of_state": mdp.context}
    return Tree(turns, actions, parameters, leaves), policy, {**state, "seed": seed, "replicate": np.arange(1)}


def table_of(tree: Tree, policy: TablePolicy) -> dict[int, list[float]]:
    """Chances by context, as the library numbers them: histories first."""
    return {
        tree.seen(h): policy.table[0, i].tolist() for i, h in enumerate(tree.histories)
    }  # fmt: skip


NOTHING = Rollouts.flat(offsets=np.array([0, 1]), group=np.array([0]), reward=np.zeros(1))


def stages_of(order: str, tree: Tree, state: dict[str, Any]) -> list[list[int]]:
    if order == "simultaneous":
        return [list(range(tree.turns))]
    return [[int(t)] for t in turn_order(order, tree.turns, 1, state)[0]]  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("order", ORDERS)
@settings(max_examples=12)
@given(game=games, entropy=st.sampled_from([0.0, 0.3]), kl=st.sampled_from([0.0, 0.4]), reach=st.booleans())
def test_natural_steps_by_histories(
    order: Any, game: tuple[int, int, str, int], entropy: float, kl: float, reach: bool
) -> None:
    tree, policy, state = prepared(game)
    rate = 0.7
    old = table_of(tree, policy)
    other = {c: chances([1.0 + a + c for a in range(tree.actions)]) for c in old}
    theta = np.zeros_like(policy.theta).reshape(-1, tree.actions)
    for c, p in other.items():
        theta[c] = np.log(p)
    state["reference_theta"] = theta.reshape(1, -1)

    def rule(pi: list[float], q: list[float], met: float, c: int) -> list[float]:
        e = rate * (met if reach else 1.0)
        return chances(
            [p ** (1 - e * (entropy + kl)) * r ** (e * kl) * math.exp(e * x)
             for p, r, x in zip(pi, other[c], q, strict=True)]
        )  # fmt: skip

    # A row that several turns share is met T times an episode: reach may then ask for more than a whole step.
    assume(not (reach and tree.parameters == "shared" and order == "simultaneous"))
    want = tree.sweep(old, stages_of(order, tree, state), rule)
    moved, _ = natural(
        policy, NOTHING, {}, state, learning_rate=rate, order=order, entropy_weight=entropy, kl_weight=kl, reach=reach
    )  # fmt: skip
    assert isinstance(moved, TablePolicy)
    found = table_of(tree, moved)
    for c, p in want.items():
        np.testing.assert_allclose(found[c], p, atol=1e-10)


@pytest.mark.parametrize("order", ORDERS)
@settings(max_examples=12)
@given(game=games)
def test_best_responses_by_histories(order: Any, game: tuple[int, int, str, int]) -> None:
    """Two sweeps: what the first one has made unreachable stays as it is in the second."""
    tree, policy, state = prepared(game)
    want = table_of(tree, policy)

    def rule(pi: list[float], q: list[float], met: float, c: int) -> list[float]:
        return [float(a == q.index(max(q))) for a in range(len(q))]

    for _ in range(2):
        want = tree.sweep(want, stages_of(order, tree, state), rule)
        policy, _ = best_response(policy, NOTHING, {}, state, order=order)
        assert isinstance(policy, TablePolicy)
        found = table_of(tree, policy)
        for c, p in want.items():
            np.testing.assert_allclose(found[c], p, atol=1e-12)


@given(games)
def test_reverse_order_is_backward_induction_and_separate_turns_never_fall(game: tuple[int, int, str, int]) -> None:
    turns, actions, _, seed = game
    tree, policy, state = prepared((turns, actions, "separate", seed))
    before = tree.value(table_of(tree, policy), ())
    for order in ("forward", "simultaneous"):
        moved, _ = best_response(policy, NOTHING, {}, state, order=order)
        assert isinstance(moved, TablePolicy)
        assert tree.value(table_of(tree, moved), ()) >= before - 1e-12
    best, _ = best_response(policy, NOTHING, {}, state)
    assert isinstance(best, TablePolicy)
    assert tree.value(table_of(tree, best), ()) == pytest.approx(float(tree.leaves.max()))


@given(st.integers(0, 10**6), st.booleans(), st.sampled_from([0.0, 0.3]), st.sampled_from([0.0, 0.5]))
def test_mirror_steps_by_counting(seed: int, masked: bool, entropy: float, kl: float) -> None:
    policy, (r, advantage) = learner(seed), batch(seed, masked)
    reference = learner(seed + 7).theta
    state = {"allowed_action": np.ones((STATES, ACTIONS), bool), "reference_theta": reference}
    moved, _ = mirror(
        policy, r, {"advantage": advantage}, state, learning_rate=0.8, entropy_weight=entropy, kl_weight=kl
    )  # fmt: skip
    weight = r.columns.get("weight", np.ones(r.n_rows))
    assert isinstance(moved, TablePolicy)
    for b, s in product(range(2), range(STATES)):
        here = (r.batch_rows == b) & (r.columns["context"] == s) & (weight > 0)
        old = policy.table[b, s]
        if here.any():
            ref = np.exp(reference.reshape(2, STATES, ACTIONS)[b, s])
            a_hat = [advantage[here & (r.action == a)].mean() if (here & (r.action == a)).any() else 0.0
                     for a in range(ACTIONS)]  # fmt: skip
            old = old ** (1 - 0.8 * (entropy + kl)) * (ref / ref.sum()) ** (0.8 * kl) * np.exp(0.8 * np.array(a_hat))
        np.testing.assert_allclose(moved.table[b, s], old / old.sum(), atol=1e-12)


@given(st.integers(1, 6), st.integers(1, 5), st.integers(0, 10**6))
def test_orders_are_permutations_of_each_replicates_own(turns: int, replicates: int, seed: int) -> None:
    state = {"seed": seed, "replicate": np.arange(replicates)}
    for order in ORDERS:
        found = turn_order(order, turns, replicates, state)
        assert found.shape == (replicates, turns)
        assert (np.sort(found, axis=1) == np.arange(turns)).all()
    mixed = turn_order("random", turns, replicates, state)
    last = turn_order("random", turns, 1, {"seed": seed, "replicate": np.array([replicates - 1])})
    np.testing.assert_array_equal(mixed[-1], last[0])


def test_random_orders_are_even_over_permutations() -> None:
    # 6000 orders of three turns, six permutations, chi square with 5 degrees: 39.4 has alpha below 1e-6.
    found = turn_order("random", 3, 6000, {"seed": 3, "replicate": np.arange(6000)})
    count = np.bincount(found @ np.array([9, 3, 1]), minlength=27)
    count = count[count > 0]
    assert count.size == 6 and ((count - 1000) ** 2 / 1000).sum() < 39.4
