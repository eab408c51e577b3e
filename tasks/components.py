"""Connected components on arrays: no loop over nodes or edges."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


def components(label: Ints, left: Ints, right: Ints) -> Ints:
    """Components after more edges.

    Args:
        label: (n,) the least member of each node's component so far.
        left: (edges,) nodes.
        right: (edges,) nodes.

    >>> components(np.arange(6), np.array([4, 1, 5]), np.array([5, 2, 2])).tolist()
    [0, 1, 1, 3, 1, 1]
    """
    while True:
        a, b = label[left], label[right]
        differ = a != b
        if not differ.any():
            return label
        left, right, a, b = left[differ], right[differ], a[differ], b[differ]
        hooked = label.copy()
        np.minimum.at(hooked, np.maximum(a, b), np.minimum(a, b))
        label = _roots(hooked)


def _roots(label: Ints) -> Ints:
    while True:
        higher = label[label]
        if (higher == label).all():
            return label
        label = higher
