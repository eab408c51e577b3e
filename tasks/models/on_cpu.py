"""Layers of a loaded model that are replaced on a CPU: by 8-bit ones or packed ones, each tried on a sample."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tasks.errors import ModelError
from tasks.models.eight_bit.encoder import quantise, warn_if_far
from tasks.models.fingerprint import ModelSpec
from tasks.models.fused import fuse
from tasks.models.packed import output_of

_SAMPLED = 32  # inputs of a job that an 8-bit model's replaced layers run too


def replace_layers(model: Any, spec: ModelSpec) -> None:
    """8-bit layers if asked for and near enough, else packed ones, if the device and dtype are theirs."""
    if (spec.device, spec.dtype) != ("cpu", "bfloat16"):
        raise ModelError(
            f"model {spec.path}: backend {spec.backend} is for bfloat16 on a CPU, not {spec.dtype} on {spec.device}", "set backend: torch"
        )
    if spec.backend == "int8-static" and quantise(model, lambda inputs: _sampled(model, inputs), spec.path):
        return
    samples = ["a short text", "a longer text of a few more words, so that one of both is padded"]
    pairs = [(text, text) for text in samples] if hasattr(model, "num_labels") else samples
    features = model.preprocess(pairs)
    fuse(model, lambda: output_of(model, features), spec.path)


def _sampled(model: Any, inputs: Sequence[Any], prompt: str = "") -> NDArray[np.float32]:
    """Outputs of a few inputs, in batches of a few on one thread: the same, whatever else the process does."""
    torch.set_num_threads(1)
    batches = [list(inputs[start : start + 4]) for start in range(0, len(inputs), 4)]
    with torch.inference_mode():
        return np.concatenate([output_of(model, model.preprocess(batch, prompt=prompt or None)).float().numpy() for batch in batches])


def check_job(model: Any, inputs: Sequence[Any], output: NDArray[np.float32], spec: ModelSpec) -> None:
    """Warn where an 8-bit model's outputs of a job are not near those of the layers that were replaced; small jobs are passed over.

    Args:
        model: loaded for the spec.
        inputs: texts or pairs.
        output: float32 (n, width), of the inputs.
        spec: of the model.
    """
    if len(inputs) >= 2 * _SAMPLED:
        rows = np.linspace(0, len(inputs) - 1, _SAMPLED).astype(np.int64)
        warn_if_far(model, output[rows], lambda: _sampled(model, [inputs[row] for row in rows], spec.prompt), spec.path)
