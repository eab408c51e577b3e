"""One training on several devices: a process for each, and every step's rows dealt out to them (torch.distributed).

Gradients are averaged over the devices, and the losses that may train so are means over rows. So with gather_across_devices a step is that
of the whole batch on one device, but for rounding; without it a row meets the documents of its own device only. On a CPU (gloo) the
processes stand for devices: that is how this is tested.

The parent hands each process its work on standard input and keeps that open: a process whose parent is gone ends at once.
"""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import IO, Any

import numpy as np

from tasks.errors import ModelError
from tasks.models.samples import Ints

_START = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from tasks.models.devices import serve; serve()"
_END = 2000  # last characters of what a process said


@dataclass(frozen=True)
class Device:
    """One of the devices of a training.

    Args:
        rank: from 0; the first one reports, and writes.
        count: how many there are.
    """

    rank: int = 0
    count: int = 1

    @property
    def is_first(self) -> bool:
        """Whether it reports and writes."""
        return self.rank == 0

    def named(self, kind: str) -> str:
        """As torch calls it.

        >>> Device(1, 2).named("cuda"), Device(1, 2).named("cpu"), Device().named("cuda")
        ('cuda:1', 'cpu', 'cuda')
        """
        return f"{kind}:{self.rank}" if kind == "cuda" and self.count > 1 else kind


ALONE = Device()


def dealt(batches: Sequence[Ints], devices: int) -> list[Ints]:
    """Each step's rows cut into equal parts, one a device, one after the other; what does not divide is left out.

    >>> [part.tolist() for part in dealt([np.arange(5), np.arange(5, 6)], 2)]
    [[0, 1], [2, 3]]
    """
    if devices == 1:
        return list(batches)
    whole = [batch[: len(batch) - len(batch) % devices] for batch in batches]
    return [part for batch in whole if len(batch) for part in np.split(batch, devices)]


def run_on(devices: int, work: Mapping[str, Any], report: Any) -> Any:
    """:func:`tasks.models.finetuning.finetune` in a process for each device; what the first one says.

    Args:
        devices: two or more.
        work: its arguments without ``report`` and ``device``.
        report: told of steps, as there.

    Raises:
        HardmineError: the first process that failed said so; ModelError where it died without a word.
    """
    from tasks.models.finetuning import Outcome

    with contextlib.ExitStack() as stack:
        told = [stack.enter_context(tempfile.TemporaryFile("w+")) for _ in range(devices)]
        port = _free_port()
        processes = [stack.enter_context(_started(Device(rank, devices), port, told[rank])) for rank in range(devices)]
        failed = _watched(processes)
        packed = pickle.dumps(work)
        for process in processes:
            _hand(process, packed)
        for line in processes[0].stdout or ():
            said = json.loads(line)
            if "steps" in said:
                return Outcome(**{**said, "losses": [(step, loss) for step, loss in said["losses"]]})
            report(said["done"])
        processes[0].wait()
        raise _failure(told[failed[0] if failed else 0])


def serve() -> None:
    """One process: its work on standard input; steps and the outcome as lines of JSON on standard output, of the first one only."""
    work = pickle.load(sys.stdin.buffer)  # noqa: S301 - from the process that started this one
    threading.Thread(target=_end_with_parent, daemon=True).start()
    device = Device(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))
    say = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever else is printed goes with the complaints

    def tell(said: Mapping[str, Any]) -> None:
        if device.is_first:
            print(json.dumps(said), file=say, flush=True)

    from tasks.models.finetuning import finetune

    outcome = finetune(**work, report=lambda units: tell({"done": units}), device=device)
    tell(asdict(outcome))
    say.close()
    os._exit(0)  # torch's own end may hang where another process went first


def _end_with_parent() -> None:
    sys.stdin.buffer.read()
    os._exit(1)


@contextlib.contextmanager
def _started(device: Device, port: int, words: IO[str]) -> Iterator[subprocess.Popen[bytes]]:
    """A process of a training, which ends with this context."""
    environment = {
        **os.environ,
        "RANK": str(device.rank),
        "LOCAL_RANK": str(device.rank),
        "WORLD_SIZE": str(device.count),
        "LOCAL_WORLD_SIZE": str(device.count),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    command = [sys.executable, "-c", _START, json.dumps(sys.path)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=words, env=environment)
    try:
        yield process
    finally:
        process.kill()
        with contextlib.suppress(BrokenPipeError):
            process.communicate()


def _watched(processes: Sequence[subprocess.Popen[bytes]]) -> list[int]:
    """A list that gets the places of those that fail, the first one first: the others, which may wait for it, are killed."""
    failed: list[int] = []

    def wait(place: int) -> None:
        if processes[place].wait():
            failed.append(place)
            for process in processes:
                process.kill()

    for place in range(len(processes)):
        threading.Thread(target=wait, args=(place,), daemon=True).start()
    return failed


def _hand(process: subprocess.Popen[bytes], work: bytes) -> None:
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError):  # it died: its exit says so
        process.stdin.write(work)
        process.stdin.flush()


def _failure(words: IO[str]) -> ModelError:
    words.seek(0)
    return ModelError(
        f"a process of the training ended: …{words.read()[-_END:].strip()}", "train.devices: 1 trains in this process; see what it said"
    )


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
