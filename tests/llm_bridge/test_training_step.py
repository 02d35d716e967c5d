"""One update: its gradient is that of the loss, whatever the micro-batches, and the tables' for a table in words."""

from __future__ import annotations

import functools
from dataclasses import replace
from unittest import mock

import numpy as np
import pytest
import torch
from training_cases import PLAIN, TablePolicyInWords, by_autograd, flat, gradient_of, policy_and_batch, settings

from creditsim.errors import InputError, MissingColumnError, NumericalError
from creditsim.mdp import SoftmaxPolicy, make
from creditsim.mdp.rows import TablePolicy
from creditsim.rollouts import Rollouts
from creditsim.updates.losses import LOSSES
from creditsim.updates.surrogate import surrogate
from llm_bridge.collect.records import Record, Records
from llm_bridge.envs.base import Observation, Outcome
from llm_bridge.policies.base import Prompt, Response, Stream
from llm_bridge.training import step as step_module
from llm_bridge.training.step import Batch, improve, make_batch, micro_batches_of

torch.set_num_threads(1)


def apart(a: np.ndarray, b: np.ndarray) -> float:
    """Largest difference, relative to the larger one's size."""
    return float(np.abs(a - b).max() / max(np.abs(a).max(), np.abs(b).max()))


# --- the gradient -----------------------------------------------------------------------------------------------------


unmoved = functools.cache(policy_and_batch)
"""For tests that leave the policy as it was."""


@pytest.mark.parametrize("kind", ["scoring", "generate"])
@pytest.mark.parametrize("name", PLAIN)
def test_the_gradient_is_autograds_own_of_the_same_loss_in_torch(name: str, kind: str) -> None:
    policy, batch = unmoved(kind)
    plain, params = PLAIN[name]
    ours = gradient_of(policy, batch, settings(name, params=params))
    assert apart(ours, by_autograd(policy, batch, plain)) < 1e-10
    assert np.abs(ours).max() > 1e-4


@pytest.mark.parametrize(
    ("name", "kind"), [*((name, "scoring") for name in PLAIN), ("ppo@grpo", "generate"), ("gspo", "generate")]
)
def test_many_micro_batches_give_the_gradient_of_one(name: str, kind: str) -> None:
    policy, batch = policy_and_batch(kind)
    policy.freeze_reference()
    moved(policy)
    how = settings(name, params=PLAIN[name][1], kl_weight=0.3, entropy_weight=0.2)
    one = gradient_of(policy, batch, replace(how, micro_tokens=10**6))
    for tokens in (1, 150):
        assert apart(one, gradient_of(policy, batch, replace(how, micro_tokens=tokens))) < 1e-10
    parts = micro_batches_of(policy, *pairs(batch), 150)
    assert 1 < len(parts) < batch.steps


def pairs(batch: Batch) -> tuple[list[Prompt], list[Response]]:
    return [r.prompt for r in batch.records], [r.response for r in batch.records]


def moved(policy, size: float = 0.01) -> None:
    """Walk away from the reference."""
    rng = np.random.default_rng(5)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter += size * torch.from_numpy(rng.normal(size=tuple(parameter.shape)))


def test_penalty_and_bonus_are_autograds_own() -> None:
    policy, batch = policy_and_batch("scoring")
    policy.freeze_reference()
    moved(policy)
    reference = policy.reference(*pairs(batch)).log_prob

    def whole(log_prob, entropy, batch):
        weight = torch.from_numpy(batch.weight)
        d = log_prob - reference
        extra = 0.7 * (torch.exp(-d) + d - 1) - 0.4 * entropy
        return PLAIN["ppo"][0](log_prob, entropy, batch) + (weight * extra).sum() / weight.sum()

    how = settings("ppo", kl_weight=0.7, entropy_weight=0.4)
    truth = by_autograd(policy, batch, whole)
    assert apart(gradient_of(policy, batch, how), truth) < 1e-10
    # Broken twins: without the penalty, without the bonus, with the bonus as a cost.
    for wrong in (replace(how, kl_weight=0.0), replace(how, entropy_weight=0.0), replace(how, entropy_weight=-0.4)):
        assert apart(gradient_of(policy, batch, wrong), truth) > 1e-3


