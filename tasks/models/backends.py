"""How a loaded model computes: plain torch, packed linear layers, batches without padding, 8-bit layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tasks.models.fingerprint import ModelSpec


def use_backend(model: Any, spec: ModelSpec, tokenised: Callable[[Sequence[Any]], Any]) -> None:
    """Change a loaded model in place to what its ``backend`` says.

    Args:
        model: in evaluation mode, in the spec's dtype and on its device.
        spec: of the model.
        tokenised: :func:`tasks.models.runtime.tokenise` of some inputs.

    Raises:
        ModelError: the backend is not for this device and dtype.
    """
    if spec.backend in {"fused", "int8-static"}:
        from tasks.models.on_cpu import replace_layers

        replace_layers(model, spec)
    if spec.backend == "int8":
        from tasks.models.int8 import quantise

        quantise(model, spec)
    if spec.backend == "packed":
        from tasks.models.packed import pack

        pack(model, tokenised, spec.path)
