"""Stage ``scored``: candidates with the teacher's scores, duplicates marked, and the positives' scores beside each of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tasks.features.groups import Bools, Groups, Ints, codes, equals_positive, pairs_with_positives, statistics
from tasks.features.similarity import containment, jaccard
from tasks.runner.stage import Job, Stage, Work
from tasks.schema import PAIRS, score_columns
from tasks.schema import scored as scored_schema
from tasks.store.manifest import Part
from tasks.store.output import Output
from tasks.store.tables import read_array, take_texts

STAGE = Stage(name="scored", version=1, function="tasks.features.scored:run", unit="candidates")

_ADDRESS_BITS = 40


def jobs(
    sources: Sequence[str],
    candidates: Sequence[Part],
    queries: Sequence[Part],
    documents: Sequence[Part],
    scores: Sequence[Part] = (),
    signatures: Sequence[Part] = (),
) -> list[Job]:
    """One job a partition of the candidates.

    Args:
        sources: the round's sources.
        candidates: parts of ``candidates``.
        queries: parts of ``queries``, in the same order.
        documents: parts of ``documents``.
        scores: parts of ``score``, of all query partitions (``q0000.b000`` belongs to ``q0000``); none: no teacher.
        signatures: parts of ``signatures``, in the order of ``documents``; none: ``positive_containment`` is NULL.
    """
    by_partition: dict[str, list[Part]] = {}
    for part in scores:
        by_partition.setdefault(part.index.split(".")[0], []).append(part.only("pairs.parquet"))
    texts = tuple(part.only("docs.parquet") for part in documents)
    return [
        Job(
            index=part.index,
            inputs={
                "candidates": (part.only("candidates.parquet"),),
                "queries": (asked.only("queries.parquet"),),
                "documents": texts,
                "scores": tuple(by_partition.get(part.index, ())),
                "signatures": tuple(signatures),
            },
            settings={"sources": list(sources)},
            units=part.file("candidates.parquet").rows or 0,
        )
        for part, asked in zip(candidates, queries, strict=True)
    ]


def run(work: Work, out: Output) -> None:
    """Write ``scored.parquet`` in the candidates' order; meta: rows, scored pairs, copies by kind."""
    sources = list(work.job.settings["sources"])
    table = work.table("candidates", "candidates.parquet")
    pairs = work.table("scores", "pairs.parquet") if work.job.inputs["scores"] else PAIRS.empty_table()
    groups = Groups(table["query_row"].to_numpy(), table["is_positive"].to_numpy())
    columns: dict[str, Any] = {name: table[name] for name in table.column_names}
    columns |= _teacher_columns(table, pairs)
    columns |= _copy_columns(work, table, groups)
    columns["positive_containment"] = _containment(work, table, groups)
    for name in score_columns(sources):
        for statistic, values in statistics(groups, _floats(columns[name])).items():
            columns[f"positive_{name}_{statistic}"] = pa.array(values, mask=np.isnan(values))
    schema = scored_schema(sources)
    result = pa.table(columns).select(schema.names).cast(schema)
    out.table("scored.parquet", result)
    out.meta.update({"rows": result.num_rows, "scored": result.num_rows - result["teacher_logit"].null_count})
    out.meta["copies"] = {name: result.num_rows - result[name].null_count for name in ("copy_of", "norm_copy_of")}


def _teacher_columns(table: pa.Table, pairs: pa.Table) -> dict[str, Any]:
    """Logit and sigmoid of each candidate, by the pair of input hashes; NULL where it was not scored."""
    place = pc.index_in(_joined(table), value_set=_joined(pairs).combine_chunks())
    logit = pairs["logit"].take(place)
    values = _floats(logit).astype(np.float64)
    with np.errstate(over="ignore"):
        sigmoid = (1.0 / (1.0 + np.exp(-values))).astype(np.float32)
    return {
        "teacher_logit": logit,
        "teacher_sigmoid": pa.array(sigmoid, mask=np.isnan(values)),
        "teacher_calibrated": pa.nulls(table.num_rows, pa.float32()),
    }


def _joined(table: pa.Table) -> pa.ChunkedArray:
    joined = pc.binary_join_element_wise(table["query_hash"], table["doc_hash"], " ")
    return joined if isinstance(joined, pa.ChunkedArray) else pa.chunked_array([joined])


def _copy_columns(work: Work, table: pa.Table, groups: Groups) -> dict[str, Any]:
    """``copy_of`` by exact title and text, or text alone; ``norm_copy_of`` by normal form."""
    queries = work.table("queries", "queries.parquet", ["text", "norm_hash"])
    address, place = np.unique(_address(table), return_inverse=True)
    documents = take_texts(work.storage, work.job.inputs["documents"], *_split(address), ["norm_hash"])
    norm, asked = codes(_strings(documents["norm_hash"]), _strings(queries["norm_hash"]))
    norm_query = norm[place] == asked[groups.query]
    norm_positive = equals_positive(groups, norm[place])
    (content,) = codes(_strings(table["doc_hash"]))
    exact_query, exact_text = _exact(work, table, groups, queries["text"], norm_query, norm_positive)
    exact_positive = equals_positive(groups, content) | exact_text
    return {"copy_of": _kinds(exact_query, exact_positive), "norm_copy_of": _kinds(norm_query, norm_positive)}


