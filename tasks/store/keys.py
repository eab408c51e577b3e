"""Identity: digests of content, and the normal form that duplicate rules compare.

Keys are made of content only: never of a path, a date or a function's source text.
"""

from __future__ import annotations

import errno
import json
import os
import re
import unicodedata
from pathlib import Path
from typing import Any

import xxhash

_SPACE = re.compile(r"\s+")
_CHUNK = 1 << 22


def digest(*parts: Any) -> str:
    """xxh128 (32 hex digits) of JSON values, each length-prefixed, keys sorted.

    >>> digest("a", "b") == digest("ab", "")
    False
    >>> digest({"x": 1, "y": 2}) == digest({"y": 2, "x": 1})
    True
    """
    state = xxhash.xxh3_128()
    for part in parts:
        encoded = json.dumps(part, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
        state.update(len(encoded).to_bytes(8, "little"))
        state.update(encoded)
    return state.hexdigest()


def bytes_checksum(data: bytes | memoryview) -> str:
    """xxh128 of a file's bytes, as 32 hex digits."""
    return xxhash.xxh3_128(data).hexdigest()


def file_checksum(path: Path) -> str:
    """:func:`bytes_checksum` of a local file, read in pieces.

    Raises:
        OSError: it cannot be read, or ends before its size: no checksum of a part stands for the whole.
    """
    state, size, read = xxhash.xxh3_128(), path.stat().st_size, 0
    with path.open("rb") as handle:
        while chunk := handle.read(_CHUNK):
            state.update(chunk)
            read += len(chunk)
    if read < size:
        raise OSError(errno.EIO, f"{os.strerror(errno.EIO)}: {read} of {size} bytes were read", str(path))
    return state.hexdigest()


def input_hash(title: str, text: str) -> str:
    """Identity of what a model is given for a document (or a query, with an empty title).

    The prompt and the title template belong to the model's fingerprint, so (fingerprint, input_hash)
    stands for the exact bytes of the model's input.
    """
    title_bytes = title.encode("utf-8", "surrogatepass")
    state = xxhash.xxh3_128(len(title_bytes).to_bytes(8, "little"))
    state.update(title_bytes)
    state.update(text.encode("utf-8", "surrogatepass"))
    return state.hexdigest()


def normalise(text: str) -> str:
    r"""NFKC, casefolded, white space collapsed: the form in which copies are compared.

    >>> normalise("  The ﬁrst\nLine ")
    'the first line'
    """
    return _SPACE.sub(" ", unicodedata.normalize("NFKC", text).casefold()).strip()


def norm_hash(text: str, title: str = "") -> str:
    """xxh128 of the normal form of a text; of its title where the text is empty."""
    return xxhash.xxh3_128(normalise(text or title).encode("utf-8", "surrogatepass")).hexdigest()


def partition_of(identifier: str, count: int) -> int:
    """The partition (0 … count-1) of a document or query, by the hash of its id."""
    return int(xxhash.xxh3_64_intdigest(identifier.encode("utf-8", "surrogatepass")) % count)
