"""Float64 in earnest: transformers' RMS norms compute in float32 whatever the type of the parameters."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["to_double"]


class _RMSNorm(nn.Module):
    """x / sqrt(mean x^2 + eps) * weight, in the type of x."""

    def __init__(self, weight: nn.Parameter, eps: float) -> None:
        super().__init__()
        self.weight, self.eps = weight, eps

    def forward(self, x: Tensor) -> Tensor:
        return self.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps))


def to_double(model: nn.Module) -> None:
    """Put a model into float64, in place, with norms (of the Llama and Qwen kind) that keep it.

    Without them a float64 model carries float32 rounding, which finite differences of its log-probabilities show.
    """
    model.to(dtype=torch.float64)  # type: ignore[call-arg]
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if type(child).__name__.endswith("RMSNorm") and hasattr(child, "variance_epsilon"):
                setattr(parent, name, _RMSNorm(child.weight, float(child.variance_epsilon)))  # type: ignore[arg-type]
