"""How well logits tell labelled pairs from sampled ones."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def auc(logits: NDArray[np.float32], labels: NDArray[np.float32]) -> float | None:
    """Area under the ROC curve; a tie counts one half; ``None`` without both kinds of pairs.

    >>> auc(np.array([3.0, 1.0, 2.0], np.float32), np.array([1, 0, 1], np.float32))
    1.0
    """
    positive = labels > 0.5
    count, others = int(positive.sum()), int((~positive).sum())
    if count == 0 or others == 0:
        return None
    negatives = np.sort(logits[~positive])
    below = np.searchsorted(negatives, logits[positive], "left")
    up_to = np.searchsorted(negatives, logits[positive], "right")
    return float((below + up_to).sum() / (2 * count * others))


def log_loss(logits: NDArray[np.float32], labels: NDArray[np.float32]) -> float | None:
    """Mean binary cross-entropy; ``None`` without pairs."""
    if len(logits) == 0:
        return None
    wide = logits.astype(np.float64)
    return float(np.mean(np.logaddexp(0.0, wide) - labels * wide))
