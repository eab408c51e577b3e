"""What is in a dataset's files, from a look at them: counts, sizes, and some of the texts. Nothing is written."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tasks.corpus import ingest
from tasks.corpus.fields import Fields, RowError
from tasks.corpus.readers.jsonl import parse
from tasks.corpus.readers.rows import Cursor, Raw
from tasks.corpus.records import PARSERS, Document, Query, Records
from tasks.corpus.settings import DatasetSettings
from tasks.corpus.sources import Source
from tasks.runner.stage import Job

WHOLE = 32 << 20  # bytes up to which a file is read as a whole
WANTED = 2_000  # texts of each kind, at least, where there are so many
_PLACES, _EACH = 64, 64  # of a large file of lines: places that are read, and lines at each
_FIRST = 8_192  # rows of a large file of another kind, from its beginning


class Thinned:
    """Keeps every so-manieth of the things that it is given: between ``WANTED`` and twice as many, evenly spread."""

    def __init__(self, wanted: int = WANTED) -> None:
        self.kept: list[Any] = []
        self.seen = 0
        self._wanted, self._every = wanted, 1

    def add(self, one: object) -> None:
        """One more."""
        if self.seen % self._every == 0:
            self.kept.append(one)
            if len(self.kept) >= 2 * self._wanted:
                self.kept, self._every = self.kept[::2], 2 * self._every
        self.seen += 1


@dataclass
class Sampled:
    """A look at a dataset.

    ``documents``, ``queries``, ``positives``: how many there are; in proportion to what was read, where ``estimated``.
    ``texts``, ``asked``: some of them. ``seconds``: to read and parse all files, at the pace of the look.
    """

    documents: float = 0
    queries: float = 0
    positives: float = 0
    seconds: float = 0.0
    estimated: bool = False
    texts: list[Document] = field(default_factory=list)
    asked: list[Query] = field(default_factory=list)


def sample(sources: Sequence[Source], settings: DatasetSettings) -> Sampled:
    """Look at all sources: files up to 32 MB (and packages) as a whole, of larger ones a part.

    Of a large JSON-lines file 64 lines at each of 64 places are read, of other large files the first 8,192 rows. Unusable rows are skipped.

    Args:
        sources: from :func:`tasks.corpus.sources.find_sources`.
        settings: of the dataset.

    Raises:
        InputError: a source is damaged.
    """
    found, texts, asked = Sampled(), Thinned(), Thinned()
    for source, job in zip(sources, ingest.jobs(sources, settings, 1, 1), strict=True):
        began, cursor = time.perf_counter(), Cursor()
        counts = [0, 0, 0]
        for records in _records(job, _some_rows(source, job, cursor)):
            counts[0] += len(records.documents)
            counts[1] += len(records.queries)
            counts[2] += sum(one.relevance >= settings.positive_min_grade for one in records.judgements)
            for document in records.documents:
                texts.add(document)
            for query in records.queries:
                asked.add(query)
        whole = source.bytes <= WHOLE or source.role == "packages"
        scale = 1.0 if whole else source.bytes / max(1, cursor.done)
        found.estimated |= not whole
        found.documents += scale * counts[0]
        found.queries += scale * counts[1]
        found.positives += scale * counts[2]
        found.seconds += scale * (time.perf_counter() - began)
    found.texts, found.asked = texts.kept, asked.kept
    return found


def _records(job: Job, rows: Iterator[Raw]) -> Iterator[Records]:
    parser, fields = PARSERS[str(job.settings["role"])], Fields(job.settings["columns"])
    for raw in rows:
        if not raw.reason:
            try:
                yield parser(fields.of(raw.values))
            except RowError:
                continue


def _some_rows(source: Source, job: Job, cursor: Cursor) -> Iterator[Raw]:
    """Rows of a source; ``cursor.done`` ends as the bytes that they took."""
    path = Path(source.path)
    if source.role == "packages" or source.bytes <= WHOLE:
        yield from ingest.rows(job, path, cursor)
    elif source.kind == "jsonl" and path.suffix != ".gz":
        yield from _spread_lines(path, source.bytes, cursor)
    else:
        for number, raw in enumerate(ingest.rows(job, path, cursor)):
            if number == _FIRST:
                break
            yield raw


def _spread_lines(path: Path, size: int, cursor: Cursor) -> Iterator[Raw]:
    with path.open("rb") as handle:
        for place in range(_PLACES):
            handle.seek(size * place // _PLACES)
            if place:
                handle.readline()  # most likely the rest of one
            for number in range(_EACH):
                line = handle.readline()
                cursor.done += len(line)
                if line.strip():
                    yield parse(number, line.strip())
