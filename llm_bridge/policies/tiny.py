"""Small models of the Qwen2 architecture with weights from a seed: policies where no weights can be had."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from creditsim.errors import InputError

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerFast, Qwen2ForCausalLM

__all__ = ["SIZES", "TinyConfig", "initialise", "tiny_model"]


@dataclass(frozen=True)
class TinyConfig:
    """Sizes of a model."""

    hidden: int = 64
    layers: int = 2
    heads: int = 4
    kv_heads: int = 2
    intermediate: int = 128
    context: int = 2048

    def __post_init__(self) -> None:
        if min(self.hidden, self.layers, self.heads, self.kv_heads, self.intermediate, self.context) < 1:
            raise InputError("model sizes", self, "positive whole numbers")
        if self.hidden % (2 * self.heads) or self.heads % self.kv_heads:
            raise InputError(
                "heads", self.heads, f"a multiple of kv_heads={self.kv_heads}, with 2*heads dividing {self.hidden}"
            )


SIZES: Mapping[str, TinyConfig] = {
    "tiny": TinyConfig(),
    "small": TinyConfig(hidden=128, layers=4, heads=4, kv_heads=2, intermediate=256),
    "medium": TinyConfig(hidden=256, layers=6, heads=8, kv_heads=4, intermediate=512),
    "qwen2.5-0.5b": TinyConfig(896, 24, 14, 2, 4864, 32768),
    "qwen2.5-1.5b": TinyConfig(1536, 28, 12, 2, 8960, 32768),
}
"""Named sizes; the last two have a published architecture and are for measuring speed at random weights."""


def tiny_model(
    tokenizer: PreTrainedTokenizerFast,
    config: TinyConfig | None = None,
    *,
    seed: int = 0,
    vocabulary: int | None = None,
) -> Qwen2ForCausalLM:
    """Build a Qwen2 causal LM with tied embeddings for `tokenizer`, in float32, all weights drawn from `seed`.

    `vocabulary` enlarges the output beyond the tokenizer's (to measure speed at a real model's size).
    """
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    config = config or TinyConfig()
    qwen = Qwen2Config(
        vocab_size=max(len(tokenizer), vocabulary or 0),
        hidden_size=config.hidden,
        num_hidden_layers=config.layers,
        num_attention_heads=config.heads,
        num_key_value_heads=config.kv_heads,
        intermediate_size=config.intermediate,
        max_position_embeddings=config.context,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=cast(int, tokenizer.eos_token_id),
        pad_token_id=None,  # an embedding told of a pad token stops that token's gradient
        dtype=torch.float32,
    )
    with torch.random.fork_rng(devices=[]):  # transformers draws weights of its own, which are replaced below
        model = Qwen2ForCausalLM(qwen)
    initialise(model, seed)
    return model.eval()


def initialise(model: torch.nn.Module, seed: int) -> None:
    """Draw every matrix from N(0, 1/fan_in) (embeddings: 0.02 wide), with gains one and biases zero, in place.

    Each parameter has a Philox stream of its own, named by the parameter, so sizes elsewhere do not matter and no
    torch generator is touched.
    """
    import torch

    from creditsim.rng import Purpose, derive_seed, normals

    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim < 2:
                parameter.fill_(1.0 if name.endswith("weight") else 0.0)
                continue
            scale = 0.02 if "embed" in name else 1 / math.sqrt(parameter.shape[1])
            draws = normals(derive_seed(seed, name), 0, Purpose.INIT, tuple(parameter.shape))
            parameter.copy_(torch.from_numpy(draws * scale))
