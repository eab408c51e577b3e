"""What a query's candidates and negatives say of two rounds: agreement of lists and with the teacher, what came and what went."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.runner.stage import Work
from tasks.staleness.gather import Bools, Corpus, Floats, Uses, document_codes
from tasks.staleness.lists import common_prefixes, overlaps, rank_biased_overlaps, ranked_lists
from tasks.staleness.shares import rank_correlations


@dataclass(frozen=True)
class Asked:
    """The partition's queries.

    Args:
        ids: their ids.
        vectors: (q, dimension) float64.
        trained: (q,) whether checkpoints are trained on them.
        ranked: (q,) whether their negatives are ranked among all documents.
    """

    ids: pa.Array
    vectors: Floats
    trained: Bools
    ranked: Bools


@dataclass(frozen=True)
class Seen:
    """A selection's uses under the checkpoint: (n,) each, NaN where not known."""

    uses: Uses
    similarity: Floats
    rank: Floats
    percentile: Floats

    @property
    def negative(self) -> Bools:
        """(n,) which uses are negatives."""
        return self.uses.slot > 0


def of_pairs(work: Work, number: int, seen: Seen, before: pa.Table, after: pa.Table, count: int) -> dict[str, Any]:
    """Agreement with the teacher, and negatives that come and go. Each document counts once a query, however many rows it has.

    What came and went is not known (NaN) of queries that only one of the rounds mined.
    """
    kept = seen.negative
    emitted = _emitted(work, f"emitted.{number}", before)
    later = emitted["doc_id"] if emitted is not None else pa.chunked_array([], pa.string())
    codes = document_codes([seen.uses.table["doc_id"].filter(pa.array(kept)), before["doc_id"], later])
    width = 1 + max((int(each.max()) for each in codes if len(each)), default=0)
    old, first = np.unique(seen.uses.query[kept] * width + codes[0], return_index=True)
    similarity, number_of = seen.similarity[kept][first], seen.uses.number[kept][first]
    keys = np.asarray(before["query"]) * width + codes[1]
    logits = np.asarray(before["teacher_logit"].to_numpy(), dtype=np.float64)
    order = np.argsort(keys, kind="stable")
    at = np.minimum(np.searchsorted(keys, old, sorter=order), max(len(keys) - 1, 0))
    matched = keys[order[at]] == old if len(keys) else np.zeros(len(old), dtype=bool)
    teacher = np.full(len(old), np.nan)
    teacher[matched] = logits[order[at[matched]]]
    gone = number_of < 0
    found: dict[str, Any] = {
        "negatives": np.bincount(old // width, minlength=count),
        "gone": np.bincount(old[gone] // width, minlength=count),
        "teacher_agreement": rank_correlations(old // width, similarity, teacher, count),
    }
    if emitted is not None:
        new = np.unique(np.asarray(emitted["query"]) * width + codes[2])
        retired = old[~gone & ~np.isin(old, new)]
        both = mined(before, count) & mined(after, count)
        found["retired"] = np.where(both, np.bincount(retired // width, minlength=count), np.nan)
        found["newly_hard"] = np.where(both, np.bincount(new[~np.isin(new, old)] // width, minlength=count), np.nan)
    return found


def mined(scored: pa.Table, count: int) -> Bools:
    """(count,) queries for which the round searched: a round may mine a share of them."""
    there = np.zeros(count, dtype=bool)
    there[np.asarray(scored["query"].filter(pc.is_valid(scored["dense_rank"])))] = True
    return there


def of_lists(work: Work, before: pa.Table, after: pa.Table, asked: Asked, corpus: Corpus, same_documents: bool) -> dict[str, Any]:
    """The round's candidates beside the checkpoint's own, best first. Documents that are gone are taken out of the former."""
    depth, count = int(work.job.settings["overlap_k"]), len(asked.ids)
    before = before.filter(pc.is_valid(before["dense_rank"]))
    if not same_documents:
        before = before.filter(pa.array(corpus.of_ids(before["doc_id"]) >= 0))
    after = after.filter(pc.is_valid(after["dense_rank"]))
    coded = document_codes([before["doc_id"], after["doc_id"]])
    lists = [
        ranked_lists(np.asarray(table["query"]), np.asarray(table["dense_rank"]), codes, count, depth)
        for table, codes in zip((before, after), coded, strict=True)
    ]
    shared, lengths = common_prefixes(*lists)
    biased = rank_biased_overlaps(shared, lengths, float(work.job.settings["rbo_p"]))
    return {"overlap": overlaps(shared, lengths), "rank_biased_overlap": biased}


def read_scored(work: Work, role: str, query_ids: pa.Array) -> pa.Table:
    """doc_id, dense_rank, teacher_logit and ``query`` of the scored pairs of some queries."""
    columns = ["query_id", "doc_id", "dense_rank", "teacher_logit"]
    return _placed(pa.concat_tables([work.part_table(part, "scored.parquet", columns) for part in work.job.inputs[role]]), query_ids)


def _emitted(work: Work, role: str, before: pa.Table) -> pa.Table | None:
    """query_id, doc_id and ``query`` of the later selection's negatives, of queries that the earlier round has; none: no later one."""
    if not work.job.inputs[role]:
        return None
    rows = pa.concat_tables(
        [work.part_table(part, "rows.parquet", ["query_id", "doc_id", "slot", "label"]) for part in work.job.inputs[role]]
    )
    rows = rows.filter(pc.and_(pc.greater(rows["slot"], 0), pc.less_equal(pc.fill_null(rows["label"], 0.0), 0.0)))
    known = before.group_by("query_id", use_threads=False).aggregate([("query", "min")])
    at = pc.index_in(rows["query_id"], value_set=known["query_id"].combine_chunks())
    rows = rows.append_column("query", pc.take(known["query_min"], at))
    return rows.filter(pc.is_valid(rows["query"]))


def _placed(table: pa.Table, query_ids: pa.Array) -> pa.Table:
    table = table.append_column("query", pc.index_in(table["query_id"], value_set=query_ids).cast(pa.int64()))
    return table.filter(pc.is_valid(table["query"]))
