"""Policies at the edges: ties, one command, full contexts, odd texts, greed by a plain loop, numbers that are none."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from policy_cases import COMMANDS, TEXTS, generating, plain_law, plain_logits, prompts, scoring, streams

from creditsim.errors import InputError, NumericalError
from llm_bridge.policies.base import Prompt, Stream
from llm_bridge.policies.generate import GeneratePolicy
from llm_bridge.policies.language_model import micro_batches
from llm_bridge.policies.plain import LookupPolicy, OraclePolicy, RandomPolicy
from llm_bridge.policies.scoring import ScoringPolicy
from llm_bridge.policies.trie import build_trie

SCORING = scoring("float64")
WRITING = generating("float64", max_new_tokens=10)
ODD = ("", " ", "<b>&amp;</b>", "看 看", "\x00\n\t", "👩\u200d🚀 go", "a" * 40, "<|end|>", "<action>", "İ")


def law(policy: ScoringPolicy, prompt: Prompt) -> np.ndarray:
    with torch.no_grad():
        return policy.laws([prompt])[0].numpy()


# --- choosing ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ODD)
def test_any_prompt_and_any_command_has_the_plain_likelihood(text: str) -> None:
    for prompt in (Prompt(text, COMMANDS[:4]), Prompt(TEXTS[0], (text, "look", f"{text} {text}"))):
        assert law(SCORING, prompt) == pytest.approx(plain_law(SCORING, prompt), abs=1e-9)


def test_a_prompt_that_is_cut_would_have_another_law() -> None:
    prompt = Prompt(TEXTS[3] * 3, COMMANDS)
    assert law(SCORING, prompt) != pytest.approx(plain_law(SCORING, replace(prompt, text=TEXTS[3] * 2)), abs=1e-3)


def test_one_command_is_certain() -> None:
    for draw in range(5):
        (said,) = SCORING.act([Prompt(TEXTS[0], ("look",))], [Stream(draw, 0, 0)])
        assert (said.action, said.log_probs.tolist(), said.entropy) == ("look", [0.0], 0.0)


def test_equal_commands_tie_and_greed_takes_the_first() -> None:
    """A command listed three times has three equal shares; the greedy choice is the first of the likeliest."""
    prompt = Prompt(TEXTS[1], ("look", "go north", "look", "look"))
    shares = np.exp(law(SCORING, prompt))
    assert shares[0] == shares[2] == shares[3] and shares.sum() == pytest.approx(1.0, abs=1e-12)
    only = Prompt(TEXTS[1], ("look", "look"))
    said = SCORING.act([only] * 40, streams(40, seed=3))
    assert all(one.log_probs[0] == pytest.approx(np.log(0.5), abs=1e-12) for one in said)
    assert len({int(one.tokens[0]) for one in said}) == 2, "both shares are drawn"
    assert [int(one.tokens[0]) for one in SCORING.act([only] * 3, streams(3), greedy=True)] == [0, 0, 0]


def test_greed_is_the_most_likely_of_the_plain_law_whatever_the_stream() -> None:
    asked = prompts(12)
    best = [prompt.admissible[int(np.argmax(plain_law(SCORING, prompt)))] for prompt in asked]
    for seed in (1, 2):
        assert [one.action for one in SCORING.act(asked, streams(12, seed=seed), greedy=True)] == best
    cold = ScoringPolicy(SCORING.language, temperature=1e-3)
    assert [one.action for one in cold.act(asked, streams(12))] == best, "a low temperature is nearly greed"


@settings(max_examples=8)
@given(tokens=st.integers(1, 2000), order=st.permutations(range(9)))
def test_what_is_said_does_not_depend_on_company(tokens: int, order: list[int]) -> None:
    """Batches of any size and make-up, in any order: the same commands, and likelihoods equal to rounding."""
    asked, drawn = prompts(9), streams(9)
    alone = [SCORING.act([p], [s])[0] for p, s in zip(asked, drawn, strict=True)]
    policy = ScoringPolicy(SCORING.language, batch_tokens=tokens)
    together = policy.act([asked[i] for i in order], [drawn[i] for i in order])
    for i, one in zip(order, together, strict=True):
        assert one.action == alone[i].action
        assert one.log_probs == pytest.approx(alone[i].log_probs, abs=1e-9)


def _filled(policy: ScoringPolicy | GeneratePolicy, tokens: int) -> str:
    """A text of just so many tokens."""
    text = "z" * tokens
    while len(policy.language.encode_prompt(text)) < tokens:
        text += "z"
    while len(policy.language.encode_prompt(text)) > tokens:
        text = text[:-1]
    return text


def test_a_context_is_used_to_the_last_position_and_not_beyond() -> None:
    commands = ("look", "go to drawer 12")
    longest = max(len(SCORING.language.encode(" " + command)) for command in commands)
    full = Prompt(_filled(SCORING, SCORING.language.context - longest), commands)
    assert law(SCORING, full) == pytest.approx(plain_law(SCORING, full), abs=1e-9)
    beyond = replace(full, text=full.text + "z")
    with pytest.raises(InputError, match=r"got 25[78] tokens, allowed at most 256, the model's context"):
        SCORING.act([prompts(1)[0], beyond], streams(2))
    room = WRITING.language.context - WRITING.max_new_tokens
    bucketed = room // WRITING.bucket * WRITING.bucket
    WRITING.act([Prompt(_filled(WRITING, bucketed), ())], streams(1))
    with pytest.raises(InputError, match=r"prompt and answer: got .* the model's context"):
        WRITING.act([Prompt(_filled(WRITING, bucketed + 1), ())], streams(1))


@given(st.lists(st.lists(st.integers(0, 5), min_size=0, max_size=4), min_size=1, max_size=6))
def test_a_tree_holds_each_command_and_shares_every_beginning(commands: list[list[int]]) -> None:
    tree = build_trie(commands, end=9)
    nodes = {tuple(command[: i + 1]) for command in commands for i in range(len(command))}
    assert len(tree.token) == len(nodes)
    for c, command in enumerate(commands):
        walk = tree.path[c, : tree.length[c]]
        assert tree.edge_token[walk].tolist() == [*command, 9]
        assert (np.diff(tree.edge_place) >= 0).all()
    for j in range(len(tree.token)):
        assert tree.sees[j].sum() == tree.depth[j] + 1, "itself and its ancestors"


# --- writing ----------------------------------------------------------------------------------------------------------


def by_hand(policy: GeneratePolicy, prompt: Prompt, choose: Callable[[torch.Tensor, int], int]) -> list[int]:
    """Token by token through plain passes over the whole sequence: no cache, no padding, no batch."""
    start = [int(i) for i in policy.language.encode_prompt(prompt.text)]
    written: list[int] = []
    with torch.no_grad():
        for j in range(policy.max_new_tokens):
            written.append(choose(plain_logits(policy, [*start, *written])[-1], j))
            if written[-1] == policy.language.end:
                break
            if "</action>" in str(policy.language.tokenizer.decode(written)).lower():
                break
    return written


def test_greed_writes_what_a_plain_loop_writes() -> None:
    asked = prompts(10)
    said = WRITING.act(asked, streams(10), greedy=True)
    assert [one.tokens.tolist() for one in said] == [
        by_hand(WRITING, prompt, lambda logits, j: int(logits.argmax())) for prompt in asked
    ]
    assert [one.tokens.tolist() for one in said] != [
        by_hand(WRITING, prompt, lambda logits, j: int(logits.topk(2).indices[1])) for prompt in asked
    ]


def test_greed_over_equal_logits_writes_the_first_token_each_time() -> None:
    """All logits equal: argmax is the least id, and every token has the log-probability of a fair die."""
    policy = generating("float64", max_new_tokens=4)
    with torch.no_grad():
        next(policy.language.head(policy.language.model).parameters()).zero_()
    size = policy.language.model.config.vocab_size
    first, second = (policy.act(prompts(2), streams(2), greedy=True) for _ in range(2))
    for one, again in zip(first, second, strict=True):
        assert one.tokens.tolist() == again.tokens.tolist() and set(one.tokens.tolist()) <= {0, policy.language.end}
        assert one.log_probs == pytest.approx(-np.log(size), abs=1e-9) and one.entropy == pytest.approx(np.log(size))


@pytest.mark.parametrize("text", ODD)
def test_odd_prompts_are_written_to(text: str) -> None:
    (said,) = WRITING.act([Prompt(text, ())], streams(1))
    assert 1 <= len(said.tokens) <= WRITING.max_new_tokens and np.isfinite(said.log_probs).all()
    assert said.action == said.action.strip().lower()
    again = WRITING.score([Prompt(text, ())], [said])
    assert again.log_prob.detach().numpy() == pytest.approx(said.log_probs, abs=1e-9)


@pytest.mark.parametrize("text", ODD)
def test_what_imitation_says_is_read_back(text: str) -> None:
    said = WRITING.answer(Prompt(TEXTS[0], ()), text)
    assert said.tokens.dtype == np.int64 and not said.log_probs.any()
    assert str(WRITING.language.tokenizer.decode(said.tokens)) == said.text


# --- numbers that are none --------------------------------------------------------------------------------------------


def _nan_everywhere(policy: ScoringPolicy | GeneratePolicy) -> None:
    for parameter in policy.parameters():
        parameter.data.fill_(float("nan"))


def _one_infinite(policy: ScoringPolicy | GeneratePolicy) -> None:
    policy.parameters()[-2].data.reshape(-1)[0] = float("inf")


@pytest.mark.parametrize("spoil", [_nan_everywhere, _one_infinite])
@pytest.mark.parametrize("make", [scoring, generating])
@pytest.mark.parametrize("greedy", [True, False])
def test_a_spoilt_model_never_acts_nor_scores(make: Callable, spoil: Callable, greedy: bool) -> None:
    policy = make("float64")
    good = policy.act(prompts(2), streams(2))
    spoil(policy)
    with pytest.raises(NumericalError, match="not finite; the model diverged"):
        policy.act(prompts(2), streams(2), greedy=greedy)
    with pytest.raises(NumericalError, match="not finite"):
        policy.score(prompts(2), good)


# --- policies without a model -----------------------------------------------------------------------------------------


def _frequencies(said: Sequence[str]) -> dict[str, float]:
    return {action: count / len(said) for action, count in Counter(said).items()}


def test_chance_is_fair_and_greed_takes_the_first() -> None:
    """8000 draws over four commands: each count within 5.3 standard deviations (two-sided alpha 1e-6 with 8 tests)."""
    n, names = 8000, ("a", "b", "c", "d")
    asked = [Prompt("", names)] * n
    said = RandomPolicy().act(asked, [Stream(1, i, i % 7) for i in range(n)])
    bound = 5.3 * np.sqrt(0.25 * 0.75 / n)
    assert all(abs(share - 0.25) < bound for share in _frequencies([one.action for one in said]).values())
    assert {float(one.log_probs[0]) for one in said} == {-np.log(4)} and said[0].entropy == pytest.approx(np.log(4))
    assert {one.action for one in RandomPolicy().act(asked[:20], streams(20), greedy=True)} == {"a"}
    crooked = [names[min(int(len(names) * (one / 1.2)), 3)] for one in np.random.default_rng(0).random(n)]
    assert any(abs(share - 0.25) > bound for share in _frequencies(crooked).values()), "the bound refuses a biased die"


def test_a_table_of_laws_is_followed_and_its_gaps_are_named() -> None:
    policy = LookupPolicy({"x": {"a": 3.0, "b": 1.0, "z": 9.0}, "y": {"z": 1.0}, "tie": {"a": 0.5, "b": 0.5}})
    said = policy.act([Prompt("x", ("b", "a"))] * 4000, [Stream(5, i, 0) for i in range(4000)])
    share = _frequencies([one.action for one in said])["a"]
    assert abs(share - 0.75) < 5.0 * np.sqrt(0.75 * 0.25 / 4000), "what is not admissible has no share"
    assert said[0].entropy == pytest.approx(-(0.75 * np.log(0.75) + 0.25 * np.log(0.25)))
    assert policy.act([Prompt("tie", ("b", "a"))], streams(1), greedy=True)[0].action == "b", "the first of equals"
    for prompt, told in (
        (Prompt("new", ("a",)), "one of the table's 3"),
        (Prompt("y", ("a",)), "positive probability"),
    ):
        with pytest.raises(InputError, match=told):
            policy.act([prompt], streams(1))
    for policy_ in (RandomPolicy(), policy):
        with pytest.raises(InputError, match="no admissible command"):
            policy_.act([Prompt("x", ())], streams(1))


def test_an_oracle_says_its_plan_from_where_it_was_told() -> None:
    oracle = OraclePolicy()
    oracle.follow(Stream(1, 2, 3), ["go", "take"])
    said = oracle.act([Prompt("", ())] * 3, [Stream(1, 2, step) for step in (3, 4, 5)])
    assert [one.action for one in said] == ["go", "take", ""]
    with pytest.raises(InputError, match="episode 3 without a solution"):
        oracle.act([Prompt("", ())], [Stream(1, 3, 0)])


@given(st.lists(st.integers(1, 50), min_size=1, max_size=30), st.integers(1, 200))
def test_batches_are_as_full_as_they_may_be(lengths: list[int], tokens: int) -> None:
    """No batch could take the next row as well: lengths ascend, so the greedy filling is checked row by row."""
    batches = list(micro_batches(lengths, tokens))
    flat = np.concatenate(batches)
    assert sorted(flat.tolist()) == list(range(len(lengths)))
    ordered = [lengths[i] for i in flat]
    assert ordered == sorted(ordered)
    for batch, after in itertools.pairwise(batches):
        assert (len(batch) + 1) * lengths[after[0]] > tokens
