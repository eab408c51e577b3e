"""The in-batch rate of a selection's training rows, as rows of :data:`tasks.schema.ESTIMATES`.

The batches are those that ``hardmine train`` makes of these rows: its order of stages, its shuffle, its queries (split train, or none).
Where judgements are exhaustive the pairs of a query and another row's positive are counted: ``in_batch_pairs``, ``in_batch_rows``. Else
they are estimated, and named so: ``in_batch_…_estimated`` on a review, ``in_batch_…_by_labels`` without; see in_batch_estimate.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.intervals import Codes, Floats, proportion
from tasks.models.order import is_trained, passes, training_order
from tasks.models.samples import shuffled
from tasks.truth.estimates import Row, row
from tasks.truth.in_batch import Batches, RowCounts, batches, by_truth, row_counts, some
from tasks.truth.in_batch_estimate import Likely
from tasks.truth.selected import Flags, Selected, flags, promoted
from tasks.truth.settings import EstimateSettings
from tasks.truth.similar import Similar


@dataclass(frozen=True)
class Known:
    """What the relevance of pairs rests on.

    Args:
        relevant: query_id, doc_id of relevant pairs, exhaustive for the judged queries; or none.
        unknown: query_id, doc_id of pairs of which the judgements say nothing.
        judged: (queries,) whose rows count where there are judgements.
        probability: (candidates,) to be relevant; without a review, to be labelled; NaN: unknown.
        reviewed: whether it is on a review.
        zeros: whether explicit zeros of the source are trusted, not a reviewer's alone.
        similar: vectors; none: nothing is estimated.
    """

    relevant: pa.Table | None
    unknown: pa.Table | None
    judged: Flags
    probability: Floats
    reviewed: bool = False
    zeros: bool = False
    similar: Similar | None = None


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
    """Shares of pairs and of rows for each batch size, and on every slice for the first; nothing where nothing is known.

    Args:
        selected: the selection.
        known: judgements, or what they are estimated from.
        settings: batch sizes, seed and stages of the training.
    """
    likely = None
    if known.relevant is None and known.similar is not None:
        likely = Likely.of(selected, known.probability, known.reviewed, known.zeros, known.similar, settings.batch_seed)
    if known.relevant is None and likely is None:
        return
    table, lessons = training_rows(selected.rows, selected.queries, settings.stages)
    if table.num_rows < 2:
        return
    for number, size in enumerate(settings.batch_sizes):
        given = batches(table, size, shuffled(lessons, size, settings.batch_seed))
        made = _judged(selected, known, given) if likely is None else _estimated(selected, known, likely, given, settings)
        yield from _of_size(selected, made, settings.level, sliced=number == 0)


@dataclass(frozen=True)
class _Counted:
    """Batches with what each row meets: at least ``low``, which is the same where it is no bound."""

    given: Batches
    counts: RowCounts
    low: RowCounts
    rows: Flags  # that count
    ending: str
    note: str


def _judged(selected: Selected, known: Known, given: Batches) -> _Counted:
    assert known.relevant is not None, "judgements are counted where there are some"
    positives = _positives(selected)
    relevant = pa.concat_tables([known.relevant.select(positives.column_names).cast(positives.schema), positives])
    counts = row_counts(given, by_truth(given, relevant, known.unknown))
    rows = known.judged[_places(selected, given)] & (counts.pairs > 0)
    return _Counted(given, counts, counts, rows, "", "other rows' positives, by the judgements")


def _estimated(selected: Selected, known: Known, likely: Likely, given: Batches, settings: EstimateSettings) -> _Counted:
    assert known.similar is not None, "pairs that are no candidates are judged by similarity"
    given = some(given, settings.batch_rows, settings.batch_seed)
    counts = row_counts(given, likely.relevance(selected, given, known.similar.of_batches(selected, given)))
    low = counts if known.reviewed else row_counts(given, likely.by_labels(selected, given))
    return _Counted(given, counts, low, counts.pairs > 0, f"_{likely.ending}", likely.note)


def _of_size(selected: Selected, made: _Counted, level: float, sliced: bool) -> Iterator[Row]:
    if not made.rows.any():
        return
    size = made.given.size
    yield from _shares(made, made.rows, ("batch_size", str(size)), made.note, level)
    query = _places(selected, made.given)
    for one in selected.slices if sliced else []:
        mine = made.rows & one.queries[query]
        if one.name != "all" and mine.any():
            yield from _shares(made, mine, (one.name, one.value), f"batches of {size}; {made.note}", level)


def _shares(made: _Counted, rows: Flags, about: tuple[str, str], note: str, level: float) -> Iterator[Row]:
    """Both shares over some rows."""
    batch, number = made.given.batch[rows], made.counts.pairs[rows]
    queries, every = int(np.unique(made.given.query[rows]).size), np.ones(len(number))
    for name, top, least, bottom in (
        ("in_batch_pairs", made.counts.relevant[rows], made.low.relevant[rows], number),
        ("in_batch_rows", made.counts.hit[rows], made.low.hit[rows], every),
    ):
        found, low = proportion(top, bottom, batch, level), proportion(least, bottom, batch, level).low
        yield row(f"{name}{made.ending}", *about, found.model_copy(update={"low": low}), int(number.sum()), queries, note)


def _places(selected: Selected, given: Batches) -> Codes:
    """(rows,) place of each row's query among the selection's."""
    place = pc.index_in(given.query_ids, value_set=selected.queries["query_id"].combine_chunks()).to_numpy(zero_copy_only=False)
    return np.asarray(place.astype(np.int64)[given.query], dtype=np.int64)


def _positives(selected: Selected) -> pa.Table:
    """Labels of people: what was promoted rests on a teacher, and is no judgement."""
    mine = (flags(selected.scored["is_positive"]) & ~flags(promoted(selected.scored))) | flags(selected.scored["planted"])
    return selected.scored.select(["query_id", "doc_id"]).filter(pa.array(mine))
