"""Stage ``query-groups``: which queries belong together, so that no split divides them.

A query's own group is what its source says, else its normal form. Groups become one where queries of theirs are equal but for case,
punctuation and white space, where their sets of words are nearly equal, and, if asked for, where positives of theirs have one parent
document; in a chain too. The joined group has the least name of its members, so that a group that joins none keeps its name and its split.
Only the user's own labels count: what is reviewed and promoted grows from round to round, and splits must not.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tasks.components import components
from tasks.corpus.alike import fold, near_sets
from tasks.corpus.documents import buckets
from tasks.corpus.order import concat_placed, repeats
from tasks.corpus.records import GIVES_QUERIES
from tasks.errors import InputError
from tasks.runner.stage import Job, Stage, Work
from tasks.store.keys import norm_hash
from tasks.store.manifest import StageManifest
from tasks.store.output import Output

STAGE = Stage(name="query-groups", version=1, function="tasks.corpus.groups:run", unit="queries")

#: queries whose group is another one than their own
JOINED = pa.schema([("query_id", pa.string()), ("group", pa.string())])

Ints = NDArray[np.int64]


def jobs(
    ingest: StageManifest,
    documents: StageManifest,
    query_partitions: int,
    near_duplicates: float | None,
    by_parent: bool,
    positive_min_grade: int = 1,
    only_judged: bool = False,
) -> list[Job]:
    """The one job ``all``, over all query partitions.

    Args:
        ingest: the read sources.
        documents: their documents, all partitions in order.
        query_partitions: how many.
        near_duplicates: least Jaccard index of the words of two queries that belong together; none: only equal texts do.
        by_parent: queries with positives of one parent document belong together.
        positive_min_grade: what a positive is.
        only_judged: queries without any judgement are not there.
    """
    inputs, numbers = {}, {}
    for number in range(query_partitions):
        index = f"q{number:04d}"
        inputs[index], numbers[index] = buckets(ingest.parts, GIVES_QUERIES, f"queries-{index}.parquet")
    keyed: dict[str, Any] = {"near_duplicates": near_duplicates, "by_parent": by_parent, "only_judged": only_judged, "numbers": numbers}
    if by_parent or only_judged:
        inputs["documents"] = tuple(
            part.only(*(["qrels.parquet", "docs.parquet"] if by_parent else ["qrels.parquet"])) for part in documents.parts
        )
    if by_parent:
        keyed["positive_min_grade"] = positive_min_grade
    units = sum(part.files[0].rows or 0 for role, parts in inputs.items() if role != "documents" for part in parts)
    return [Job("all", inputs, keyed, units=max(1, units))]


def run(work: Work, out: Output) -> None:
    """Write ``groups-qNNNN.parquet`` (:data:`JOINED`) for each query partition. Meta: queries, groups, largest.

    Raises:
        InputError: shared documents hold more than half of the queries together.
    """
    settings = work.job.settings
    partitions = [_queries(work, index, settings["numbers"][index]) for index in settings["numbers"]]
    table = pa.concat_tables(partitions).combine_chunks()
    names, own, texts = _own_groups(table)
    label = np.arange(len(names), dtype=np.int64)
    folded, of_text = np.unique(np.asarray([fold(text) for text in texts], dtype=object), return_inverse=True)
    alike = near_sets(folded.tolist(), float(settings["near_duplicates"])) if settings["near_duplicates"] else np.arange(len(folded))
    label = _joined(label, own, alike[of_text])
    if settings["by_parent"]:
        query, parent = _parents(work, table["query_id"])
        label = _joined(label, own[query], parent)
        _refuse_one_lump(np.bincount(label[own], minlength=1), table.num_rows)
    starts = np.cumsum([0, *(part.num_rows for part in partitions)])
    for number, index in enumerate(settings["numbers"]):
        rows = np.arange(starts[number], starts[number + 1])
        rows = rows[label[own[rows]] != own[rows]]
        joined = pa.table({"query_id": table["query_id"].take(pa.array(rows)), "group": pa.array(names[label[own[rows]]], pa.string())})
        out.table(f"groups-{index}.parquet", joined.cast(JOINED))
    members = np.bincount(label[own], minlength=1)
    out.meta.update(queries=table.num_rows, groups=int((members > 0).sum()), largest=int(members.max()))


def _queries(work: Work, index: str, numbers: Sequence[int]) -> pa.Table:
    """query_id, text, group of a partition's queries."""
    placed = concat_placed(work, index, f"queries-{index}.parquet", numbers, "queries")
    queries = repeats(placed, "query_id")[0].select(["query_id", "text", "group"])
    if not work.job.settings["only_judged"]:
        return queries
    judged = [one["query_id"] for _, one in _judgements(work, ["query_id"])]
    return queries.filter(pc.is_in(queries["query_id"], value_set=pa.chunked_array(judged, pa.string()).unique()))


