"""Labels that Hardmine has from elsewhere than the user's files, as further sources of judgements: reviews and promotions."""

from __future__ import annotations

import uuid

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tasks.corpus.settings import DatasetSettings
from tasks.corpus.sources import Source, columns_of
from tasks.store.storage import Storage, keep_file


def labels_source(labels: pa.Table, provenance: str, settings: DatasetSettings, storage: Storage) -> Source | None:
    """Labelled pairs as a source that is read after the user's own, whose labels count first.

    Args:
        labels: query_id, doc_id, relevant (bool); where they are of chunks, ``chunk`` (its norm_hash) too, and doc_id is that of the
            whole document. Relevant becomes grade 1, or ``positive_min_grade`` if that is more; not relevant 0, or
            less than ``positive_min_grade`` if that is 0 or less.
        provenance: :data:`tasks.schema.REVIEWED` or :data:`tasks.schema.PROMOTED`.
        settings: whose column names the file must have.
        storage: the root, which the file is put under by its content: equal labels are kept once.

    Returns:
        The source, or none if there is no such pair.
    """
    if not labels.num_rows:
        return None
    least = settings.positive_min_grade
    role, fields = (
        ("chunk-labels", ["query_id", "doc_id", "chunk"]) if "chunk" in labels.column_names else ("qrels", ["query_id", "doc_id"])
    )
    rows = labels.select([*fields, "relevant"]).sort_by([(name, "ascending") for name in fields])
    names = [columns_of(role, settings)[field][0] for field in (*fields, "relevance")]
    grades = pc.if_else(rows["relevant"], pa.scalar(max(1, least), pa.int32()), pa.scalar(min(0, least - 1), pa.int32()))
    table = pa.table([*(rows[name] for name in fields), grades], names=names)
    local = storage.scratch() / f"{uuid.uuid4().hex}.parquet"
    pq.write_table(table, local)
    stored, size, checksum = keep_file(storage, "labels", local)
    return Source(role, "parquet", "", provenance, checksum, size, provenance=provenance, stored=stored)
