"""Feature ``containment``: how much of a candidate's wording stands in a positive of its query, or the other way round."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tasks.features import signatures
from tasks.features.base import PLACES, Call, FeatureInputs, groups_of, row_jobs, write_features
from tasks.features.nearest import Arrays, nearest_positive
from tasks.features.settings import SignatureSettings
from tasks.features.similarity import containment, jaccard
from tasks.runner.stage import Job, Stage, Work
from tasks.store.manifest import Part, StageManifest
from tasks.store.output import Output

STAGE = Stage(name="feature-containment", version=1, function="tasks.features.containment:run", unit="candidates")


def build(call: Call, inputs: FeatureInputs, settings: SignatureSettings) -> StageManifest:
    """Signatures of all documents, then the candidates' containment."""
    signed = call(signatures.STAGE, signatures.jobs(inputs.documents, settings))
    return call(STAGE, jobs(inputs.scored, signed.parts))


def jobs(scored: Sequence[Part], signed: Sequence[Part]) -> list[Job]:
    """One job a part of the scored table, over all parts of ``signatures``."""
    return row_jobs(scored, {"signatures": tuple(signed)})


def run(work: Work, out: Output) -> None:
    """Write ``positive_containment``: the largest estimated containment of word shingles with a positive, 0 … 1.

    NULL for positives, and for candidates of queries that have none.
    """
    table = work.table("scored", "scored.parquet", PLACES)

    def compare(left: Arrays, right: Arrays) -> NDArray[np.float64]:
        return containment(jaccard(left[0], right[0]), left[1], right[1])

    names = ("signatures.npy", "shingles.npy")
    found = nearest_positive(work, table, groups_of(table), work.job.inputs["signatures"], names, compare)
    write_features(work, out, "containment", {"positive_containment": found})
