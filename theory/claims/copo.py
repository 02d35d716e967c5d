"""COPO: which prompts its global credit wakes up, where that points, how much it varies, and what the gates do."""

from __future__ import annotations

from functools import cache

import numpy as np

from creditsim.estimators.base import credit
from creditsim.estimators.copo import GATES
from creditsim.mdp import make
from creditsim.rng import Purpose, derive_seed, normals
from creditsim.rollouts import Rollouts
from creditsim.stats.joint import all_of, conditional
from creditsim.stats.verdict import Evidence, exact_equality, exact_inequality
from theory.claim import Trial, claim
from theory.one_decision import OneDecision
from theory.prompt_batches import Outcomes, credited
from theory.shared import binomial

PAPER = "COPO"
BATCHES = ((0.05, 0.3, 0.9), (0.02, 0.02, 0.02), (0.5, 0.7, 0.98))
"""Success chances of small batches: mixed, hard, easy."""


@claim("copo.silent-prompts", paper=PAPER, source="notes", kind="gradient", figure="copo_gates")
def silent_prompts(trial: Trial) -> Evidence:
    """A global credit between prompts leaves hardly any prompt without gradient: of binary groups of n, GRPO gives
    nothing to p^n + (1-p)^n of prompts; COPO to prod_j (1 - p_j)^n + prod_j p_j^n, the chance that the whole batch wins
    or loses, and that is never more.

    In a batch of one prompt they are equal: a credit between prompts needs prompts. Enumerated with the estimator.
    """
    chance, n = np.linspace(0.01, 0.99, 99), 6
    for prompts in (1, 2, 8):
        silent = chance ** (n * prompts) + (1.0 - chance) ** (n * prompts)
        trial.table(what=f"{prompts} prompts" if prompts > 1 else "GRPO", x=chance, value=silent)
    for p in (0.05, 0.3, 0.5, 0.8, 0.95):
        found = _silent(Outcomes.of((p, p), n), "soft-with-zero")[0]
        trial.table(what="estimator", x=p, value=found)
    return _check_silent("soft-with-zero")


@silent_prompts.broken("no global credit")
def _(trial: Trial) -> Evidence:
    return _check_silent("no-global")


def _silent(outcomes: Outcomes, gate: str) -> np.ndarray:
    """(B,) chance that a prompt's rollouts all have no credit."""
    value = credited(outcomes.columns("copo@code", gate=gate))
    return outcomes.law @ (np.abs(value) < 1e-12).all(axis=2)


def _check_silent(gate: str) -> Evidence:
    found, exact, plain = [], [], []
    for chance in BATCHES:
        p, n = np.array(chance), 4
        found.append(_silent(Outcomes.of(chance, n), gate))
        exact.append(np.full(p.size, np.prod((1.0 - p) ** n) + np.prod(p**n)))
        plain.append(p**n + (1.0 - p) ** n)
    detail = {"found": np.array(found).tolist(), "grpo": np.array(plain).tolist()}
    parts = {
        "whole batch": exact_equality(found, exact, tolerance=1e-12, detail=detail),
        "never more": exact_inequality(found, "<=", plain, tolerance=1e-12, detail=detail),
    }
    return all_of(parts)


def _variance(chance: np.ndarray, n: int) -> np.ndarray:
    """(B,) variance of the factor of grad p_q under the centred global credit, in closed form."""
    prompts, out = chance.size, []
    own = chance * (1.0 - chance) / n
    for q, p in enumerate(chance):
        lead, law = np.arange(n + 1) / n - p, binomial(n, p)
        third, fourth = law @ lead**3, law @ lead**4
        gap, kept = p - chance.mean(), 1.0 - 1.0 / prompts
        others = own.sum() - own[q]
        square = gap**2 * own[q] + 2.0 * gap * kept * third + kept**2 * (fourth - own[q] ** 2)
        out.append((square + own[q] * others / prompts**2) / (p * (1.0 - p)) ** 2)
    return np.array(out)


SPREAD = (0.0, 0.1, 0.2, 0.3, 0.4)
"""By how much the other prompts are easier than one with p = 1/2."""


