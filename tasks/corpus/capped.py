"""Stage ``capped-queries``: at most so many queries of a dataset, the same share of each split and language."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.corpus.queries import facts
from tasks.runner.stage import Job, Stage, Work
from tasks.store.keys import digest
from tasks.store.manifest import Part
from tasks.store.output import Output

STAGE = Stage(name="capped-queries", version=1, function="tasks.corpus.capped:run", unit="queries")


def jobs(queries: Sequence[Part], max_queries: int, seed: int, positive_min_grade: int) -> list[Job]:
    """One job a query partition; each reads the ids of all of them.

    Args:
        queries: parts of ``queries``.
        max_queries: how many are kept.
        seed: of the choice.
        positive_min_grade: for the counts of positives.
    """
    every = tuple(part.only("queries.parquet", "qrels.parquet") for part in queries)
    settings = {"max_queries": max_queries, "seed": seed, "positive_min_grade": positive_min_grade}
    return [
        Job(part.index, {"own": (own,), "every": every}, settings, units=own.file("queries.parquet").rows or 0)
        for part, own in zip(queries, every, strict=True)
    ]


def run(work: Work, out: Output) -> None:
    """Write ``queries.parquet`` and ``qrels.parquet`` of the kept queries; meta as that of ``queries``."""
    settings = work.job.settings
    judged = work.table("every", "qrels.parquet", ["query_id", "relevance"])
    positive = judged.filter(pc.greater_equal(judged["relevance"], int(settings["positive_min_grade"])))["query_id"].unique()
    every = work.table("every", "queries.parquet", ["query_id", "split", "language"])
    every = every.filter(pc.is_in(every["query_id"], value_set=positive))
    chosen = pa.array(chosen_queries(every, int(settings["max_queries"]), int(settings["seed"])), pa.string())
    table, qrels = work.table("own", "queries.parquet"), work.table("own", "qrels.parquet")
    table = table.filter(pc.is_in(table["query_id"], value_set=chosen))
    qrels = qrels.filter(pc.is_in(qrels["query_id"], value_set=chosen))
    out.table("queries.parquet", table)
    out.table("qrels.parquet", qrels)
    out.meta.update(facts(table, qrels, int(settings["positive_min_grade"])), merged=0, outside_split=0, withheld=0, rejected={})


def chosen_queries(queries: pa.Table, wanted: int, seed: int) -> list[str]:
    """Ids of so many queries with positives: of each (split, language) its share by largest remainder, within it by hash.

    >>> table = pa.table({"query_id": list("abcdef"), "split": ["train"] * 4 + ["test"] * 2, "language": [None] * 6})
    >>> [len([one for one in chosen_queries(table, 3, 0) if one in group]) for group in ("abcd", "ef")]
    [2, 1]
    """
    ids: list[str] = queries["query_id"].to_pylist()
    if len(ids) <= wanted:
        return ids
    strata = [
        f"{split or ''}\0{language or ''}"
        for split, language in zip(queries["split"].to_pylist(), queries["language"].to_pylist(), strict=True)
    ]
    names, stratum, sizes = np.unique(np.asarray(strata, dtype=object), return_inverse=True, return_counts=True)
    exact = sizes * wanted / len(ids)
    counts = np.floor(exact).astype(np.int64)
    first = np.lexsort((np.arange(len(names)), -np.round(exact - counts, 9)))[: wanted - int(counts.sum())]
    counts[first] += 1
    order = sorted(range(len(ids)), key=lambda row: (stratum[row], digest("max_queries", seed, ids[row]), ids[row]))
    starts = np.cumsum([0, *sizes[:-1]])
    return [ids[order[start + place]] for start, count in zip(starts, counts, strict=True) for place in range(count)]
