"""Stage ``ingest``: one source file into buckets by partition, with bounded memory.

Writes ``docs-dNNNN.parquet``, ``queries-qNNNN.parquet`` and ``qrels-dNNNN.parquet`` (judgements go by their document)
for the partitions that have rows, in the source's order, and ``rejected.parquet``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow as pa

from tasks.corpus.buckets import Buckets
from tasks.corpus.fields import Fields, RowError
from tasks.corpus.readers import docstrings
from tasks.corpus.readers.registry import READERS
from tasks.corpus.readers.rows import Cursor, Dialect, Raw, shown
from tasks.corpus.records import GIVES_QUERIES, PARSERS, Records
from tasks.corpus.settings import DatasetSettings, named_split
from tasks.corpus.sources import Source, columns_of
from tasks.errors import InputError
from tasks.runner.stage import Job, Stage, Work
from tasks.schema import REJECTED_INPUT, SYNTHETIC
from tasks.store.keys import file_checksum, partition_of
from tasks.store.output import Output
from tasks.store.storage import checked_copy

STAGE = Stage(name="ingest", version=4, function="tasks.corpus.ingest:run", unit="KB")

_PLACE = [("position", pa.int64()), ("line", pa.int64()), ("file", pa.string()), ("derived", pa.bool_())]
DOCS_BUCKET = pa.schema([*((name, pa.string()) for name in ("doc_id", "title", "text", "group_id", "language")), *_PLACE])
QUERIES_BUCKET = pa.schema(
    [
        ("query_id", pa.string()),
        ("text", pa.string()),
        ("answers", pa.list_(pa.string())),
        ("group", pa.string()),
        ("split", pa.string()),
        ("language", pa.string()),
        *_PLACE,
    ]
)
QRELS_BUCKET = pa.schema(
    [
        *(("query_id", pa.string()), ("doc_id", pa.string()), ("relevance", pa.int32())),
        *_PLACE[:3],
        *(("provenance", pa.string()), ("chunk", pa.string())),
    ]
)

_BEIR_QRELS = ("query_id", "doc_id", "relevance")
_EVERY = 1_024


def jobs(sources: Sequence[Source], settings: DatasetSettings, document_partitions: int, query_partitions: int) -> list[Job]:
    """One job a source. Keyed by content and by how it is read; the path is an option."""
    made: list[Job] = []
    counted: Counter[str] = Counter()
    for source in sources:
        own = source.origin or settings
        keyed = {
            "role": source.role,
            "kind": source.kind,
            "label": source.label,
            "checksum": source.checksum,
            "columns": {name: list(names) for name, names in columns_of(source.role, own).items()},
            "dialect": _dialect(source, own),
            "split": named_split(settings.split) if source.role in GIVES_QUERIES and settings.splits is None else "",
            "document_partitions": document_partitions,
            "query_partitions": query_partitions,
        }
        if source.role == "packages":
            keyed |= {"max_documents": settings.max_documents, "max_queries": settings.max_queries}
        if source.provenance:
            keyed["provenance"] = source.provenance
        elif own.id_prefix:
            keyed["id_prefix"] = own.id_prefix
        if source.origin is not None:
            keyed["borrowed"] = True
        options = {"path": source.path, "packages": source.packages, "stored": source.stored, "bytes": source.bytes}
        index = f"{source.role}-{counted[source.role]:04d}"
        counted[source.role] += 1
        made.append(Job(index=index, settings=keyed, options=options, units=max(1, source.bytes >> 10)))
    return made


def run(work: Work, out: Output) -> None:
    """Read one source.

    Raises:
        InputError: the source has changed since its checksum was taken, or is damaged.
        StorageError: the same of a source under the root.
    """
    path = _local(work)
    stamp = _check_content(work.job, path)
    scratch = work.storage.scratch()
    with closing(_Tables(work.job, scratch)) as tables:
        cursor, told = Cursor(), 0
        parser, fields = PARSERS[str(work.job.settings["role"])], Fields(work.job.settings["columns"])
        for number, raw in enumerate(rows(work.job, path, cursor), 1):
            try:
                if raw.reason:
                    raise RowError(raw.reason)
                tables.add(raw, parser(fields.of(raw.values)))
            except RowError as error:
                tables.reject(raw, str(error))
            if number % _EVERY == 0 and cursor.done >> 10 > told:
                work.report((cursor.done >> 10) - told)
                told = cursor.done >> 10
        if work.job.options["path"] and _stamp(path) != stamp:
            raise _changed(work.job)
        tables.write(out)
    out.meta["repaired"] = fields.repaired


class _Tables:
    """The four tables that one source is sorted into."""

    def __init__(self, job: Job, scratch: Path) -> None:
        settings = job.settings
        self._role, self._label, self._split = str(settings["role"]), str(settings["label"]), str(settings["split"]) or None
        self._provenance = settings.get("provenance")
        self._prefix, self._borrowed = str(settings.get("id_prefix", "")), bool(settings.get("borrowed"))
        self._documents, self._queries = int(settings["document_partitions"]), int(settings["query_partitions"])
        self.docs = Buckets(DOCS_BUCKET, scratch)
        self.queries = Buckets(QUERIES_BUCKET, scratch)
        self.qrels = Buckets(QRELS_BUCKET, scratch)
        self.rejected = Buckets(REJECTED_INPUT, scratch)
        self.rows = 0

    def add(self, raw: Raw, records: Records) -> None:
        """Keep what a row gave.

        Raises:
            RowError: a document's id is one that only what Hardmine has written may have.
        """
        if any((self._prefix + document.doc_id).startswith(SYNTHETIC) for document in records.documents):
            raise RowError(f"ids that begin with {SYNTHETIC!r} are of documents that a language model wrote: rename it, or set id_prefix")
        self.rows += 1
        file = raw.file or self._label
        for document in records.documents:
            doc_id, *columns, derived = document
            doc_id, again = self._prefix + doc_id, derived or self._borrowed  # another's documents that are one's own too are no mistake
            partition = partition_of(doc_id, self._documents)
            self.docs.add(partition, (doc_id, *columns, self.docs.rows, raw.line, file, again), len(document.title) + len(document.text))
        for query in records.queries:
            query_id, text, answers, group, split, language, derived = query
            query_id = self._prefix + query_id
            partition = partition_of(query_id, self._queries)
            row = (query_id, text, answers, group, split or self._split, language, self.queries.rows, raw.line, file, derived)
            self.queries.add(partition, row, len(text) + sum(map(len, answers or ())))
        for judgement in records.judgements:
            query_id, doc_id = self._prefix + judgement.query_id, self._prefix + judgement.doc_id
            row_of = (query_id, doc_id, judgement.relevance, self.qrels.rows, raw.line, file, self._provenance, judgement.chunk)
            self.qrels.add(partition_of(doc_id, self._documents), row_of)

    def reject(self, raw: Raw, reason: str) -> None:
        """Set a row aside."""
        self.rows += 1
        self.rejected.add(0, (raw.file or self._label, raw.line, reason, shown(raw)), 200)

    def write(self, out: Output) -> None:
        """Write all files, partition by partition, and count."""
        for name, buckets, letter in (("docs", self.docs, "d"), ("queries", self.queries, "q"), ("qrels", self.qrels, "d")):
            for partition, table in buckets.tables():
                out.table(f"{name}-{letter}{partition:04d}.parquet", table)
        out.table("rejected.parquet", dict(self.rejected.tables()).get(0, REJECTED_INPUT.empty_table()))
        rows = {self._role: self.rows}
        if self._role == "queries" and self.qrels.rows:
            rows["qrels"] = self.qrels.rows
        out.meta.update(role=self._role, rows=rows, rejected={self._role: self.rejected.rows})

    def close(self) -> None:
        """Remove spilled rows."""
        for buckets in (self.docs, self.queries, self.qrels, self.rejected):
            buckets.close()


def _local(work: Work) -> Path:
    """The file on this machine: the user's, or a checked copy of one under the root."""
    options = work.job.options
    if options.get("stored"):
        return checked_copy(work.storage, options["stored"], int(options["bytes"]), str(work.job.settings["checksum"]))
    return Path(options["path"])


