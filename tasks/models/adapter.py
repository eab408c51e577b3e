"""LoRA adapters over a base model: found, checked, and merged into its weights. The one module that imports PEFT."""

from __future__ import annotations

import warnings
from typing import Any

from tasks.errors import ModelError
from tasks.models.location import adapter_base, locate_adapter


def merge(model: Any, adapter: str, revision: str | None, name: str) -> Any:
    """A transformers model with an adapter's update added to its weights, float32: the adapter is gone as a layer, and costs nothing.

    Args:
        model: the base.
        adapter: a folder or hub id.
        revision: of a hub adapter.
        name: of the base, for errors.

    Raises:
        ModelError: the adapter is not there, or does not fit the base.
    """
    from peft import PeftModel

    folder = locate_adapter(adapter, revision)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message="Found missing adapter keys")  # PEFT would go on with an update of zero
            return PeftModel.from_pretrained(model, str(folder)).merge_and_unload()
    except (RuntimeError, ValueError, KeyError, AttributeError, TypeError, UserWarning) as error:
        made_for = adapter_base(folder) or "an unnamed base"
        raise ModelError(
            f"adapter {adapter} does not fit model {name}: {type(error).__name__}: {str(error)[:200]}",
            f"give the base that it was trained on ({made_for}) as path",
        ) from error
