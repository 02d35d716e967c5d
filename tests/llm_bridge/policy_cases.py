"""Small policies, and the slow plain way to the numbers that the fast ones must give."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from llm_bridge.policies.base import Prompt, Stream
from llm_bridge.policies.double import to_double
from llm_bridge.policies.generate import GeneratePolicy
from llm_bridge.policies.language_model import LanguageModel
from llm_bridge.policies.lora import add_lora
from llm_bridge.policies.scoring import ScoringPolicy
from llm_bridge.policies.tiny import TinyConfig, tiny_model
from llm_bridge.policies.tokenizer import train_tokenizer

torch.set_num_threads(1)

ROOMS = ("kitchen", "garden", "attic", "cellar", "library", "tower")
THINGS = ("lamp", "key", "book", "apple", "coin")
COMMANDS = (*(f"take {thing}" for thing in THINGS), "go north", "go south", "go to drawer 1", "go to drawer 12", "look")
TEXTS = [f"find the {thing}\nYou are in the {room}.\n>" for room in ROOMS for thing in THINGS]
TOKENIZER = train_tokenizer([*TEXTS, *COMMANDS, *COMMANDS])
SMALL = TinyConfig(hidden=32, layers=2, heads=2, kv_heads=1, intermediate=48, context=256)


def language(
    *, seed: int = 0, dtype: str = "float32", sharp: float = 20.0, lora: int = 0, critic: bool = False
) -> LanguageModel:
    """A small model whose embeddings are widened, so that its laws are far from uniform and mistakes show."""
    model = tiny_model(TOKENIZER, SMALL, seed=seed)
    with torch.no_grad():
        model.model.embed_tokens.weight *= sharp
    if dtype == "float64":
        to_double(model)
    adapted = add_lora(model, rank=lora, seed=seed) if lora else None
    return LanguageModel(model, TOKENIZER, adapted=adapted, critic=critic).eval()


def scoring(dtype: str = "float32", **kwargs) -> ScoringPolicy:
    return ScoringPolicy(language(dtype=dtype), **kwargs)


def generating(dtype: str = "float32", *, max_new_tokens: int = 12, bucket: int = 16, **kwargs: Any) -> GeneratePolicy:
    return GeneratePolicy(language(dtype=dtype), max_new_tokens=max_new_tokens, bucket=bucket, **kwargs)


def prompts(count: int = 24) -> list[Prompt]:
    """Prompts of different lengths with different sets of commands."""
    return [
        Prompt(TEXTS[i % len(TEXTS)] * (1 + i % 3), COMMANDS[i % 4 : len(COMMANDS) - (i % 3)]) for i in range(count)
    ]


def streams(count: int, seed: int = 7) -> list[Stream]:
    return [Stream(seed, i, i % 5) for i in range(count)]


def plain_logits(policy: ScoringPolicy | GeneratePolicy, ids: Sequence[int]) -> torch.Tensor:
    """(T, V) logits of one sequence, through transformers' own forward: no padding, no mask, no cache."""
    return policy.language.model(input_ids=torch.tensor([list(ids)]), use_cache=False).logits[0]


def plain_likelihood(policy: ScoringPolicy, prompt: Prompt, command: str) -> tuple[float, int]:
    """log p(command, end | prompt) token by token, and the number of tokens."""
    start = list(policy.language.encode_prompt(prompt.text))
    tokens = [*policy.language.encode(policy.lead + command), policy.language.end]
    with torch.no_grad():
        logits = plain_logits(policy, [*start, *tokens]).double().log_softmax(-1)
    return sum(float(logits[len(start) - 1 + j, token]) for j, token in enumerate(tokens)), len(tokens)


def plain_law(policy: ScoringPolicy, prompt: Prompt) -> np.ndarray:
    """(C,) log-probabilities of the commands of one prompt."""
    pairs = [plain_likelihood(policy, prompt, command) for command in prompt.admissible]
    scores = np.asarray([total / (count if policy.length == "mean" else 1) for total, count in pairs])
    scores = scores / policy.temperature
    return scores - np.logaddexp.reduce(scores)
