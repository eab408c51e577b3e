"""Relevance of pairs that nobody judged or scored, by similarity stratum: labels as marks.

Most pairs of a batch are no candidates, and candidates do not stand for them: at equal similarity, what was retrieved is far more often
relevant. Labelled documents stand for them. As far as labels are a random draw of what is relevant, unlabelled relevant documents lie where
labelled ones lie, so many for each (capture and recapture: Petersen 1896; labels drawn at random: Elkan and Noto 2008, KDD; the strata
and the use for batches are our own). Out of the teacher's reach, of the pairs of one stratum

    per_label × labelled ÷ unlabelled

are relevant. ``per_label`` comes from where relevance is known: within the teacher's reach, calibrated on a review. With labels alone it
is not known; it is then taken where it is least uncertain, among candidates as similar as the nearest tenth of the labelled ones, as if all
of them were relevant: the most that it can be.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tasks.intervals import Floats
from tasks.truth.selected import Flags

_STRATA, _LABELLED = 10, 10  # strata at most, labelled pairs in each at least
_NEAREST = 0.9


@dataclass(frozen=True)
class Strata:
    """Probability of a pair out of reach.

    Args:
        edges: similarities between the strata, ascending.
        rate: (strata,) probability of a pair; a stratum begins at the edge before it.
    """

    edges: Floats
    rate: Floats

    @classmethod
    def of(cls, labelled: Floats, others: Floats, total: float, per_label: float) -> Strata:
        """By how many are labelled.

        Args:
            labelled: (m,) similarities of the labelled pairs out of reach.
            others: (k,) similarities of a sample of all other pairs out of reach.
            total: how many pairs these stand for.
            per_label: unlabelled relevant documents for each labelled one.
        """
        width = min(max(len(labelled) // _LABELLED, 1), _STRATA)
        edges = np.quantile(labelled, np.linspace(0, 1, width + 1)[1:-1]) if width > 1 else np.empty(0)
        mine, theirs = (np.bincount(np.searchsorted(edges, values, side="right"), minlength=width) for values in (labelled, others))
        pairs = theirs * (total / max(len(others), 1))
        rate = np.divide(per_label * mine, pairs, out=np.where(mine > 0, 1.0, 0.0), where=pairs > 0)
        return cls(edges, np.minimum(rate, 1.0))

    def probability(self, similarity: Floats) -> Floats:
        """Of pairs of these similarities."""
        return np.asarray(self.rate[np.searchsorted(self.edges, similarity, side="right")])


def most_per_label(similarity: Floats, labelled: Flags, unlabelled: Flags) -> float:
    """Unlabelled candidates for each labelled one, where labelled ones are nearest: as if all there were relevant.

    Args:
        similarity: (n,) of candidates.
        labelled: (n,) by the collection.
        unlabelled: (n,) of unknown relevance.
    """
    near = similarity >= np.quantile(similarity[labelled], _NEAREST)
    return float((near & unlabelled).sum() / (near & labelled).sum())


def unlabelled_relevant(probability: Floats, per_label: float) -> Any:
    """Probability that an unlabelled candidate is relevant, from the one that a candidate like it is labelled (Elkan and Noto 2008, 3).

    >>> float(unlabelled_relevant(0.05, 9.0).round(4))  # of 100 alike 5 are labelled, and 45 of the other 95 relevant
    0.4737
    """
    likely = np.asarray(probability, dtype=np.float64)
    return np.minimum(per_label * likely / np.maximum(1 - likely, 1e-12), 1.0)
