"""IGPO and A2TGPO against their formulas written out turn by turn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from group_cases import run

from creditsim.errors import InputError, UnknownNameError
from creditsim.estimators import Pairs, credit
from creditsim.rollouts import Rollouts


def turns(seed: int, groups: int = 2, size: int = 4, **fields: Any) -> Rollouts:
    """Ragged groups of 1 to 4 turns with random gains, zeros among them, and an outcome."""
    rng = np.random.default_rng(seed)
    length = rng.integers(1, 5, groups * size)
    offsets = np.concatenate([[0], np.cumsum(length)])
    reward = np.zeros(offsets[-1])
    reward[offsets[1:] - 1] = rng.integers(0, 2, groups * size)
    gain = rng.choice([0.0, 0.125, -0.25, 0.5, 0.0625], size=int(offsets[-1]))
    columns = {"information_gain": gain, **fields.pop("columns", {})}
    return Rollouts.flat(
        offsets=offsets,
        group=np.repeat(np.arange(groups), size),
        batch=np.zeros(groups * size, np.int64),
        reward=reward,
        columns=columns,
        **fields,
    )


def columns_of(rollouts: Rollouts, spec: str, **params: Any) -> dict[str, np.ndarray]:
    found = credit(rollouts, spec, **params)
    assert not isinstance(found, Pairs)
    return {name: np.asarray(values) for name, values in found.items()}


def lists(rollouts: Rollouts) -> list[tuple[int, list[float], float]]:
    """(group, gains before the answer, outcome) of each trajectory."""
    out = []
    for i in range(rollouts.n_trajectories):
        rows = slice(rollouts.offsets[i], rollouts.offsets[i + 1])
        gains = rollouts.columns["information_gain"][rows].tolist()
        out.append((int(rollouts.group[i]), gains[:-1], float(rollouts.reward[rows].sum())))
    return out


def norm(x: float, pool: list[float], ddof: int, eps: float, inside: float = 0.0) -> float:
    if len(pool) == 1 or min(pool) == max(pool):
        return 0.0
    return (x - float(np.mean(pool))) / (float(np.sqrt(np.var(pool, ddof=ddof) + inside)) + eps)


def by_hand_joint(rollouts: Rollouts, gamma: float, ddof: int) -> np.ndarray:
    told, out = lists(rollouts), []
    for group, gains, outcome in told:
        pool = [x for g, xs, o in told if g == group for x in (*xs, o)]
        z = [norm(x, pool, ddof, 1e-6) for x in (*gains, outcome)]
        out += [sum(gamma**k * z[t + k] for k in range(len(z) - t)) for t in range(len(z))]
    return np.array(out)


@pytest.mark.parametrize("gamma", [1.0, 0.7])
@pytest.mark.parametrize("seed", range(5))
def test_igpo_pools_all_turns_of_the_group(seed: int, gamma: float) -> None:
    rollouts = turns(seed)
    np.testing.assert_allclose(run(rollouts, "igpo@paper", gamma=gamma), by_hand_joint(rollouts, gamma, 1), atol=1e-12)
    # Broken twin: the other divisor is told apart.
    assert np.abs(run(rollouts, "igpo@paper", gamma=gamma) - by_hand_joint(rollouts, gamma, 0)).max() > 1e-3


@pytest.mark.parametrize("seed", range(5))
def test_igpo_code_compares_rows_at_one_place(seed: int) -> None:
    rollouts = turns(seed)
    told = lists(rollouts)
    to_go = [[sum((*gains, o)[t:]) for t in range(len(gains) + 1)] for _, gains, o in told]
    out = []
    for (group, _, _), own in zip(told, to_go, strict=True):
        for t, value in enumerate(own):
            pool = [g[t] for (other, _, _), g in zip(told, to_go, strict=True) if other == group and len(g) > t]
            out.append(value - float(np.mean(pool)))
    np.testing.assert_allclose(run(rollouts, "igpo@code"), out, atol=1e-12)


def test_igpo_code_counts_tokens_so_turns_of_unlike_depth_share_a_place() -> None:
    # Two trajectories of two turns; the first turn has two tokens in one and one in the other.
    rollouts = Rollouts.flat(
        offsets=[0, 3, 5],
        group=[0, 0],
        reward=np.array([0.0, 0.0, 1.0, 0.0, 0.0]),
        step=[0, 0, 1, 0, 1],
        columns={"information_gain": np.array([0.5, 0.5, 0.9, 0.25, 0.9])},
    )
    # To go: 1.5, 1.5, 1 and 0.25, 0. At place 1 stand the first turn of one and the answer of the other.
    np.testing.assert_allclose(run(rollouts, "igpo@code"), [0.625, 0.75, 0.0, -0.625, -0.75], atol=1e-15)
    joint = run(rollouts, "igpo@paper")
    assert joint[0] == joint[1]


@pytest.mark.parametrize("gamma", [1.0, 0.5])
@pytest.mark.parametrize("rescale", ["terms", "weights", "none"])
@pytest.mark.parametrize("seed", range(4))
def test_turn_groups(seed: int, rescale: str, gamma: float) -> None:
    rollouts = turns(seed)
    told = lists(rollouts)
    want: dict[str, list[float]] = {"advantage": [], "gain_score": [], "clip_scale": [], "outcome_advantage": []}
    for group, gains, outcome in told:
        final = norm(outcome, [o for g, _, o in told if g == group], 0, 1e-6, 1e-8)
        z = [
            norm(x, [xs[t] for g, xs, _ in told if g == group and len(xs) > t], 0, 1e-6, 1e-8)
            for t, x in enumerate(gains)
        ]
        for t in range(len(gains)):
            n = len(gains) - t
            root = {"terms": n**0.5, "weights": sum(gamma ** (2 * k) for k in range(n)) ** 0.5, "none": 1.0}[rescale]
            want["advantage"].append(0.3 * sum(gamma**k * z[t + k] for k in range(n)) / root + final)
        want["advantage"].append(final)
        want["gain_score"] += [*z, 0.0]
        want["clip_scale"] += [1 + 0.3 * (2 / (1 + np.exp(-x)) - 1) for x in (*z, 0.0)]
        want["outcome_advantage"] += [final] * (len(gains) + 1)
    found = columns_of(rollouts, "a2tgpo", gamma=gamma, rescale=rescale)
    for name, values in want.items():
        np.testing.assert_allclose(found[name], values, atol=1e-12, err_msg=name)
    np.testing.assert_allclose(found["information_advantage"], found["advantage"] - found["outcome_advantage"])


@pytest.mark.parametrize("mode", ["joint", "separate", "turn-group"])
@pytest.mark.parametrize("seed", range(4))
def test_other_modes(seed: int, mode: str) -> None:
    rollouts, gamma = turns(seed), 0.8
    told = lists(rollouts)

    def accumulated(x: list[float]) -> list[float]:
        return [sum(gamma**k * x[t + k] for k in range(len(x) - t)) for t in range(len(x))]

    paid: list[list[float]] = []
    gains_all, outcomes = [x for _, xs, _ in told for x in xs], [o for _, _, o in told]
    scale = float(np.std(outcomes) / np.std(gains_all))
    for group, gains, outcome in told:
        mine = [(xs, o) for g, xs, o in told if g == group]
        if mode == "joint":
            pool = [x for xs, o in mine for x in (*xs, o)]
            paid.append(accumulated([norm(x, pool, 0, 1e-6, 1e-8) for x in (*gains, outcome)]))
        elif mode == "separate":
            z = [norm(x, [y for xs, _ in mine for y in xs], 0, 1e-6, 1e-8) for x in gains]
            paid.append(accumulated([*z, norm(outcome, [o for _, o in mine], 0, 1e-6, 1e-8)]))
        else:
            paid.append(accumulated([*(x * scale for x in gains), outcome]))
    if mode == "turn-group":
        pairs = list(zip(told, paid, strict=True))
        cells = {
            (group, t): [p[t] for (g, _, _), p in pairs if g == group and len(p) > t]
            for (group, _, _), own in pairs
            for t in range(len(own))
        }
        paid = [[norm(x, cells[group, t], 0, 1e-6, 1e-8) for t, x in enumerate(own)] for (group, _, _), own in pairs]
    np.testing.assert_allclose(run(rollouts, "a2tgpo", mode=mode, gamma=gamma), np.concatenate(paid), atol=1e-9)


def test_a_gain_of_zero_is_a_turn() -> None:
    rollouts = Rollouts.flat(
        offsets=[0, 3, 6],
        group=[0, 0],
        reward=np.zeros(6),
        columns={"information_gain": np.array([0.0, 0.5, 9.0, 0.25, 0.0, 9.0])},
    )
    score = columns_of(rollouts, "a2tgpo", eps=0.0, eps_inside=0.0)["gain_score"]
    np.testing.assert_allclose(score, [-1.0, 1.0, 0.0, 1.0, -1.0, 0.0], atol=1e-12)


@pytest.mark.parametrize("spec", ["igpo@paper", "igpo@code", "a2tgpo", "a2tgpo@turn-group"])
def test_masked_turns_enter_nothing(spec: str) -> None:
    rollouts = turns(7)
    weight = np.ones(rollouts.n_rows)
    weight[rollouts.offsets[1] : rollouts.offsets[2]] = 0.0
    gain = rollouts.columns["information_gain"]
    calm, loud = (
        run(rollouts.with_columns(weight=weight, information_gain=np.where(weight == 0, x, gain)), spec)
        for x in (0.0, 1e3)
    )
    np.testing.assert_array_equal(calm, loud)
    assert not calm[weight == 0].any()


def test_what_is_refused() -> None:
    with pytest.raises(InputError, match="gamma: got"):
        run(turns(0), "a2tgpo", gamma=1.5)
    with pytest.raises(InputError, match="alpha: got -1"):
        run(turns(0), "a2tgpo", alpha=-1.0)
    with pytest.raises(UnknownNameError, match="nearest: turn-group"):
        run(turns(0), "a2tgpo", mode="turn-groups")
    with pytest.raises(UnknownNameError, match="mode"):
        run(turns(0), "igpo", mode="both")
