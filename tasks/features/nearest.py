"""How close each candidate comes to its query, and to the nearest positive of its query, by arrays that lie beside the documents."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tasks.groups import Groups, pairs_with_positives
from tasks.runner.stage import Work
from tasks.store.manifest import Part
from tasks.store.tables import read_array

Ints = NDArray[np.int64]
Arrays = list[NDArray[Any]]
Compare = Callable[[Arrays, Arrays], NDArray[np.float64]]
_ADDRESS_BITS = 40
_BLOCK = 4_096


def addresses(table: pa.Table) -> Ints:
    """Partition and row of each candidate's document as one number."""
    return join(table["doc_partition"].to_numpy(), table["doc_row"].to_numpy())


def join(partition: Any, row: Any) -> Ints:
    """Partition and row as one number, ordered as they are."""
    address: Ints = (np.asarray(partition, dtype=np.int64) << _ADDRESS_BITS) | np.asarray(row, dtype=np.int64)
    return address


def split(address: Ints) -> tuple[Ints, Ints]:
    """Partition and row of :func:`addresses`."""
    return address >> _ADDRESS_BITS, address & ((1 << _ADDRESS_BITS) - 1)


def by_partition(address: Ints, block: int = _BLOCK) -> Iterator[tuple[int, Ints, Ints]]:
    """(partition, places in ``address``, rows in the partition), in blocks of at most so many places."""
    partition, row = split(address)
    order = np.argsort(partition, kind="stable")
    numbers, starts = np.unique(partition[order], return_index=True)
    for number, first, end in zip(numbers, starts, [*starts[1:], len(order)], strict=False):
        for start in range(first, end, block):
            some = order[start : min(start + block, end)]
            yield int(number), some, row[some]


def dots(left: NDArray[Any], right: NDArray[Any]) -> NDArray[np.float64]:
    """Products of pairs of vectors, (pairs,); summed in float64, each row by itself, so that it does not depend on the others."""
    result = np.empty(len(left))
    for start in range(0, len(left), _BLOCK):
        some = slice(start, start + _BLOCK)
        result[some] = np.einsum("ij,ij->i", left[some].astype(np.float64), right[some].astype(np.float64))
    return result


def cosines(left: NDArray[Any], right: NDArray[Any]) -> NDArray[np.float64]:
    """Cosines of pairs of vectors, (pairs,); 0 where one has no length."""
    found: NDArray[np.float64] = dots(left, right) / np.maximum(np.sqrt(dots(left, left) * dots(right, right)), 1e-12)
    return found


def query_similarity(work: Work, table: pa.Table) -> pa.Array:
    """Cosine of query and document under a fixed encoder, float32; NULL throughout without one."""
    documents, queries = work.job.inputs["fixed_documents"], work.job.inputs["fixed_queries"]
    if not documents or not queries:
        return pa.nulls(table.num_rows, pa.float32())
    asked, row = read_array(work.storage, queries[0].file("vectors.npy")), table["query_row"].to_numpy()
    result = np.empty(table.num_rows, dtype=np.float32)
    for number, places, rows in by_partition(addresses(table)):
        result[places] = cosines(asked[row[places]], read_array(work.storage, documents[number].file("vectors.npy"))[rows])
    return pa.array(result)


def positive_similarity(work: Work, table: pa.Table, groups: Groups) -> pa.Array:
    """The largest cosine with a positive under a fixed encoder, float32; NULL for positives and where there is none."""

    def compare(left: Arrays, right: Arrays) -> NDArray[np.float64]:
        return cosines(left[0], right[0])

    return nearest_positive(work, table, groups, work.job.inputs["fixed_documents"], ("vectors.npy",), compare)


def nearest_positive(
    work: Work, table: pa.Table, groups: Groups, parts: Sequence[Part], names: Sequence[str], compare: Compare
) -> pa.Array:
    """The largest value that ``compare`` gives for a candidate and a positive of its query.

    Args:
        work: the storage.
        table: n candidates, with ``doc_partition`` and ``doc_row``.
        groups: the same candidates by query.
        parts: document partitions, in order; none: all is NULL.
        names: arrays in each part, row-aligned with its documents.
        compare: rows of those arrays for m candidates, and for a positive of each, into (m,).

    Returns:
        (n,) float32; NULL for positives, and for candidates of queries that have none.
    """
    best = np.full(table.num_rows, -np.inf)
    if parts:
        positives = np.flatnonzero(groups.positive)
        address = addresses(table)
        partition, row = split(address)
        held = _gather(work, parts, names, address[positives])
        place = np.zeros(table.num_rows, dtype=np.int64)
        place[positives] = np.arange(len(positives))
        for number, part in enumerate(parts):
            wanted = np.flatnonzero((partition == number) & ~groups.positive)
            for candidate, positive in pairs_with_positives(groups, wanted) if len(wanted) else ():
                mine = _rows(work, part, names, row[candidate])
                np.maximum.at(best, candidate, compare(mine, [array[place[positive]] for array in held]))
    return pa.array(best.astype(np.float32), mask=np.isneginf(best))


def _rows(work: Work, part: Part, names: Sequence[str], rows: Ints) -> Arrays:
    return [np.asarray(read_array(work.storage, part.file(name))[rows]) for name in names]


def _gather(work: Work, parts: Sequence[Part], names: Sequence[str], address: Ints) -> Arrays:
    """Rows of several partitions, in the order asked for."""
    found = [np.empty((len(address), *array.shape[1:]), dtype=array.dtype) for array in _rows(work, parts[0], names, address[:0])]
    for number, places, rows in by_partition(address):
        for array, values in zip(found, _rows(work, parts[number], names, rows), strict=True):
            array[places] = values
    return found
