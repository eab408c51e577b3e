"""What each negative of a training row weighs in its loss, and whether it is easy. Pure array work."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


def loss_shares(row: Ints, similarity: Floats, scale: float) -> Floats:
    """Softmax mass of each document among those of its training row.

    For the cross-entropy of a row the gradient with respect to a negative's score is its mass, and with respect to the positive's it
    is the negatives' mass in all: their sum is the gradient that is left (plain calculus; no source needed).

    Args:
        row: (n,) training row of each document, from 0.
        similarity: (n,) to the query; NaN: the document is gone and takes no part.
        scale: multiplies similarities; 1 / temperature.

    Returns:
        (n,) in 0 … 1; over a row they sum to 1. NaN where the document is gone.

    >>> np.round(loss_shares(np.array([0, 0, 1]), np.array([0.5, 0.5, 0.1]), 20.0), 3).tolist()
    [0.5, 0.5, 1.0]
    """
    there = ~np.isnan(similarity)
    rows = int(row.max()) + 1 if len(row) else 0
    largest = np.full(rows, -np.inf)
    np.maximum.at(largest, row[there], similarity[there])
    mass = np.zeros(len(row))
    mass[there] = np.exp(scale * (similarity[there] - largest[row[there]]))
    total = np.bincount(row, mass, minlength=rows)
    found = np.full(len(row), np.nan)
    found[there] = mass[there] / total[row[there]]
    return found


def positives_of(row: Ints, slot: Ints, similarity: Floats) -> Floats:
    """(n,) similarity of the positive (slot 0) of each document's training row; NaN where it is gone."""
    positive = np.full(int(row.max()) + 1 if len(row) else 0, np.nan)
    positive[row[slot == 0]] = similarity[slot == 0]
    return positive[row]


def below(similarity: Floats, threshold: Floats | float) -> Floats:
    """1 where a similarity is under the threshold, 0 where not, NaN where either is not known.

    >>> below(np.array([0.2, 0.3, np.nan]), 0.3).tolist()
    [1.0, 0.0, nan]
    """
    unknown = np.isnan(similarity) | np.isnan(threshold)
    return np.where(unknown, np.nan, similarity < threshold)


def group_sums(group: Ints, values: Floats, groups: int) -> Floats:
    """(groups,) sum of the values that are known in each group; NaN where there is none."""
    known = ~np.isnan(values)
    count = np.bincount(group[known], minlength=groups)
    return np.where(count > 0, np.bincount(group[known], values[known], minlength=groups), np.nan)


def group_means(group: Ints, values: Floats, groups: int) -> Floats:
    """(groups,) mean of the values that are known in each group; NaN where there is none."""
    count = np.bincount(group[~np.isnan(values)], minlength=groups)
    return group_sums(group, values, groups) / np.maximum(count, 1)


def group_ranks(group: Ints, values: Floats) -> Floats:
    """(n,) rank of each value in its group, from 1, the lowest first; equal values share their mean rank.

    >>> group_ranks(np.array([0, 0, 0, 1]), np.array([3.0, 1.0, 3.0, 9.0])).tolist()
    [2.5, 1.0, 2.5, 1.0]
    """
    order = np.lexsort((values, group))
    sorted_group, sorted_values = group[order], values[order]
    place = np.arange(len(order))
    new_group = np.append(True, sorted_group[1:] != sorted_group[:-1])[: len(order)]
    new_run = new_group | np.append(True, sorted_values[1:] != sorted_values[:-1])[: len(order)]
    begin = place[new_group][np.cumsum(new_group) - 1]
    first = place[new_run]
    size = np.diff(np.append(first, len(order)))
    run = np.cumsum(new_run) - 1
    ranks = np.empty(len(order))
    ranks[order] = first[run] + (size[run] + 1) / 2 - begin
    return ranks


def rank_correlations(group: Ints, first: Floats, second: Floats, groups: int) -> Floats:
    """Spearman's rank correlation within each group (Spearman 1904; certainty: textbook). Ties share their mean rank.

    Args:
        group: (n,) group of each pair.
        first: (n,) one value of each pair.
        second: (n,) the other; pairs in which either is NaN take no part.
        groups: how many groups there are.

    Returns:
        (groups,) in −1 … 1; NaN under two pairs, or where all of either are equal.
    """
    known = ~np.isnan(first) & ~np.isnan(second)
    group = group[known]
    ranks = [group_ranks(group, values[known]) for values in (first, second)]
    a, b = (each - group_means(group, each, groups)[group] for each in ranks)
    sums = [np.bincount(group, product, minlength=groups) for product in (a * b, a * a, b * b)]
    spread = np.sqrt(sums[1] * sums[2])
    found: Floats = np.clip(np.divide(sums[0], spread, out=np.full(groups, np.nan), where=spread > 0), -1.0, 1.0)
    return found
