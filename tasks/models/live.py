"""Models that a script holds in memory: kept in a folder by their content, so that stages and later runs find them by a path."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import xxhash

from tasks.errors import ModelError
from tasks.models.settings import Dtype
from tasks.store.folders import whole_folder
from tasks.store.keys import digest

_DTYPES: dict[Any, Dtype] = {torch.float32: "float32", torch.bfloat16: "bfloat16", torch.float16: "float16"}


def keep_model(model: Any, folder: Path) -> Path:
    """A folder with the model in it, made unless one with this content is there.

    Args:
        model: of sentence-transformers, on the torch backend.
        folder: under which it is kept, as ``<digest of weights, modules and tokenizer>/``.

    Raises:
        ModelError: it has another backend than torch.
    """
    if getattr(model, "backend", "torch") != "torch":
        raise ModelError(f"a model with the backend {model.backend} cannot be kept", 'load it with backend="torch"')
    return whole_folder(folder / _digest(model), lambda made: model.save_pretrained(str(made), create_model_card=False))


def dtype_of(model: Any) -> Dtype:
    """In which the model computes.

    Raises:
        ModelError: in none that is known here.
    """
    found = next((tensor.dtype for tensor in model.parameters() if tensor.is_floating_point()), torch.float32)
    if found not in _DTYPES:
        raise ModelError(f"a model in {found} cannot be mined with", "load it in float32, bfloat16 or float16")
    return _DTYPES[found]


def activation_of(model: Any) -> str | None:
    """``sigmoid`` or ``identity``: what a cross-encoder does with its logits; none: something else."""
    return {torch.nn.Sigmoid: "sigmoid", torch.nn.Identity: "identity"}.get(type(getattr(model, "activation_fn", None)))


def _digest(model: Any) -> str:
    """Of what decides the model's output: weights, modules with their settings, tokenizer, prompts are the caller's."""
    weights = xxhash.xxh3_128()
    for name, tensor in sorted(model.state_dict().items()):
        weights.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        weights.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    settings = [[type(module).__name__, _config(module)] for module in model]
    tokenizer = getattr(model.tokenizer, "backend_tokenizer", None)
    return digest(weights.hexdigest(), settings, tokenizer.to_str() if tokenizer is not None else repr(model.tokenizer))


def _config(module: Any) -> str:
    return repr(sorted(module.get_config_dict().items())) if hasattr(module, "get_config_dict") else repr(module)
