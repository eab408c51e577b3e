"""A journal of answers on the local disk: each is written there as soon as it is paid for, until a segment holds it.

A run that is killed leaves its journal; the next one on this machine takes it over. A live run's journal is locked.
"""

from __future__ import annotations

import fcntl
import os
import uuid

from pydantic import ValidationError

from tasks.remote.answers import Answer, keep
from tasks.store.storage import Storage


class Journal:
    """Answers of one store that are in no segment yet. Used under the caller's lock.

    Args:
        storage: the root.
        store: whose answers.
        size: answers that a segment holds, at the most.
    """

    def __init__(self, storage: Storage, store: str, size: int = 256) -> None:
        self._storage, self._store, self._size = storage, store, size
        self._path = storage.scratch() / f"answers-{store}-{uuid.uuid4().hex}.jsonl"
        self._file = self._path.open("a+b")
        fcntl.flock(self._file, fcntl.LOCK_EX)
        self._waiting: list[Answer] = []

    def add(self, answer: Answer) -> None:
        """Write one down."""
        self._file.write(answer.model_dump_json().encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())
        self._waiting.append(answer)
        if len(self._waiting) >= self._size:
            self.flush()

    def flush(self) -> None:
        """Move what waits into a segment."""
        keep(self._storage, self._store, self._waiting)
        self._waiting.clear()
        self._file.truncate(0)

    def close(self) -> None:
        """Flush, and remove the journal."""
        self.flush()
        self._path.unlink(missing_ok=True)
        self._file.close()


def take_over(storage: Storage, store: str) -> int:
    """Keep what journals of killed runs hold; a line that was cut off in the middle is left.

    Returns:
        How many answers there were.
    """
    count = 0
    for path in sorted(storage.scratch().glob(f"answers-{store}-*.jsonl")):
        with path.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            answers = [answer for answer in map(_read, file) if answer is not None]
            keep(storage, store, answers)
            count += len(answers)
            path.unlink(missing_ok=True)
    return count


def _read(line: bytes) -> Answer | None:
    try:
        return Answer.model_validate_json(line)
    except ValidationError:
        return None