def rows(job: Job, path: Path, cursor: Cursor) -> Iterator[Raw]:
    """The rows of a job's source, as its reader gives them."""
    settings = job.settings
    if settings["kind"] == "docstrings":
        return docstrings.read(_roots(job), int(settings["max_documents"]), int(settings["max_queries"]), cursor)
    dialect = settings["dialect"]
    laid_out = Dialect(dialect["delimiter"], bool(dialect["quoted"]), tuple(dialect["header"]))
    return READERS[str(settings["kind"])](path, laid_out, cursor)


def _roots(job: Job) -> dict[str, Sequence[Path]]:
    packages: dict[str, list[str]] = job.options["packages"]
    return {package: [Path(root) for root in roots] for package, roots in packages.items()}


def _dialect(source: Source, settings: DatasetSettings) -> dict[str, Any]:
    if settings.format == "beir" and source.role == "qrels":
        return {"delimiter": "\t", "quoted": False, "header": list(_BEIR_QRELS)}
    return {"delimiter": source.delimiter, "quoted": True, "header": []}


def _check_content(job: Job, path: Path) -> tuple[int, int]:
    """Refuse a source whose content is not the job's; else its size and time, to compare after reading."""
    if job.settings["kind"] == "docstrings":
        same, stamp = docstrings.checksum(_roots(job))[0] == job.settings["checksum"], (0, 0)
    else:
        if not path.is_file():
            raise InputError(
                f"{path} is missing on the machine that reads it", "put the data where every worker sees it under the same path"
            )
        stamp = _stamp(path)
        same = file_checksum(path) == job.settings["checksum"]
    if not same:
        raise _changed(job)
    return stamp


def _stamp(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns


def _changed(job: Job) -> InputError:
    return InputError(f"{job.options['path'] or 'a package'} changed while it was being read", "run again when nothing writes to it")
