"""What a corpus holds: as it was ingested, else by a look at its files, else as the user says."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from flows.labels import further_labels
from tasks.corpus.dataset import Dataset
from tasks.corpus.layouts import FINDERS
from tasks.corpus.readers import docstrings
from tasks.corpus.sampling import WANTED, sample
from tasks.corpus.settings import DatasetSettings
from tasks.corpus.sources import find_sources
from tasks.store.keys import input_hash
from tasks.store.manifest import Part
from tasks.store.storage import Storage
from tasks.store.tables import read_table

_WORDS, _ASKED = 100, 10  # of a document and a query that nobody has seen
_WORD = "word"


class Facts(BaseModel):
    """Counts, and some texts.

    ``source``: ``ingested``, ``counted``, ``estimated`` (in proportion to the part of the files that was read) or ``given``.
    ``files``: that are read. ``read_seconds``: to read and parse them; ``None``: not measured.
    ``documents_seen``: (title, text) of some documents; ``queries_seen``: texts of some queries.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str
    documents: int
    queries: int
    positives: int
    max_positives: int = 1
    files: int = 3
    read_seconds: float | None = None
    documents_seen: tuple[tuple[str, str], ...]
    queries_seen: tuple[str, ...]

    @property
    def document_bytes(self) -> float:
        """Mean bytes of a document's title and text."""
        return _mean([len(title.encode()) + len(text.encode()) for title, text in self.documents_seen])

    @property
    def query_bytes(self) -> float:
        """Mean bytes of a query."""
        return _mean([len(text.encode()) for text in self.queries_seen])

    @property
    def texts(self) -> pa.Table:
        """The documents seen, as columns ``title`` and ``text``."""
        titles, texts = zip(*self.documents_seen, strict=True) if self.documents_seen else ((), ())
        return pa.table({"title": pa.array(titles, pa.string()), "text": pa.array(texts, pa.string())})

    def hashes(self) -> tuple[list[str], list[str]]:
        """Input hashes of the documents and queries seen, each once."""
        documents = [input_hash(title, text) for title, text in self.documents_seen]
        return sorted(set(documents)), sorted({input_hash("", text) for text in self.queries_seen})

    def resized(self, documents: int | None, queries: int | None) -> Facts:
        """The same corpus with other counts: positives a query, and the pace of reading, stay."""
        if documents is None and queries is None:
            return self
        more = self.documents if documents is None else documents
        asked = self.queries if queries is None else queries
        rows = (more + asked) / max(1, self.documents + self.queries)
        update: dict[str, Any] = {
            "source": "given",
            "documents": more,
            "queries": asked,
            "positives": round(self.positives * asked / max(1, self.queries)),
            "read_seconds": None if self.read_seconds is None else self.read_seconds * rows,
        }
        return self.model_copy(update=update)


def given_facts(documents: int, queries: int) -> Facts:
    """Of a corpus that is not there yet: documents of 100 words, queries of 10 with one positive each."""
    text, query = " ".join([_WORD] * _WORDS), " ".join([_WORD] * _ASKED)
    return Facts(
        source="given", documents=documents, queries=queries, positives=queries, documents_seen=(("", text),), queries_seen=(query,)
    )


def ingested_facts(storage: Storage, dataset: Dataset) -> Facts:
    """Of a dataset as it is committed; its texts are those of the first partitions, which hold a sample by hash."""
    documents = _rows(storage, dataset.documents, "docs.parquet", ["title", "text"])
    queries = _rows(storage, dataset.queries, "queries.parquet", ["text"])
    return Facts(
        source="ingested",
        documents=dataset.document_count,
        queries=dataset.query_count,
        positives=dataset.counts["positives"],
        max_positives=dataset.max_positives,
        files=len(dataset.stages[0].parts),
        documents_seen=tuple((row["title"] or "", row["text"] or "") for row in documents),
        queries_seen=tuple(row["text"] for row in queries),
    )


def look_at_files(settings: DatasetSettings, storage: Storage | None) -> Facts:
    """By a look at the files; see :func:`tasks.corpus.sampling.sample`.

    Raises:
        InputError: files are missing or unusable.
    """
    sources = [*find_sources(settings), *(further_labels(storage, settings) if storage is not None else [])]
    found = sample([source for source in sources if not source.stored], settings)
    return Facts(
        source="estimated" if found.estimated else "counted",
        documents=round(found.documents),
        queries=round(found.queries),
        positives=round(found.positives),
        max_positives=max(1, round(found.positives / max(1.0, found.queries))),
        files=len(sources),
        read_seconds=found.seconds,
        documents_seen=tuple((found.texts[row].title, found.texts[row].text) for row in spaced(len(found.texts), WANTED)),
        queries_seen=tuple(found.asked[row].text for row in spaced(len(found.asked), WANTED)),
    )


def stamps(settings: DatasetSettings) -> list[tuple[str, int, int]]:
    """Path, size and time of each file of a dataset: what a look at them is kept under.

    Raises:
        InputError: files are missing.
    """
    if settings.format == "docstrings":
        packages = {package: docstrings.package_roots(package) for package in settings.packages}
        paths = [file.path for package, roots in packages.items() for file in docstrings.source_files(package, roots)]
    else:
        paths = [path for _, path in FINDERS[settings.format](settings)]
    return [_stamp(path) for path in paths]


def _stamp(path: Path) -> tuple[str, int, int]:
    found = path.stat()
    return str(path), found.st_size, found.st_mtime_ns


def _rows(storage: Storage, parts: Sequence[Part], name: str, columns: list[str]) -> list[dict[str, Any]]:
    """Evenly spaced rows of the first partitions that together have enough."""
    tables: list[pa.Table] = []
    for part in parts:
        tables.append(read_table(storage, part.file(name), columns))
        if sum(table.num_rows for table in tables) >= WANTED:
            break
    table = pa.concat_tables(tables)
    return list(table.take(pa.array(spaced(table.num_rows, WANTED))).to_pylist())


def spaced(rows: int, wanted: int) -> list[int]:
    """At most ``wanted`` rows out of so many, evenly spaced.

    >>> spaced(10, 3), spaced(2, 3)
    ([0, 3, 6], [0, 1])
    """
    return list(range(rows)) if rows <= wanted else [rows * number // wanted for number in range(wanted)]


def _mean(values: Sequence[int]) -> float:
    return sum(values) / len(values) if values else 0.0