def _judgements(work: Work, columns: Sequence[str]) -> Iterator[tuple[int, pa.Table]]:
    """Judgements by the number of their document partition."""
    for number, part in enumerate(work.job.inputs["documents"]):
        yield number, work.part_table(part, "qrels.parquet", list(columns))


def _own_groups(table: pa.Table) -> tuple[NDArray[np.object_], Ints, list[str]]:
    """Names of the groups that queries have by themselves, sorted; each query's, by its place there; the queries' texts."""
    texts: list[str] = table["text"].to_pylist()
    own = [group or norm_hash(text) for group, text in zip(table["group"].to_pylist(), texts, strict=True)]
    names, place = np.unique(np.asarray(own, dtype=object), return_inverse=True)
    return names, place.reshape(-1).astype(np.int64), texts


def _joined(label: Ints, group: Ints, shared: Ints) -> Ints:
    """Components of groups that share something.

    Args:
        label: (g,) the least member of each group's component so far.
        group: (n,) groups.
        shared: (n,) the number of what each has.
    """
    order = np.argsort(shared, kind="stable")
    same = shared[order][1:] == shared[order][:-1]
    return components(label, group[order][:-1][same], group[order][1:][same])


def _parents(work: Work, query_ids: pa.ChunkedArray) -> tuple[Ints, Ints]:
    """Places of queries, and the number of the parent document of a positive of theirs."""
    known, least = query_ids.combine_chunks(), int(work.job.settings["positive_min_grade"])
    queries, parents = [pa.array([], pa.int32())], [pa.array([], pa.string())]
    for number, judged in _judgements(work, ["query_id", "doc_row", "relevance", "provenance"]):
        positive = judged.filter(pc.and_(pc.greater_equal(judged["relevance"], least), pc.is_null(judged["provenance"])))
        place = pc.index_in(positive["query_id"], value_set=known)
        docs = work.part_table(work.job.inputs["documents"][number], "docs.parquet", ["doc_id", "group_id"])
        group = docs["group_id"].combine_chunks()
        parent = pc.if_else(pc.fill_null(pc.equal(group, ""), True), docs["doc_id"].combine_chunks(), group)
        there = pc.is_valid(place)
        queries.append(place.filter(there).combine_chunks())
        parents.append(parent.take(positive["doc_row"].filter(there).combine_chunks()))
    codes = pa.concat_arrays(parents).dictionary_encode().indices
    return (pa.concat_arrays(queries).to_numpy().astype(np.int64), codes.to_numpy(zero_copy_only=False).astype(np.int64))


def _refuse_one_lump(members: Ints, queries: int) -> None:
    if members.max() * 2 > queries:
        raise InputError(
            f"dataset.split_by: parent: documents that queries share hold {members.max():,} of {queries:,} queries together, in one group",
            "nothing can be split so: set dataset.split_by: query, or give documents smaller parents (group_id)",
        )
