"""How a loaded model computes: plain torch, packed linear layers, batches without padding, 8-bit layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tasks.errors import ModelError
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
    if spec.backend == "fused":
        _fuse(model, spec)
    if spec.backend == "int8":
        from tasks.models.int8 import quantise

        quantise(model, spec)
    if spec.backend == "packed":
        from tasks.models.packed import pack

        pack(model, tokenised, spec.path)


def _fuse(model: Any, spec: ModelSpec) -> None:
    """Packed layers, if the device and dtype are theirs."""
    from tasks.models.fused import fuse

    if (spec.device, spec.dtype) != ("cpu", "bfloat16"):
        raise ModelError(
            f"model {spec.path}: backend fused is for bfloat16 on a CPU, not {spec.dtype} on {spec.device}", "set backend: torch"
        )
    samples = ["a short text", "a longer text of a few more words, so that one of both is padded"]
    pairs = [(text, text) for text in samples] if hasattr(model, "num_labels") else samples
    features = model.preprocess(pairs)

    def output() -> Any:
        made = model(dict(features))
        return made["scores"].reshape(-1, 1) if "scores" in made else made["sentence_embedding"]

    fuse(model, output, spec.path)
