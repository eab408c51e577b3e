"""A command as its user has it: wall seconds, CPU seconds, and the most memory that all of its processes had at one time."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass

import psutil

_EVERY = 0.25


@dataclass(frozen=True)
class Measured:
    """One run.

    Args:
        wall: seconds.
        cpu: seconds, of all processes, those that ended before the command left out.
        peak: bytes; pages that processes share count once.
        output: what it printed.
    """

    wall: float
    cpu: float
    peak: int
    output: str


def measure(command: Sequence[str], environment: dict[str, str] | None = None) -> Measured:
    """Run a command and wait for it.

    Raises:
        RuntimeError: it failed; with the end of what it printed.
    """
    began, peak, cpu = time.monotonic(), 0, 0.0
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment) as process:
        root = psutil.Process(process.pid)
        chunks: list[str] = []
        assert process.stdout is not None
        reader = _Reader(process.stdout, chunks)
        while process.poll() is None:
            memory, used = _now(root)
            peak, cpu = max(peak, memory), max(cpu, used)
            time.sleep(_EVERY)
        reader.join()
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}: {''.join(chunks)[-3000:]}")
    return Measured(time.monotonic() - began, cpu, peak, "".join(chunks))


class _Reader:
    def __init__(self, stream: object, chunks: list[str]) -> None:
        import threading

        self._thread = threading.Thread(target=lambda: chunks.extend(stream), daemon=True)  # type: ignore[call-overload]
        self._thread.start()

    def join(self) -> None:
        self._thread.join()


def _now(root: psutil.Process) -> tuple[int, float]:
    memory, cpu = 0, 0.0
    with contextlib.suppress(psutil.Error):
        for process in (root, *root.children(recursive=True)):
            with contextlib.suppress(psutil.Error):
                memory += process.memory_full_info().pss
                times = process.cpu_times()
                cpu += times.user + times.system
    return memory, cpu
