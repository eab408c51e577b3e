"""The adversarial gap: how well written negatives can be told from mined ones by the retriever's vectors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tasks.folds import Fold, group_draws, in_fold

_FOLDS = 5
_LEAST = 20


def adversarial_gap(mined: NDArray[np.float32], written: NDArray[np.float32], queries: Sequence[str]) -> float | None:
    """Area under the curve of a logistic regression that tells written from mined, on queries that it has not seen (five folds).

    0.5: they cannot be told apart; 1: always, and a retriever may learn the difference instead of relevance.

    Args:
        mined: (n, dim) vectors of mined negatives.
        written: (m, dim) vectors of written ones.
        queries: (n + m,) the query of each, the mined ones first.

    Returns:
        The area; ``None`` where there are fewer than 20 of either kind, or too few queries.
    """
    if min(len(mined), len(written)) < _LEAST:
        return None
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score

    vectors = np.concatenate([mined, written]).astype(np.float64)
    kind = np.repeat([0, 1], [len(mined), len(written)])
    draws = group_draws(list(queries), 0)
    scores = np.full(len(kind), np.nan)
    for number in range(_FOLDS):
        held = in_fold(draws, Fold(number, _FOLDS))
        if len(np.unique(kind[~held])) == 2 and held.any():
            model = LogisticRegression(max_iter=1000, class_weight="balanced").fit(vectors[~held], kind[~held])
            scores[held] = model.decision_function(vectors[held])
    known = np.isfinite(scores)
    return float(roc_auc_score(kind[known], scores[known])) if len(np.unique(kind[known])) == 2 else None
