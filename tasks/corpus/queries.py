"""Stage ``queries``: one query partition with its judgements.

Writes ``queries.parquet`` (sorted by query_id), ``qrels.parquet`` (sorted by query_id, doc_id, with the address of each
document) and ``rejected.parquet``. Of several queries of one id, or several grades of one pair, the first counts: the user's own, then
reviewed, then promoted. Queries that are not trained on never have promoted judgements.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tasks.corpus.documents import JUDGED, buckets
from tasks.corpus.order import concat_placed, repeats
from tasks.corpus.records import GIVES_QUERIES
from tasks.corpus.rejected import own_rows, rejections
from tasks.corpus.settings import Splits
from tasks.corpus.splits import with_splits
from tasks.models.order import is_trained
from tasks.runner.stage import Job, Stage, Work
from tasks.schema import PROMOTED, QRELS, QUERIES
from tasks.store.keys import digest, input_hash, norm_hash
from tasks.store.manifest import StageManifest
from tasks.store.output import Output
from tasks.store.tables import local_file

STAGE = Stage(name="queries", version=5, function="tasks.corpus.queries:run", unit="queries")
FOLDS = 100


def jobs(
    ingest: StageManifest,
    documents: StageManifest,
    groups: StageManifest,
    query_partitions: int,
    seed: int,
    positive_min_grade: int = 1,
    only_judged: bool = False,
    splits: Splits | None = None,
) -> list[Job]:
    """One job a query partition.

    Args:
        ingest: the read sources.
        documents: their documents, all partitions in order.
        groups: which queries belong together.
        query_partitions: how many.
        seed: of the folds.
        positive_min_grade: for the counts of positives.
        only_judged: leave out queries without any judgement (a BEIR folder holds the queries of all splits).
        splits: shares of the query groups; none: a query's split is what its source says.
    """
    judged = tuple(part.only("qrels.parquet") for part in documents.parts)
    settings: dict[str, Any] = {"seed": seed, "positive_min_grade": positive_min_grade, "only_judged": only_judged}
    if splits is not None:
        settings["splits"] = splits.model_dump(mode="json")
    made = []
    for number in range(query_partitions):
        parts, numbers = buckets(ingest.parts, GIVES_QUERIES, f"queries-q{number:04d}.parquet")
        units = max(1, sum(part.files[0].rows or 0 for part in parts))
        joined = (groups.parts[0].only(f"groups-q{number:04d}.parquet"),)
        inputs = {"queries": parts, "qrels": judged, "groups": joined}
        made.append(Job(f"q{number:04d}", inputs, {**settings, "numbers": numbers}, units=units))
    return made


def run(work: Work, out: Output) -> None:
    """Sort, set repeats aside, join the judgements."""
    settings = work.job.settings
    placed = concat_placed(work, "queries", f"queries-{work.job.index}.parquet", settings["numbers"])
    queries, repeated, merged = repeats(placed, "query_id")
    judged, regraded = _one_grade(_judgements(work))
    here = pc.is_in(judged["query_id"], value_set=queries["query_id"].combine_chunks())
    known, unknown = judged.filter(here), judged.filter(pc.invert(here))
    outside = 0
    if settings["only_judged"]:
        kept = queries.filter(pc.is_in(queries["query_id"], value_set=known["query_id"].combine_chunks()))
        queries, outside = kept, queries.num_rows - kept.num_rows
    joined = work.table("groups", f"groups-{work.job.index}.parquet")
    table = with_splits(_with_groups(_finished(queries), joined), settings.get("splits"))
    known, withheld = _only_trained(known, table)
    qrels = _qrels(known, table, int(settings["seed"]))
    out.table("queries.parquet", table)
    out.table("qrels.parquet", qrels)
    aside = [
        rejections(repeated, "duplicate id", "query_id", ["query_id", "text"]),
        rejections(unknown, "unknown query", "query_id", ["query_id", "doc_id", "relevance"]),
        rejections(regraded, "another grade before for this query and", "doc_id", ["query_id", "doc_id", "relevance"]),
    ]
    out.table("rejected.parquet", pa.concat_tables(aside))
    out.meta.update(
        facts(table, qrels, int(settings["positive_min_grade"])),
        merged=merged,
        outside_split=outside,
        rejected={"queries": repeated.num_rows, "qrels": own_rows(unknown) + own_rows(regraded)},
        withheld=withheld,
    )


def _judgements(work: Work) -> pa.Table:
    """The judgements of this partition's queries from all document partitions, with the partition of their document."""
    number = int(work.job.index[1:])
    tables = [JUDGED.append(pa.field("doc_partition", pa.int32())).empty_table()]
    for part in work.job.inputs["qrels"]:
        path = local_file(work.storage, part.file("qrels.parquet"))
        table = pq.read_table(path, filters=[("query_partition", "=", number)], partitioning=None)
        if table.num_rows:
            partition = pa.array([int(part.index[1:])] * table.num_rows, pa.int32())
            tables.append(table.cast(JUDGED).append_column("doc_partition", partition))
    order = [("query_id", "ascending"), ("doc_id", "ascending"), ("position", "ascending")]
    return pa.concat_tables(tables).sort_by(order).combine_chunks()


