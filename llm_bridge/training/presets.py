"""Named settings of training runs: the published ones of both environments, and a demonstration; plain data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["PRESETS"]

_PUBLISHED: dict[str, Any] = {
    "method": "gigpo",
    "update": "surrogate",
    "iterations": 150,
    "groups": 16,
    "group_size": 8,
    "reward": "published",
    "history": 2,
    "style": "full",
    "learning_rate": 1e-6,
    "weight_decay": 0.01,
    "grad_clip": 1.0,
    "eval_every": 5,
    "eval_temperature": 0.4,
    "slots": 128,
    "workers": 8,
}
_POLICY: dict[str, Any] = {
    "kind": "generate",
    "model": "Qwen2.5-1.5B-Instruct",
    "device": "cuda",
    "autocast": True,
    "temperature": 1.0,
    "max_new_tokens": 512,
}
_LOSS = ("update.loss=ppo@verl-agent", "update.kl_weight=0.01", "update.kl=k3", "update.entropy_weight=0.001")

PRESETS: Mapping[str, Mapping[str, Any]] = {
    "alfworld": {
        **_PUBLISHED,
        "env": "alfworld",
        "params": (*_LOSS, "estimator.normalize=mean_std", "estimator.penalty=0.1"),
        "minibatch_steps": 256,
        "micro_tokens": 32 * (2048 + 512),
        "eval_splits": ("valid_seen",),
        "eval_tasks": 128,
        "policy": {**_POLICY, "batch_tokens": 32 * (2048 + 512)},
    },
    "webshop": {
        **_PUBLISHED,
        "env": "webshop@verl-agent",
        "params": (*_LOSS, "estimator.normalize=mean", "estimator.penalty=0.1"),
        "minibatch_steps": 64,
        "micro_tokens": 8 * (4096 + 512),
        "eval_splits": ("valid",),
        "eval_tasks": 256,
        "policy": {**_POLICY, "tail": 20, "batch_tokens": 8 * (4096 + 512)},
    },
    "demo": {
        "method": "gigpo",
        "env": "alfworld@easy",
        "params": ("env.train=10", "env.valid=32", "update.epochs=2", "update.minibatches=4"),
        "iterations": 20,
        "groups": 16,
        "group_size": 8,
        "history": 2,
        "learning_rate": 1e-3,
        "warm_episodes": 16,
        "warm_epochs": 4,
        "warm_batch": 16,
        "eval_every": 10,
        "eval_splits": ("train", "valid_seen"),
        "eval_tasks": 64,
        "eval_temperature": 1.0,
        "policy": {"length": "mean", "vocabulary": 768, "context": 1024},
    },
}
"""By name, over the defaults of `TextTrainConfig`.

alfworld, webshop: the hyper-parameters that verl-agent's scripts give for Qwen2.5-1.5B-Instruct (evidence: code, read
in forks). `model` is the name of a local folder; parameters stay in float32 under bfloat16 passes, because steps of
1e-6 vanish in bfloat16. Parameters of the estimator are GiGPO's: with another method they are left out, and the
penalty of 0.1 for an answer without the format is `invalid_penalty`, if wanted.
demo: the smallest model, warm enough to win some games, then 20 iterations on 20 easy games; evaluated by draws at
temperature 1 on these games and on 64 that it never sees.
"""