def test_what_is_told_is_what_was_done() -> None:
    policy, batch = policy_and_batch("scoring")
    policy.freeze_reference()
    moved(policy)
    log_prob, entropy = (x.detach() for x in _both(policy, batch))
    d = (log_prob - policy.reference(*pairs(batch)).log_prob).numpy()
    how = settings("ppo", kl_weight=0.7, grad_clip=0.01)
    truth = gradient_of(policy, batch, replace(how, grad_clip=1e12))
    before = flat(policy)
    told = improve(policy, torch.optim.SGD(policy.parameters(), lr=1.0), batch, how, seed=0)
    assert told["steps_made"] == 1
    assert told["loss"] == pytest.approx(float(PLAIN["ppo"][0](log_prob, entropy, batch)), rel=1e-12)
    assert told["kl"] == pytest.approx(float(np.average(np.exp(-d) + d - 1, weights=batch.weight)), rel=1e-9)
    assert told["entropy"] == pytest.approx(float(entropy.mean()), rel=1e-12)
    assert told["grad_norm"] == pytest.approx(float(np.linalg.norm(truth)), rel=1e-6)
    assert np.linalg.norm(before - flat(policy)) == pytest.approx(0.01, rel=1e-3)


def _both(policy, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    scored = policy.score(*pairs(batch))
    return scored.log_prob, scored.entropy


# --- broken twins of the gradient check -------------------------------------------------------------------------------


def shifted(batch: Batch) -> Batch:
    return replace(batch, advantage=np.roll(batch.advantage, 1))


def misaligned(batch: Batch) -> Batch:
    """Tokens told to belong to the step after theirs."""
    return replace(batch, records=[*batch.records[1:], batch.records[0]])


def unweighted(batch: Batch) -> Batch:
    return replace(batch, weight=np.ones_like(batch.weight))


def stale(batch: Batch) -> Batch:
    return replace(batch, old=np.roll(batch.old, 1))


@pytest.mark.parametrize("wrong", [shifted, misaligned, unweighted, stale])
def test_the_check_sees_a_wrong_batch(wrong) -> None:
    policy, batch = unmoved("scoring")
    truth = by_autograd(policy, batch, PLAIN["ppo"][0])
    assert apart(gradient_of(policy, wrong(batch), settings("ppo")), truth) > 1e-3


def test_the_check_sees_tokens_in_the_order_of_micro_batches() -> None:
    """Broken twin: micro-batches sorted by length, with their numbers written down in that order."""
    policy, batch = unmoved("generate")
    how = settings("ppo", micro_tokens=60)
    truth = gradient_of(policy, batch, how)
    true = step_module._tokens_of
    wrong = mock.patch.object(step_module, "_tokens_of", lambda batch, steps: true(batch, steps)[::-1].copy())
    with wrong:
        assert apart(gradient_of(policy, batch, how), truth) > 1e-3


def test_the_check_sees_a_loss_taken_by_micro_batch() -> None:
    """Broken twin: each micro-batch with a loss of its own, which no mean over the batch is."""
    policy, batch = unmoved("scoring")
    how = settings("gspo", params=PLAIN["gspo"][1])
    parts = micro_batches_of(policy, *pairs(batch), 150)
    wrong = np.mean([gradient_of(policy, batch.take(part), how) for part in parts], axis=0)
    assert apart(wrong, gradient_of(policy, batch, how)) > 1e-3


# --- batches ----------------------------------------------------------------------------------------------------------


def answered(counts: list[int], unknown: int = 0) -> tuple[Rollouts, Records]:
    """Two trajectories, of 3 and 2 rows; row i's answer has counts[i] tokens, all of them 10 * i."""
    records, seen = Records(), Observation("", "", (), "")
    for i, count in enumerate(counts):
        said = Response("", "", np.full(count, 10 * i), -np.arange(1.0, count + 1) - i, 0.0)
        records.add(Record("t", -1, Stream(0, i, 0), seen, Prompt(str(i), ()), said, Outcome(seen, 0.0, True, False)))
    rows = Rollouts.flat(
        offsets=np.array([0, 3, 5]), group=np.zeros(2, int), batch=np.zeros(2, int), reward=np.arange(5.0),
        observation=np.arange(5), action=np.zeros(5, int),
        columns={"record": np.arange(5), "weight": np.array([1.0, 0.0, 2.0, 1.0, 1.0]), "clip_scale": np.arange(5.0)},
    )  # fmt: skip
    return rows, records


def test_a_batch_holds_rows_of_weight_with_their_tokens() -> None:
    rows, records = answered([2, 4, 1, 3, 2])
    credit = {"advantage": np.array([1.0, 99.0, -2.0, 3.0, 4.0])}
    batch = make_batch(rows, credit, records, LOSSES.bind("turn_clip"))
    assert [r.prompt.text for r in batch.records] == ["0", "2", "3", "4"]
    assert batch.token_step.tolist() == [0, 0, 1, 2, 2, 2, 3, 3]
    assert batch.advantage.tolist() == [1, 1, -2, 3, 3, 3, 4, 4]
    assert batch.weight.tolist() == [1, 1, 2, 1, 1, 1, 1, 1]
    assert batch.columns["clip_scale"].tolist() == [0, 0, 2, 3, 3, 3, 4, 4]
    assert batch.columns["step"].tolist() == [0, 0, 2, 0, 0, 0, 1, 1]
    assert batch.old.tolist() == [-1, -2, -3, -4, -5, -6, -5, -6]
    assert batch.offsets.tolist() == [0, 2, 3, 6, 8]
    whole = make_batch(rows, credit, records, LOSSES.bind("ppo"), sequences="trajectory")
    assert whole.unit.tolist() == [0, 0, 1, 1] and whole.offsets.tolist() == [0, 3, 8]
    part = whole.take(np.array([1, 3]))
    assert [r.prompt.text for r in part.records] == ["2", "4"]
    assert part.token_step.tolist() == [0, 1, 1] and part.unit.tolist() == [0, 1]
    assert part.offsets.tolist() == [0, 1, 3] and part.advantage.tolist() == [-2, 4, 4]
    assert part.old.tolist() == [-3, -5, -6]


def test_a_batch_takes_the_estimators_column_before_the_rollouts() -> None:
    rows, records = answered([1, 1, 1, 1, 1])
    credit = {"advantage": np.ones(5), "clip_scale": np.full(5, 7.0)}
    assert make_batch(rows, credit, records, LOSSES.bind("turn_clip")).columns["clip_scale"].tolist() == [7.0] * 4
    with pytest.raises(MissingColumnError, match="blend"):
        make_batch(rows, credit, records, LOSSES.bind("blended"))
    with pytest.raises(InputError, match="sequences"):
        make_batch(rows, credit, records, LOSSES.bind("ppo"), sequences="token")


def test_an_empty_batch_makes_no_step() -> None:
    rows, records = answered([1, 1, 1, 1, 1])
    none = make_batch(rows.with_columns(weight=np.zeros(5)), {"advantage": np.ones(5)}, records, LOSSES.bind("ppo"))
    policy, _ = policy_and_batch("scoring", 1)
    before = flat(policy)
    told = improve(policy, torch.optim.SGD(policy.parameters(), lr=1.0), none, settings("ppo"), seed=0)
    assert told == {"steps_made": 0.0} and (flat(policy) == before).all()


@pytest.mark.parametrize("tokens", [1, 30, 64, 10**6])
def test_micro_batches_hold_every_step_once_within_the_budget(tokens: int) -> None:
    policy, batch = policy_and_batch("scoring", 17)
    count = policy.count_tokens(*pairs(batch))
    parts = micro_batches_of(policy, *pairs(batch), tokens)
    assert sorted(np.concatenate(parts).tolist()) == list(range(17))
    for part in parts:
        assert (np.diff(part) > 0).all()
        assert len(part) == 1 or len(part) * count[part].max() <= tokens


def test_minibatches_by_number_and_by_size() -> None:
    policy, batch = policy_and_batch("scoring", 12, per_unit=1)
    for how, steps in (
        (settings("ppo", minibatches=3, epochs=2), 6),
        (settings("ppo", minibatch_steps=5), 3),
        (settings("ppo", minibatch_steps=100), 1),
        (settings("ppo", minibatches=50), 12),
    ):
        told = improve(policy, torch.optim.SGD(policy.parameters(), lr=0.0), batch, how, seed=1)
        assert told["steps_made"] == steps
    parts = step_module._minibatches(batch, 3, 7)
    asked = [record.prompt.text + record.response.action for part in parts for record in part.records]
    assert sorted(asked) == sorted(r.prompt.text + r.response.action for r in batch.records)
    assert [part.steps for part in parts] == [4, 4, 4]


# --- numbers that are not finite --------------------------------------------------------------------------------------


@pytest.mark.parametrize("tokens", [1, 10**6])
def test_a_gradient_that_is_not_finite_moves_nothing(tokens: int) -> None:
    policy, batch = policy_and_batch("scoring")
    optimiser = torch.optim.AdamW(policy.parameters(), lr=0.1)
    before = flat(policy)
    bad = replace(batch, advantage=np.where(np.arange(batch.old.size) == 3, np.nan, batch.advantage))
    with pytest.raises(NumericalError, match="not finite"):
        improve(policy, optimiser, bad, settings("ppo", micro_tokens=tokens), seed=0)
    assert (flat(policy) == before).all() and not optimiser.state
    assert all(parameter.grad is None for parameter in policy.parameters())


# --- the tables -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", ["ppo", "ppo@grpo", "gspo", "reinforce", "sequence_ppo"])
@pytest.mark.parametrize("epochs", [1, 3])
def test_a_table_told_in_words_moves_as_the_table(loss: str, epochs: int) -> None:
    table, words, rows, advantage, records = _twins()
    state = {"seed": 3, "replicate": np.zeros(1, np.int64)}
    # The length of a step is theirs; a second epoch sees ratios other than 1.
    how = {"epochs": epochs, "kl_weight": 0.0, "entropy_weight": 0.1}
    after, _ = surrogate(
        table, rows, {"advantage": advantage}, state, loss=loss, optimiser="sgd", learning_rate=0.5, **how
    )
    batch = make_batch(rows, {"advantage": advantage}, records, LOSSES.bind(loss), sequences="trajectory")
    optimiser = torch.optim.SGD(words.parameters(), lr=0.5)
    improve(words, optimiser, batch, settings(loss, **how), seed=0)  # type: ignore[arg-type]
    assert apart(after.theta[0], flat(words)) < 1e-12
    assert apart(after.theta[0], table.theta[0]) > 1e-3
    # Broken twin: credit of the row before.
    _, other, *_ = _twins()
    wrong = replace(batch, advantage=np.roll(batch.advantage, 1))
    improve(other, torch.optim.SGD(other.parameters(), lr=0.5), wrong, settings(loss, **how), seed=0)  # type: ignore[arg-type]
    assert apart(after.theta[0], flat(other)) > 1e-3


def _twins() -> tuple[TablePolicy, TablePolicyInWords, Rollouts, np.ndarray, Records]:
    mdp, rng = make("chain@tiny"), np.random.default_rng(0)
    theta = rng.normal(size=(mdp.n_contexts, mdp.n_actions))
    table = TablePolicy(SoftmaxPolicy(theta.reshape(1, -1), mdp.n_actions), mdp)
    length = rng.integers(1, 5, 6)
    m = int(length.sum())
    state, action = rng.integers(0, 3, m), rng.integers(0, 2, m)
    rows = Rollouts.flat(
        offsets=np.concatenate([[0], np.cumsum(length)]), group=np.zeros(6, int), batch=np.zeros(6, int),
        reward=np.zeros(m), observation=state, action=action, columns={"state": state, "record": np.arange(m)},
    )  # fmt: skip
    rows = rows.with_columns(log_prob=table.log_prob(rows))
    records, seen = Records(), Observation("", "", (), "")
    for i in range(m):
        prompt = Prompt(str(int(mdp.context[state[i]])), ("0", "1"))
        said = Response("", "", np.array([action[i]]), rows.columns["log_prob"][i : i + 1], 0.0)
        records.add(Record("t", -1, Stream(0, i, 0), seen, prompt, said, Outcome(seen, 0.0, True, False)))
    return table, TablePolicyInWords(theta), rows, rng.normal(size=m), records
