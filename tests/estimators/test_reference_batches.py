"""Batch methods against second derivations of their papers on ragged episodes, and the laws that the papers imply."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import references
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from reference_cases import Episode, Shape, Told, paid_more, rescaled, rollouts_of, shapes
from references import agree
from step_cases import columns_of

from creditsim.errors import InputError
from creditsim.estimators.copo import GATES

WEIGHTS = (0.5, 0.25, 1.0)


@dataclass(frozen=True)
class Law:
    """An estimator beside its reference, and what its credit does when rewards are shifted or rescaled.

    `degree` of homogeneity in the rewards (None: none), `shifts` whether a constant on all returns changes nothing.
    """

    spec: str
    params: dict[str, Any]
    reference: Callable[..., Told]
    degree: int | None
    shifts: bool
    pairs: bool = False

    def __str__(self) -> str:
        told = ", ".join(f"{name}={value}" for name, value in self.params.items() if name != "weights")
        return f"{self.spec}({told})"

    def found(self, episodes: list[Episode]) -> dict[str, np.ndarray]:
        return columns_of(rollouts_of(episodes), self.spec, **self.params)

    def wanted(self, episodes: list[Episode]) -> Told:
        return self.reference(episodes, **self.params)

    def fits(self, episodes: list[Episode]) -> bool:
        """Whether batches have what the method asks for: some rows, and two trajectories where it has a deviation."""
        if not any(len(e) for e in episodes):
            return False
        if self.spec == "canon":
            metrics = [e.metric for e in episodes]
            assume(len(set(metrics)) == len(metrics))
        counted = [sum(e.counts for e in episodes if e.batch == b) for b in {e.batch for e in episodes}]
        return not self.pairs or all(c != 1 for c in counted)


def several(how: str) -> Callable[..., Told]:
    def reference(episodes: list[Episode], **params: Any) -> Told:
        return references.combined(episodes, how, **params)

    return reference


BINARY = [
    Law("a_grae", {"eps": 0.0}, references.a_grae, None, False),
    Law("a_grae", {"alpha": 0.5, "ddof": 0, "eps": 1e-6}, references.a_grae, None, False),
    Law("a_grae", {"easy": "one-minus-root", "pool": "groups", "singleton": "raw"}, references.a_grae, None, False),
    Law("a_grae", {"focus": "hard", "alpha": None}, references.a_grae, None, False),
    Law("a_grae", {"focus": "easy", "alpha": None, "ddof": 0}, references.a_grae, None, False),
    Law("a_grae", {"focus": "none", "alpha": None, "positive": 10.0}, references.a_grae, None, False),
    Law("a_grae", {"scale": False, "alpha": 0.8, "singleton": "raw"}, references.a_grae, None, False),
]
REAL = [
    Law("copo", {"gate": "only-soft", "consistency": True, "eps": 0.0}, references.copo, 0, False),
    Law("copo", {"gate": "only-soft", "eps": 0.0, "ddof": 0}, references.copo, 0, True),
    Law("copo", {"eps_entropy": 1e-8, "singleton": "raw", "sharpness": 1.0, "midpoint": 0.5}, references.copo, None,
        False),
    Law("copo", {"gate": "soft-with-forced", "scale": False, "eps": 0.0}, references.copo, None, False),
    Law("canon", {}, references.canon, 1, True),
    Law("canon", {"mu": 0.0}, references.canon, 1, True),
    Law("canon", {"mu": 0.3, "alpha": 0.9, "singleton": "raw", "divisor": 8.0}, references.canon, 1, False),
    Law("canon", {"alpha": 0.5, "discount": "entropy"}, references.canon, 1, False),
    Law("canon", {"threshold": 60.0, "mu": 0.75}, references.canon, 1, True),
    Law("dvao", {"weights": WEIGHTS, "eps": 0.0}, several("dvao"), 0, True),
    Law("dvao", {"weights": WEIGHTS, "eps": 0.0, "ddof": 1}, several("dvao"), 0, True),
    Law("rc", {"weights": WEIGHTS, "eps": 0.0}, several("rc"), 0, True),
    Law("rc", {"weights": (1.0, 0.0, 2.0), "eps": 0.5, "ddof": 1}, several("rc"), None, True),
    Law("ac", {"weights": WEIGHTS, "eps": 0.0}, several("ac"), 0, True),
    Law("gdpo", {"weights": WEIGHTS, "eps": 1e-4, "ddof": 1}, several("gdpo"), None, True),
    Law("seeupo", {"clamp": None, "singleton": "zero"}, references.seeupo, 0, True, True),
    Law("seeupo", {"padding": "include", "singleton": "raw", "clamp": 1.0}, references.seeupo, 0, False, True),
    Law("seeupo", {"normalize": False, "clamp": None, "singleton": "zero"}, references.seeupo, 1, True, True),
    Law("seeupo", {"ddof": 0, "clamp": 0.5, "singleton": "zero"}, references.seeupo, 0, True, True),
    Law("igpo", {"eps": 0.0}, references.igpo, 0, False),
    Law("igpo", {"gamma": 0.5, "eps": 0.25, "ddof": 0}, references.igpo, None, False),
    Law("igpo", {"mode": "position", "gamma": 0.5}, references.igpo, 1, False),
    Law("a2tgpo", {"eps": 0.0, "eps_inside": 0.0}, references.a2tgpo, 0, True),
    Law("a2tgpo", {"gamma": 0.5, "rescale": "weights", "alpha": 2.0, "ddof": 1}, references.a2tgpo, None, True),
    Law("a2tgpo", {"gamma": 0.5, "rescale": "none", "clip_span": 1.0}, references.a2tgpo, None, True),
    Law("a2tgpo", {"mode": "turn-group", "gamma": 0.5}, references.a2tgpo, None, False),
    Law("a2tgpo", {"mode": "separate", "gamma": 0.5, "eps_inside": 0.25}, references.a2tgpo, None, True),
    Law("a2tgpo", {"mode": "joint", "eps": 0.0, "eps_inside": 0.0}, references.a2tgpo, 0, False),
    Law("steppo", {"whiten_eps": 0.0, "gamma": 0.9, "lam": 0.7}, references.steppo, 0, False),
    Law("steppo", {"whiten": False, "gamma": 0.5}, references.steppo, 1, False),
    Law("steppo", {"scale_reward": True, "gamma": 0.5, "lam": 0.5}, references.steppo, None, False),
]  # fmt: skip
ALL = [*((law, True) for law in BINARY), *((law, False) for law in REAL)]
every_law = pytest.mark.parametrize(("law", "binary"), ALL, ids=lambda x: str(x) if isinstance(x, Law) else "")


@every_law
@settings(max_examples=12)
@given(data=st.data())
def test_the_estimator_is_its_definition(law: Law, binary: bool, data: st.DataObject) -> None:
    episodes = data.draw(shapes(binary=binary)).draw()
    assume(law.fits(episodes))
    assert agree(law.found(episodes), law.wanted(episodes), rollouts_of(episodes))


@pytest.mark.parametrize("gate", GATES)
def test_gates_of_masked_and_uniform_prompts(gate: str) -> None:
    for seed in range(6):
        episodes = Shape(seed, masked=0.3).draw()
        found = columns_of(rollouts_of(episodes), "copo", gate=gate)
        assert agree(found, references.copo(episodes, gate=gate), rollouts_of(episodes))


def along(values: np.ndarray, episodes: list[Episode], order: np.ndarray) -> np.ndarray:
    """Rows of the episodes in another order."""
    ends = np.cumsum([len(e) for e in episodes])
    return np.concatenate([values[ends[i] - len(episodes[i]) : ends[i]] for i in order])


@every_law
@settings(max_examples=4)
@given(data=st.data())
def test_nobody_looks_at_the_order_of_trajectories(law: Law, binary: bool, data: st.DataObject) -> None:
    """Groups may lie anywhere among each other: permuted episodes get the permuted credit."""
    episodes = data.draw(shapes(binary=binary)).draw()
    assume(law.fits(episodes))
    order = np.random.default_rng(data.draw(st.integers(0, 99))).permutation(len(episodes))
    plain, moved = law.found(episodes), law.found([episodes[i] for i in order])
    for name, values in plain.items():
        np.testing.assert_allclose(moved[name], along(values, episodes, order), atol=1e-9, err_msg=name)


@every_law
@settings(max_examples=4)
@given(data=st.data())
def test_batches_are_alone(law: Law, binary: bool, data: st.DataObject) -> None:
    episodes = data.draw(shapes(binary=binary, batches=2, lengths=(1, 3))).draw()
    assume(law.fits(episodes))
    together = law.found(episodes)
    for batch in (0, 1):
        mine = [e for e in episodes if e.batch == batch]
        here = np.repeat([e.batch == batch for e in episodes], [len(e) for e in episodes])
        for name, values in law.found(mine).items():
            np.testing.assert_allclose(together[name][here], values, atol=1e-10, err_msg=name)


@every_law
def test_trajectories_without_weight_are_not_there(law: Law, binary: bool) -> None:
    """Others get the same credit bit for bit whether they are listed or left out, and they get none."""
    for seed in range(4):
        episodes = Shape(seed, members=(2, 4), binary=binary).draw()
        dead = [replace(e, weight=(0.0,) * len(e), metric=e.metric + 1e-3) for e in episodes[::3]]
        plain, more = law.found(episodes), law.found([*episodes, *dead])
        m = rollouts_of(episodes).n_rows
        for name, values in plain.items():
            np.testing.assert_allclose(more[name][:m], values, atol=1e-12, err_msg=name)
            # A clip scale of 1 and a value target say nothing of credit.
            if name not in ("clip_scale", "value_target"):
                assert (more[name][m:] == 0).all(), name


@pytest.mark.parametrize("law", [law for law in REAL if law.degree is not None], ids=str)
def test_other_units_of_reward(law: Law) -> None:
    """Degree 0: no trace of the unit; degree 1: credit is in its unit. Powers of two are exact."""
    for seed in range(5):
        # A turn that one trajectory reaches keeps SeeUPO's centred return, in units of reward: turns alike there.
        episodes = Shape(seed, members=(2, 4), lengths=(2, 2) if law.spec == "seeupo" else (1, 4)).draw()
        plain, other = law.found(episodes), law.found([rescaled(e, 4.0) for e in episodes])
        assert law.degree is not None
        np.testing.assert_allclose(other["advantage"], 4.0**law.degree * plain["advantage"], rtol=1e-12, atol=1e-12)
        if np.abs(plain["advantage"]).max() > 0:
            wrong = 4.0 ** (1 - law.degree) * plain["advantage"]
            assert not np.allclose(other["advantage"], wrong), "the check tells the degrees apart"


@pytest.mark.parametrize("law", REAL, ids=str)
def test_a_constant_on_all_returns(law: Law) -> None:
    """What is centred does not see it; what is not, does for some batch."""
    seen = False
    for seed in range(5):
        episodes = Shape(seed, members=(2, 4)).draw()
        plain, other = law.found(episodes), law.found([paid_more(e, 2.0) for e in episodes])
        same = np.allclose(other["advantage"], plain["advantage"], atol=1e-10)
        same &= law.spec != "copo" or np.allclose(other["global_advantage"], plain["global_advantage"], atol=1e-10)
        assert same or not law.shifts
        seen |= not same
    centred_only = law.spec == "copo" and not law.params.get("consistency") and law.params.get("singleton") != "raw"
    assert seen != law.shifts or centred_only or law.params.get("singleton") == "raw"


@every_law
def test_torch_tensors_of_single_precision(law: Law, binary: bool) -> None:
    for seed in (0, 1):
        # Uniform groups apart, so that rounding of the input does not decide who is equal.
        episodes = Shape(seed, members=(3, 4), binary=binary).draw()
        tensors = rollouts_of(episodes, np.float32).map_arrays(torch.from_numpy)
        plain = columns_of(rollouts_of(episodes), law.spec, **law.params)
        rounded = law.found([replace(e, value=tuple(float(np.float32(v)) for v in e.value)) for e in episodes])
        for name, values in columns_of(tensors, law.spec, **law.params).items():
            np.testing.assert_allclose(values, rounded[name], atol=2e-5, err_msg=name)
            np.testing.assert_allclose(values, plain[name], atol=2e-5, err_msg=name)


# --- Faults that the references must notice -------------------------------------------------------------------------

FAULTS: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("copo", {}, {"ddof": 0}),
    ("copo", {"consistency": True}, {"consistency": False}),
    ("copo", {}, {"eps_entropy": 0.5}),
    ("copo", {"gate": "soft-with-zero"}, {"gate": "soft-with-forced"}),
    ("a_grae", {}, {"easy": "one-minus-root"}),
    ("a_grae", {}, {"pool": "groups"}),
    ("a_grae", {"alpha": 1.0}, {"alpha": 0.9}),
    ("canon", {"mu": 1.0}, {"mu": 0.5}),
    ("canon", {"alpha": 0.9}, {"alpha": 0.9, "discount": "entropy"}),
    ("seeupo", {"padding": "exclude"}, {"padding": "include"}),
    ("seeupo", {}, {"ddof": 0}),
    ("igpo", {}, {"ddof": 0}),
    ("igpo", {}, {"mode": "position"}),
    ("a2tgpo", {"gamma": 0.5}, {"gamma": 0.5, "rescale": "weights"}),
    ("a2tgpo", {}, {"eps_inside": 0.1}),
    ("a2tgpo", {"mode": "joint"}, {"mode": "separate"}),
    ("steppo", {"lam": 0.5}, {"lam": 0.6}),
    ("steppo", {}, {"whiten": False}),
]


@pytest.mark.parametrize(("name", "params", "other"), FAULTS, ids=lambda x: str(x))
def test_references_tell_conventions_apart(name: str, params: dict[str, Any], other: dict[str, Any]) -> None:
    reference: Callable[..., Told] = getattr(references, name)
    agreed = []
    for seed in range(4):
        episodes = Shape(seed, members=(2, 4), binary=name == "a_grae").draw()
        rollouts = rollouts_of(episodes)
        assert agree(columns_of(rollouts, name, **params), reference(episodes, **params), rollouts)
        agreed.append(agree(columns_of(rollouts, name, **other), reference(episodes, **params), rollouts))
    assert not all(agreed)


# --- Exact facts ----------------------------------------------------------------------------------------------------


@given(shapes(members=(4, 4)))
def test_half_inter_and_half_intra_is_dr_grpo_in_even_groups(shape: Shape) -> None:
    rollouts = rollouts_of(shape.draw())
    if rollouts.n_rows:
        half = columns_of(rollouts, "canon", mu=0.5)["advantage"]
        if "weight" not in rollouts.columns and (rollouts.length > 0).all():
            np.testing.assert_allclose(half, columns_of(rollouts, "dr_grpo")["advantage"], atol=1e-12)


@given(shapes(masked=0.0, lengths=(1, 2)))
def test_sum_of_canons_inter_credit(shape: Shape) -> None:
    """Sum over a group = (n+ - n-)(m+ - m-) at alpha 1: zero where the halves are equal or agree."""
    episodes = [replace(e, rewards=e.rewards[-1:], weight=(1.0,), observation=(0,), action=(0,), gain=(0.0,),
                        value=(0.0,)) for e in shape.draw()]  # fmt: skip
    assume(len({e.metric for e in episodes}) == len(episodes))
    found = columns_of(rollouts_of(episodes), "canon")
    for group in {e.group for e in episodes}:
        here = np.array([e.group == group for e in episodes])
        up = found["upper"][here] == 1
        score = np.array([e.score for e in episodes])[here]
        if 0 < up.sum() < up.size:
            gap = score[up].mean() - score[~up].mean()
            assert found["advantage"][here].sum() == pytest.approx((up.sum() - (~up).sum()) * gap, abs=1e-12)
            assert found["advantage"][here][up].mean() == pytest.approx(gap, abs=1e-12)


@given(shapes(members=(2, 5), masked=0.0))
def test_propositions_of_dvao(shape: Shape) -> None:
    """Weights of sum 1, divisor n: mean square of RC is 1 and at least AC's; DVAO is below RC everywhere."""
    weights = (0.5, 0.3, 0.2)
    episodes = [replace(e, rewards=(0.0,), weight=(1.0,), observation=(0,), action=(0,), gain=(0.0,), value=(0.0,))
                for e in shape.draw()]  # fmt: skip
    rollouts = rollouts_of(episodes)
    rc, ac, dvao = (columns_of(rollouts, name, weights=weights, eps=0.0)["advantage"] for name in ("rc", "ac", "dvao"))
    assert (np.abs(dvao) <= np.abs(rc) + 1e-12).all()
    for g in range(rollouts.n_groups):
        mine = rollouts.group == g
        # Where the combined reward deviates; opposed rewards may cancel and then RC is 0.
        if np.abs(rc[mine]).max() > 0:
            assert np.mean(rc[mine] ** 2) == pytest.approx(1.0, abs=1e-9)
            assert np.mean(ac[mine] ** 2) <= 1.0 + 1e-9
            table = rollouts.trajectory_columns["rewards_K"][mine]
            spread = table.std(axis=0)
            ratio = (table @ weights).std() / (spread @ weights)
            np.testing.assert_allclose(dvao[mine], ratio * rc[mine], atol=1e-9)


