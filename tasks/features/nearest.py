"""How close each candidate comes to the nearest positive of its query, by arrays that lie beside the documents."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tasks.features.groups import Groups, pairs_with_positives
from tasks.features.similarity import containment, jaccard
from tasks.runner.stage import Work
from tasks.store.manifest import Part
from tasks.store.tables import read_array

Ints = NDArray[np.int64]
Arrays = list[NDArray[Any]]
_ADDRESS_BITS = 40


def addresses(table: pa.Table) -> Ints:
    """Partition and row of each candidate's document as one number."""
    address: Ints = (table["doc_partition"].to_numpy().astype(np.int64) << _ADDRESS_BITS) | table["doc_row"].to_numpy()
    return address


def split(address: Ints) -> tuple[Ints, Ints]:
    """Partition and row of :func:`addresses`."""
    return address >> _ADDRESS_BITS, address & ((1 << _ADDRESS_BITS) - 1)


def positive_containment(work: Work, table: pa.Table, groups: Groups) -> pa.Array:
    """The largest estimated containment of word shingles with a positive, float32; NULL for positives and where there is none."""

    def compare(left: Arrays, right: Arrays) -> NDArray[np.float64]:
        return containment(jaccard(left[0], right[0]), left[1], right[1])

    return _nearest(work, table, groups, work.job.inputs["signatures"], ("signatures.npy", "shingles.npy"), compare)


def positive_similarity(work: Work, table: pa.Table, groups: Groups) -> pa.Array:
    """The largest cosine with a positive under a fixed encoder, float32; NULL for positives and where there is none."""

    def compare(left: Arrays, right: Arrays) -> NDArray[np.float64]:
        products = np.einsum("ij,ij->i", left[0], right[0], dtype=np.float64)
        norms = np.linalg.norm(left[0], axis=1) * np.linalg.norm(right[0], axis=1)
        cosines: NDArray[np.float64] = products / np.maximum(norms.astype(np.float64), 1e-12)
        return cosines

    return _nearest(work, table, groups, work.job.inputs["similarity"], ("vectors.npy",), compare)


def _nearest(
    work: Work,
    table: pa.Table,
    groups: Groups,
    parts: Sequence[Part],
    names: Sequence[str],
    compare: Callable[[Arrays, Arrays], NDArray[np.float64]],
) -> pa.Array:
    best = np.full(table.num_rows, -np.inf)
    if parts:
        positives = np.flatnonzero(groups.positive)
        partition, row = split(addresses(table))
        held = _gather(work, parts, names, partition[positives], row[positives])
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


def _gather(work: Work, parts: Sequence[Part], names: Sequence[str], partition: Ints, rows: Ints) -> Arrays:
    """Rows of several partitions, in the order asked for."""
    if not len(rows):
        return _rows(work, parts[0], names, rows)
    order = np.argsort(partition, kind="stable")
    pieces = [_rows(work, parts[int(number)], names, rows[order][partition[order] == number]) for number in np.unique(partition)]
    back = np.empty(len(order), dtype=np.int64)
    back[order] = np.arange(len(order))
    return [np.concatenate([piece[i] for piece in pieces])[back] for i in range(len(names))]