@claim("copo.between-prompt-variance", paper=PAPER, source="inferred", kind="variance", figure="copo_global")
def between_prompt_variance(trial: Trial) -> Evidence:
    """The global credit's baseline is the batch's mean, not the prompt's, and the gap between them is noise: centred,
    the factor of grad p_q has variance [g^2 v_q + 2 g (1 - 1/B) m3 + (1 - 1/B)^2 (m4 - v_q^2) + v_q sum_others v / B^2]
    / (p_q (1 - p_q))^2, g = p_q - pbar, v = p (1 - p) / n, m3 and m4 central moments of the group's mean: g^2 v_q is
    (p_q - pbar)^2 Var(mean score), a term that nothing but prompts of equal difficulty takes away.

    What GRPO does inside the prompt has no such term: it never looks at the others.
    """
    n = 6
    for gap in SPREAD:
        chance = (0.5, 0.5 + gap, 0.5 + gap)
        outcomes = Outcomes.of(chance, n)
        columns = outcomes.columns("copo@code", scale=False)
        whole, local = (outcomes.factors(columns[name])[1][0] for name in ("global_advantage", "advantage"))
        term = (2.0 * gap / 3.0) ** 2 / (n * 0.25)
        trial.table(
            gap=2.0 * gap / 3.0, whole=whole, predicted=_variance(np.array(chance), n)[0], local=local, term=term,
        )  # fmt: skip
    return _check_variance("global_advantage")


@between_prompt_variance.broken("the local advantage called global")
def _(trial: Trial) -> Evidence:
    return _check_variance("advantage")


def _check_variance(column: str) -> Evidence:
    found, exact = [], []
    for chance in (*BATCHES, *((0.5, 0.5 + gap, 0.5 + gap) for gap in SPREAD)):
        outcomes = Outcomes.of(chance, 4)
        found.append(outcomes.factors(outcomes.columns("copo@code", scale=False)[column])[1])
        exact.append(_variance(np.array(chance), 4))
    # Rare successes make factors as large as 1 / p(1-p); equality is asked for relative to the largest.
    size = np.max(exact)
    return exact_equality(np.array(found) / size, np.array(exact) / size, tolerance=1e-10, detail={"largest": size})


MEMBERS, ANSWERS = 6, 4
TEMPERATURES = np.geomspace(0.05, 20.0, 40)
LOGITS = ((1.0, 0.4, -0.2, -0.8), (1.0, 1.0, -1.0, -1.0), (0.0, 0.0, 0.0, 1.0))


@cache
def _task() -> OneDecision:
    return OneDecision.of(make("answers", p=((1.0,) * ANSWERS,)), MEMBERS)


def _blends(sharpness: float) -> np.ndarray:
    """(B,) blend weight of each composition of a group's answers."""
    task = _task()
    rollouts = task.rollouts.with_trajectory_columns(answer=task.rollouts.action)
    columns = credit(rollouts, "copo@code", gate="only-soft", sharpness=sharpness)
    assert isinstance(columns, dict)  # noqa: S101 # COPO makes columns
    return columns["blend"].reshape(task.index.shape)[:, 0]


def _softmax(logits: np.ndarray) -> np.ndarray:
    power = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return power / power.sum(axis=-1, keepdims=True)


def expected_blend(logits: np.ndarray, sharpness: float = 5.0) -> tuple[np.ndarray, np.ndarray]:
    """Entropy in bits and expected blend weight of policies with logits (K, 4), exact for groups of six."""
    blend, pi = _blends(sharpness), _softmax(logits)
    entropy = -(pi * np.log2(np.maximum(pi, 1e-300))).sum(axis=1)
    return entropy, np.array([_task().law(row) @ blend for row in pi])


def _others(trial: Trial) -> np.ndarray:
    """Logits of policies without a common direction."""
    return 2.0 * normals(derive_seed(trial.seed, "policies"), 0, Purpose.INIT, (200, ANSWERS))


@claim("copo.blend-follows-entropy", paper=PAPER, source="inferred", kind="identity", figure="copo_gates")
def blend_follows_entropy(trial: Trial) -> Evidence:
    """The blend adapts: the expected weight of the local credit rises with the policy's entropy over answers, E[w]' >=
    0, from sigmoid(-k b) = 0.0067 where one answer is left.

    Along a temperature. Between policies that differ otherwise entropy does not fix it: a group of six is a sample, and
    its entropy is not the policy's, so that of two policies the one of more entropy may have the smaller weight.
    """
    for number, logits in enumerate(LOGITS):
        entropy, blend = expected_blend(np.array(logits) / TEMPERATURES[:, None])
        trial.table(what=f"direction {number + 1}", x=entropy, value=blend)
    entropy, blend = expected_blend(_others(trial))
    trial.table(what="other policies", x=entropy, value=blend)
    return _check_blend(trial, 5.0)


@blend_follows_entropy.broken("turn the sigmoid round")
def _(trial: Trial) -> Evidence:
    return _check_blend(trial, -5.0)


