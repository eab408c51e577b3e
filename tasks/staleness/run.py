"""The work of the staleness stage: each negative's share, rank and ease, and what each query says of its round."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.folds import group_draws
from tasks.runner.stage import Work
from tasks.staleness.gather import Corpus, Floats, Uses, read_uses, trained_queries
from tasks.staleness.pairs import Asked, Seen, mined, of_lists, of_pairs, read_scored
from tasks.staleness.ranks import count_above, percentiles
from tasks.staleness.settings import LEGACY_SIMILARITY
from tasks.staleness.shares import below, group_means, group_sums, loss_shares, positives_of
from tasks.store.output import Output
from tasks.store.tables import read_array

MEANS = ("loss_share", "rank", "rank_percentile", "easy_share", "legacy_easy_share", "teacher_agreement", "overlap", "rank_biased_overlap")
COUNTS = ("negatives", "retired", "newly_hard", "gone")

NEGATIVES = pa.schema(
    [
        ("from_round", pa.int32()),
        ("selection_id", pa.string()),
        ("query_id", pa.string()),
        ("trained", pa.bool_()),
        ("stage", pa.string()),
        ("epoch", pa.int32()),
        ("row_no", pa.int64()),
        ("positive_id", pa.string()),
        ("slot", pa.int32()),
        ("doc_id", pa.string()),
        *((name, pa.float64()) for name in ("similarity", "positive_similarity", "loss_share", "rank", "rank_percentile")),
        ("easy", pa.bool_()),
        ("gone", pa.bool_()),
    ]
)
QUERIES = pa.schema(
    [
        ("from_round", pa.int32()),
        ("selection_id", pa.string()),
        ("query_id", pa.string()),
        ("trained", pa.bool_()),
        *((name, pa.int64()) for name in COUNTS),
        *((name, pa.float64()) for name in MEANS),
    ]
)


def run(work: Work, out: Output) -> None:
    """Write ``negatives.parquet``, one row a negative of a training row, and ``queries.parquet``, one row a query and selection."""
    settings = work.job.settings
    corpus = Corpus(work.storage, work.job.inputs["documents"], work.job.inputs["document_vectors"])
    asked = _asked(work)
    uses = [
        read_uses(work, f"select.{number}", asked.ids, corpus, bool(each["same_documents"]))
        for number, each in enumerate(settings["selections"])
    ]
    seen = _look(work, asked, corpus, uses)
    negatives, queries = [], []
    for number, each in enumerate(settings["selections"]):
        named = {"from_round": int(each["round"]), "selection_id": str(each["selection_id"])}
        negatives.append(_negatives(seen[number], asked, named, settings))
        values = _values(work, number, seen[number], asked, corpus, bool(each["same_documents"]))
        queries.append(_queries(asked, named, values))
    out.table("negatives.parquet", pa.concat_tables(negatives))
    out.table("queries.parquet", pa.concat_tables(queries))
    out.count(model_calls=0)


def _asked(work: Work) -> Asked:
    settings = work.job.settings
    table = work.table("queries", "queries.parquet", ["query_id", "group", "split"])
    (part,) = work.job.inputs["query_vectors"]
    vectors = np.asarray(read_array(work.storage, part.file("vectors.npy")), dtype=np.float64)
    ranked = np.ones(table.num_rows, dtype=bool)
    if settings["rank_share"] < 1:
        draws = group_draws([f"rank:{query}" for query in table["query_id"].to_pylist()], 0)
        ranked = draws.astype(np.float64) < settings["rank_share"] * 2.0**64
    trained = trained_queries(table, float(settings["trained_share"]), int(settings["share_seed"]))
    return Asked(table["query_id"].combine_chunks(), vectors, trained, ranked)


def _look(work: Work, asked: Asked, corpus: Corpus, uses: list[Uses]) -> list[Seen]:
    """Similarities and ranks, the latter for all selections by one product of the queries with all documents."""
    query, number = (np.concatenate([getattr(each, name) for each in uses]) for name in ("query", "number"))
    similarity = corpus.similarities(asked.vectors, query, number)
    ranks, places = np.full(len(query), np.nan), np.full(len(query), np.nan)
    wanted = np.concatenate([each.slot > 0 for each in uses]) & (number >= 0) & asked.ranked[query]
    if wanted.any():
        _, first, inverse = np.unique(query[wanted] * corpus.size + number[wanted], return_index=True, return_inverse=True)
        chosen = np.flatnonzero(wanted)[first]
        above, level = count_above(asked.vectors, query[chosen], similarity[chosen], corpus.pieces(), work.report)
        found = percentiles(above, level, corpus.size)
        ranks[wanted], places[wanted] = (each[inverse.reshape(-1)] for each in found)
    ends = np.cumsum([len(each.query) for each in uses])[:-1]
    pieces = zip(*(np.split(each, ends) for each in (similarity, ranks, places)), strict=True)
    return [Seen(each, *piece) for each, piece in zip(uses, pieces, strict=True)]


def _negatives(seen: Seen, asked: Asked, named: Mapping[str, Any], settings: Mapping[str, Any]) -> pa.Table:
    """:data:`NEGATIVES` of one selection."""
    kept, table, positive = seen.negative, seen.uses.table, positives_of(seen.uses.row, seen.uses.slot, seen.similarity)
    known = ~np.isnan(positive)
    share = np.where(known, loss_shares(seen.uses.row, seen.similarity, float(settings["scale"])), np.nan)
    easy = below(seen.similarity, positive - float(settings["margin"]))
    count = int(kept.sum())
    columns: dict[str, Any] = {name: table[name].filter(pa.array(kept)) for name in table.column_names}
    columns |= {name: pa.array([value] * count) for name, value in named.items()}
    columns |= {
        "trained": asked.trained[seen.uses.query[kept]],
        "similarity": _nullable(seen.similarity[kept]),
        "positive_similarity": _nullable(positive[kept]),
        "loss_share": _nullable(share[kept]),
        "rank": _nullable(seen.rank[kept]),
        "rank_percentile": _nullable(seen.percentile[kept]),
        "easy": pc.equal(_nullable(easy[kept]), 1.0),
        "gone": seen.uses.number[kept] < 0,
    }
    return pa.table({name: columns[name] for name in NEGATIVES.names}).cast(NEGATIVES)


def _values(work: Work, number: int, seen: Seen, asked: Asked, corpus: Corpus, same_documents: bool) -> dict[str, Any]:
    """(q,) each of :data:`MEANS` and :data:`COUNTS`, and ``there``: which queries the earlier round has."""
    settings, count = work.job.settings, len(asked.ids)
    query, row, kept = seen.uses.query, seen.uses.row, seen.negative
    positive = positives_of(row, seen.uses.slot, seen.similarity)
    share = np.where(np.isnan(positive), np.nan, loss_shares(row, seen.similarity, float(settings["scale"])))[kept]
    rows = int(row.max()) + 1 if len(row) else 0
    left = group_sums(row[kept], share, rows)
    of_row = np.zeros(rows, dtype=np.int64)
    of_row[row] = query
    legacy = below(seen.similarity, LEGACY_SIMILARITY)
    before, after = (read_scored(work, role, asked.ids) for role in (f"scored.{number}", "scored"))
    values: dict[str, Any] = {
        "loss_share": group_means(of_row, left, count),
        "rank": group_means(query[kept], seen.rank[kept], count),
        "rank_percentile": group_means(query[kept], seen.percentile[kept], count),
        "easy_share": group_means(query[kept], below(seen.similarity, positive - float(settings["margin"]))[kept], count),
        "legacy_easy_share": group_means(query[kept], legacy[kept], count),
    }
    values |= of_pairs(work, number, seen, before, after, count) | of_lists(work, before, after, asked, corpus, same_documents)
    return {**values, "there": mined(before, count)}


def _queries(asked: Asked, named: Mapping[str, Any], values: Mapping[str, Any]) -> pa.Table:
    """:data:`QUERIES` of one selection: one row a query that the earlier round has."""
    there = values["there"]
    count = int(there.sum())
    columns: dict[str, Any] = {name: pa.array([value] * count) for name, value in named.items()}
    columns |= {"query_id": asked.ids.filter(pa.array(there)), "trained": asked.trained[there]}
    for name in COUNTS:
        columns[name] = _nullable(values[name][there]).cast(pa.int64()) if name in values else pa.nulls(count, pa.int64())
    for name in MEANS:
        columns[name] = _nullable(values[name][there])
    return pa.table({name: columns[name] for name in QUERIES.names}).cast(QUERIES)


def _nullable(values: Floats) -> pa.Array:
    return pa.array(values, pa.float64(), from_pandas=True)