@settings(max_examples=20)
@given(st.integers(2, 9), st.data())
def test_what_a_prompt_hands_out_under_a_grae(n: int, data: st.DataObject) -> None:
    """Divisor n: sum |A| = n (omega sqrt(1-p) + (1-omega) sqrt(p)); what attenuation leaves over is never positive."""
    wins = data.draw(st.lists(st.integers(0, n), min_size=1, max_size=4))
    episodes = [
        replace(Shape(0).draw()[0], group=g, batch=0, rewards=(float(i < k),), weight=(1.0,), observation=(0,),
                action=(0,), gain=(0.0,), value=(0.0,), step=(0,))
        for g, k in enumerate(wins) for i in range(n)
    ]  # fmt: skip
    omega = sum(wins) / n / len(wins)
    whole = columns_of(rollouts_of(episodes), "a_grae", ddof=0, eps=0.0, alpha=None)["advantage"].reshape(-1, n)
    held = columns_of(rollouts_of(episodes), "a_grae", ddof=0, eps=0.0, alpha=0.7)["advantage"].reshape(-1, n)
    for k, credit, less in zip(wins, whole, held, strict=True):
        p = k / n
        size = n * (omega * math.sqrt(1 - p) + (1 - omega) * math.sqrt(p)) if 0 < k < n else 0.0
        assert np.abs(credit).sum() == pytest.approx(size, abs=1e-9)
        assert less.sum() == pytest.approx(-0.5 * (1 - min(1.0, omega / 0.7)) * size, abs=1e-9)


