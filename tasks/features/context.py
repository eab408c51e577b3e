"""Feature ``context``: the parent document of a candidate, its place there, and whether a positive has the same parent.

Source: context negatives are other passages of the positive's document (Lu et al. 2021) [paper, in part].
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tasks.features.base import PLACES, Call, FeatureInputs, groups_of, only, row_jobs, write_features
from tasks.features.nearest import addresses, split
from tasks.groups import Bools, Groups, among_positives, codes
from tasks.runner.stage import Job, Stage, Work
from tasks.settings import Settings
from tasks.store.manifest import Part, StageManifest
from tasks.store.output import Output
from tasks.store.tables import take_texts

STAGE = Stage(name="feature-context", version=1, function="tasks.features.context:run", unit="candidates")


class ContextSettings(Settings):
    """There is nothing to set."""


def build(call: Call, inputs: FeatureInputs, settings: ContextSettings) -> StageManifest:
    """The one stage."""
    return call(STAGE, jobs(inputs.scored, inputs.documents))


def jobs(scored: Sequence[Part], documents: Sequence[Part]) -> list[Job]:
    """One job a part of the scored table, over all documents."""
    return row_jobs(scored, {"documents": only(documents, "docs.parquet")})


def run(work: Work, out: Output) -> None:
    """Write ``group_id``, ``group_position`` (place in the source) and ``in_positive_group``.

    The last is NULL where the document's parent is unknown, or that of every positive of the query.
    """
    table = work.table("scored", "scored.parquet", PLACES)
    address, place = np.unique(addresses(table), return_inverse=True)
    documents = take_texts(work.storage, work.job.inputs["documents"], *split(address), ["group_id", "position"]).take(pa.array(place))
    parents: NDArray[Any] = documents["group_id"].to_numpy()
    known = documents["group_id"].is_valid().to_numpy()
    inside, unknown = compare(groups_of(table), parents, known)
    columns = {
        "group_id": documents["group_id"],
        "group_position": documents["position"],
        "in_positive_group": pa.array(inside, mask=unknown),
    }
    write_features(work, out, "context", columns)


def compare(groups: Groups, parents: NDArray[Any], known: Bools) -> tuple[Bools, Bools]:
    """Whose parent is that of a positive, and of whom that cannot be told.

    Args:
        groups: n candidates.
        parents: (n,) strings.
        known: (n,) where there is one.
    """
    told = Groups(groups.query, groups.positive & known)
    positives = np.bincount(told.query[told.positive], minlength=groups.size)
    (code,) = codes(np.where(known, parents, ""))
    inside = among_positives(told, code) & known
    return inside, ~known | (positives[groups.query] == 0)
