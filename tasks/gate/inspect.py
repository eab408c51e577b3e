"""Look for violations in one query partition."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from tasks import sql
from tasks.gate.rules import all_violations, violations
from tasks.gate.stage import GateSettings
from tasks.runner.stage import Work
from tasks.store.manifest import Part
from tasks.store.output import Output
from tasks.store.storage import Storage
from tasks.store.tables import take_texts

_COUNTS = """
SELECT count(*) FILTER (negatives < $asked) AS short_rows, count(*) AS anchor_rows, coalesce(sum(negatives), 0)::BIGINT AS negatives,
  coalesce(sum(greatest($asked - negatives, 0)), 0)::BIGINT AS missing_negatives
FROM (SELECT count(*) FILTER (slot > 0) AS negatives FROM training GROUP BY stage, epoch, row_no)"""


def run(work: Work, out: Output) -> None:
    """See :mod:`tasks.gate.stage`. Facts: those of :func:`inspect`."""
    settings = GateSettings.model_validate({name: work.job.settings[name] for name in GateSettings.model_fields})
    tables = {
        "training": work.table("select", "rows.parquet"),
        "decisions": work.table("select", "decisions.parquet", ["stage", "query_id", "doc_id", "positive_id", "decision"]),
        "scored": work.table("scored", "scored.parquet"),
        "queries": _numbered(work.table("queries", "queries.parquet", ["query_id", "input_hash", "norm_hash"])),
    }
    tables["documents"] = documents_in_use(work.storage, work.job.inputs["documents"], [tables["training"], tables["scored"]])
    out.meta.update(inspect(tables, settings))


def inspect(tables: dict[str, pa.Table], settings: GateSettings) -> dict[str, Any]:
    """Violations and examples by kind; anchor_rows, negatives, short_rows, missing_negatives and candidates counted.

    Args:
        tables: training, decisions, scored, queries (with row) and documents (see :mod:`tasks.gate.rules`).
        settings: what to look for.
    """
    names = tables["scored"].column_names
    sources = [name.removesuffix("_rank") for name in names if name.endswith("_rank")]
    scores = [*(f"{source}_score" for source in sources), *(name for name in names if name.startswith("teacher_"))]
    kinds = violations(sources, scores, settings.duplicates)
    found = sql.run(all_violations(kinds), tables, {"examples": max(settings.examples, 1), "tolerance": settings.tolerance}).to_pylist()
    counts = sql.run(_COUNTS, tables, {"asked": settings.num_negatives}).to_pylist()[0]
    examples: dict[str, list[dict[str, Any]]] = {}
    for row in found:
        examples.setdefault(row["kind"], []).append({name: row[name] for name in ("query_id", "doc_id", "row_no", "detail")})
    return {
        "violations": {**dict.fromkeys(kinds, 0), **{row["kind"]: row["total"] for row in found}},
        "examples": {kind: rows[: settings.examples] for kind, rows in examples.items()},
        "candidates": tables["scored"].num_rows,
        **counts,
    }


def documents_in_use(storage: Storage, parts: Sequence[Part], tables: Sequence[pa.Table]) -> pa.Table:
    """Ids and hashes of the documents at the addresses in some tables; addresses outside the partitions are left out.

    Returns:
        doc_partition, doc_row, doc_id, input_hash, norm_hash.
    """
    partition = np.concatenate([table["doc_partition"].to_numpy().astype(np.int64) for table in tables])
    row = np.concatenate([table["doc_row"].to_numpy().astype(np.int64) for table in tables])
    sizes = np.array([part.file("docs.parquet").rows or 0 for part in parts], np.int64)
    known = (partition >= 0) & (partition < len(parts))
    known &= (row >= 0) & (row < sizes[np.where(known, partition, 0)])
    addresses = np.unique(np.stack([partition[known], row[known]]), axis=1)
    texts = take_texts(storage, parts, addresses[0], addresses[1], ["doc_id", "input_hash", "norm_hash"])
    return texts.append_column("doc_partition", pa.array(addresses[0], pa.int32())).append_column("doc_row", pa.array(addresses[1]))


def _numbered(queries: pa.Table) -> pa.Table:
    return queries.append_column("row", pa.array(np.arange(queries.num_rows, dtype=np.int64)))
