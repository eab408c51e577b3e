"""Stage ``given-candidates``: candidates that are there already (a run, a table, triplets, earlier rounds), by their place in the dataset.

It runs before any model does, so that a file of another collection is refused at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tasks.errors import InputError
from tasks.retrieve.further_settings import FurtherSource
from tasks.retrieve.given.lookup import find_documents, find_queries
from tasks.retrieve.given.rounds import round_rows
from tasks.retrieve.given.rows import Row, run_rows, table_rows
from tasks.retrieve.given.triplets import names_of, triplet_rows
from tasks.runner.stage import Job, Stage, Work
from tasks.store.keys import file_checksum
from tasks.store.manifest import Part
from tasks.store.output import Output

STAGE = Stage(name="given-candidates", version=1, function="tasks.retrieve.given.stage:run", unit="candidates")

#: candidates of one query partition, best first within a query
GIVEN = pa.schema(
    [
        ("query_row", pa.int64()),
        ("doc_partition", pa.int32()),
        ("doc_row", pa.int64()),
        ("rank", pa.int32()),
        ("score", pa.float32()),  # NULL: the source has none
    ]
)
_ALIASES = {
    "query_id": ("query_id", "query-id", "qid"),
    "doc_id": ("doc_id", "corpus-id", "corpus_id", "docid", "pid", "document_id"),
    "score": ("score",),
    "rank": ("rank",),
    "anchor": ("anchor", "query", "question"),
    "negative": ("negative", "negatives", "neg"),
    "negative_id": ("negative_id", "negative_ids", "neg_id", "neg_ids"),
}
_SHOWN = 3
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Negatives:
    """What an earlier round trained with.

    Args:
        number: of the round.
        select: parts with rows.parquet.
        scored: parts with scored.parquet, in the same order.
    """

    number: int
    select: Sequence[Part]
    scored: Sequence[Part]


def jobs(
    source: FurtherSource,
    files: Sequence[Path],
    documents: Sequence[Part],
    queries: Sequence[Part],
    earlier: Sequence[Negatives] = (),
    id_prefix: str = "",
    chunked: bool = False,
) -> list[Job]:
    """The one job of a source. It is keyed by the files' content; their paths are options.

    Args:
        source: of a kind that is given.
        files: of it.
        documents: all document partitions.
        queries: all query partitions.
        earlier: of kind ``rounds``: the rounds, the newest first.
        id_prefix: what the dataset puts before its ids; files have them without.
        chunked: whether its documents are chunks, by whose ids files name them.
    """
    inputs = {
        "documents": tuple(part.only("docs.parquet") for part in documents),
        "queries": tuple(part.only("queries.parquet") for part in queries),
    }
    for place, one in enumerate(earlier):
        inputs[f"select.{place}"] = tuple(part.only("rows.parquet") for part in one.select)
        inputs[f"scored.{place}"] = tuple(part.only("scored.parquet") for part in one.scored)
    keyed: dict[str, Any] = {
        "kind": source.kind,
        "unknown": source.unknown,
        "columns": source.columns.model_dump(mode="json"),
        "files": [file_checksum(path) for path in files],
        "rounds": len(earlier),
        **({"id_prefix": id_prefix} if id_prefix else {}),
        **({"chunked": True} if chunked else {}),
    }
    units = sum(max(1, path.stat().st_size >> 6) for path in files) or 1
    return [Job(source.name, inputs, keyed, {"paths": [str(path) for path in files]}, units)]


def run(work: Work, out: Output) -> None:
    """Write ``qNNNN.parquet`` (:data:`GIVEN`) for each query partition; meta: rows, skipped (unknown), repeated, depth.

    Raises:
        InputError: a file cannot be read, or names queries or documents that the dataset has not.
    """
    table, column, document_column = _read(work)
    asked, places = _coded(table, "query")
    documents, of_document = _coded(table, "document")
    query_partition, query_row = (found[places] for found in find_queries(work, asked, column))
    doc_partition, doc_row = (found[of_document] for found in find_documents(work, documents, document_column))
    known = (query_partition >= 0) & (doc_partition >= 0)
    if not known.all() and work.job.settings["kind"] != "rounds":
        _refuse_unknown(work, table, query_partition < 0, doc_partition < 0)
    score = table["score"].to_numpy().astype(np.float32)
    shown = table["own_score"].to_numpy().astype(np.float32) if "own_score" in table.column_names else score
    order = _best_first(places, score, table["rank"].to_numpy(), documents.take(pa.array(of_document)))
    order = order[known[order]]
    again = _repeated(places[order], of_document[order])
    order = order[~again]
    rank = _counted(places[order]) + 1
    for number, part in enumerate(work.job.inputs["queries"]):
        mine = query_partition[order] == number
        rows = order[mine]
        given = pa.array(shown[rows], mask=np.isnan(shown[rows]))
        columns = [query_row[rows], doc_partition[rows].astype(np.int32), doc_row[rows], rank[mine].astype(np.int32), given]
        out.table(f"{part.index}.parquet", pa.table(columns, schema=GIVEN))
    out.meta.update(rows=len(order), skipped=int((~known).sum()), repeated=int(again.sum()), depth=int(rank.max(initial=0)))


def columns_of(named: dict[str, str]) -> dict[str, tuple[str, ...]]:
    """By field, the column names to try: the user's, or the usual ones."""
    return {field: (named[field],) if named.get(field) else usual for field, usual in _ALIASES.items()}


