"""What of a root is needed: the files that can be reached from some of its records.

A record reaches whatever it names: a file by its path, all files of a folder (of three parts or more) by the folder's, and by a key or
digest of 16 hex digits or more whatever has that in its name. This keeps more than is needed now and then, and never less: a new kind of
record needs no word here.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import PurePosixPath

_DIGEST = re.compile(r"[0-9a-f]{16,64}")
_PATH = re.compile(r'"(?:root:)?([^"\\]+/[^"\\]+)"')
_PARTS = 3


def reachable(contents: Mapping[str, bytes], names: Collection[str], roots: Iterable[str]) -> set[str]:
    """Names of the files that some records need, by way of other records; those records too.

    Args:
        contents: of every record, JSON, by name.
        names: of all files of the root.
        roots: records that are needed in any case.

    >>> key = "00112233445566778899aabbccddeeff"
    >>> records = {"pointers/a": f'{{"key": "{key}"}}'.encode(), f"manifests/x/{key}.json": b'{"folder": "data/y/7"}'}
    >>> sorted(reachable(records, [*records, "data/x/11", "data/y/7/t", f"data/z/{key}/v"], ["pointers/a"]))
    ['data/y/7/t', 'data/z/00112233445566778899aabbccddeeff/v', 'manifests/x/00112233445566778899aabbccddeeff.json', 'pointers/a']
    """
    by_word: dict[str, set[str]] = defaultdict(set)
    for name in names:
        for word in _called(name):
            by_word[word].add(name)
    found, seen = set(roots), set[str]()
    waiting = [contents[name] for name in found]
    while waiting:
        text = waiting.pop().decode("utf-8", "replace")
        words = {*_DIGEST.findall(text), *_PATH.findall(text)} - seen
        seen |= words
        fresh = {name for word in words for name in by_word.get(word.rstrip("/"), ())} - found
        found |= fresh
        waiting += [contents[name] for name in fresh if name in contents]
    return found


def _called(name: str) -> Iterator[str]:
    """All that a record may say to mean a file."""
    yield name
    yield from _DIGEST.findall(name)
    yield from (str(folder) for folder in PurePosixPath(name).parents if len(folder.parts) >= _PARTS)
