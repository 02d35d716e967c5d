"""The choices that make a policy, as a command line and TOML file give them."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["PolicyConfig"]


@dataclass(frozen=True)
class PolicyConfig:
    """What policy acts, on what model."""

    kind: str = "scoring"
    """scoring: choose among the admissible commands by their likelihood; generate: write thought and command."""
    model: str = "tiny"
    """A folder with a causal LM in safetensors and its tokenizer, or a size at random weights: tiny | small | medium |
    qwen2.5-0.5b | qwen2.5-1.5b, with a tokenizer trained on environment text."""
    device: str = "cpu"
    """cpu | cuda | cuda:NUMBER."""
    dtype: str = "float32"
    """Type of the parameters: float32 | bfloat16 | float64."""
    autocast: bool = False
    """Run the forward passes in bfloat16, with the parameters in `dtype`."""
    seed: int = 0
    """Seed of weights and adapters made here."""
    vocabulary: int = 1024
    """Entries of a tokenizer trained here."""
    context: int = 2048
    """Positions of a model made here."""
    temperature: float = 1.0
    """Temperature of sampling, and of the log-probabilities that are trained."""
    length: str = "sum"
    """scoring: sum | mean of token log-probabilities."""
    lead: str = " "
    """scoring: what stands between prompt and command."""
    max_new_tokens: int = 128
    """generate: the longest answer."""
    tail: int = 30
    """generate: characters from the end that stand for a command without tags (ALFWorld 30, WebShop 20)."""
    lora_rank: int = 0
    """Rank of low-rank adapters; 0: train all parameters."""
    lora_alpha: float = 16.0
    """Adapters are scaled by lora_alpha / lora_rank."""
    critic: bool = False
    """Add a value head."""
    batch_tokens: int = 4096
    """Tokens of one forward pass, padding included."""
