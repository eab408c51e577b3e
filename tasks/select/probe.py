"""Stage ``probe``: would a recipe have trained with the planted positives as negatives?

Planted positives are taken for the unlabelled documents that they stand for, and the recipe is applied as it was: same seed, same
selection, same refusals of the global limits (which were decided without them). They compete for slots with the other candidates and with
each other. Recipes decide query by query, so only queries with a planted positive are decided again.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.runner.stage import Stage, Work
from tasks.schema import PROBES
from tasks.select.base import among
from tasks.select.inputs import read_candidates
from tasks.select.recipe import Recipe
from tasks.select.stage import jobs as jobs  # the same inputs and settings
from tasks.select.stage import select_checked
from tasks.sql import run as run_sql
from tasks.store.output import Output
from tasks.store.vectors import stored_vectors

STAGE = Stage(name="probe", version=1, function="tasks.select.probe:run", unit="candidates")

_RELEVANT_LABEL = 0.0  # a document drawn with a higher label is trained as relevant: no negative

# Where several stages or positives decide differently, the reason is that of the first; of one that emits, if some does.
_OUTCOMES = """
WITH used AS (SELECT DISTINCT query_id, doc_id FROM rows WHERE slot > 0 AND label <= $label),
told AS (
  SELECT query_id, doc_id, first(reason ORDER BY decision <> 'negative', place) AS reason
  FROM decisions SEMI JOIN planted USING (query_id, doc_id) GROUP BY ALL
)
SELECT planted.*, used.doc_id IS NOT NULL AS emitted, told.reason
FROM planted LEFT JOIN used USING (query_id, doc_id) LEFT JOIN told USING (query_id, doc_id)
ORDER BY query_id, doc_id"""


def run(work: Work, out: Output) -> None:
    """Write ``probes.parquet`` (:data:`tasks.schema.PROBES`), sorted by query_id and doc_id; meta: planted, emitted."""
    settings, inputs = work.job.settings, work.job.inputs
    recipe, sources = Recipe.model_validate(settings["recipe"]), [str(source) for source in settings["sources"]]
    planted = planted_candidates(work, sources)
    found = PROBES.empty_table()
    if planted.num_rows:
        decisions, rows = select_checked(
            unhidden(read_candidates(work, recipe), planted),
            recipe,
            sources,
            int(settings["seed"]),
            str(settings["selection_id"]),
            work.table("banned", "banned.parquet") if "banned" in inputs else None,
            work.table("banned", "anchors.parquet") if "banned" in inputs else None,
            stored_vectors(work.storage, inputs["vectors"]) if "vectors" in inputs else None,
        )
        found = outcomes(planted, decisions, rows)
    out.table("probes.parquet", found)
    out.meta.update(planted=found.num_rows, emitted=int(pc.sum(found["emitted"]).as_py() or 0))
    out.count(model_calls=0)


def unhidden(candidates: pa.Table, planted: pa.Table) -> pa.Table:
    """The candidates of the queries with a planted positive, which now is a document without a label.

    Args:
        candidates: query_id, relevance, planted and what the recipe reads.
        planted: query_id, doc_id of the planted positives that some source retrieved; the others stay hidden, as no unlabelled document is
            a candidate without being retrieved.
    """
    table = candidates.filter(pc.is_in(candidates["query_id"], value_set=planted["query_id"].combine_chunks()))
    hidden = pa.array(among(table, planted))
    shown = {
        "relevance": pc.if_else(hidden, pa.scalar(None, pa.int32()), table["relevance"]),
        "planted": pc.and_(pc.fill_null(table["planted"], False), pc.invert(hidden)),
    }
    for name, column in shown.items():
        table = table.set_column(table.column_names.index(name), name, column)
    return table


def outcomes(planted: pa.Table, decisions: pa.Table, rows: pa.Table) -> pa.Table:
    """What became of the planted positives.

    Args:
        planted: query_id, doc_id, dense_rank, dense_score, teacher_logit.
        decisions: :data:`tasks.schema.DECISIONS`, with them as unlabelled.
        rows: :data:`tasks.schema.ROWS`.
    """
    numbered = decisions.select(["query_id", "doc_id", "decision", "reason"]).append_column(
        "place", pa.array(np.arange(decisions.num_rows))
    )
    tables = {"planted": planted, "decisions": numbered, "rows": rows.select(["query_id", "doc_id", "slot", "label"])}
    return run_sql(_OUTCOMES, tables, {"label": _RELEVANT_LABEL}).select(PROBES.names).cast(PROBES)


def planted_candidates(work: Work, sources: list[str]) -> pa.Table:
    """The planted positives that some source retrieved."""
    columns = ["query_id", "doc_id", "planted", "dense_rank", "dense_score", "teacher_logit"]
    ranks = [f"{source}_rank" for source in sources]
    table = work.table("scored", "scored.parquet", list(dict.fromkeys([*columns, *ranks])))
    table = table.filter(pc.fill_null(table["planted"], False))
    retrieved = pa.chunked_array([pa.repeat(pa.scalar(False), table.num_rows)])
    for rank in ranks:
        retrieved = pc.or_(retrieved, table[rank].is_valid())
    return table.filter(retrieved).select([name for name in columns if name != "planted"])
