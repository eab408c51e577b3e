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
class Moment:
    """Memory at one time, in bytes; pages that processes share are split between them.

    Args:
        at: seconds since 1970.
        total: of all processes.
        own: of the command's first process.
        largest: of the largest of the others; 0: there is none.
    """

    at: float
    total: int
    own: int
    largest: int


@dataclass(frozen=True)
class Measured:
    """One run.

    Args:
        wall: seconds.
        cpu: seconds, of all processes, those that ended before the command left out.
        peak: bytes; pages that processes share count once.
        output: what it printed.
        moments: memory, every quarter of a second.
    """

    wall: float
    cpu: float
    peak: int
    output: str
    moments: tuple[Moment, ...] = ()


def measure(command: Sequence[str], environment: dict[str, str] | None = None) -> Measured:
    """Run a command and wait for it.

    Raises:
        RuntimeError: it failed; with the end of what it printed.
    """
    began, cpu = time.monotonic(), 0.0
    moments: list[Moment] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment) as process:
        root = psutil.Process(process.pid)
        chunks: list[str] = []
        assert process.stdout is not None
        reader = _Reader(process.stdout, chunks)
        while process.poll() is None:
            moment, used = _now(root)
            moments.append(moment)
            cpu = max(cpu, used)
            time.sleep(_EVERY)
        reader.join()
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}: {''.join(chunks)[-3000:]}")
    peak = max((moment.total for moment in moments), default=0)
    return Measured(time.monotonic() - began, cpu, peak, "".join(chunks), tuple(moments))


class _Reader:
    def __init__(self, stream: object, chunks: list[str]) -> None:
        import threading

        self._thread = threading.Thread(target=lambda: chunks.extend(stream), daemon=True)  # type: ignore[call-overload]
        self._thread.start()

    def join(self) -> None:
        self._thread.join()


def _now(root: psutil.Process) -> tuple[Moment, float]:
    memory, cpu = [0], 0.0
    with contextlib.suppress(psutil.Error):
        for process in (root, *root.children(recursive=True)):
            with contextlib.suppress(psutil.Error):
                memory.append(process.memory_full_info().pss)
                times = process.cpu_times()
                cpu += times.user + times.system
    own, *others = memory[1:] or [0]
    return Moment(time.time(), sum(memory), own, max(others, default=0)), cpu
