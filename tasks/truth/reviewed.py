"""What a review says of one selection: leak with and without the teacher's help, and probabilities that may be summed to counts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from tasks.intervals import Codes, Floats, Interval
from tasks.sql import run
from tasks.truth.estimates import Row, row
from tasks.truth.frame import LABELS, RELEVANT, UNANSWERED, UNSURE, Frame, Sample, answered, only
from tasks.truth.review import Leak, calibrated, leaks
from tasks.truth.selected import Flags, Selected, flags
from tasks.truth.settings import ReviewSettings

LABELLED = pa.schema(
    [("query_id", pa.string()), ("doc_id", pa.string()), ("label", pa.string()), ("stratum", pa.int64()), ("inclusion", pa.float64())]
)
_IN_FRAME = "SELECT _row FROM emitted SEMI JOIN (SELECT query_id, doc_id FROM frame WHERE slot > 0 AND label <= 0) USING (query_id, doc_id)"


@dataclass(frozen=True)
class Reviewed:
    """A reviewed sample beside one selection.

    Args:
        sample: reviewed pairs; ``rows`` are rows of the candidates.
        within: (n,) which emitted candidates could have been drawn.
    """

    sample: Sample
    within: Flags

    @classmethod
    def of(cls, selected: Selected, labels: pa.Table, frame: pa.Table | None) -> Reviewed:
        """From a review's labels.

        Args:
            selected: the selection.
            labels: :data:`LABELLED`; pairs that are no candidates of this round, or planted positives, are left out.
            frame: training rows (query_id, doc_id, slot, label) of all recipes that the sample was drawn for; none: this selection's
                negatives were all among them.
        """
        place = selected.find(labels)
        free = (place >= 0) & ~flags(selected.scored["planted"])[place]
        labels, place = labels.filter(pa.array(free)), place[free]
        marks = np.array([LABELS[label] for label in labels["label"].to_pylist()], dtype=np.int8)
        stratum, inclusion = labels["stratum"].to_numpy(), labels["inclusion"].to_numpy()
        within = selected.emitted.copy()
        if frame is not None:
            rows = np.flatnonzero(within)
            numbered = selected.scored.select(["query_id", "doc_id"]).take(pa.array(rows)).append_column("_row", pa.array(rows))
            within[:] = False
            within[run(_IN_FRAME, {"emitted": numbered, "frame": frame})["_row"].to_numpy()] = True
        return cls(Sample(place, stratum, inclusion, marks), within)

    @property
    def sure(self) -> int:
        """Reviewed pairs with a sure answer that this selection emitted."""
        return int((self.sample.labels >= 0)[self.within[self.sample.rows]].sum())

    @property
    def answers(self) -> Sample | None:
        """The pairs with a sure answer; none if there is no such pair."""
        sample = self.sample
        if not (sample.labels >= 0).any():
            return None
        sample = answered(sample)
        return only(sample, sample.labels != UNSURE)


def best(reviews: Sequence[Reviewed]) -> Reviewed | None:
    """Of several reviews the one that says most of this selection: samples of different frames are not mixed."""
    useful = [one for one in reviews if one.answers is not None]
    return max(useful, key=lambda one: one.sure) if useful else None


def score_column(selected: Selected) -> str:
    """What a review is calibrated on: the teacher's logit, or without a teacher the dense score."""
    return "teacher_logit" if selected.scored["teacher_logit"].null_count < selected.scored.num_rows else "dense_score"


def probabilities(selected: Selected, reviewed: Reviewed, settings: ReviewSettings) -> Floats:
    """(n,) probability of each candidate to be relevant, calibrated on the review.

    Sums estimate counts, as far as what was reviewed (emitted pairs) stands for the other candidates of its score.
    """
    sample = reviewed.answers
    assert sample is not None, "a review without a sure answer calibrates nothing"
    score = selected.score(score_column(selected))
    return calibrated(score[sample.rows], sample.labels == RELEVANT, 1 / sample.inclusion, score, settings)


def review_rows(selected: Selected, reviewed: Reviewed, settings: ReviewSettings, level: float = 0.95) -> Iterator[Row]:
    """The leak on every slice with a sure answer: ``review`` (assisted by the calibrated score) and ``review_design`` (labels alone)."""
    sample = reviewed.sample
    rows = np.union1d(np.flatnonzero(reviewed.within), sample.rows)
    query = selected.query[rows]
    local = np.searchsorted(rows, sample.rows)
    within = reviewed.within[rows]
    sure = within[local] & (sample.labels >= 0)
    used = [one for one in selected.slices if one.queries[query[local[sure]]].any()]
    if not used:
        return
    members = np.stack([one.queries[query] & within for one in used], axis=1)
    names = tuple(f"{one.name}: {one.value}" for one in used)
    frame = Frame(names, members, selected.groups[query], selected.score(score_column(selected))[rows])
    outside = 1 - reviewed.within.sum() / selected.emitted.sum()
    for one, leak in zip(used, leaks(frame, replace(sample, rows=local), settings, level), strict=True):
        at = within[local] & one.queries[query[local]] & (sample.labels != UNANSWERED)
        queries = int(np.unique(query[local[at]]).size)
        note = _note(leak, float(outside))
        yield row("review", one.name, one.value, _bounded(leak.assisted, leak.bounds), leak.reviewed, queries, note)
        yield row("review_design", one.name, one.value, _bounded(leak.design, leak.design_bounds), leak.reviewed, queries, note)


def known(reviewed: Reviewed | None, size: int) -> Codes:
    """(candidates,) the label of each: 1 relevant, 0 not, -1 unsure, -2 not reviewed."""
    labels = np.full(size, UNANSWERED, dtype=np.int64)
    if reviewed is not None:
        labels[reviewed.sample.rows] = reviewed.sample.labels
    return labels


def _bounded(found: Interval, bounds: tuple[float, float]) -> Interval:
    """An estimate; where somebody was unsure, with the least and the most that it may be."""
    return found.model_copy(update=dict(zip(("low", "high"), bounds, strict=True)))


def _note(leak: Leak, outside: float) -> str:
    told = [f"{leak.relevant} of {leak.reviewed} reviewed are relevant"]
    if leak.unsure:
        told.append(f"{leak.unsure} unsure: the ends hold whatever they are")
    if outside > 0:
        told.append(f"{outside:.0%} of the negatives were not there to be drawn and are not in it")
    return "; ".join(told)
