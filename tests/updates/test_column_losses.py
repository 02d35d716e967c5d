"""Losses with a ratio per step or sequence, and with columns of their own: values, derivatives, what they refuse."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from loss_cases import Case, by_autograd, case, columns_of, steps
from test_losses import apart, evaluate, norm_of, numeric, rows
from update_cases import learner, rollouts

from creditsim.errors import InputError, MissingColumnError, UnknownNameError
from creditsim.methods import METHODS, Use
from creditsim.plan import check
from creditsim.updates.losses import AGGREGATIONS, LOSSES, loss_and_derivative
from creditsim.updates.losses.base import STEP_AGGREGATIONS
from creditsim.updates.surrogate import surrogate

SETTINGS: list[tuple[str, dict[str, Any], tuple[str, ...]]] = [
    ("step_ppo", {"clip_low": 3e-4, "clip_high": 4e-4}, STEP_AGGREGATIONS),
    ("step_ppo", {"clip_low": 0.2, "clip_high": 0.3}, STEP_AGGREGATIONS),
    ("turn_clip", {"clip_low": 0.2, "clip_high": 0.4}, STEP_AGGREGATIONS),
    ("blended", {"clip_low": 0.2, "clip_high": 0.28, "dual_clip": 1.5}, AGGREGATIONS),
    ("blended", {"clip_low": 0.2, "clip_high": 0.2, "dual_clip": None, "log_ratio_limit": 0.5}, AGGREGATIONS),
]
SEQUENCE: list[dict[str, Any]] = [
    {"clip_low": 0.2, "clip_high": 0.3},
    {"clip_low": 0.9, "clip_high": 5.0, "dual_clip": 1.5, "log_ratio_limit": 1.0},
]


def sequence_apart(c: Case, options: dict[str, Any], fault: str = "") -> float:
    got = evaluate("sequence_ppo", c, **options)
    value, slope = by_autograd("sequence_ppo", c, options, "seq-mean-token-mean", None, fault)
    return max(abs(got.value - value), float(np.abs(got.derivative - slope).max()))


@pytest.mark.parametrize(("name", "options", "aggregations"), SETTINGS, ids=str)
def test_equals_autograd(name: str, options: dict[str, Any], aggregations: tuple[str, ...]) -> None:
    for aggregation in aggregations:
        for seed in range(4):
            for holes in (False, True):
                assert apart(name, case(seed, holes=holes), options, aggregation) < 1e-12


@pytest.mark.parametrize("options", SEQUENCE, ids=str)
def test_sequence_ratio_equals_autograd(options: dict[str, Any]) -> None:
    for seed in range(6):
        for constant in (False, True):
            assert sequence_apart(case(seed, constant=constant, holes=seed % 2 == 0, spread=0.3), options) < 1e-12


@pytest.mark.parametrize(
    ("name", "options", "fault"),
    [
        ("step_ppo", {"clip_low": 0.2, "clip_high": 0.3}, "sequence for step"),
        ("step_ppo", {"clip_low": 0.2, "clip_high": 0.3}, "sum for mean"),
        ("turn_clip", {"clip_low": 0.2, "clip_high": 0.4}, "plain clip"),
        ("blended", {"clip_low": 0.2, "clip_high": 0.2, "dual_clip": None}, "advantages blended first"),
        ("blended", {"clip_low": 0.2, "clip_high": 0.2, "dual_clip": 1.5}, "no dual clip"),
    ],
)
def test_the_comparison_rejects_broken_twins(name: str, options: dict[str, Any], fault: str) -> None:
    assert max(apart(name, case(seed), options, "token-mean", fault) for seed in range(4)) > 1e-3
    assert max(sequence_apart(case(seed, spread=0.3), SEQUENCE[0], "own row") for seed in range(4)) > 1e-3


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.integers(0, 10**6), st.sampled_from(SETTINGS), st.data())
def test_equals_central_differences(
    seed: int, setting: tuple[str, dict[str, Any], tuple[str, ...]], data: st.DataObject
) -> None:
    """Away from the kinks; step ratios with one advantage and one clip for all rows of a step, and equal weights."""
    name, options, aggregations = setting
    aggregation = data.draw(st.sampled_from(aggregations))
    c = case(seed, holes=seed % 2 == 0)
    if name != "blended":
        c["weight"] = np.ones_like(c["weight"])
        first = [rows[0] for runs in steps(c) for rows in runs for _ in rows]
        c["advantage"], c["clip_scale"] = c["advantage"][first], c["clip_scale"][first]
    arguments = {"aggregation": aggregation, "norm": norm_of(aggregation), **options}
    slope = numeric(lambda x: evaluate(name, {**c, "log_prob": x}, **arguments).value, c["log_prob"])
    assert np.abs(evaluate(name, c, **arguments).derivative - slope).max() < 1e-7


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.integers(0, 10**6), st.sampled_from(SEQUENCE))
def test_sequence_ratio_equals_central_differences(seed: int, options: dict[str, Any]) -> None:
    """Its derivative is the true one for any advantage and any weights."""
    c = case(seed, holes=seed % 2 == 0, spread=0.3)
    slope = numeric(lambda x: evaluate("sequence_ppo", {**c, "log_prob": x}, **options).value, c["log_prob"])
    assert np.abs(evaluate("sequence_ppo", c, **options).derivative - slope).max() < 1e-7


def test_step_ratio_by_hand() -> None:
    # Sequence 0: a step of ratios 1.1 and 1.3, then one of ratio 0.9; sequence 1: one step of ratio 1.2.
    c = rows([1.1, 1.3, 0.9, 1.2], [2.0, 2.0, -1.0, 1.0]) | {
        "offsets": np.array([0, 3, 4]),
        "step": np.array([0, 0, 1, 1]),
    }
    first = np.sqrt(1.1 * 1.3)
    wide = {"clip_low": 0.5, "clip_high": 0.5}
    paper, code = evaluate("step_ppo@paper", c, **wide), evaluate("step_ppo@code", c, **wide)
    assert paper.value == pytest.approx(-((2 * first - 0.9) / 2 + 1.2) / 2, abs=1e-14)
    assert code.value == pytest.approx(-(2 * first - 0.9 + 1.2) / 3, abs=1e-14)
    # The step of two rows is shared by them; its own ratio, not the row's.
    assert paper.derivative == pytest.approx([-first / 4, -first / 4, 0.9 / 4, -1.2 / 2], abs=1e-14)
    assert code.derivative == pytest.approx([-first / 3, -first / 3, 0.9 / 3, -1.2 / 3], abs=1e-14)
    # One clip for the whole step: its ratio 1.196 is beyond 1.15 though one row's 1.1 is not.
    cut = evaluate("step_ppo", c, clip_low=0.5, clip_high=0.15)
    assert cut.derivative[:2].tolist() == [0.0, 0.0] and cut.derivative[3] == 0.0
    assert cut.metrics["clip_fraction"] == pytest.approx(3 / 4, abs=1e-15)
    # As published the range is so narrow that all of these are cut.
    assert not evaluate("step_ppo@paper", c).derivative[[0, 1, 3]].any()


def test_step_ppo_of_one_row_steps_is_ppo_and_of_one_step_is_gspo() -> None:
    for seed in range(4):
        c = case(seed, holes=seed % 2 == 0)
        wide = {"clip_low": 0.2, "clip_high": 0.3, "aggregation": "seq-mean-token-mean"}
        alone = {**c, "step": np.arange(c["step"].size)}
        a, b = evaluate("step_ppo", alone, **wide), evaluate("ppo@paper", c, **wide)
        assert a.value == pytest.approx(b.value, abs=1e-14)
        assert a.derivative[c["weight"] > 0] == pytest.approx(b.derivative[c["weight"] > 0], abs=1e-14)
        whole = {**c, "step": np.zeros_like(c["step"])}
        a, b = evaluate("step_ppo", whole, **wide), evaluate("gspo", c, **wide)
        assert a.value == b.value and np.array_equal(a.derivative, b.derivative)
        a = evaluate("step_ppo", whole, **{**wide, "aggregation": "seq-mean-step-mean"})
        assert a.value == pytest.approx(b.value, abs=1e-14)


def test_turn_clip_widens_with_the_scale() -> None:
    ratio, scale = [1.004, 1.004, 1.005, 0.9975, 0.9965], [0.9, 1.1, 1.3, 0.8, 1.1]
    c = rows(ratio, [1.0, 1.0, 1.0, -1.0, -1.0]) | {"step": np.arange(5), "clip_scale": np.array(scale)}
    # Upper bounds 1.0036, 1.0044, 1.0052; lower bounds 0.9976, 0.9967.
    assert (evaluate("turn_clip", c).derivative == 0).tolist() == [True, False, False, True, True]
    plain = evaluate("turn_clip", {**c, "clip_scale": np.ones(5)})
    same = evaluate("step_ppo", c, clip_low=3e-3, clip_high=4e-3, aggregation="seq-mean-token-mean")
    assert plain.value == same.value and np.array_equal(plain.derivative, same.derivative)


def test_turns_with_equal_advantages_do_not_merge() -> None:
    c = rows([1.4, 0.8], [1.0, 1.0]) | {"offsets": np.array([0, 2]), "clip_scale": np.ones(2)}
    wide = {"clip_low": 0.5, "clip_high": 0.5}
    apart_ = evaluate("turn_clip", {**c, "step": np.array([0, 1])}, **wide)
    merged = evaluate("turn_clip", {**c, "step": np.array([0, 0])}, **wide)
    assert apart_.value == pytest.approx(-1.1, abs=1e-14) and merged.value == pytest.approx(-np.sqrt(1.12), abs=1e-14)


def test_blended_at_its_ends_is_ppo_and_differs_from_one_surrogate_of_the_blend() -> None:
    for seed in range(4):
        c = case(seed, holes=seed % 2 == 0)
        for blend, advantage in ((1.0, c["advantage"]), (0.0, c["global_advantage"])):
            a = evaluate("blended", {**c, "blend": np.full(advantage.size, blend)})
            b = evaluate("ppo@verl", {**c, "advantage": advantage}, aggregation="seq-mean-token-mean")
            assert a.value == b.value and np.array_equal(a.derivative, b.derivative) and a.metrics == b.metrics
    # A correct rollout of a prompt below average, its ratio beyond the clip: only the local half is cut.
    c = rows([1.5], [1.0]) | {"global_advantage": np.array([-1.0]), "blend": np.array([0.5])}
    assert evaluate("blended", c).derivative == pytest.approx([0.75], abs=1e-15)
    assert evaluate("blended", c).metrics["clip_fraction"] == 0.5
    assert evaluate("ppo", {**c, "advantage": np.zeros(1)}).derivative.tolist() == [0.0]


def test_sequence_ratio_is_the_product() -> None:
    c = rows([1.1, 1.2, 0.9], [2.0, 2.0, -1.0]) | {"offsets": np.array([0, 2, 3])}
    got = evaluate("sequence_ppo", c, clip_low=0.5, clip_high=0.5)
    assert got.value == pytest.approx((-2 * 1.32 + 0.9) / 2, abs=1e-14)
    # Each row moves the whole product: nothing is divided by the length.
    assert got.derivative == pytest.approx([-1.32, -1.32, 0.45], abs=1e-14)
    assert evaluate("sequence_ppo", c).derivative[:2].tolist() == [0.0, 0.0]


@pytest.mark.parametrize("name", ["sequence_ppo", "step_ppo", "turn_clip", "blended"])
def test_many_batches_are_one_by_one_and_masked_rows_are_not_there(name: str) -> None:
    parts = [case(seed, sequences=4, holes=True) for seed in range(3)]
    for part in parts:
        part["weight"] = (part["weight"] > 0).astype(float)
    joined = {k: np.concatenate([p[k] for p in parts]) for k in parts[0] if k != "offsets"}
    lengths = np.concatenate([np.diff(p["offsets"]) for p in parts])
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    given_rows = (joined["log_prob"], joined["old_log_prob"], joined["advantage"], offsets, joined["weight"])
    whole = loss_and_derivative(name, *given_rows, np.repeat(np.arange(3), 4), columns_of(joined))
    alone = [evaluate(name, p) for p in parts]
    assert whole.value == pytest.approx([r.value for r in alone], abs=1e-14)
    assert whole.derivative == pytest.approx(np.concatenate([r.derivative for r in alone]), abs=1e-14)
    for part, result in zip(parts, alone, strict=True):
        keep = part["weight"] > 0
        cuts = np.unique(np.concatenate([[0], np.cumsum(keep)])[part["offsets"]])
        packed = {k: v[keep] for k, v in part.items() if k != "offsets"} | {"offsets": cuts}
        got = evaluate(name, packed)
        assert result.value == pytest.approx(got.value, abs=1e-14)
        assert result.derivative[keep] == pytest.approx(got.derivative, abs=1e-14)
        assert not result.derivative[~keep].any()


@pytest.mark.parametrize("name", ["sequence_ppo", "step_ppo", "turn_clip", "blended"])
def test_degenerate_batches(name: str) -> None:
    c = case(1)
    nothing = evaluate(name, {**c, "weight": np.zeros_like(c["weight"])})
    assert nothing.value == 0.0 and not nothing.derivative.any()
    none = np.zeros(0)
    empty: dict[str, Any] = dict.fromkeys(c, none)
    got = loss_and_derivative(name, none, none, none, np.zeros(1, np.int64), columns=empty)
    assert got.value == 0.0 and got.derivative.shape == (0,)


@pytest.mark.parametrize(
    ("name", "options", "columns", "says"),
    [
        ("step_ppo", {}, {"step": None}, "loss column: got no 'step'"),
        ("turn_clip", {}, {"clip_scale": None}, "got no 'clip_scale'"),
        ("blended", {}, {"blend": None}, "got no 'blend'"),
        ("blended", {}, {"blend": 1.5}, "blend: got .*1.5, allowed numbers in"),
        ("blended", {}, {"blend": np.nan}, "blend"),
        ("turn_clip", {}, {"clip_scale": 0.0}, "clip_scale: got 0.0, allowed numbers > 0"),
        ("step_ppo", {}, {"step": "short"}, "step: got shape"),
        ("step_ppo", {"clip_low": 0.0}, {}, "clip_low: got 0.0, allowed 0 < clip_low <= 1"),
        ("turn_clip", {"clip_high": 0.0}, {}, "clip_high: got 0.0"),
        ("sequence_ppo", {"dual_clip": 1.0}, {}, "dual_clip"),
        ("sequence_ppo", {"log_ratio_limit": 0.0}, {}, "log_ratio_limit"),
        ("step_ppo", {"aggregation": "step-meen"}, {}, "nearest: step-mean"),
        ("ppo", {"aggregation": "step-mean"}, {}, "aggregation"),
        ("blended", {"aggregation": "seq-mean-step-mean"}, {}, "aggregation"),
        ("step_ppo", {"norm": 3.0}, {}, "norm"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line(name: str, options: dict[str, Any], columns: dict[str, Any], says: str) -> None:
    c = case(0)
    for column, value in columns.items():
        if value is None:
            del c[column]
        else:
            c[column] = c[column][:-1] if value == "short" else np.full(c[column].shape, value)
    with pytest.raises((InputError, MissingColumnError, UnknownNameError), match=says) as caught:
        evaluate(name, c, **options)
    assert "\n" not in str(caught.value)


def test_the_update_hands_a_loss_its_columns_in_every_minibatch() -> None:
    sampler = learner(2, spread=0.7, seed=0)
    batch = rollouts(sampler, per_batch=6)
    rng = np.random.default_rng(1)
    credit = {
        "advantage": rng.normal(size=batch.n_rows),
        "global_advantage": rng.normal(size=batch.n_rows),
        "blend": np.ones(batch.n_rows),
    }
    state = {"seed": 7, "replicate": np.arange(2), "horizon": 4}
    how: dict[str, Any] = {"epochs": 2, "minibatches": 3, "aggregation": "seq-mean-token-mean"}

    def moved(loss: str, columns: dict[str, np.ndarray], given_rows: Any = batch) -> np.ndarray:
        return surrogate(sampler, given_rows, columns, state, loss=loss, **how)[0].theta

    assert np.array_equal(moved("blended", credit), moved("ppo@verl", credit))
    other = {**credit, "blend": np.zeros(batch.n_rows)}
    assert np.array_equal(moved("blended", other), moved("ppo@verl", {"advantage": credit["global_advantage"]}))
    assert not np.array_equal(moved("blended", credit), moved("blended", other))
    # A column of the rollouts serves where the estimator makes none; the estimator's goes first.
    carried = batch.with_columns(blend=credit["blend"], global_advantage=credit["global_advantage"])
    assert np.array_equal(moved("blended", {"advantage": credit["advantage"]}, carried), moved("blended", credit))
    assert np.array_equal(moved("blended", other, carried), moved("blended", other))
    with pytest.raises(MissingColumnError, match="loss blended"):
        moved("blended", {"advantage": credit["advantage"]})


def test_a_plan_refuses_a_loss_whose_column_nobody_makes() -> None:
    method = METHODS["ppo"].replaced(update=Use("surrogate", {"loss": "blended"}), estimator=Use("grpo"))
    with pytest.raises(MissingColumnError, match="method ppo, loss blended: got no column 'global_advantage'"):
        check(method)
    with pytest.raises(UnknownNameError, match="nearest: step_ppo"):
        check(METHODS["grpo"], update={"loss": "step_pop"})
    with pytest.raises(UnknownNameError, match="nearest: paper"):
        check(METHODS["grpo"], update={"loss": "step_ppo@papr"})
    assert check(METHODS["grpo"], update={"loss": "step_ppo@paper"}).update.params["loss"] == "step_ppo@paper"
    assert "entropy" not in check(METHODS["grpo"]).record


def test_shares_add_up_to_the_value_of_unit_losses() -> None:
    """What a KL penalty and an entropy bonus use: the factors are the derivative of a loss of slope 1."""
    for part in LOSSES:
        for seed in range(2):
            c = case(seed, holes=True)
            got = evaluate(part.name, c)
            assert got.share.shape == c["log_prob"].shape and not got.share[c["weight"] == 0].any()
            assert got.share.sum() == pytest.approx(1.0, abs=1e-14) or part.name == "reinforce"
