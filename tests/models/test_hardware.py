"""What auto means where the run's own machine has no GPU and its workers do."""

import pytest

from tasks.models.hardware import cuda_capability, resolve_device, resolve_dtype


@pytest.mark.parametrize(("capability", "dtype"), [("9.0", "bfloat16"), ("8.0", "bfloat16"), ("7.5", "float32")])
def test_a_named_capability_stands_for_the_workers_gpu(monkeypatch, capability, dtype):
    monkeypatch.setenv("HARDMINE_CUDA_CAPABILITY", capability)
    cuda_capability.cache_clear()
    try:
        assert (resolve_device("auto"), resolve_device("cpu")) == ("cuda", "cpu")
        assert resolve_dtype("auto", "cuda") == dtype
    finally:
        cuda_capability.cache_clear()
