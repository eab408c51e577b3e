"""Sealed JSON: a record with its own checksum as the last field, so that a byte that changed on the disk is noticed when it is read."""

from __future__ import annotations

import re
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from tasks.errors import StorageError
from tasks.store.keys import bytes_checksum
from tasks.store.storage import Storage

_END, _FIELD, _CLOSE = b"\n}", b',\n "seal": "', b'"\n}'
_SEALED = re.compile(rb'"[0-9a-f]{32}"\s*\}\s*$')  # it ends as a sealed one does
_MEND = "`hardmine verify --mend` says what can be rebuilt, and how"
Record = TypeVar("Record", bound=BaseModel)


class Damaged(StorageError):
    """What was read is not what was written."""


def seal(body: bytes) -> bytes:
    r"""A JSON object, written with an indent of 1, with the field ``seal`` at its end: the xxh128 of all before it.

    >>> seal(b'{\n "a": 1\n}').decode().splitlines()[-2]
    ' "seal": "54fdca8a1e5fd18abe373116a6da441b"'
    >>> unseal(seal(b'{\n "a": 1\n}'))
    b'{\n "a": 1\n}'
    """
    return body.removesuffix(_END) + _FIELD + bytes_checksum(body).encode() + _CLOSE if body.endswith(_END) else body


def unseal(data: bytes) -> bytes:
    """The object without its seal; what has none (an empty object, a record of an older version) is given back as it is.

    Raises:
        ValueError: the seal is broken.
    """
    head, found, tail = data.rpartition(_FIELD)
    if not found:
        if _SEALED.search(data):
            raise ValueError("the seal is broken")
        return data
    body = head + _END
    if tail != bytes_checksum(body).encode() + _CLOSE:
        raise ValueError("the seal is broken")
    return body


def put_record(storage: Storage, name: str, record: BaseModel) -> None:
    """Write a record under its final name, sealed."""
    storage.put_bytes(name, seal(record.model_dump_json(indent=1).encode()))


def read_record(storage: Storage, name: str, kind: type[Record]) -> Record:
    """A record that must be there.

    Raises:
        StorageError: it cannot be read.
        Damaged: it is missing, or not what was written; it is left where it is.
    """
    try:
        data = storage.read_bytes(name)
    except StorageError as error:
        if storage.size(name) is None:
            raise Damaged(f"{storage.root}/{name} is missing", _MEND) from error
        raise
    try:
        return kind.model_validate_json(unseal(data))
    except (ValueError, ValidationError) as error:
        raise Damaged(f"{storage.root}/{name} is damaged", _MEND) from error


def find_record(storage: Storage, name: str, kind: type[Record]) -> Record | None:
    """A record that can be made again: ``None`` where there is none, or a damaged one, which is set aside."""
    if storage.size(name) is None:
        return None
    try:
        return read_record(storage, name, kind)
    except Damaged:
        storage.set_aside(name)
        return None
