"""One selection as it is measured: every candidate with what became of it, the queries, and the slices that they are in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tasks.intervals import Codes, Floats, clusters
from tasks.models.order import is_trained
from tasks.schema import PROMOTED, REVIEWED
from tasks.sql import run
from tasks.truth.slices import slices

Flags = NDArray[np.bool_]

SCORES = (
    "dense_rank",
    "dense_score",
    "teacher_logit",
    "teacher_sigmoid",
    "teacher_calibrated",
    "positive_dense_score_min",
    "label_evidence",
)
COLUMNS = ("query_id", "doc_id", "relevance", "is_positive", "planted", "provenance")

_QUERIES = """
WITH found AS (
  SELECT query_id, count(*) FILTER (is_positive OR planted) AS positives, min(dense_rank) FILTER (is_positive OR planted) AS positive_rank
  FROM scored GROUP BY query_id)
SELECT query_id, text, language, "group", split, dataset, positives, positive_rank FROM queries JOIN found USING (query_id)
ORDER BY query_id"""
_USED = """
WITH used AS (SELECT query_id, doc_id FROM rows WHERE slot > 0 AND label <= 0)
SELECT _row FROM keys SEMI JOIN used USING (query_id, doc_id)"""
_REFUSED = """
WITH told AS (
  SELECT query_id, doc_id, bool_or(list_has_any(reasons, $reasons::VARCHAR[])) AS suspect FROM decisions WHERE decision = 'rejected'
  GROUP BY ALL)
SELECT _row, suspect FROM keys JOIN told USING (query_id, doc_id)"""


@dataclass(frozen=True)
class SliceOf:
    """Some queries.

    Args:
        name: all, dataset, language, length, positives or difficulty.
        value: which of them.
        queries: (queries,) who is in it.
    """

    name: str
    value: str
    queries: Flags


@dataclass(frozen=True)
class Selected:
    """A selection over n candidates.

    Args:
        scored: n rows: :data:`COLUMNS` and :data:`SCORES`.
        rows: the training rows: part (its number), stage, epoch, row_no, query_id, positive_id, slot, doc_id, label.
        queries: query_id (sorted), text, language, group, split, dataset, positives, positive_rank of the queries that have candidates.
        query: (n,) place of each candidate's query among them.
        retrieved: (n,) some source found it.
        reach: (n,) found at ranks that the teacher scored.
        emitted: (n,) it is a negative in a training row.
        rejected: (n,) some rule rejected it, and it is no negative.
        suspect: (n,) of the rejected: as likely relevant.
    """

    scored: pa.Table
    rows: pa.Table
    queries: pa.Table
    query: Codes
    retrieved: Flags
    reach: Flags
    emitted: Flags
    rejected: Flags
    suspect: Flags

    @cached_property
    def unlabelled(self) -> Flags:
        """(n,) retrieved, and of unknown relevance."""
        return np.asarray(self.retrieved & self.scored["relevance"].is_null().to_numpy(), dtype=bool)

    @cached_property
    def labelled(self) -> Flags:
        """(n,) a positive by the collection's own labels, a planted one too."""
        positive = flags(self.scored["is_positive"]) | flags(self.scored["planted"])
        return np.asarray(positive & self.scored["provenance"].is_null().to_numpy(), dtype=bool)

    @cached_property
    def trusted_zero(self) -> Flags:
        """(n,) a reviewer of an earlier round called it not relevant."""
        mine = np.asarray(pc.fill_null(pc.equal(self.scored["provenance"], REVIEWED), False).to_numpy(), dtype=bool)
        positive = flags(self.scored["is_positive"]) | flags(self.scored["planted"])
        return np.asarray(mine & self.scored["relevance"].is_valid().to_numpy() & ~positive, dtype=bool)

    @cached_property
    def trained(self) -> Flags:
        """(queries,) it has a training row."""
        return np.asarray(pc.is_in(self.queries["query_id"], value_set=self.rows["query_id"].unique()).to_numpy(), dtype=bool)

    def written(self, split: str = "") -> Flags:
        """(queries,) training files have its rows: those of split train, of none, and of the one that was asked for."""
        own = np.asarray(is_trained(self.queries["split"]).to_numpy(), dtype=bool)
        asked = pc.fill_null(pc.equal(pc.utf8_lower(self.queries["split"].cast(pa.string())), split.lower()), False)
        return np.asarray(own | np.asarray(asked.to_numpy(), dtype=bool), dtype=bool)

    @cached_property
    def groups(self) -> Codes:
        """(queries,) code of each query's group: what is independent of each other."""
        return clusters(self.queries)

    @cached_property
    def sliced(self) -> pa.Table:
        """Of :func:`tasks.truth.slices.slices`."""
        return slices(self.queries)

    @cached_property
    def slices(self) -> list[SliceOf]:
        """All slices, ``all`` first."""
        place = pc.index_in(self.sliced["query_id"], value_set=self.queries["query_id"].combine_chunks()).to_numpy()
        names = list(zip(self.sliced["slice"].to_pylist(), self.sliced["value"].to_pylist(), strict=True))
        members: dict[tuple[str, str], list[int]] = {}
        for at, key in zip(place.tolist(), names, strict=True):
            members.setdefault(key, []).append(at)
        found = []
        for (name, value), places in sorted(members.items(), key=lambda item: item[0][0] != "all"):
            mask = np.zeros(self.queries.num_rows, dtype=bool)
            mask[places] = True
            found.append(SliceOf(name, value, mask))
        return found

    def score(self, name: str) -> Floats:
        """(n,) a score column as float64, NaN for NULL."""
        return floats(self.scored[name])

    def by_query(self, values: Any, which: Flags) -> Floats:
        """(queries,) sums of values over some candidates."""
        given = np.broadcast_to(np.asarray(values, dtype=np.float64), which.shape)
        return np.bincount(self.query[which], given[which], self.queries.num_rows).astype(np.float64)

    def find(self, pairs: pa.Table) -> Codes:
        """(pairs,) the row of each pair (query_id, doc_id) among the candidates; -1: it is none."""
        numbered = pairs.select(["query_id", "doc_id"]).append_column("_place", pa.array(np.arange(pairs.num_rows)))
        found = run("SELECT _place, _row FROM pairs JOIN keys USING (query_id, doc_id)", {"pairs": numbered, "keys": _keys(self.scored)})
        rows = np.full(pairs.num_rows, -1, dtype=np.int64)
        rows[found["_place"].to_numpy()] = found["_row"].to_numpy()
        return rows


