"""Exact and sampled rules of softmax tables, and the sequential turn order, against what they say they do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from creditsim.errors import InputError
from creditsim.exact import enumerate_trajectories, objective, policy_gradient, solve
from creditsim.mdp import SoftmaxPolicy, TabularMDP, make, with_time
from creditsim.mdp.rows import TablePolicy
from creditsim.planning_tables import planning_tables, policy_values, turn_of_state
from creditsim.rollouts import Rollouts
from creditsim.updates import UPDATES
from creditsim.updates.sequential import sequential
from creditsim.updates.tabular import TABLES, best_response, mirror, natural
from creditsim.updates.turn_order import turn_order

NOTHING = Rollouts.flat(offsets=np.array([0, 1]), group=np.array([0]), reward=np.zeros(1))


def state_of(mdp: TabularMDP, replicates: int = 1, seed: int = 0) -> dict[str, Any]:
    tables = planning_tables(mdp)
    state = {name: tables[name]() for name in TABLES if name in tables}
    return {**state, "context_of_state": mdp.context, "seed": seed, "replicate": np.arange(replicates)}


def learner(mdp: TabularMDP, replicates: int = 2, seed: int = 1) -> TablePolicy:
    return TablePolicy(SoftmaxPolicy.random(mdp, seed, replicates=replicates), mdp)


def expected_batch(policy: TablePolicy, copies: int = 1) -> tuple[Rollouts, np.ndarray]:
    """Every trajectory once (for each of `copies` replicates), its chance as weight, and its return (M,)."""
    parts, weights = [], []
    for replicate in range(copies):
        law = enumerate_trajectories(policy.mdp, policy.table[replicate])
        parts.append(law.rollouts)
        weights.append(law.probability[law.rollouts.trajectory] * law.rollouts.n_trajectories)
    r = parts[0]
    offsets = np.concatenate([p.offsets[:-1] + i * r.n_rows for i, p in enumerate(parts)] + [[r.n_rows * copies]])
    flat = Rollouts.flat(
        offsets=offsets, group=np.repeat(np.arange(copies), r.n_trajectories),
        batch=np.repeat(np.arange(copies), r.n_trajectories),
        reward=np.concatenate([p.reward for p in parts]), action=np.concatenate([p.action for p in parts]),
        step=np.concatenate([p.step for p in parts]),
        columns={name: np.concatenate([p.columns[name] for p in parts]) for name in ("state", "context")},
    )  # fmt: skip
    total = np.bincount(flat.trajectory, flat.reward)[flat.trajectory]
    return flat.with_columns(weight=np.concatenate(weights)), total


# --- Tables ---------------------------------------------------------------------------------------------------------


def test_turn_of_state_tells_steps_ends_and_states_that_recur() -> None:
    game = make("turns", turns=3, actions=2)
    assert turn_of_state(game).tolist() == [0, 1, 1, 2, 2, 2, 2, -1]
    loop = make("loop@tiny")
    assert -2 in turn_of_state(loop)
    tokens = make("tokens@tiny")
    timed = turn_of_state(with_time(tokens))
    assert timed.min() == -1 and timed.max() == tokens.horizon - 1


def test_policy_values_are_those_of_the_solver() -> None:
    mdp = make("turns", turns=2, actions=3, parameters="aliased", seed=4)
    pi = learner(mdp, 2).table
    q, mass = policy_values(mdp, pi)
    for r in range(2):
        solution = solve(mdp, pi[r])
        np.testing.assert_allclose(mass[r][:-1], solution.occupancy.sum(axis=0)[:-1], atol=1e-14)
        np.testing.assert_allclose(q[r, 0], solution.q[2, 0], atol=1e-14)
        np.testing.assert_allclose(q[r, 1:4], solution.q[1, 1:4], atol=1e-14)
    # The mass is what the gradient weighs a state with: sum_a mass pi A d log pi = dJ/dtheta.
    policy = learner(mdp, 1)
    q, mass = policy_values(mdp, policy.table)
    advantage = q - (policy.table * q).sum(axis=-1, keepdims=True)
    weight = np.where(mdp.terminal[:, None], 0.0, mass[:, :, None] * policy.table * advantage)
    np.testing.assert_allclose(policy.policy.pullback(mdp, weight), policy_gradient(mdp, policy.policy), atol=1e-14)


# --- Exact rules ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("parameters", ["separate", "aliased", "shared"])
def test_natural_step_is_the_gradient_over_the_fisher_matrix(parameters: str) -> None:
    mdp = make("turns", turns=2, actions=3, parameters=parameters, seed=2)
    policy = learner(mdp, 1)
    moved, _ = natural(policy, NOTHING, {}, state_of(mdp), learning_rate=0.7)
    assert isinstance(moved, TablePolicy)
    # F = E[sum_t S S^T] by enumeration; F (theta' - theta) = lr dJ/dtheta.
    batch, _ = expected_batch(policy)
    n = batch.n_rows
    score = np.stack([policy.pullback(batch, np.eye(n)[i])[0] for i in range(n)])
    fisher = score.T @ (score * (batch.columns["weight"] / batch.n_trajectories)[:, None])
    step = (moved.theta - policy.theta)[0]
    np.testing.assert_allclose(fisher @ step, 0.7 * policy_gradient(mdp, policy.policy)[0], atol=1e-12)
    # Broken twin: the plain gradient is no natural step.
    assert not np.allclose(fisher @ policy_gradient(mdp, policy.policy)[0], policy_gradient(mdp, policy.policy)[0])


def test_natural_step_by_hand_with_entropy_and_kl() -> None:
    mdp = make("turns", turns=1, actions=3, leaves=(0.1, 0.5, 0.3))
    policy, reference = learner(mdp, 1, seed=3), learner(mdp, 1, seed=4)
    state = {**state_of(mdp), "reference_theta": reference.theta}
    moved, after = natural(policy, NOTHING, {}, state, learning_rate=0.5, entropy_weight=0.4, kl_weight=0.6)
    assert isinstance(moved, TablePolicy) and after["reference_theta"] is reference.theta
    pi, ref = policy.table[0, 0], reference.table[0, 0]
    want = pi**0.5 * ref**0.3 * np.exp(0.5 * np.array([0.1, 0.5, 0.3]))
    np.testing.assert_allclose(moved.table[0, 0], want / want.sum(), atol=1e-14)
    # Many steps with the bonus end at softmax(r / tau).
    for _ in range(200):
        policy, _ = natural(policy, NOTHING, {}, state_of(mdp), learning_rate=0.5, entropy_weight=0.4)
    want = np.exp(np.array([0.1, 0.5, 0.3]) / 0.4)
    assert isinstance(policy, TablePolicy)
    np.testing.assert_allclose(policy.table[0, 0], want / want.sum(), atol=1e-12)


def test_reach_weighs_the_step_with_the_chance_of_the_context() -> None:
    mdp = make("turns", turns=2, actions=2, seed=5)
    policy = learner(mdp, 2)
    whole, _ = natural(policy, NOTHING, {}, state_of(mdp, 2), learning_rate=1.0)
    weighed, _ = natural(policy, NOTHING, {}, state_of(mdp, 2), learning_rate=1.0, reach=True)
    mass = policy_values(mdp, policy.table)[1]
    step = (whole.theta - policy.theta).reshape(2, -1, 2) * mass[:, :, None]
    np.testing.assert_allclose((weighed.theta - policy.theta).reshape(2, -1, 2), step, atol=1e-14)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_reverse_best_response_is_backward_induction_and_forward_is_not_always(seed: int) -> None:
    mdp = make("turns", turns=3, actions=3, seed=seed)
    policy = learner(mdp, 3)
    best = float(mdp.reward.max())
    moved, _ = best_response(policy, NOTHING, {}, state_of(mdp, 3), order="reverse")
    assert isinstance(moved, TablePolicy)
    np.testing.assert_allclose(objective(mdp, moved.table), best, atol=1e-14)
    forward, _ = best_response(policy, NOTHING, {}, state_of(mdp, 3), order="forward")
    assert isinstance(forward, TablePolicy)
    got = objective(mdp, forward.table)
    assert (got >= objective(mdp, policy.table) - 1e-14).all()
    if seed == 0:
        assert got.min() < best - 1e-3


def test_the_smallest_game_in_which_turns_undo_each_other() -> None:
    mdp = make("turns", turns=2, actions=2, parameters="aliased", leaves=(0.0, 1.0, 1.0, 0.0))
    policy = TablePolicy(SoftmaxPolicy.from_probabilities(mdp, np.tile([0.6, 0.4], (1, mdp.n_contexts, 1))), mdp)
    assert objective(mdp, policy.table)[0] == pytest.approx(0.48, abs=1e-15)
    ends = {}
    for order in ("simultaneous", "reverse", "forward", "random"):
        moved, _ = UPDATES.bind("best_response", order=order)(policy, NOTHING, {}, state_of(mdp))
        ends[order] = objective(mdp, moved.table)[0]
    assert ends == {"simultaneous": 0.0, "reverse": 1.0, "forward": 1.0, "random": 1.0}


def test_contexts_that_are_not_met_keep_their_policy() -> None:
    mdp = make("turns", turns=2, actions=2, seed=1)
    policy = learner(mdp, 1)
    first, _ = best_response(policy, NOTHING, {}, state_of(mdp), order="forward")
    changed = (first.theta != policy.theta).reshape(-1, 2).any(axis=1)
    assert changed[:3].sum() == 2  # the root, and the one history that its best response leads to


def test_exact_rules_refuse_what_they_cannot_do() -> None:
    loop = make("loop@tiny")
    with pytest.raises(InputError, match=r"states that are met at several steps, allowed .*with_time"):
        best_response(learner(loop, 1), NOTHING, {}, state_of(loop))
    natural(learner(loop, 1), NOTHING, {}, state_of(loop))  # all at once needs no turns
    game = make("turns@tiny")
    with pytest.raises(InputError, match=r"learning_rate \* \(entropy_weight \+ kl_weight\): got 2"):
        natural(learner(game, 1), NOTHING, {}, state_of(game), learning_rate=2.0, entropy_weight=1.0)
    with pytest.raises(InputError, match="a softmax table"):
        natural(learner(make("turns", turns=1, actions=3), 1), NOTHING, {}, state_of(game))
    with pytest.raises(InputError, match="order"):
        natural(learner(game, 1), NOTHING, {}, state_of(game), order="backward")  # type: ignore[arg-type]


def test_orders() -> None:
    state = {"seed": 3, "replicate": np.arange(200)}
    assert turn_order("reverse", 3, 2, state).tolist() == [[2, 1, 0]] * 2
    assert turn_order("forward", 3, 2, state).tolist() == turn_order("simultaneous", 3, 2, state).tolist()
    mixed = turn_order("random", 3, 200, state)
    assert (np.sort(mixed, axis=1) == np.arange(3)).all() and len(np.unique(mixed, axis=0)) == 6
    # A replicate's order depends on its number, not on its place.
    other = turn_order("random", 3, 2, {"seed": 3, "replicate": np.array([7, 5])})
    assert np.array_equal(other, mixed[[7, 5]])


def test_mirror_on_the_expected_batch_is_the_natural_step() -> None:
    mdp = make("turns", turns=2, actions=3, seed=6)
    policy = learner(mdp, 2)
    batch, _ = expected_batch(policy, 2)
    batch = batch.with_columns(step=batch.step)
    exact = np.zeros(batch.n_rows)
    for r in range(2):
        rows = batch.batch_rows == r
        exact[rows] = solve(mdp, policy.table[r]).row_advantage(batch)[rows]
    state = {"allowed_action": mdp.mask, "context_of_state": mdp.context}
    shrinks: list[dict[str, Any]] = [{}, {"entropy_weight": 0.3, "kl_weight": 0.2}]
    for shrink in shrinks:
        moved, _ = mirror(policy, batch, {"advantage": exact}, state, learning_rate=0.8, **shrink)
        want, _ = natural(policy, NOTHING, {}, state_of(mdp, 2), learning_rate=0.8, **shrink)
        np.testing.assert_allclose(
            moved.table if isinstance(moved, TablePolicy) else 0, want.table if isinstance(want, TablePolicy) else 1,
            atol=1e-12,
        )  # fmt: skip
    still, _ = mirror(policy, batch, {"advantage": 0.0 * exact}, state)
    assert np.array_equal(still.theta, policy.theta)


# --- The sequential order -------------------------------------------------------------------------------------------


def test_one_step_of_all_turns_at_once_is_the_policy_gradient() -> None:
    for parameters in ("separate", "aliased", "shared"):
        mdp = make("turns", turns=2, actions=3, parameters=parameters, seed=7)
        policy = learner(mdp, 1)
        batch, total = expected_batch(policy)
        moved, _ = sequential(
            policy, batch, {"advantage": total}, {}, order="simultaneous", optimiser="sgd", learning_rate=0.3
        )
        exact = policy_gradient(mdp, policy.policy)
        np.testing.assert_allclose(moved.theta - policy.theta, 0.3 * exact, atol=1e-12)


@pytest.mark.parametrize("order", ["reverse", "forward"])
def test_each_turn_climbs_the_return_of_the_policy_that_the_others_have_become(order: str) -> None:
    # On the expected batch the corrected gradient of a turn is the exact one at the policy as it is by then.
    mdp = make("turns", turns=3, actions=2, seed=8)
    policy = learner(mdp, 1)
    batch, total = expected_batch(policy)
    rule = UPDATES.bind("sequential", order=order, optimiser="sgd", learning_rate=2.0)
    moved, _ = rule(policy, batch, {"advantage": total}, {})
    want = policy
    turn = np.append(turn_of_state(mdp)[:-1], -1)
    for t in (2, 1, 0) if order == "reverse" else (0, 1, 2):
        gradient = policy_gradient(mdp, want.policy).reshape(-1, 2)
        step = np.where((turn == t)[:, None], gradient, 0.0).reshape(1, -1)
        want = want.with_theta(want.theta + 2.0 * step)
    np.testing.assert_allclose(moved.theta, want.theta, atol=1e-12)
    # Broken twin: without the correction the later gradients are those of the old policy.
    plain, _ = UPDATES.bind("sequential", order="simultaneous", optimiser="sgd", learning_rate=2.0)(
        policy, batch, {"advantage": total}, {}
    )
    assert not np.allclose(plain.theta, want.theta, atol=1e-6)


def test_references_differ_only_where_turns_share_parameters() -> None:
    for parameters, same in (("separate", True), ("aliased", True), ("shared", False)):
        mdp = make("turns", turns=3, actions=2, parameters=parameters, seed=9)
        policy = learner(mdp, 1)
        batch, total = expected_batch(policy)
        theta = [
            UPDATES.bind("sequential", ratio_ref=ref, optimiser="sgd", learning_rate=1.0)(
                policy, batch, {"advantage": total}, {}
            )[0].theta
            for ref in ("iteration", "previous_turn")
        ]
        assert np.allclose(*theta, atol=1e-12) == same


def test_clips_of_factor_and_product() -> None:
    mdp = make("turns", turns=3, actions=2, seed=10)
    policy = learner(mdp, 1)
    batch, total = expected_batch(policy)

    def moved(**params: Any) -> np.ndarray:
        rule = UPDATES.bind("sequential", optimiser="sgd", learning_rate=3.0, **params)
        return rule(policy, batch, {"advantage": total}, {})[0].theta

    free, wide, tight = moved(), moved(factor_clip=0.99e9, product_clip=0.99e9), moved(factor_clip=1e-12)
    at_once = moved(order="simultaneous")
    np.testing.assert_allclose(free, wide, atol=0)
    np.testing.assert_allclose(tight, at_once, atol=1e-9)  # a factor of 1 is no correction
    assert not np.allclose(moved(factor_clip=0.2), moved(factor_clip=0.2, product_clip=0.05))
    assert not np.allclose(free, moved(product_clip=0.2))


def test_the_surrogate_is_clipped_and_later_epochs_see_it() -> None:
    mdp = make("turns", turns=1, actions=2, leaves=(0.0, 1.0))
    policy = TablePolicy(SoftmaxPolicy.uniform(mdp, 1), mdp)
    batch, total = expected_batch(policy)
    rule = UPDATES.bind("sequential", optimiser="sgd", learning_rate=0.05, epochs=500)
    moved, _ = rule(policy, batch, {"advantage": total - 0.5}, {})
    ratio = moved.table[0, 0] / 0.5
    # The clip stops the climb at the first step past 1.2 and 0.8; one step is at most 0.05 * 0.25 in the logits.
    assert 1.2 <= ratio[1] < 1.21 and 0.79 < ratio[0] <= 0.8
    free, _ = UPDATES.bind(
        "sequential", optimiser="sgd", learning_rate=0.05, epochs=500, clip_low=0.999, clip_high=9.0
    )(policy, batch, {"advantage": total - 0.5}, {})
    assert free.table[0, 0, 1] > 0.9


def test_padding_turns_of_weight_zero_change_nothing() -> None:
    mdp = make("turns", turns=3, actions=2, seed=11)
    policy = learner(mdp, 1)
    batch, total = expected_batch(policy)
    short = batch.columns["weight"] * ((batch.step < 2) | (batch.trajectory % 2 == 0))
    masked = batch.with_columns(weight=short)
    noise = np.where(short > 0, total, 99.0)
    one, _ = sequential(policy, masked, {"advantage": noise}, {}, optimiser="sgd")
    other = masked.with_columns(action=np.where(short > 0, batch.action, 1 - batch.action))
    two, _ = sequential(policy, other, {"advantage": noise}, {}, optimiser="sgd")
    np.testing.assert_allclose(one.theta, two.theta, atol=1e-14)
    whole, _ = sequential(policy, batch, {"advantage": total}, {}, optimiser="sgd")
    assert not np.allclose(one.theta, whole.theta)


def test_geometric_mean_divides_by_the_tokens_of_a_turn() -> None:
    mdp = make("turns", turns=2, actions=2, seed=12)
    policy = learner(mdp, 1)
    batch, total = expected_batch(policy)
    rows = batch.with_columns(tokens=np.full(batch.n_rows, 4))
    rule = UPDATES.bind("sequential", order="simultaneous", ratio="geometric", optimiser="sgd", learning_rate=1.0)
    plain = rule(policy, batch, {"advantage": total}, {})[0].theta - policy.theta
    four = rule(policy, rows, {"advantage": total}, {})[0].theta - policy.theta
    np.testing.assert_allclose(4.0 * four, plain, atol=1e-14)


def test_replicates_do_not_see_each_other_and_kl_and_entropy_pull() -> None:
    mdp = make("turns", turns=2, actions=2, seed=13)
    policy = learner(mdp, 2)
    batch, total = expected_batch(policy, 2)
    moved, _ = sequential(
        policy, batch, {"advantage": np.where(batch.batch_rows == 0, total, 0.0)}, {}, optimiser="sgd"
    )
    assert np.array_equal(moved.theta[1], policy.theta[1]) and not np.array_equal(moved.theta[0], policy.theta[0])
    nothing = {"advantage": np.zeros(batch.n_rows)}
    flat, _ = sequential(policy, batch, nothing, {}, optimiser="sgd", learning_rate=1.0, entropy_weight=1.0)
    assert isinstance(flat, TablePolicy)
    assert (flat.entropy(batch).mean()) > policy.entropy(batch).mean()
    anchor = policy.theta + np.random.default_rng(0).normal(size=policy.theta.shape)
    back, _ = sequential(
        policy, batch, nothing, {"reference_theta": anchor}, optimiser="sgd", learning_rate=0.5, kl_weight=1.0, kl="k2"
    )
    reference = policy.with_theta(anchor)

    def divergence(of: Any) -> float:
        weight = batch.columns["weight"] / batch.n_trajectories
        return float(weight @ (of.log_prob(batch) - reference.log_prob(batch)) ** 2)

    assert divergence(back) < divergence(policy)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"clip_low": 0.0}, "clip_low: got 0.0, allowed a number > 0"),
        ({"product_clip": -0.1}, "product_clip"),
        ({"epochs": 0}, "epochs: got 0"),
        ({"ratio": "token"}, "ratio"),
        ({"ratio_ref": "theta"}, "ratio_ref"),
        ({"order": "backwards"}, "order"),
    ],
)
def test_sequential_refuses_bad_numbers_in_one_line(params: dict[str, Any], message: str) -> None:
    policy = learner(make("turns@tiny"), 1)
    batch, total = expected_batch(policy)
    with pytest.raises(InputError, match=message) as error:
        UPDATES.bind("sequential", **params)(policy, batch, {"advantage": total}, {})
    assert "\n" not in str(error.value)


def test_sequential_refuses_a_tree() -> None:
    policy = learner(make("turns@tiny"), 1)
    tree = Rollouts.flat(
        offsets=np.array([0, 2, 3]), group=np.zeros(2, int), parent=np.array([-1, 0]), reward=np.zeros(3)
    )
    with pytest.raises(InputError, match=r"paths\(\)"):
        sequential(policy, tree, {"advantage": np.zeros(3)}, {})
