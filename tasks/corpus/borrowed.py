"""Documents of another dataset as further candidates: only where the user asks for them."""

from __future__ import annotations

from dataclasses import replace

from tasks.corpus.settings import DatasetSettings
from tasks.corpus.sources import Source, find_sources
from tasks.errors import UsageError

_CORPUS = ("corpus", "texts")


def borrowed_sources(other: DatasetSettings) -> list[Source]:
    """The corpus files of another dataset, read as that dataset reads them; no query and no label comes along.

    Raises:
        UsageError: it has no corpus apart from its queries.
    """
    found = [replace(source, origin=other) for source in find_sources(other) if source.role in _CORPUS]
    if not found:
        raise UsageError(
            f"dataset {other.name} (format {other.format}) has no corpus of its own to be searched",
            "give its documents as files of format jsonl, csv, parquet or beir",
        )
    return found
