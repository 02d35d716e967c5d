"""Low-rank adapters: what is trained is small, and the model with them off is the reference policy."""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING

from creditsim.errors import InputError

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel

__all__ = ["add_lora"]


def add_lora(model: PreTrainedModel, *, rank: int = 8, alpha: float = 16.0, seed: int = 0) -> PeftModel:
    """Put adapters W + (alpha / rank) B A beside every linear map but the output head; only they are trained.

    A (rank, in) is uniform with the width of torch's linear layers, drawn from `seed` by Philox; B is zero, so that
    the policy begins as the model. The layers are replaced in place. Source: Hu et al., LoRA, eq. 3 (evidence: paper).
    """
    import torch
    from peft import LoraConfig, get_peft_model

    from creditsim.rng import Purpose, derive_seed, uniforms

    if rank < 1:
        raise InputError("lora rank", rank, "a whole number from 1 on")
    config = LoraConfig(r=rank, lora_dropout=0.0, target_modules="all-linear", task_type="CAUSAL_LM")
    config.lora_alpha = alpha  # type: ignore[assignment]  # peft says int and divides it all the same
    with warnings.catch_warnings():
        # peft still asks the model for a property that transformers has renamed
        warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing.*", category=FutureWarning)
        adapted = get_peft_model(model, config)
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_A" in name:
                bound = 1 / math.sqrt(parameter.shape[1])
                draws = uniforms(derive_seed(seed, name), 0, Purpose.INIT, tuple(parameter.shape))
                parameter.copy_(torch.from_numpy((2 * draws - 1) * bound))
    return adapted
