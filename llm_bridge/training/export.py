"""A trained policy as a folder that transformers and every command of the bridge load."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from llm_bridge.policies.load import save_model
from llm_bridge.policies.shared import LanguageModelPolicy

__all__ = ["save_policy"]


def save_policy(policy: LanguageModelPolicy, folder: Path) -> None:
    """Write model and tokenizer, adapters merged into the weights, and move them to `folder` in one step."""
    from transformers.utils import logging

    temporary = folder.with_suffix(".tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    # A bar for a single file would stand among the run's own.
    logging.disable_progress_bar()
    save_model(policy.language.merged(), policy.language.tokenizer, temporary)
    logging.enable_progress_bar()
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(temporary, folder)
