"""Batches that do not fit."""

import numpy as np
import pytest
import torch

from tasks.errors import ModelError
from tasks.models.embedder import Embedder
from tasks.models.fingerprint import document_spec
from tasks.models.fitting import fitting
from tasks.models.settings import ModelSettings

SPEC = document_spec(ModelSettings(path="packaged", max_length=32, dtype="float32", device="cpu", batch_tokens=2048))
MADE = (np.zeros((1, 2), np.float32), np.ones(1, np.int64), 0)


def device_of(room):
    """A device with memory for so many tokens; and the batches that it was asked for."""
    asked = []

    def compute(spec):
        asked.append(spec.batch_tokens)
        if spec.batch_tokens > room:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return MADE

    return compute, asked


@pytest.mark.fault("a batch does not fit a device", "out of memory of a device above so many tokens")
def test_batches_shrink_until_they_fit(caplog):
    compute, asked = device_of(700)
    assert fitting(compute, SPEC) is MADE
    assert asked == [2048, 1024, 512]
    assert "batches of 1024 tokens do not fit into the memory of cpu; 512 from here on" in caplog.text


def test_a_device_that_is_too_small_is_said():
    compute, asked = device_of(100)
    with pytest.raises(ModelError, match="a batch of 256 tokens does not fit into the memory of cpu"):
        fitting(compute, SPEC)
    assert asked[-1] == 256


def test_memory_of_the_process_that_ran_out_is_for_the_runner():
    def compute(_):
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:124] . DefaultCPUAllocator: can't allocate memory: 8 bytes")

    with pytest.raises(MemoryError):
        fitting(compute, SPEC)


def test_vectors_of_smaller_batches_are_equal_within_rounding():
    texts = [f"a text about the number {number} " * (number % 7 + 1) for number in range(40)]
    small = SPEC.model_copy(update={"batch_tokens": 256})
    assert np.allclose(Embedder(SPEC).encode(texts).vectors, Embedder(small).encode(texts).vectors, atol=1e-6)
