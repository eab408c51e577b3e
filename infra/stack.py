"""``make stack``: start the Procfile's processes in order, watch them, end them together.

A process that ends is started anew (a Dask worker may die); one that ends within seconds of its start ends the stack.
(honcho, the usual runner of Procfiles, ends all processes when one dies, and starts them without waiting for one another.)
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

import psutil

from infra.health import healthy
from infra.native import Missing, environment, prepare

_PATIENCE = 900.0  # a server on a fresh database runs all its migrations first
_SHORT = 5.0
_REAP = 15.0
_ADOPT = 36  # PR_SET_CHILD_SUBREAPER of Linux' prctl: processes whose parent died come to us
_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG
_LINUX = sys.platform == "linux"

Environment = Mapping[str, str]


class Process:
    """One line of the Procfile.

    Args:
        name: before the colon.
        command: of the shell.
        say: is given each line that it writes.
    """

    def __init__(self, name: str, command: str, say: Callable[[str, str], None]) -> None:
        self.name = name
        self._command = command
        self._say = say
        self._process: subprocess.Popen[str] | None = None
        self._since = 0.0

    def start(self, variables: Environment) -> None:
        """Start it in a session of its own, so that Ctrl-C reaches it only through us."""
        self._since = time.monotonic()
        self._process = subprocess.Popen(
            self._command,
            shell=True,
            env=dict(variables),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
            preexec_fn=_end_with_parent,
        )
        self._say(self.name, f"started, process {self._process.pid}")
        threading.Thread(target=self._read, args=(self._process,), daemon=True, name=self.name).start()

    def ended(self) -> int | None:
        """Its exit status, once it has one."""
        return self._process.poll() if self._process else None

    @property
    def number(self) -> int | None:
        """Its process id."""
        return self._process.pid if self._process else None

    def age(self) -> float:
        """Seconds since it was started."""
        return time.monotonic() - self._since

    def stop(self) -> None:
        """Ask it to end, then make it. SIGINT is Postgres' quick and clean way out."""
        process = self._process
        if process is None or process.poll() is not None:
            return
        os.killpg(process.pid, signal.SIGINT if self.name == "postgres" else signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        self._say(self.name, "ended")

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            self._say(self.name, line.rstrip())


def parse_procfile(text: str) -> dict[str, str]:
    r"""Commands by name, in order.

    >>> parse_procfile("# services\na: exec one\n\nb: x=1 two: three\n")
    {'a': 'exec one', 'b': 'x=1 two: three'}
    """
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return {name.strip(): command.strip() for name, _, command in (line.partition(":") for line in lines)}


def ready(name: str, variables: Environment) -> bool:
    """Whether the ones below may be started; those without a check are at once."""
    port = {"scheduler": "DASK_PORT"}.get(name)
    if port:
        return _listens(int(variables[port]))
    if name == "postgres":
        command = ["pg_isready", "--quiet", "--host=127.0.0.1", f"--port={variables['POSTGRES_PORT']}"]
        return subprocess.run(command, env=dict(variables)).returncode == 0
    address = {
        "s3": variables["AWS_ENDPOINT_URL"],
        "server": f"{variables['PREFECT_API_URL']}/health",
        "worker": f"http://127.0.0.1:{variables['PREFECT_WORKER_PORT']}/health",
    }
    return healthy(address.get(name, ""))


def run(folder: Path, given: Environment, write: Callable[[str], None]) -> int:
    """Run the stack until it is interrupted.

    Args:
        folder: for all its data.
        given: the environment; ports may be set in it.
        write: is given lines to show.

    Returns:
        The exit status: 0 after Ctrl-C or SIGTERM, 1 after a failure.

    Raises:
        Missing: something has to be installed first.
    """
    folder.mkdir(parents=True, exist_ok=True)
    variables = environment(folder.resolve(), given)
    prepare(folder.resolve(), variables)
    commands = parse_procfile((Path(__file__).parent / "Procfile").read_text(encoding="utf-8"))
    width = max(map(len, commands))
    lock = threading.Lock()

    def say(name: str, line: str) -> None:
        with lock:
            write(f"{name:<{width}} | {line}")

    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    if _LINUX:
        ctypes.CDLL(None).prctl(_ADOPT, 1)
    processes = [Process(name, command, say) for name, command in commands.items()]
    try:
        for process in processes:
            process.start(variables)
            if not _wait(process, variables, stop):
                return 0 if stop.is_set() else 1
        write(_greeting(folder, variables))
        return watch(processes, variables, stop, say)
    finally:
        for process in reversed(processes):
            process.stop()
        _end_children()


def _wait(process: Process, variables: Environment, stop: threading.Event) -> bool:
    until = time.monotonic() + _PATIENCE
    while time.monotonic() < until and process.ended() is None and not stop.wait(0.3):
        if ready(process.name, variables):
            return True
    return False


def watch(
    processes: list[Process], variables: Environment, stop: threading.Event, say: Callable[[str, str], None], short: float = _SHORT
) -> int:
    """Start anew what ends, until told to stop.

    Args:
        processes: started.
        variables: their environment.
        stop: ends it.
        say: is told a process' name and what became of it.
        short: a process that ends within these seconds of its start will not do better.

    Returns:
        0 when stopped, 1 when a process would not stay.
    """
    looked = time.monotonic()
    while not stop.wait(0.3):
        if time.monotonic() - looked > _REAP:
            looked = time.monotonic()
            _take_orphans({process.number for process in processes})
        for process in processes:
            status = process.ended()
            if status is None:
                continue
            say(process.name, f"ended with status {status}")
            if process.age() < short:
                return 1
            process.start(variables)
    return 0


def _greeting(folder: Path, variables: Environment) -> str:
    user, _, word = variables["PREFECT_API_AUTH_STRING"].partition(":")
    address = variables["PREFECT_API_URL"].removesuffix("/api")
    return (
        f"\nready: {address} (login {user}:{word})\n"
        f"root {variables['HARDMINE_ROOT']}, cluster {variables['HARDMINE_CLUSTER']}, work pool {variables['HARDMINE_POOL']}\n"
        f"in another terminal: . {folder / 'env'}\nCtrl-C ends all\n"
    )


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _take_orphans(own: Collection[int | None]) -> None:
    """Take the exit status of adopted processes that have ended: nobody else does."""
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.NoSuchProcess, ChildProcessError):
            if child.pid not in own and child.status() == psutil.STATUS_ZOMBIE:
                os.waitpid(child.pid, os.WNOHANG)


def _end_children() -> None:
    """End what the processes left behind, flow runs among it."""
    left = psutil.Process().children(recursive=True)
    for child in left:
        _signal(child, signal.SIGTERM)
    for child in psutil.wait_procs(left, timeout=5)[1]:
        _signal(child, signal.SIGKILL)
    psutil.wait_procs(left, timeout=5)


def _signal(process: psutil.Process, number: signal.Signals) -> None:
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return


def _end_with_parent() -> None:
    if _LINUX:
        ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGTERM)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m infra.stack", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, default=Path("mining/stack"), help="for all data (default: mining/stack)")
    try:
        return run(parser.parse_args().folder, os.environ, lambda line: print(line, flush=True))  # noqa: T201
    except Missing as missing:
        sys.stderr.write(f"{missing}\n")
        return 2


if __name__ == "__main__":
    sys.exit(main())
