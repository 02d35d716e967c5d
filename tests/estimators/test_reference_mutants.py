"""Mutation score of the batch methods: every operator of their files exchanged must show against the references."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import references
from mutants import Place, arithmetic, mutant
from reference_cases import Episode, Shape, Told, rollouts_of
from references import agree
from step_cases import columns_of
from test_estimator_mutants import module_of, near, registered

from creditsim.errors import InputError

SHARE = 0.95
WEIGHTS = (0.5, 0.25, 1.0)


def combined(how: str) -> Callable[..., Told]:
    return lambda episodes, **params: references.combined(episodes, how, **params)


def told_in_rows(episodes: list[Episode]) -> dict[str, np.ndarray]:
    """CANON and COPO with metric and answer as columns of rows; only the last answer is one."""
    rollouts = rollouts_of(episodes)
    trajectory = rollouts.trajectory
    columns = {name: rollouts.trajectory_columns[name][trajectory] for name in ("answer", "metric")}
    inner = np.arange(rollouts.n_rows) != rollouts.offsets[1:][trajectory] - 1
    columns["answer"] = np.where(inner, 99, columns["answer"])
    bare = replace(rollouts.with_columns(**columns), trajectory_columns={})
    return {"canon": columns_of(bare, "canon")["advantage"], "copo": columns_of(bare, "copo")["blend"]}


CHECKS: dict[str, list[tuple[str, Callable[..., Told], dict[str, Any]]]] = {
    "copo": [
        ("copo", references.copo, {"gate": "only-soft", "consistency": True, "singleton": "raw", "eps": 0.5}),
        ("copo", references.copo, {"gate": "soft-with-zero", "eps_entropy": 0.1}),
        ("copo", references.copo, {"gate": "soft-with-forced", "scale": False}),
        ("copo", references.copo, {"gate": "only-zero", "sharpness": 1.0}),
        ("copo", references.copo, {"gate": "only-forced"}),
        ("copo", references.copo, {"gate": "only-global"}),
        ("copo", references.copo, {"gate": "no-global"}),
    ],
    "a_grae": [
        ("a_grae", references.a_grae, {"eps": 0.25}),
        ("a_grae", references.a_grae, {"easy": "one-minus-root", "eps": 0.25, "pool": "groups", "singleton": "raw"}),
        ("a_grae", references.a_grae, {"focus": "hard", "alpha": 0.25}),
        ("a_grae", references.a_grae, {"focus": "easy", "alpha": None, "positive": 10.0}),
        ("a_grae", references.a_grae, {"focus": "none", "alpha": 0.5, "scale": False}),
    ],
    "canon": [
        ("canon", references.canon, {"mu": 0.3, "alpha": 0.5, "divisor": 8.0, "singleton": "raw"}),
        ("canon", references.canon, {"discount": "entropy", "alpha": 0.5}),
        ("canon", references.canon, {"threshold": 60.0, "mu": 0.75}),
    ],
    "objectives": [
        ("dvao", combined("dvao"), {"weights": WEIGHTS, "eps": 0.5, "ddof": 1}),
        ("dvao", combined("dvao"), {"weights": None, "eps": 0.0}),
        ("rc", combined("rc"), {"weights": WEIGHTS, "eps": 0.5, "ddof": 1}),
        ("ac", combined("ac"), {"weights": WEIGHTS, "eps": 0.5}),
        ("gdpo", combined("gdpo"), {"weights": WEIGHTS, "eps": 0.5, "ddof": 1}),
    ],
    "seeupo": [
        ("seeupo", references.seeupo, {"clamp": 1.0}),
        ("seeupo", references.seeupo, {"padding": "include", "clamp": None, "singleton": "zero"}),
        ("seeupo", references.seeupo, {"normalize": False, "singleton": "zero"}),
        ("seeupo", references.seeupo, {"floor": 0.5, "ddof": 0}),
    ],
    "information_gain": [
        ("igpo", references.igpo, {"gamma": 0.5, "eps": 0.25}),
        ("igpo", references.igpo, {"mode": "position", "gamma": 0.5}),
        *(("a2tgpo", references.a2tgpo, {"gamma": 0.5, "eps": 0.25, "rescale": r}) for r in
          ("terms", "weights", "none")),
        *(("a2tgpo", references.a2tgpo, {"gamma": 0.5, "eps_inside": 0.25, "mode": m}) for m in
          ("turn-group", "separate", "joint")),
    ],
    "steppo": [
        ("steppo", references.steppo, {"gamma": 0.9, "lam": 0.5, "whiten_eps": 0.25}),
        ("steppo", references.steppo, {"gamma": 0.5, "scale_reward": True, "whiten": False}),
    ],
}  # fmt: skip
MODULES = {name: module_of(name) for name in CHECKS}
CASES = [Shape(seed, members=(1, 4), lengths=(1, 4), masked=masked) for seed, masked in ((0, 0.0), (1, 0.4), (2, 0.4))]


def cases_of(name: str) -> list[list[Episode]]:
    out = []
    for case in CASES:
        episodes = Shape(case.seed, members=case.members, masked=case.masked, binary=name == "a_grae").draw()
        counted = [sum(e.counts for e in episodes if e.batch == b) for b in (0, 1)]
        assert min(counted) > 1, "every batch has a deviation"
        out.append(episodes)
    return out


WANTED = {
    name: [[reference(episodes, **params) for _, reference, params in checks] for episodes in cases_of(name)]
    for name, checks in CHECKS.items()
}


def holds(name: str) -> bool:
    """Whether the module's estimators agree with the references on all cases; any error is a no."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for episodes, wanted in zip(cases_of(name), WANTED[name], strict=True):
                rollouts = rollouts_of(episodes)
                for (spec, _, params), columns in zip(CHECKS[name], wanted, strict=True):
                    if not agree(columns_of(rollouts, spec, **params), columns, rollouts):
                        return False
                if name in EDGES and not EDGES[name](episodes):
                    return False
                if name in ("canon", "copo"):
                    key = "advantage" if name == "canon" else "blend"
                    by_row, plain = told_in_rows(episodes)[name], columns_of(rollouts, name)[key]
                    if not np.allclose(by_row, plain, atol=1e-12):
                        return False
            return True
    except Exception:
        return False