def _read(work: Work) -> tuple[pa.Table, str, str]:
    """The rows of all files with the number of their file, and by which columns queries and documents are found."""
    settings = work.job.settings
    if settings["kind"] == "rounds":
        return round_rows(work, int(settings["rounds"])), "query_id", "doc_id"
    columns = columns_of(settings["columns"])
    paths = [Path(path) for path in work.job.options["paths"]]
    for path, checksum in zip(paths, settings["files"], strict=True):
        if not path.is_file() or file_checksum(path) != checksum:
            raise InputError(f"{path}: changed or went away while the run began", "run again when nothing writes to it")
    prefix = str(settings.get("id_prefix", ""))
    if settings["kind"] == "triplets":
        named = names_of(paths[0], columns)
        tables = [_table(triplet_rows(path, columns, named), number, path) for number, path in enumerate(paths)]
        by = ("query_id" if named.by_query_id else "norm_hash", "doc_id" if named.by_document_id else "norm_hash")
    else:
        read = run_rows if settings["kind"] == "run" else lambda path: table_rows(path, columns)
        tables, by = [_table(read(path), number, path) for number, path in enumerate(paths)], ("query_id", "doc_id")
    table = pa.concat_tables(tables).combine_chunks()
    for name, column in zip(("query", "document"), by, strict=True):
        if prefix and column != "norm_hash":
            prefixed = pa.array([prefix + one for one in table[name].to_pylist()], pa.string())
            table = table.set_column(table.schema.get_field_index(name), name, prefixed)
    return table, *by


def _table(rows: Any, number: int, path: Path) -> pa.Table:
    collected: list[Row] = list(rows)
    if not collected:
        raise InputError(f"{path}: there is no row in it", "give the right file, or remove the source")
    query, document, score, rank, line = zip(*collected, strict=True)
    return pa.table(
        {
            "query": pa.array(query, pa.string()),
            "document": pa.array(document, pa.string()),
            "score": pa.array(score, pa.float64()),
            "rank": pa.array(rank, pa.int64()),
            "line": pa.array(line, pa.int64()),
            "file": pa.repeat(pa.scalar(number, pa.int32()), len(collected)),
        }
    )


def _coded(table: pa.Table, name: str) -> tuple[pa.Array, Ints]:
    """A column's distinct values, and the place among them of each row's."""
    encoded = table[name].combine_chunks().dictionary_encode()
    return encoded.dictionary, encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)


def _best_first(query: Ints, score: NDArray[np.float32], rank: NDArray[Any], documents: pa.Array) -> Ints:
    """Rows by query, then score from the highest (else rank from the first), then document id."""
    ids = np.unique(np.asarray(documents.to_pylist(), dtype=object), return_inverse=True)[1].reshape(-1)
    return np.lexsort((ids, rank, -np.nan_to_num(score, nan=-np.inf), query)).astype(np.int64)


def _repeated(query: Ints, document: Ints) -> NDArray[np.bool_]:
    """Rows whose pair was there before, in the given order."""
    again = np.ones(len(query), dtype=bool)
    if len(query):
        again[np.unique(np.stack([query, document]), axis=1, return_index=True)[1]] = False
    return again


def _counted(groups: Ints) -> Ints:
    """0, 1, 2 … within each run of equal numbers."""
    count = np.arange(len(groups), dtype=np.int64)
    starts = np.flatnonzero(np.append(True, groups[1:] != groups[:-1])[: len(groups)])
    return count - np.repeat(starts, np.diff(np.append(starts, len(groups))))


def _refuse_unknown(work: Work, table: pa.Table, queries: NDArray[np.bool_], documents: NDArray[np.bool_]) -> None:
    """Name the first few rows whose query or document is not there.

    Raises:
        InputError: the source does not skip them.
    """
    settings, name = work.job.settings, work.job.index
    if settings["unknown"] == "skip":
        return
    rows = np.flatnonzero(queries | documents)
    by_text = settings["kind"] == "triplets"
    shown = []
    for row in rows[:_SHOWN].tolist():
        file = work.job.options["paths"][table["file"][row].as_py()]
        what, field = ("query", "query") if queries[row] else ("document", "document")
        given = "this text" if by_text and len(table[field][row].as_py()) == 32 else repr(table[field][row].as_py())
        shown.append(f"{file}:{table['line'][row].as_py()}: there is no {what} {given} in the dataset")
    more = f"\n… and {len(rows) - _SHOWN:,} more of {table.num_rows:,} rows" if len(rows) > _SHOWN else ""
    raise InputError(
        f"source {name}: " + "\n".join(shown) + more,
        "give the file that was made for this dataset (queries that dataset.split or max_queries leave out are not in it), or let such "
        "rows be skipped and counted: unknown: skip",
    )
