"""What a run draws and writes for people, made once: a round that is mined again finds its pictures and its report."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from tasks.audit.records import RoundRecord, round_manifests
from tasks.errors import StorageError
from tasks.runner.release import RELEASE, source_digest
from tasks.store.keys import digest
from tasks.store.storage import Storage

#: of all code that pages are made by
_CODE = f"{RELEASE}, flows {source_digest(Path(__file__).parents[1])}"
_MARK = "<!-- made from {} -->"


def page_name(record: RoundRecord, ending: str) -> str:
    """Where a page of a round lies under the root, as in ``reports/cranfield-r2.html``."""
    return f"reports/{record.dataset}-r{record.number}{ending}"


class Pictures:
    """The PNG data URIs of a round's summary. Use as a context manager: what is drawn is kept at its end, what is no longer shown goes.

    Args:
        storage: the root.
        record: the round.
    """

    def __init__(self, storage: Storage, record: RoundRecord) -> None:
        self._storage, self._name = storage, page_name(record, ".pictures.json")
        self._before: dict[str, str] = {}
        self._shown: dict[str, str] = {}

    def __enter__(self) -> Pictures:
        if self._storage.size(self._name) is not None:
            self._before = _pictures(self._storage.read_bytes(self._name))
        return self

    def __exit__(self, *error: object) -> None:
        if error[0] is None and self._shown != self._before:
            self._storage.put_bytes(self._name, json.dumps(self._shown).encode())

    def of(self, draw: Callable[..., str], *shown: Any) -> str:
        """``draw(*shown)``, or what it has drawn before.

        Args:
            draw: a function of :mod:`tasks.report.pictures`.
            shown: JSON values, settings, or sequences of settings.
        """
        key = digest(_CODE, draw.__name__, *(_plain(one) for one in shown))
        self._shown[key] = self._before.get(key) or draw(*shown)
        return self._shown[key]


def report_key(storage: Storage, record: RoundRecord, *asked: Any) -> str:
    """Of all that a report shows: the round, the dataset's other rounds, what was asked for, the code.

    Args:
        storage: the root.
        record: the round.
        asked: JSON values.
    """
    return digest(_CODE, record.model_dump(mode="json"), round_manifests(storage, record.dataset), *asked)


def is_made(storage: Storage, name: str, key: str) -> bool:
    """Whether a page is there that was made from this."""
    mark = _MARK.format(key).encode()
    try:
        return storage.size(name) is not None and storage.read_bytes(name).rstrip().endswith(mark)
    except StorageError:
        return False


def keep_page(storage: Storage, name: str, page: bytes, key: str) -> None:
    """Put a page of HTML, with a note at its end of what it was made from."""
    storage.put_bytes(name, page + f"\n{_MARK.format(key)}\n".encode())


def _pictures(content: bytes) -> dict[str, str]:
    """None where it cannot be read: they are drawn again."""
    try:
        found = json.loads(content)
    except ValueError:
        return {}
    return {str(key): str(uri) for key, uri in found.items() if str(uri).startswith("data:image/png")} if isinstance(found, dict) else {}


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(one) for one in value]
    if isinstance(value, dict):  # the order is that of the bars
        return [[name, _plain(one)] for name, one in value.items()]
    return value
