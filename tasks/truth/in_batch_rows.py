"""The in-batch rate of a selection's training rows, as rows of :data:`tasks.schema.ESTIMATES`.

What is known of a pair of a query and another row's positive: its judgement; else the candidate's calibrated probability; else, for a
candidate without one, the mean probability of candidates of like dense score. Most pairs are no candidates: nothing is known of them, and
they count as candidates of the lowest stratum of dense scores do.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.truth.estimates import Row, row
from tasks.truth.in_batch import Batches, PairFunction, batches, by_truth, in_batch
from tasks.truth.intervals import Codes, Floats
from tasks.truth.selected import Flags, Selected, flags

_STRATA = 10


def batch_rows(table: pa.Table) -> pa.Table:
    """Query and positive of each training row, in order: those of the first training stage.

    Args:
        table: rows.parquet of all parts, in their order: stage, query_id, positive_id, slot.
    """
    first = table.filter(pc.equal(table["slot"], 0))
    stage = first["stage"][0] if first.num_rows else pa.scalar("")
    return first.filter(pc.equal(first["stage"], stage)).select(["query_id", "positive_id"])


def in_batch_rows(
    selected: Selected, size: int, truth: pa.Table | None, judged: Flags, probability: Floats, source: str, level: float
) -> Iterator[Row]:
    """``in_batch_pairs`` and ``in_batch_rows`` of one batch size; nothing without a truth or probabilities.

    Args:
        selected: the selection.
        size: rows a batch.
        truth: query_id, doc_id of relevant pairs, exhaustive for the judged queries; or none.
        judged: (queries,) whose rows count with a truth.
        probability: (candidates,) to be relevant, NaN: unknown.
        source: of the probabilities.
        level: confidence.
    """
    table = batch_rows(selected.rows)
    if table.num_rows < 2 or (truth is None and not np.isfinite(probability).any()):
        return
    given = batches(table, size)
    positives = _positives(selected)
    place = pc.index_in(given.query_ids, value_set=selected.queries["query_id"].combine_chunks()).to_numpy(zero_copy_only=False)
    if truth is not None:
        relevance: PairFunction = by_truth(
            given, pa.concat_tables([truth.select(positives.column_names).cast(positives.schema), positives])
        )
        counted, note = judged[place.astype(np.int64)][given.query], "other rows' positives, by the judgements"
    else:
        found = _Likely.of(selected, given, probability)
        relevance, counted = found.relevance, np.ones(len(given.query), dtype=bool)
        note = (
            f"other rows' positives; probabilities by {source}; pairs that are no candidates are unknown and count as the lowest stratum "
            f"of dense scores ({found.rest:.2%})"
        )
    shares = in_batch(given, relevance, estimator=source, level=level, rows_counted=counted) if _shared(counted, size) else None
    if shares is None:
        return
    queries = int(np.unique(given.query[counted]).size)
    yield row("in_batch_pairs", "batch_size", str(size), shares.pair_share, shares.pairs, queries, note)
    yield row("in_batch_rows", "batch_size", str(size), shares.row_share, shares.pairs, queries, note)


@dataclass(frozen=True)
class _Likely:
    """Probabilities of pairs.

    Args:
        keys: sorted, query × documents + document of the candidates among the batches' queries and documents.
        values: their probabilities.
        width: documents.
        rest: probability of all other pairs.
    """

    keys: Codes
    values: Floats
    width: int
    rest: float

    @classmethod
    def of(cls, selected: Selected, given: Batches, probability: Floats) -> _Likely:
        stratum, mean = _strata(selected, probability)
        value = np.where(np.isfinite(probability), probability, mean[stratum])
        labelled = selected.scored["relevance"].is_valid().to_numpy()
        positive = flags(selected.scored["is_positive"]) | flags(selected.scored["planted"])
        value = np.where(labelled, positive.astype(np.float64), value)
        query = pc.index_in(selected.queries["query_id"], value_set=given.query_ids)
        asked = pc.fill_null(query, -1).to_numpy().astype(np.int64)[selected.query]
        doc = pc.fill_null(pc.index_in(selected.scored["doc_id"], value_set=given.doc_ids), -1).to_numpy().astype(np.int64)
        inside = (asked >= 0) & (doc >= 0)
        keys = asked[inside] * len(given.doc_ids) + doc[inside]
        order = np.argsort(keys, kind="stable")
        return cls(keys[order], value[inside][order], len(given.doc_ids), float(mean[0]))

    def relevance(self, query: Codes, doc: Codes) -> Floats:
        """See :data:`tasks.truth.in_batch.PairFunction`."""
        wanted = query * self.width + doc
        if not len(self.keys):
            return np.full(len(wanted), self.rest)
        place = np.minimum(np.searchsorted(self.keys, wanted), len(self.keys) - 1)
        return np.where(self.keys[place] == wanted, self.values[place], self.rest)


def _strata(selected: Selected, probability: Floats) -> tuple[Codes, Floats]:
    """Stratum of each candidate by dense score, of equal numbers of unlabelled candidates; mean probability of each, lowest first."""
    score = np.nan_to_num(selected.score("dense_score"), nan=-np.inf)
    known = selected.unlabelled & np.isfinite(probability)
    if not known.any():
        known = np.isfinite(probability)
    edges = np.quantile(score[known], np.linspace(0, 1, _STRATA + 1)[1:-1])
    stratum = np.searchsorted(edges, score, side="right").astype(np.int64)
    count = np.bincount(stratum[known], minlength=_STRATA)
    total = np.bincount(stratum[known], probability[known], _STRATA)
    filled = np.flatnonzero(count > 0)
    means = np.divide(total, count, out=np.zeros(_STRATA), where=count > 0)
    # a stratum without a known pair takes the next one's, above it if there is one
    return stratum, means[filled[np.minimum(np.searchsorted(filled, np.arange(_STRATA)), len(filled) - 1)]]


def _positives(selected: Selected) -> pa.Table:
    mine = flags(selected.scored["is_positive"]) | flags(selected.scored["planted"])
    return selected.scored.select(["query_id", "doc_id"]).filter(pa.array(mine))


def _shared(counted: Flags, size: int) -> bool:
    """Whether a row that counts shares its batch with another row."""
    batch = np.arange(len(counted)) // size
    return bool((np.bincount(batch)[batch][counted] > 1).any())