def selected(
    scored: pa.Table,
    sources: Sequence[str],
    decisions: pa.Table,
    rows: pa.Table,
    queries: pa.Table,
    reasons: Sequence[str],
    depth: int = 0,
) -> Selected:
    """Put a selection together.

    Args:
        scored: at least :data:`COLUMNS` and ``<source>_rank``; what is missing of :data:`SCORES` is NULL, and provenance.
        sources: the round's.
        decisions: query_id, doc_id, decision, reasons.
        rows: of all partitions, in their order, with the number of each as ``part``.
        queries: :data:`tasks.schema.QUERIES`, at least query_id, text, language, group, split; and dataset.
        reasons: of rejections that mean: probably relevant.
        depth: worst rank that the teacher scored, of every source but random; 0: whatever was retrieved.
    """
    retrieved, reach = np.zeros((2, scored.num_rows), dtype=bool)
    for source in sources:
        rank = floats(scored[f"{source}_rank"])
        retrieved |= np.isfinite(rank)
        reach |= rank <= (depth if source != "random" else 0) if depth else np.isfinite(rank)
    if "provenance" not in scored.column_names:
        scored = scored.append_column("provenance", pa.nulls(scored.num_rows, pa.string()))
    for name in SCORES:
        if name not in scored.column_names:
            scored = scored.append_column(name, pa.nulls(scored.num_rows, pa.float32()))
    asked = run(_QUERIES, {"queries": queries, "scored": scored.select(["query_id", "is_positive", "planted", "dense_rank"])})
    keys = _keys(scored)
    emitted, rejected, suspect = (np.zeros(scored.num_rows, dtype=bool) for _ in range(3))
    emitted[run(_USED, {"keys": keys, "rows": rows})["_row"].to_numpy()] = True
    told = run(_REFUSED, {"keys": keys, "decisions": decisions}, {"reasons": list(reasons)})
    rejected[told["_row"].to_numpy()] = True
    suspect[told["_row"].to_numpy()] = told["suspect"].to_numpy()
    return Selected(
        scored=scored.select([*COLUMNS, *SCORES]),
        rows=rows,
        queries=asked,
        query=pc.index_in(scored["query_id"], value_set=asked["query_id"].combine_chunks()).to_numpy().astype(np.int64),
        retrieved=retrieved,
        reach=reach,
        emitted=emitted,
        rejected=rejected & ~emitted,
        suspect=suspect & ~emitted,
    )


def floats(column: pa.ChunkedArray) -> Floats:
    """float64 with NaN for NULL."""
    return np.asarray(column.cast(pa.float64()).to_numpy(), dtype=np.float64)


def promoted(scored: pa.Table) -> pa.ChunkedArray:
    """Which candidates have a label that independent signals made, a teacher among them, not people."""
    return pc.fill_null(pc.equal(scored["provenance"], PROMOTED), False)


def flags(column: pa.ChunkedArray) -> Flags:
    """Booleans, false for NULL."""
    return np.asarray(pc.fill_null(column, False).to_numpy(), dtype=bool)


def _keys(scored: pa.Table) -> pa.Table:
    return scored.select(["query_id", "doc_id"]).append_column("_row", pa.array(np.arange(scored.num_rows)))
