"""What is known of an in-batch pair where there are no exhaustive judgements.

A label or a trusted zero tells; a reviewer's answer too. Else a candidate that the teacher scored has its probability, and any other pair
that of its similarity stratum (in_batch_strata.py). On a review that is an estimate; on labels alone it is the most that it can be as far
as labels are a random draw of what is relevant. Where they are easier to find than the rest, which is the rule, the truth may be higher: no
bound, and it is named by what it rests on.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow.compute as pc

from tasks.intervals import Codes, Floats
from tasks.truth.in_batch import Batches, PairFunction
from tasks.truth.in_batch_strata import Strata, most_per_label, unlabelled_relevant
from tasks.truth.reviewed import score_column
from tasks.truth.selected import Flags, Selected, flags
from tasks.truth.similar import Similar

_ESTIMATE = (
    "other rows' positives; candidates by the review's calibration, all other pairs by similarity: {:.2g} unlabelled relevant documents "
    "for each labelled one, as within the teacher's reach; what the calibration may be off by, and labels that are easier to find than "
    "what is not labelled, are not in the interval"
)
_BY_LABELS = (
    "other rows' positives; by labels alone, as if they were a random draw of what is relevant: {:.2g} unlabelled relevant documents for "
    "each labelled one, as if all candidates were relevant that are as similar as the nearest tenth of the labelled; no bound: where "
    "labels are easier to find than the rest, the truth is higher; low end: what is labelled; a review gives an estimate"
)


@dataclass(frozen=True)
class Likely:
    """Probabilities of all pairs.

    Args:
        told: (n,) what labels say of each candidate: 1 or 0, NaN: nothing.
        value: (n,) its probability, NaN: that of its stratum.
        strata: of all other pairs.
        ending: of the estimators' names.
        note: what it rests on.
    """

    told: Floats
    value: Floats
    strata: Strata
    ending: str
    note: str

    @classmethod
    def of(cls, selected: Selected, probability: Floats, reviewed: bool, zeros: bool, similar: Similar, seed: int) -> Likely | None:
        """From candidates; none where no labelled document says how many others there are.

        Args:
            selected: the selection.
            probability: (n,) to be relevant, on a review, else to be labelled; NaN: unknown.
            reviewed: whether it is on a review.
            zeros: whether the collection's explicit zeros are trusted.
            similar: vectors.
            seed: of the sample of other pairs.
        """
        asked = selected.by_query(1.0, selected.labelled) > 0
        mine, dense = asked[selected.query], selected.score("dense_score")
        told = _told(selected, zeros)
        other = mine & ~selected.labelled & (selected.unlabelled | (told == 1))
        probability = np.where(np.isfinite(selected.score(score_column(selected))), probability, np.nan)
        known = other & (np.isfinite(probability) | (told == 1)) & selected.reach
        reach = selected.reach & np.isfinite(probability).any()
        retrieved = mine & selected.retrieved
        if not (selected.labelled & (reach if reviewed else retrieved)).any():
            return None
        if reviewed:
            per_label = float(np.where(told == 1, 1.0, probability)[known].sum() / (selected.labelled & reach).sum())
        else:
            per_label = most_per_label(dense[retrieved], selected.labelled[retrieved], other[retrieved])
            probability = unlabelled_relevant(probability, per_label)
        beyond = selected.labelled & ~reach
        others, total = similar.sample(selected.query, asked, known | selected.labelled, seed)
        strata = Strata.of(dense[beyond], others, total, per_label)
        note = (_ESTIMATE if reviewed else _BY_LABELS).format(per_label)
        return cls(told, probability, strata, "estimated" if reviewed else "by_labels", note)

    def relevance(self, selected: Selected, given: Batches, similarity: PairFunction) -> PairFunction:
        """Of the batches' pairs."""
        return self._lookup(selected, given, np.where(np.isfinite(self.told), self.told, self.value), similarity)

    def by_labels(self, selected: Selected, given: Batches) -> PairFunction:
        """As if nothing but the labelled were relevant."""
        return self._lookup(selected, given, np.nan_to_num(self.told), None)

    def _lookup(self, selected: Selected, given: Batches, value: Floats, similarity: PairFunction | None) -> PairFunction:
        width = len(given.doc_ids)
        asked = pc.fill_null(pc.index_in(selected.queries["query_id"], value_set=given.query_ids), -1).to_numpy().astype(np.int64)
        query = asked[selected.query]
        doc = pc.fill_null(pc.index_in(selected.scored["doc_id"], value_set=given.doc_ids), -1).to_numpy().astype(np.int64)
        inside = (query >= 0) & (doc >= 0) & np.isfinite(value)
        keys, values = query[inside] * width + doc[inside], value[inside]
        order = np.argsort(keys, kind="stable")
        keys, values = keys[order], values[order]

        def relevance(query: Codes, doc: Codes) -> Floats:
            wanted, found = query * width + doc, np.zeros(len(query))
            place = np.minimum(np.searchsorted(keys, wanted), max(len(keys) - 1, 0))
            there: Flags = keys[place] == wanted if len(keys) else np.zeros(len(wanted), dtype=bool)
            found[there] = values[place[there]]
            if similarity is not None:
                found[~there] = self.strata.probability(similarity(query[~there], doc[~there]))
            return found

        return relevance


def _told(selected: Selected, zeros: bool) -> Floats:
    """(n,) 1: a positive, planted ones too; 0: a zero that is trusted, or a grade under that of positives; else NaN."""
    positive = flags(selected.scored["is_positive"]) | flags(selected.scored["planted"])
    grade = selected.score("relevance")
    told = positive | (grade > 0) | selected.trusted_zero | (zeros & (grade <= 0))
    return np.where(told, positive.astype(np.float64), np.nan)
