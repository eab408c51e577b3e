"""A query in a process of its own: it is killed when it takes too long, and running out of memory ends nobody else.

The engine's interrupt acts between blocks of rows, and its memory limit does not count single values: a query such as
``SELECT len(range(400000000))`` passes both. Hence the process, its limits and its end.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from tasks import sql_words as words
from tasks.errors import HardmineError, StorageError, UsageError

_START = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from tasks.sql_process import serve; serve()"
_GRACE = 5.0  # seconds for the process to start, and to stop by itself
_SLACK = 1_000_000_000  # address space that threads and allocators reserve without using it
_RESULT = "result.arrow"


@dataclass(frozen=True)
class Budget:
    """What one query may take: seconds; bytes of memory, of temporary disk space, and of the result."""

    seconds: float = 60.0
    memory: int = 2_000_000_000
    spill: int = 4_000_000_000
    result: int = 1_000_000_000


def ask_in_child(path: Path, sql: str, parameters: Sequence[Any] | Mapping[str, Any] | None, budget: Budget) -> pa.Table:
    """The result of one query on a snapshot; see :func:`tasks.sql.query_snapshot`.

    Args:
        path: the snapshot.
        sql: the query.
        parameters: values that JSON can hold.
        budget: what the query may take.

    Raises:
        UsageError: the query is refused, wrong, or takes too much.
        StorageError: the snapshot cannot be read, or no process can be started.
    """
    with tempfile.TemporaryDirectory(prefix="hardmine-sql-") as folder:
        request = {
            "path": str(path.absolute()),
            "sql": sql,
            "parameters": parameters,
            "budget": dataclasses.asdict(budget),
            "folder": folder,
        }
        answer = _run(_encoded(request), budget)
        if answer is not None:
            error = {"UsageError": UsageError, "StorageError": StorageError}[answer["error"]]
            raise error(answer["message"], answer["mend"])
        with pa.OSFile(str(Path(folder) / _RESULT)) as file:
            return pa.ipc.open_file(file).read_all()


def serve() -> None:
    """The process: one request on standard input; the result in a file, or the error on standard output."""
    request = json.load(sys.stdin)
    budget = Budget(**request["budget"])
    try:
        _answer(request, budget)
        answer = None
    except MemoryError:
        answer = _told(words.out_of_memory())
    except HardmineError as error:
        answer = _told(error)
    json.dump(answer, sys.stdout)


def _answer(request: dict[str, Any], budget: Budget) -> None:
    from tasks.sql import ask, sandboxed

    _limit(budget)
    folder = Path(request["folder"])
    with sandboxed(request["path"], budget, folder / "spill") as database:
        table = ask(database, request["sql"], request["parameters"], budget.seconds, budget.result)
    with pa.OSFile(str(folder / _RESULT), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)


def _run(request: bytes, budget: Budget) -> dict[str, str] | None:
    command = [sys.executable, "-c", _START, json.dumps(sys.path)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
    try:
        output, complaint = process.communicate(request, timeout=budget.seconds + _GRACE)
    except subprocess.TimeoutExpired as error:
        raise words.out_of_time(budget.seconds) from error
    finally:
        process.kill()
        process.communicate()
    if process.returncode == 0:
        answer: dict[str, str] | None = json.loads(output)
        return answer
    if process.returncode < 0 or b"bad_alloc" in complaint or b"MemoryError" in complaint:
        raise words.out_of_memory()  # killed by the system, or ended where memory could not be had
    last = complaint.decode("utf-8", "replace").strip().splitlines() or ["it ended without a word"]
    raise StorageError(f"the query's process failed: {last[-1][:200]}", "run `hardmine doctor`; reinstall hardmine if it finds nothing")


def _encoded(request: dict[str, Any]) -> bytes:
    try:
        return json.dumps(request, allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"a parameter cannot be given to SQL: {error}", "give texts, numbers, true, false, null or lists of them"
        ) from error


def _told(error: HardmineError) -> dict[str, str]:
    return {"error": "StorageError" if isinstance(error, StorageError) else "UsageError", "message": error.message, "mend": error.mend}


def _limit(budget: Budget) -> None:
    """Let the system end what the engine does not: address space over the budget, and computing long after its time."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        seconds = math.ceil(2 * (budget.seconds + _GRACE))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
        used = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
        space = used + budget.memory + 2 * budget.result + _SLACK
        resource.setrlimit(resource.RLIMIT_AS, (space, space))