def _exact(
    work: Work, table: pa.Table, groups: Groups, asked: pa.ChunkedArray, norm_query: Bools, norm_positive: Bools
) -> tuple[Bools, Bools]:
    """Whose text is exactly the query's, and whose is exactly a positive's. Only texts of equal normal form are fetched."""
    of_query, of_positive = np.zeros(len(norm_query), dtype=bool), np.zeros(len(norm_query), dtype=bool)
    with_copies = np.zeros(groups.size, dtype=bool)
    with_copies[groups.query[norm_positive]] = True
    rows = np.flatnonzero(norm_query | norm_positive | (groups.positive & with_copies[groups.query]))
    if not len(rows):
        return of_query, of_positive
    address = _address(table)[rows]
    texts = _strings(take_texts(work.storage, work.job.inputs["documents"], *_split(address), ["text"])["text"])
    text, query = codes(texts, _strings(asked.take(pa.array(groups.query[rows]))))
    of_query[rows] = text == query
    written = texts != ""
    some = Groups(groups.query[rows][written], groups.positive[rows][written])
    of_positive[rows[written]] = equals_positive(some, text[written])
    return of_query, of_positive


def _kinds(query: Bools, positive: Bools) -> pa.Array:
    kinds = np.where(query, "query", "positive").astype(object)
    return pa.array(kinds, type=pa.string(), mask=~(query | positive))


def _containment(work: Work, table: pa.Table, groups: Groups) -> pa.Array:
    """The largest estimated containment with a positive of the query, float32; NULL for positives and where there is none."""
    parts = work.job.inputs["signatures"]
    best = np.full(table.num_rows, -1.0)
    if parts:
        positives = np.flatnonzero(groups.positive)
        partition, row = _split(_address(table))
        held = _Signatures.gathered(work, parts, partition[positives], row[positives])
        place = np.zeros(table.num_rows, dtype=np.int64)
        place[positives] = np.arange(len(positives))
        for number, part in enumerate(parts):
            wanted = np.flatnonzero((partition == number) & ~groups.positive)
            for candidate, positive in pairs_with_positives(groups, wanted) if len(wanted) else ():
                near = _Signatures.of_part(work, part, row[candidate]).containment(held.take(place[positive]))
                np.maximum.at(best, candidate, near)
            work.report(len(wanted))
    return pa.array(best.astype(np.float32), mask=best < 0)


class _Signatures:
    """Signatures and sizes of some documents, aligned."""

    def __init__(self, signatures: NDArray[np.uint32], sizes: NDArray[np.int32]) -> None:
        self.signatures = signatures
        self.sizes = sizes

    @classmethod
    def of_part(cls, work: Work, part: Part, rows: Ints) -> _Signatures:
        """Rows of one partition."""
        return cls(*(np.asarray(read_array(work.storage, part.file(name))[rows]) for name in ("signatures.npy", "shingles.npy")))

    @classmethod
    def gathered(cls, work: Work, parts: Sequence[Part], partition: Ints, rows: Ints) -> _Signatures:
        """Rows of several partitions, in the order asked for."""
        width = read_array(work.storage, parts[0].file("signatures.npy")).shape[1]
        result = cls(np.zeros((len(rows), width), dtype=np.uint32), np.zeros(len(rows), dtype=np.int32))
        for number in np.unique(partition):
            here = partition == number
            found = cls.of_part(work, parts[int(number)], rows[here])
            result.signatures[here], result.sizes[here] = found.signatures, found.sizes
        return result

    def take(self, rows: Ints) -> _Signatures:
        return _Signatures(self.signatures[rows], self.sizes[rows])

    def containment(self, other: _Signatures) -> NDArray[np.float64]:
        return containment(jaccard(self.signatures, other.signatures), self.sizes, other.sizes)


def _address(table: pa.Table) -> Ints:
    """Partition and row of each candidate's document as one number."""
    address: Ints = (table["doc_partition"].to_numpy().astype(np.int64) << _ADDRESS_BITS) | table["doc_row"].to_numpy()
    return address


def _split(address: Ints) -> tuple[Ints, Ints]:
    return address >> _ADDRESS_BITS, address & ((1 << _ADDRESS_BITS) - 1)


def _floats(column: pa.ChunkedArray | pa.Array) -> NDArray[np.float32]:
    """float32 with NaN for NULL."""
    chunked = column if isinstance(column, pa.ChunkedArray) else pa.chunked_array([column])
    values: NDArray[np.float32] = chunked.to_numpy().astype(np.float32)
    return values


def _strings(column: pa.ChunkedArray) -> NDArray[Any]:
    values: NDArray[Any] = pc.fill_null(column, "").to_numpy()
    return values
