"""Stages ``written-documents`` and ``candidates-written``: written documents as a partition of their own, and as candidates.

Their source is ``synthetic``: its rank is their order by the retriever's score, its score that score. They are candidates for the
query that they were written for alone, and in no index.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.runner.stage import Job, Stage, Work
from tasks.schema import DOCS
from tasks.store.keys import input_hash, norm_hash
from tasks.store.manifest import Part
from tasks.store.output import Output
from tasks.store.tables import read_array, read_kept, whole_numbers
from tasks.write.negatives import KEPT

SOURCE = "synthetic"
DOCUMENTS = Stage(name="written-documents", version=1, function="tasks.write.stage:documents", unit="documents")
CANDIDATES = Stage(name="candidates-written", version=1, function="tasks.write.stage:candidates", unit="candidates")
WRITTEN = pa.schema([(name, pa.string()) for name in ("query_id", "doc_id", "title", "text", "contradicts", "status")])


def document_jobs(stored: tuple[str, int, str]) -> list[Job]:
    """The one job. ``stored``: path, bytes and checksum of a :data:`WRITTEN` table in the root."""
    return [Job(index="w0000", settings=dict(zip(("path", "bytes", "checksum"), stored, strict=True)))]


def documents(work: Work, out: Output) -> None:
    """Write ``docs.parquet`` (each kept document once, by id) and ``written.parquet`` (all drafts, with what became of them)."""
    settings = work.job.settings
    table = read_kept(work.storage, str(settings["path"]), int(settings["bytes"]), str(settings["checksum"]))
    kept = {row["doc_id"]: row for row in table.filter(pc.equal(table["status"], KEPT)).to_pylist()}
    rows = [
        {
            **kept[name],
            "position": place,
            "input_hash": input_hash(kept[name]["title"], kept[name]["text"]),
            "norm_hash": norm_hash(kept[name]["text"], kept[name]["title"]),
        }
        for place, name in enumerate(sorted(kept))
    ]
    out.table("docs.parquet", pa.Table.from_pylist([{name: row.get(name) for name in DOCS.names} for row in rows], DOCS))
    out.table("written.parquet", table.cast(WRITTEN))
    out.count(model_calls=0)


def candidate_jobs(
    candidates: Sequence[Part], queries: Sequence[Part], query_vectors: Sequence[Part], written: Part, vectors: Part, partition: int
) -> list[Job]:
    """One job a query partition.

    Args:
        candidates: parts of ``candidates``.
        queries: parts of ``queries``, in the same order.
        query_vectors: parts of ``embed-queries``, likewise.
        written: the part of ``written-documents``.
        vectors: its part of ``embed-documents``.
        partition: number of the written documents' partition: how many the corpus has.
    """
    return [
        Job(
            index=part.index,
            inputs={
                "candidates": (part.only("candidates.parquet"),),
                "queries": (asked.only("queries.parquet"),),
                "query_vectors": (embedded.only("vectors.npy"),),
                "written": (written,),
                "vectors": (vectors.only("vectors.npy"),),
            },
            settings={"partition": partition},
            units=part.file("candidates.parquet").rows or 0,
        )
        for part, asked, embedded in zip(candidates, queries, query_vectors, strict=True)
    ]


def candidates(work: Work, out: Output) -> None:
    """Write ``candidates.parquet``: the partition's candidates and its queries' written documents, by query and document id."""
    table = work.table("candidates", "candidates.parquet")
    rows = _rows(work, table["query_row"])
    new = pa.Table.from_pylist(rows, pa.schema([*table.schema, (f"{SOURCE}_rank", pa.int32()), (f"{SOURCE}_score", pa.float32())]))
    whole = pa.concat_tables([table, new], promote_options="default").sort_by([("query_row", "ascending"), ("doc_id", "ascending")])
    out.table("candidates.parquet", whole.combine_chunks())
    out.meta.update(rows=whole.num_rows, written=len(rows), planted=int(pc.sum(whole["planted"]).as_py() or 0))
    out.count(model_calls=0)


def _rows(work: Work, query_row: pa.ChunkedArray) -> list[dict[str, Any]]:
    """Candidates of source ``synthetic``; ``query_row``: of the mined ones."""
    queries = work.table("queries", "queries.parquet", ["query_id", "input_hash"])
    place = {name: row for row, name in enumerate(queries["query_id"].to_pylist())}
    mined = set(np.unique(whole_numbers(query_row)).tolist())
    docs = work.table("written", "docs.parquet", ["doc_id", "input_hash"]).to_pylist()
    at = {row["doc_id"]: number for number, row in enumerate(docs)}
    pairs = [row for row in work.table("written", "written.parquet", ["query_id", "doc_id", "status"]).to_pylist() if row["status"] == KEPT]
    wanted = sorted({(place[row["query_id"]], row["doc_id"]) for row in pairs if place.get(row["query_id"]) in mined})
    asked = read_array(work.storage, work.job.inputs["query_vectors"][0].file("vectors.npy"))
    vectors = read_array(work.storage, work.job.inputs["vectors"][0].file("vectors.npy"))
    hashes, names = queries["input_hash"].to_pylist(), queries["query_id"].to_pylist()
    rows = []
    for query, doc in wanted:
        score = np.float32(np.dot(np.asarray(asked[query], dtype=np.float32), np.asarray(vectors[at[doc]], dtype=np.float32)))
        rows.append(
            {
                "query_id": names[query],
                "doc_id": doc,
                "query_row": query,
                "doc_partition": work.job.settings["partition"],
                "doc_row": at[doc],
                "is_positive": False,
                "planted": False,
                "query_hash": hashes[query],
                "doc_hash": docs[at[doc]]["input_hash"],
                "dense_score": float(score),
                f"{SOURCE}_score": float(score),
            }
        )
    return _ranked(rows)


def _ranked(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    ordered = sorted(rows, key=lambda row: (row["query_row"], -row["dense_score"], row["doc_id"]))
    for number, row in enumerate(ordered):
        first = number == 0 or ordered[number - 1]["query_row"] != row["query_row"]
        row[f"{SOURCE}_rank"] = 1 if first else ordered[number - 1][f"{SOURCE}_rank"] + 1
    return ordered