def _check_blend(trial: Trial, sharpness: float) -> Evidence:
    rise, cold = [], []
    for logits in LOGITS:
        scaled = np.array(logits) / TEMPERATURES[:, None]
        blend = expected_blend(scaled, sharpness)[1]
        rise.append(np.diff(blend))
        cold.append(blend[0])
    # The second direction ends at two equal answers and not at one.
    ends = {"coldest": cold, "limit": float(1.0 / (1.0 + np.exp(5.0)))}
    parts = {
        "rises": exact_inequality(rise, ">=", 0.0, tolerance=1e-12, detail=ends),
        "limit": exact_equality([cold[0], cold[2]], ends["limit"], tolerance=1e-3, detail=ends),
    }
    entropy, blend = expected_blend(_others(trial), sharpness)
    order = entropy.argsort()
    falls = float((np.diff(blend[order]) < 0).mean())
    outside = exact_inequality(np.diff(blend[order]), ">=", 0.0, tolerance=1e-12, detail={"share_falling": falls})
    return conditional(all_of(parts), outside, note="along one temperature; not a function of the policy's entropy")


def kept_share(gate: str, distinct: int, *, offset: float = 0.0, members: int = 6) -> float:
    """Share of the global credit that the blended loss leaves to a group of wrong answers, `distinct` different ones.

    Beside it stands a prompt with half of its answers right; wrong pays `offset`, right 1 + offset.
    """
    wrong = np.arange(members) % distinct + 1
    right = np.where(np.arange(members) < members // 2, 0, 1)
    rollouts = Rollouts.flat(
        offsets=np.arange(2 * members + 1),
        group=np.repeat([0, 1], members),
        batch=np.zeros(2 * members, np.int64),
        reward=np.concatenate([np.zeros(members), right == 0]) + offset,
        trajectory_columns={"answer": np.concatenate([wrong, right])},
    )
    columns = credit(rollouts, "copo@code", gate=gate)
    assert isinstance(columns, dict)  # noqa: S101 # COPO makes columns
    return float((credited(columns) / columns["global_advantage"])[:members].mean())


FAINT = 1e-3
"""A thousandth of the credit is none: a learning rate a thousand times as large would be needed to see it."""


@claim("copo.soft-gate", paper=PAPER, source="inferred", kind="gradient", figure="copo_gates")
def soft_gate(trial: Trial) -> Evidence:
    """Blending by agreement alone does not wake a group whose answers are all wrong and all different: its entropy is
    log2 n, so w is near 1 and the share 1 - w of the global credit that is left is <= 0.001 (n = 6: 0.0004), while the
    local credit is 0. Hard prompts with many ways to be wrong are those that the global credit was made for.

    Where the wrong answers agree, 0.993 of it is left. The gates `zero` and `forced` leave all of it in both.
    """
    for gate in GATES:
        for distinct in range(1, 7):
            trial.table(what=gate, x=float(distinct), value=kept_share(gate, distinct))
    return _check_soft("only-soft")


@soft_gate.broken("soft-with-zero")
def _(trial: Trial) -> Evidence:
    return _check_soft("soft-with-zero")


def _check_soft(gate: str) -> Evidence:
    diverse, agreed = kept_share(gate, 6), kept_share(gate, 1)
    detail = {"diverse": diverse, "agreed": agreed, "by_distinct": [kept_share(gate, d) for d in range(1, 7)]}
    return conditional(
        exact_inequality(diverse, "<=", FAINT, detail=detail),
        exact_inequality(agreed, "<=", FAINT, detail=detail),
        note="where the wrong answers differ",
    )


@claim("copo.zero-gate", paper=PAPER, source="code", kind="gradient")
def zero_gate(trial: Trial) -> Evidence:
    """The zero gate gives a group of wrong answers its whole global credit, however many they are: share 1.

    Only where wrong pays exactly 0. With rewards of -1 and 1, or any offset, the test S = 0 never fires and the group
    is left with what the soft blend leaves; the forced gate, which asks whether the local credit is 0, does not mind.
    """
    for gate in ("only-soft", "soft-with-zero", "soft-with-forced"):
        for offset in (0.0, -0.5, 0.25):
            for distinct in (1, 3, 6):
                kept = kept_share(gate, distinct, offset=offset)
                trial.table(gate=gate, offset=offset, distinct=distinct, kept=kept)
    return _check_zero("soft-with-zero")


@zero_gate.broken("only-soft")
def _(trial: Trial) -> Evidence:
    return _check_zero("only-soft")


@zero_gate.control("soft-with-forced, which then holds for every offset")
def _(trial: Trial) -> Evidence:
    return _check_zero("soft-with-forced")


def _check_zero(gate: str) -> Evidence:
    distinct = range(1, 7)
    kept = [kept_share(gate, d) for d in distinct]
    moved = [kept_share(gate, d, offset=-0.5) for d in distinct]
    detail = {"kept": kept, "moved": moved}
    return conditional(
        exact_equality(kept, 1.0, tolerance=1e-12, detail=detail),
        exact_equality(moved, 1.0, tolerance=1e-12, detail=detail),
        note="wrong pays exactly 0",
    )
