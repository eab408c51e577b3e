"""Stage ``documents``: one document partition from the buckets of all sources.

Writes ``docs.parquet`` (sorted by doc_id), ``qrels.parquet`` (the judgements of these documents, sorted by query
partition, query_id, doc_id) and ``rejected.parquet``. Of several documents of one id the first in source order counts.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.corpus.order import concat_placed, repeats
from tasks.corpus.records import GIVES_DOCUMENTS, GIVES_QRELS
from tasks.corpus.rejected import own_rows, rejections
from tasks.runner.stage import Job, Stage, Work
from tasks.schema import DOCS
from tasks.store.keys import input_hash, norm_hash, partition_of
from tasks.store.manifest import Part, StageManifest
from tasks.store.output import Output

STAGE = Stage(name="documents", version=4, function="tasks.corpus.documents:run", unit="documents")

#: judgements with the place of their document
JUDGED = pa.schema(
    [
        ("query_partition", pa.int32()),
        ("query_id", pa.string()),
        ("doc_id", pa.string()),
        ("relevance", pa.int32()),
        ("doc_row", pa.int64()),
        ("position", pa.int64()),
        ("line", pa.int64()),
        ("file", pa.string()),
        ("provenance", pa.string()),  # NULL: the user's own
        ("chunk", pa.string()),  # of what is said of one chunk of the document alone: its norm_hash; NULL: of the document
    ]
)
_ROW_GROUP = 4_096  # small, so that a query partition reads little more than its own


def jobs(ingest: StageManifest, document_partitions: int, query_partitions: int) -> list[Job]:
    """One job a document partition; it depends only on the buckets of that partition."""
    made = []
    for number in range(document_partitions):
        docs, doc_numbers = buckets(ingest.parts, GIVES_DOCUMENTS, f"docs-d{number:04d}.parquet")
        qrels, qrels_numbers = buckets(ingest.parts, GIVES_QRELS, f"qrels-d{number:04d}.parquet")
        made.append(
            Job(
                index=f"d{number:04d}",
                inputs={"documents": docs, "qrels": qrels},
                settings={"numbers": {"documents": doc_numbers, "qrels": qrels_numbers}, "query_partitions": query_partitions},
                units=max(1, sum(part.files[0].rows or 0 for part in docs)),
            )
        )
    return made


def buckets(parts: Sequence[Part], roles: Sequence[str], name: str) -> tuple[tuple[Part, ...], list[int]]:
    """The parts that have a bucket of that name, reduced to it, and the number of each among the sources of those roles."""
    sources = [part for part in parts if part.index.rsplit("-", 1)[0] in roles]
    found = [(number, part.only(name)) for number, part in enumerate(sources) if any(file.name == name for file in part.files)]
    return tuple(part for _, part in found), [number for number, _ in found]


def run(work: Work, out: Output) -> None:
    """Sort, set repeats aside, hash, and resolve the judgements."""
    number, numbers = work.job.index[1:], work.job.settings["numbers"]
    placed = concat_placed(work, "documents", f"docs-d{number}.parquet", numbers["documents"])
    docs, repeated, merged = repeats(placed, "doc_id")
    hashed = _hashed(docs)
    out.table("docs.parquet", hashed)
    qrels = concat_placed(work, "qrels", f"qrels-d{number}.parquet", numbers["qrels"])
    judged, unknown = _resolved(qrels, hashed["doc_id"], int(work.job.settings["query_partitions"]))
    out.table("qrels.parquet", judged, _ROW_GROUP)
    aside = [
        rejections(repeated, "duplicate id", "doc_id", ["doc_id", "title", "text"]),
        rejections(unknown, "unknown document", "doc_id", ["query_id", "doc_id", "relevance"]),
    ]
    out.table("rejected.parquet", pa.concat_tables(aside))
    out.meta.update(documents=hashed.num_rows, merged=merged, rejected={"corpus": repeated.num_rows, "qrels": own_rows(unknown)})


def _hashed(docs: pa.Table) -> pa.Table:
    titles, texts = docs["title"].to_pylist(), docs["text"].to_pylist()
    both = list(zip(titles, texts, strict=True))
    table = docs.append_column("input_hash", pa.array([input_hash(title, text) for title, text in both], pa.string()))
    table = table.append_column("norm_hash", pa.array([norm_hash(text, title) for title, text in both], pa.string()))
    return table.select(DOCS.names).cast(DOCS).combine_chunks()


def _resolved(qrels: pa.Table, doc_ids: pa.ChunkedArray, query_partitions: int) -> tuple[pa.Table, pa.Table]:
    """(judgements with the row of their document, those whose document is not there)."""
    rows = pc.index_in(qrels["doc_id"], value_set=doc_ids.combine_chunks()).cast(pa.int64())
    there = pc.is_valid(rows)
    known = qrels.append_column("doc_row", rows).filter(there)
    partitions = np.fromiter((partition_of(query, query_partitions) for query in known["query_id"].to_pylist()), np.int32, known.num_rows)
    judged = known.append_column("query_partition", pa.array(partitions))
    order = [("query_partition", "ascending"), ("query_id", "ascending"), ("doc_id", "ascending"), ("position", "ascending")]
    return judged.sort_by(order).select(JUDGED.names).cast(JUDGED).combine_chunks(), qrels.filter(pc.invert(there))
