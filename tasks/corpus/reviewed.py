"""Labels of reviews as one more source of judgements."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tasks.corpus.settings import DatasetSettings
from tasks.corpus.sources import Source, columns_of
from tasks.store.keys import digest, file_checksum


def reviewed_source(relevant: pa.Table, settings: DatasetSettings, folder: Path) -> Source | None:
    """Pairs that reviewers called relevant, as a source that is read after the user's own, whose labels count first.

    Args:
        relevant: query_id, doc_id.
        settings: whose column names the file must have.
        folder: where it is written.

    Returns:
        The source, or none if there is no such pair.
    """
    if not relevant.num_rows:
        return None
    rows = relevant.select(["query_id", "doc_id"]).sort_by([("query_id", "ascending"), ("doc_id", "ascending")])
    names = [columns_of("qrels", settings)[field][0] for field in ("query_id", "doc_id", "relevance")]
    grades = pa.array([max(1, settings.positive_min_grade)] * rows.num_rows, pa.int32())
    table = pa.table([rows["query_id"], rows["doc_id"], grades], names=names)
    path = folder / f"reviews-{digest(rows.to_pylist(), names, settings.positive_min_grade)[:16]}.parquet"
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)
    return Source("qrels", "parquet", str(path), "reviews", file_checksum(path), path.stat().st_size)