@pytest.mark.parametrize("name", CHECKS)
def test_the_files_as_they_are_hold(name: str) -> None:
    with registered(lambda: mutant(MODULES[name])):
        assert holds(name)


def test_exchanged_operators_are_noticed() -> None:
    survivors: list[Place] = []
    tried = 0
    for name in CHECKS:
        for place in arithmetic(MODULES[name]):
            if place.text.endswith("* 1.0"):
                continue  # over 1 is times 1
            tried += 1
            with registered(place.mutant):
                if holds(name):
                    survivors.append(place)
    assert tried > 90
    assert len(survivors) <= (1 - SHARE) * tried, f"{tried} tried\n" + "\n".join(map(str, survivors))


def one_reward_is_one_objective(episodes: list[Episode]) -> bool:
    """Without a table of rewards the return is the objective, and two weights are refused."""
    rollouts = replace(rollouts_of(episodes), trajectory_columns={})
    single = rollouts_of([replace(e, objectives=(e.score,)) for e in episodes])
    try:
        columns_of(rollouts, "rc", weights=(1.0, 1.0))
    except InputError:
        return near(columns_of(rollouts, "rc")["advantage"], columns_of(single, "rc")["advantage"])
    return False


def lonely_batches_are_refused(episodes: list[Episode]) -> bool:
    """SeeUPO's deviation is over a batch: one trajectory has none."""
    try:
        columns_of(rollouts_of([e for e in episodes if e.counts][:1]), "seeupo")
    except InputError:
        return True
    return False


EDGES = {"objectives": one_reward_is_one_objective, "seeupo": lonely_batches_are_refused}


WORDS: list[tuple[str, str, str]] = [
    ("copo", "prompts.batch, rollouts.n_batches", "prompts.batch * 0, rollouts.n_batches"),
    ("copo", "factorize(group, answer)", "factorize(answer)"),
    ("copo", "xp.log2(n * 1.0)", "xp.log(n * 1.0)"),
    ("copo", "(1.0 - 1.0 / n)", "1.0"),
    ("a_grae", "entry.batch, rollouts.n_batches", "entry.batch * 0, rollouts.n_batches"),
    ("a_grae", "xp.minimum(1.0, omega / alpha)", "omega / alpha"),
    ("a_grae", "value > 0, positive * value", "value < 0, positive * value"),
    ("canon", "size[at] // 2", "(size[at] + 1) // 2"),
    ("canon", "mean[2 * at + 1 - upper]", "mean[2 * at + upper]"),
    ("objectives", "self.weight).sum(axis=1)", "self.weight).max(axis=1)"),
    ("objectives", "(deviation * at.weight)", "(deviation**2 * at.weight)"),
    ("seeupo", "xp.where(good[ids], scaled, centred)", "xp.where(good[ids], scaled, 0.0)"),
    ("seeupo", "factorize(rollouts.batch_rows, rollouts.step)", "factorize(rollouts.group_rows, rollouts.step)"),
    ("seeupo", "live & _first_live(rollouts, live)", "live"),
    ("information_gain", "factorize(rollouts.group_rows, rollouts.step)", "factorize(rollouts.group_rows)"),
    ("information_gain", "told = live & ~answer_turns(rollouts)", "told = live"),
    ("information_gain", "gamma**2 if", "gamma if"),
    ("information_gain", "xp.tanh(z / 2.0)", "xp.tanh(z)"),
    ("steppo", "ddof=1, eps=whiten_eps", "ddof=0, eps=whiten_eps"),
    ("steppo", 'holes="skip"', 'holes="keep"'),
    ("steppo", "ddof=0, where=live", "ddof=0"),
]


@pytest.mark.parametrize(("name", "old", "new"), WORDS)
def test_changed_words_are_noticed(name: str, old: str, new: str) -> None:
    """Faults of meaning: batches that leak, answers of other prompts, depths pooled, padding counted."""
    with registered(lambda: mutant(MODULES[name], old, new)):
        assert not holds(name)