@given(shapes(masked=0.0, members=(2, 4)))
def test_gains_of_a_fixed_potential_telescope_under_igpo(shape: Shape) -> None:
    """Position mode at gamma 1: the return to go is the outcome less the potential already reached, up to the last."""
    episodes = shape.draw()
    assume(any(len(e) for e in episodes))
    known = np.random.default_rng(shape.seed)
    telling = []
    for e in episodes:
        phi = known.integers(0, 9, len(e) + 1) / 8.0
        telling.append((replace(e, gain=tuple(np.diff(phi).tolist())), phi))
    rollouts = rollouts_of([e for e, _ in telling])
    got = columns_of(rollouts, "igpo", mode="position")["advantage"]
    to_go = [[e.score + phi[len(e) - 1] - phi[t] for t in range(len(e))] for e, phi in telling]
    want = [
        [x - np.mean([y[t] for (m, _), y in zip(telling, to_go, strict=True) if m.group == e.group and len(m) > t])
         for t, x in enumerate(xs)]
        for (e, _), xs in zip(telling, to_go, strict=True)
    ]  # fmt: skip
    np.testing.assert_allclose(got, references.flat(want), atol=1e-12)


@settings(max_examples=20)
@given(shapes(lengths=(2, 5), masked=0.0))
def test_clip_scales_are_bounded_and_rise_with_the_gain(shape: Shape) -> None:
    found = columns_of(rollouts_of(shape.draw()), "a2tgpo")
    z, scale = found["gain_score"], found["clip_scale"]
    assert ((scale > 0.7) & (scale < 1.3)).all()
    order = np.argsort(z, kind="stable")
    assert (np.diff(scale[order]) >= -1e-15).all()
    np.testing.assert_allclose(scale[z == 0], 1.0, atol=1e-15)


@pytest.mark.parametrize("name", ["dvao", "rc", "ac", "gdpo"])
@pytest.mark.parametrize("weights", ["abc", ((1.0,), (1.0, 2.0)), ((1.0, 1.0, 1.0),), 0.5, (1.0, 2.0), (0.0,) * 3])
def test_weights_of_the_wrong_kind_are_one_line(name: str, weights: Any) -> None:
    with pytest.raises(InputError) as error:
        columns_of(rollouts_of(Shape(0).draw()), name, weights=weights)
    assert "weights" in error.value.field and "\n" not in str(error.value)