def _one_grade(judged: pa.Table) -> tuple[pa.Table, pa.Table]:
    """(the first judgement of every pair, later ones that contradict it); later ones that agree say nothing new."""
    if judged.num_rows < 2:
        return judged, judged.slice(0, 0)
    queries, docs = judged["query_id"].combine_chunks(), judged["doc_id"].combine_chunks()
    count = judged.num_rows - 1
    same = pc.and_(pc.equal(queries.slice(1), queries.slice(0, count)), pc.equal(docs.slice(1), docs.slice(0, count)))
    again = pa.concat_arrays([pa.array([False]), same])
    pair = pc.subtract(pc.cumulative_sum(pc.invert(again).cast(pa.int64())), 1)
    first = judged.filter(pc.invert(again))
    differs = pc.not_equal(judged["relevance"], first["relevance"].take(pair))
    return first, judged.filter(differs)


def _only_trained(judged: pa.Table, queries: pa.Table) -> tuple[pa.Table, int]:
    """Judgements without the promoted ones of queries that calibrate, choose or test; how many these are."""
    split = queries["split"].take(pc.index_in(judged["query_id"], value_set=queries["query_id"].combine_chunks()))
    promoted = pc.fill_null(pc.equal(judged["provenance"], PROMOTED), False)
    kept = judged.filter(pc.or_(is_trained(split), pc.invert(promoted)))
    return kept, judged.num_rows - kept.num_rows


def _finished(queries: pa.Table) -> pa.Table:
    texts = queries["text"].to_pylist()
    norms = pa.array([norm_hash(text) for text in texts], pa.string())
    group = pc.fill_null(queries["group"].combine_chunks(), norms) if queries.num_rows else norms
    table = queries.set_column(queries.schema.get_field_index("group"), "group", group)
    table = table.append_column("input_hash", pa.array([input_hash("", text) for text in texts], pa.string())).append_column(
        "norm_hash", norms
    )
    return table.select(QUERIES.names).cast(QUERIES).combine_chunks()


def _with_groups(queries: pa.Table, joined: pa.Table) -> pa.Table:
    """Queries with the groups that theirs joined."""
    place = pc.index_in(queries["query_id"], value_set=joined["query_id"].combine_chunks()).combine_chunks()
    group = pc.coalesce(joined["group"].combine_chunks().take(place), queries["group"].combine_chunks())
    return queries.set_column(queries.schema.get_field_index("group"), "group", group)


def _qrels(known: pa.Table, queries: pa.Table, seed: int) -> pa.Table:
    place = pc.index_in(known["query_id"], value_set=queries["query_id"].combine_chunks())
    pairs = zip(queries["group"].take(place).to_pylist(), known["doc_id"].to_pylist(), strict=True)
    folds = pa.array([fold(seed, group, doc_id) for group, doc_id in pairs], pa.int32())
    return known.append_column("fold", folds).select(QRELS.names).cast(QRELS).combine_chunks()


def fold(seed: int, group: str, doc_id: str) -> int:
    """A judgement's fold, 0 … 99: the same for all queries of a group, as equal texts are."""
    return int(digest("fold", seed, group, doc_id)[:16], 16) % FOLDS


def facts(queries: pa.Table, qrels: pa.Table, positive_min_grade: int) -> dict[str, Any]:
    """What the partition holds: counts, grades, and the most positives of one query."""
    positives = qrels.filter(pc.greater_equal(qrels["relevance"], positive_min_grade))["query_id"].value_counts()
    counts: Sequence[int] = positives.field("counts").to_pylist()
    grades = qrels["relevance"].value_counts()
    by_grade = sorted(zip(grades.field("values").to_pylist(), grades.field("counts").to_pylist(), strict=True))
    return {
        "queries": queries.num_rows,
        "with_answers": queries.num_rows - queries["answers"].null_count,
        "qrels": qrels.num_rows,
        "positives": sum(counts),
        "max_positives": max(counts, default=0),
        "queries_without_positives": queries.num_rows - len(counts),
        "grades": {str(grade): count for grade, count in by_grade},
    }
