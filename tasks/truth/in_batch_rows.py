"""The in-batch rate of a selection's training rows, as rows of :data:`tasks.schema.ESTIMATES`.

The batches are those that ``hardmine train`` makes of these rows: its order of stages, its shuffle, its queries (split train, or none).
What is known of a pair of a query and another row's positive: its judgement (an explicit zero only where zeros are trusted, or a reviewer
gave it); else the candidate's calibrated probability; else, for a candidate without one, the mean probability of candidates of like dense
score. Most pairs are no candidates: nothing is known of them, and
they count as candidates of the lowest stratum of dense scores do.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.models.order import is_trained, passes, training_order
from tasks.models.samples import shuffled
from tasks.truth.estimates import Row, row
from tasks.truth.in_batch import Batches, PairFunction, RowCounts, batches, by_truth, row_counts
from tasks.truth.intervals import Codes, Floats, proportion
from tasks.truth.selected import Flags, Selected, flags
from tasks.truth.settings import EstimateSettings

_STRATA = 10


@dataclass(frozen=True)
class Known:
    """What the relevance of pairs rests on.

    Args:
        relevant: query_id, doc_id of relevant pairs, exhaustive for the judged queries; or none.
        unknown: query_id, doc_id of pairs of which the judgements say nothing.
        judged: (queries,) whose rows count where there are judgements.
        probability: (candidates,) to be relevant, NaN: unknown.
        source: of the probabilities.
        zeros: whether explicit zeros of the source are trusted, not a reviewer's alone.
    """

    relevant: pa.Table | None
    unknown: pa.Table | None
    judged: Flags
    probability: Floats
    source: str
    zeros: bool = False


def training_rows(rows: pa.Table, queries: pa.Table, stages: Sequence[str]) -> tuple[pa.Table, Codes]:
    """Query and positive of each row that is trained on, in training order, and the passes over them (one over each stage).

    Args:
        rows: rows.parquet of all parts: part (its number), stage, epoch, row_no, query_id, positive_id, slot.
        queries: query_id, split.
        stages: training stages in order; none: as they come.
    """
    first = rows.filter(pc.equal(rows["slot"], 0))
    trained = queries["query_id"].filter(is_trained(queries["split"])).combine_chunks()
    first = first.filter(pc.is_in(first["query_id"], value_set=trained))
    names = pa.array(stages or first["stage"].unique().to_pylist(), pa.string())
    first = first.take(pa.array(np.lexsort((first["row_no"].to_numpy(), first["part"].to_numpy()))))
    stage = pc.fill_null(pc.index_in(first["stage"], value_set=names), -1).to_numpy().astype(np.int64)
    epoch = first["epoch"].to_numpy().astype(np.int64)
    order = training_order(stage, epoch)
    return first.select(["query_id", "positive_id"]).take(pa.array(order)), passes(stage[order], epoch[order], 1)


def in_batch_rows(selected: Selected, known: Known, settings: EstimateSettings) -> Iterator[Row]:
    """``in_batch_pairs`` and ``in_batch_rows`` of each batch size, and on every slice for the first; nothing where nothing is known.

    Args:
        selected: the selection.
        known: judgements, or probabilities.
        settings: batch sizes, seed and stages of the training.
    """
    if known.relevant is None and not np.isfinite(known.probability).any():
        return
    table, lessons = training_rows(selected.rows, selected.queries, settings.stages)
    if table.num_rows < 2:
        return
    for number, size in enumerate(settings.batch_sizes):
        given = batches(table, size, shuffled(lessons, size, settings.batch_seed))
        yield from _of_size(selected, known, given, settings.level, sliced=number == 0)


def _of_size(selected: Selected, known: Known, given: Batches, level: float, sliced: bool) -> Iterator[Row]:
    place = pc.index_in(given.query_ids, value_set=selected.queries["query_id"].combine_chunks()).to_numpy(zero_copy_only=False)
    query = place.astype(np.int64)[given.query]
    relevance, note = _relevance(selected, known, given)
    counts = row_counts(given, relevance)
    counted = (known.judged[query] if known.relevant is not None else np.ones(len(query), dtype=bool)) & (counts.pairs > 0)
    if not counted.any():
        return
    yield from _shares(given, counts, counted, ("batch_size", str(given.size)), note, level)
    for one in selected.slices if sliced else []:
        mine = counted & one.queries[query]
        if one.name != "all" and mine.any():
            yield from _shares(given, counts, mine, (one.name, one.value), f"batches of {given.size}; {note}", level)


def _shares(given: Batches, counts: RowCounts, rows: Flags, about: tuple[str, str], note: str, level: float) -> Iterator[Row]:
    """Both shares over some rows."""
    batch, number = given.batch[rows], counts.pairs[rows]
    queries = int(np.unique(given.query[rows]).size)
    for name, top, bottom in (
        ("in_batch_pairs", counts.relevant[rows], number),
        ("in_batch_rows", counts.hit[rows], np.ones(len(number))),
    ):
        yield row(name, *about, proportion(top, bottom, batch, level), int(number.sum()), queries, note)


def _relevance(selected: Selected, known: Known, given: Batches) -> tuple[PairFunction, str]:
    """The relevance of a pair, and a word on it."""
    if known.relevant is not None:
        positives = _positives(selected)
        relevant = pa.concat_tables([known.relevant.select(positives.column_names).cast(positives.schema), positives])
        return by_truth(given, relevant, known.unknown), "other rows' positives, by the judgements"
    found = _Likely.of(selected, given, known.probability, known.zeros)
    note = (
        f"other rows' positives; probabilities by {known.source}; pairs that are no candidates are unknown and count as the lowest stratum "
        f"of dense scores ({found.rest:.2%})"
    )
    return found.relevance, note


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
    def of(cls, selected: Selected, given: Batches, probability: Floats, zeros: bool) -> _Likely:
        stratum, mean = _strata(selected, probability)
        value = np.where(np.isfinite(probability), probability, mean[stratum])
        positive = flags(selected.scored["is_positive"]) | flags(selected.scored["planted"])
        grade = selected.score("relevance")
        told = positive | (grade > 0) | selected.trusted_zero | (zeros & (grade <= 0))
        value = np.where(told, positive.astype(np.float64), value)
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
