"""From a configuration to a policy."""

from __future__ import annotations

import dataclasses
import importlib.util
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from creditsim.errors import ExtraMissingError, choose
from llm_bridge.policies.config import PolicyConfig
from llm_bridge.policies.tiny import SIZES, tiny_model

if TYPE_CHECKING:
    import torch

    from llm_bridge.policies.generate import GeneratePolicy
    from llm_bridge.policies.scoring import ScoringPolicy

__all__ = ["make_policy"]


def make_policy(config: PolicyConfig, texts: Sequence[str] = ()) -> ScoringPolicy | GeneratePolicy:
    """Load or make model and tokenizer, put adapter and critic on, and return the policy in evaluation mode.

    `texts` is what a tokenizer is trained on where `config.model` is a size: observations, commands and prompts of
    the environment. Errors: ExtraMissingError without the llm extra; those of `load_model` and the policies.
    """
    needed = ["torch", "transformers", "tokenizers", "safetensors", *(["peft"] if config.lora_rank else [])]
    for package in needed:
        if importlib.util.find_spec(package) is None:
            raise ExtraMissingError(package, "llm")
    from llm_bridge.policies.double import to_double
    from llm_bridge.policies.generate import GeneratePolicy
    from llm_bridge.policies.language_model import LanguageModel
    from llm_bridge.policies.load import load_model, torch_device, torch_dtype
    from llm_bridge.policies.lora import add_lora
    from llm_bridge.policies.scoring import ScoringPolicy
    from llm_bridge.policies.tokenizer import train_tokenizer

    choose("kind", config.kind, ("scoring", "generate"))
    if config.model in SIZES:
        device, dtype = torch_device(config.device), torch_dtype(config.dtype)
        tokenizer = train_tokenizer(texts, vocabulary=config.vocabulary)
        size = dataclasses.replace(SIZES[config.model], context=config.context)
        model = tiny_model(tokenizer, size, seed=config.seed)
        cast("torch.nn.Module", model).to(device=device, dtype=dtype)
    else:
        model, tokenizer = load_model(config.model, device=config.device, dtype=config.dtype)
    if config.dtype == "float64":
        to_double(model)
    adapted = None
    if config.lora_rank:
        adapted = add_lora(model, rank=config.lora_rank, alpha=config.lora_alpha, seed=config.seed)
    autocast = "bfloat16" if config.autocast else None
    language = LanguageModel(model, tokenizer, adapted=adapted, critic=config.critic, autocast=autocast)
    language.eval()
    if config.kind == "scoring":
        return ScoringPolicy(
            language,
            temperature=config.temperature,
            length=config.length,
            lead=config.lead,
            batch_tokens=config.batch_tokens,
        )
    return GeneratePolicy(
        language,
        temperature=config.temperature,
        max_new_tokens=config.max_new_tokens,
        tail=config.tail,
        batch_tokens=config.batch_tokens,
    )
