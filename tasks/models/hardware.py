"""What the machine can compute with, found without importing torch."""

from __future__ import annotations

import importlib.util
import os
import platform
import subprocess
from functools import cache
from pathlib import Path

_CPU_BFLOAT16 = {"avx512_bf16", "amx_bf16"}


@cache
def cpu_has_bfloat16(cpuinfo: str = "/proc/cpuinfo") -> bool:
    """Whether the CPU multiplies bfloat16 in hardware."""
    try:
        lines = Path(cpuinfo).read_text(errors="replace").splitlines()
    except OSError:
        return False
    flags = next((line for line in lines if line.startswith("flags")), "")
    return bool(_CPU_BFLOAT16 & set(flags.split()))


@cache
def processor(cpuinfo: str = "/proc/cpuinfo") -> str:
    """The CPU's name, as the system gives it."""
    try:
        lines = Path(cpuinfo).read_text(errors="replace").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.processor())


_PLAIN_ATTENTION = 256  # tokens, up to which a CPU trains with plain attention


@cache
def cuda_capability() -> float | None:
    """Compute capability of the first GPU that this torch can use, ``None`` without one.

    HARDMINE_CUDA_CAPABILITY (as 9.0) says it of the workers, where a run's own machine has no GPU and they do.
    """
    if os.environ.get("HARDMINE_CUDA_CAPABILITY"):
        return float(os.environ["HARDMINE_CUDA_CAPABILITY"])
    spec = importlib.util.find_spec("torch")
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES", "0").strip() in {"", "-1"}
    if spec is None or spec.origin is None or hidden or not (Path(spec.origin).parent / "lib" / "libtorch_cuda.so").exists():
        return None
    command = ["nvidia-smi", "--query-gpu=compute_cap", "--format=csv,noheader"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
        return float(answer.stdout.splitlines()[0])
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        return None


def resolve_device(device: str) -> str:
    """``auto`` as ``cpu`` or ``cuda``."""
    if device != "auto":
        return device
    return "cpu" if cuda_capability() is None else "cuda"


def resolve_dtype(dtype: str, device: str) -> str:
    """``auto`` as ``bfloat16`` where the (resolved) device has it in hardware, else ``float32``."""
    if dtype != "auto":
        return dtype
    has = cpu_has_bfloat16() if device == "cpu" else (cuda_capability() or 0.0) >= 8.0
    return "bfloat16" if has else "float32"


def resolve_backend(backend: str, device: str, dtype: str) -> str:
    """``auto`` as ``fused`` or ``packed`` where that can be: bfloat16 on a CPU, and on a GPU that has it; see the modules of these names.

    >>> resolve_backend("auto", "cpu", "bfloat16"), resolve_backend("auto", "cpu", "float32"), resolve_backend("auto", "cuda", "bfloat16")
    ('fused', 'torch', 'packed')
    """
    if backend != "auto":
        return backend
    return {("cpu", "bfloat16"): "fused", ("cuda", "bfloat16"): "packed"}.get((device, dtype), "torch")


def training_attention(device: str, max_length: int) -> dict[str, str]:
    """How a model is loaded to be trained: ``attn_implementation`` for transformers, or nothing for its own choice.

    On a CPU the backward pass of the fused attention takes twice the time of the plain one for short texts (measured at 46 tokens,
    bfloat16); the plain one keeps a matrix of length² a head, so long texts have the fused one.

    >>> training_attention("cpu", 128), training_attention("cpu", 512)
    ({'attn_implementation': 'eager'}, {})
    """
    return {"attn_implementation": "eager"} if device == "cpu" and max_length <= _PLAIN_ATTENTION else {}
