"""Feature ``positive-score``: s(d⁺, d), how similar the retriever finds a candidate and a positive of its query.

Source: TriSampler compares it with s(q, d) [third party: SYSTEMS.md]; with several positives the largest counts (ours).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tasks.features.base import PLACES, Call, FeatureInputs, groups_of, only, row_jobs, write_features
from tasks.features.nearest import Arrays, dots, nearest_positive
from tasks.runner.stage import Job, Stage, Work
from tasks.settings import Settings
from tasks.store.manifest import Part, StageManifest
from tasks.store.output import Output

STAGE = Stage(name="feature-positive-score", version=1, function="tasks.features.positive_score:run", unit="candidates")


class PositiveScoreSettings(Settings):
    """There is nothing to set."""


def build(call: Call, inputs: FeatureInputs, settings: PositiveScoreSettings) -> StageManifest:
    """The one stage."""
    return call(STAGE, jobs(inputs.scored, inputs.document_vectors))


def jobs(scored: Sequence[Part], vectors: Sequence[Part]) -> list[Job]:
    """One job a part of the scored table, over the vectors of all documents."""
    return row_jobs(scored, {"vectors": only(vectors, "vectors.npy")})


def run(work: Work, out: Output) -> None:
    """Write ``positive_document_score``: the largest product of the stored vectors of a candidate and a positive.

    Summed in float64. NULL for the positives themselves, which are no candidates for what compares with it, and for
    candidates of queries that have none.
    """
    table = work.table("scored", "scored.parquet", PLACES)

    def compare(left: Arrays, right: Arrays) -> NDArray[np.float64]:
        return dots(left[0], right[0])

    found = nearest_positive(work, table, groups_of(table), work.job.inputs["vectors"], ("vectors.npy",), compare)
    write_features(work, out, "positive-score", {"positive_document_score": found})
