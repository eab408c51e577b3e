"""What a review is about: the emitted pairs of a round's recipes (the frame) and the pairs that were reviewed (the sample)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tasks.errors import InputError
from tasks.intervals import Codes, Floats, clusters, codes

RELEVANT, NOT_RELEVANT, UNSURE, UNANSWERED = 1, 0, -1, -2
LABELS = {"relevant": RELEVANT, "not": NOT_RELEVANT, "unsure": UNSURE, None: UNANSWERED, "": UNANSWERED}


@dataclass(frozen=True)
class Frame:
    """The union of the recipes' emitted pairs.

    Args:
        recipes: names.
        members: (rows, recipes) which recipe emitted the pair.
        clusters: (rows,) code of the pair's query, or of its group where one is known.
        score: (rows,) a teacher's score (best a logit), NaN where it has none; none: no teacher.
    """

    recipes: tuple[str, ...]
    members: NDArray[np.bool_]
    clusters: Codes
    score: Floats | None = None


@dataclass(frozen=True)
class Sample:
    """The reviewed pairs.

    Args:
        rows: (n,) rows of the frame.
        stratum: (n,) stratum of each.
        inclusion: (n,) π, the probability with which each was drawn.
        labels: (n,) RELEVANT, NOT_RELEVANT, UNSURE or UNANSWERED.
    """

    rows: Codes
    stratum: Codes
    inclusion: Floats
    labels: NDArray[np.int8]


def frame(table: pa.Table, recipes: Sequence[str] | None = None) -> Frame:
    """A frame from a table.

    Args:
        table: query_id, doc_id, recipes (list of the recipes' names), optional score and group (NULL: the query stands alone).
        recipes: order of the recipes; none: sorted.

    Raises:
        InputError: a recipe that is asked for emitted nothing.
    """
    lists = table["recipes"].combine_chunks()
    names = tuple(recipes) if recipes is not None else tuple(sorted(pc.unique(lists.flatten()).to_pylist()))
    place = pc.fill_null(pc.index_in(lists.flatten(), value_set=pa.array(names, pa.string())), -1).to_numpy()
    row = pc.list_parent_indices(lists).to_numpy()
    members = np.zeros((table.num_rows, len(names)), dtype=bool)
    members[row[place >= 0], place[place >= 0]] = True
    for name, filled in zip(names, np.atleast_1d(members.any(axis=0)).tolist(), strict=True):
        if not filled:
            raise InputError(f"recipe {name!r} has no pair in the frame", "leave it out, or select its negatives first")
    score = table["score"].cast(pa.float64()).to_numpy() if "score" in table.column_names else None
    return Frame(recipes=names, members=members, clusters=clusters(table), score=score)


def answered(sample: Sample) -> Sample:
    """The pairs with an answer; π of each stratum shrinks by the share that was answered."""
    if not len(sample.rows) or not ((sample.inclusion > 0) & (sample.inclusion <= 1)).all():
        raise InputError("there is no reviewed pair, or an inclusion probability is outside (0, 1]", "import the file that export wrote")
    have = sample.labels != UNANSWERED
    return sample if have.all() else only(sample, have)


def only(sample: Sample, keep: NDArray[np.bool_]) -> Sample:
    """The pairs to keep; π of each stratum shrinks by their share of it."""
    if not keep.any():
        raise InputError("no reviewed pair has a sure answer", "label some pairs relevant or not")
    place = codes(sample.stratum)
    share = np.bincount(place, keep) / np.bincount(place)
    return Sample(sample.rows[keep], sample.stratum[keep], (sample.inclusion * share[place])[keep], sample.labels[keep])
