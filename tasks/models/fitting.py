"""Batches that do not fit into a device's memory: smaller ones."""

from __future__ import annotations

import logging
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from tasks.errors import ModelError
from tasks.models.fingerprint import ModelSpec

Made = tuple[NDArray[np.float32], NDArray[np.int64], int]
_LOG = logging.getLogger(__name__)
_LEAST_TOKENS = 256  # of a batch that does not fit, in the end


def fitting(compute: Callable[[ModelSpec], Made], spec: ModelSpec) -> Made:
    """What a model gives, by smaller batches where the device's memory is too small for those that were asked for.

    Other batches round otherwise, in the last bits: that is said.

    Raises:
        ModelError: the smallest batch does not fit.
        MemoryError: this process has no memory left.
    """
    import torch

    try:
        return compute(spec)
    except torch.OutOfMemoryError as error:
        if spec.batch_tokens <= _LEAST_TOKENS:
            raise ModelError(
                f"model {spec.path}: a batch of {spec.batch_tokens} tokens does not fit into the memory of {spec.device}",
                "free the device of other work, or use a smaller model or max_length",
            ) from error
    except RuntimeError as error:
        if "can't allocate memory" not in str(error):
            raise
        raise MemoryError(str(error)) from error
    smaller = spec.model_copy(update={"batch_tokens": spec.batch_tokens // 2})
    _LOG.warning(
        "model %s: batches of %d tokens do not fit into the memory of %s; %d from here on, which may change last bits: set batch_tokens",
        *(spec.path, spec.batch_tokens, spec.device, smaller.batch_tokens),
    )
    if spec.device != "cpu":
        torch.cuda.empty_cache()
    return fitting(compute, smaller)
