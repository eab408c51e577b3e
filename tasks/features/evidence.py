"""Stage ``feature-evidence``: what the labels of neighbours say for a candidate's relevance.

Two documents that are answers to one need gather similar queries. ``label_evidence`` compares the star of a candidate
(:mod:`tasks.features.stars`) with that of the query's positive: the mean similarity of members across the two stars, over the geometric
mean of what it is inside each. 0: unrelated; 1: as alike as two halves of one star. It needs no model beyond the retriever's
vectors, and grows sharper with each label.

Source: our own (decision record 7): average linkage between labelled neighbourhoods, corrected for their size.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tasks.features.base import Call, FeatureInputs, label_columns, row_jobs, unpromoted, write_features
from tasks.features.nearest import Arrays, dots, nearest_positive
from tasks.features.stars import MEANS, STARS, mean_jobs, spread, star_jobs
from tasks.groups import Groups
from tasks.runner.stage import Job, Stage, Work
from tasks.settings import Settings
from tasks.store.manifest import Part, StageManifest
from tasks.store.output import Output

STAGE = Stage(name="feature-evidence", version=2, function="tasks.features.evidence:run", unit="candidates")

_UNLABELLED = 0.5  # spread of stars where no document has a labelled query: half of what identical texts would give


class EvidenceSettings(Settings):
    """There is nothing to set."""


def build(call: Call, inputs: FeatureInputs, settings: EvidenceSettings) -> StageManifest:
    """Means, stars, then the comparison."""
    (means,) = call(MEANS, mean_jobs(inputs.document_vectors, inputs.query_vectors)).parts
    stars = call(STARS, star_jobs(inputs.scored, inputs.document_vectors, inputs.query_vectors, means, inputs.queries, inputs.beyond)).parts
    return call(STAGE, jobs(inputs.scored, stars))


def jobs(scored: Sequence[Part], stars: Sequence[Part]) -> list[Job]:
    """One job a part of the scored table, over all parts of ``label-stars``."""
    pairs = sum(int(part.meta["pairs"]) for part in stars)
    overall = sum(float(part.meta["similarity"]) for part in stars) / pairs if pairs else _UNLABELLED
    return row_jobs(scored, {"stars": tuple(stars)}, settings={"spread": max(overall, 1e-3)})


def run(work: Work, out: Output) -> None:
    """Write ``label_evidence``, the largest over a query's positives (float32; NULL for positives, and where the query has none).

    Promoted positives are none here: they rest on this evidence.
    """
    columns = label_columns(work.storage, work.job.inputs["scored"][0].file("scored.parquet"))
    table = work.table("scored", "scored.parquet", columns)
    groups = Groups(table["query_row"].to_numpy(), unpromoted(table).to_numpy())
    overall = float(work.job.settings["spread"])

    def compare(left: Arrays, right: Arrays) -> NDArray[np.float64]:
        across = dots(left[0], right[0]) / (left[1].astype(np.float64) * right[1])
        evidence: NDArray[np.float64] = across / np.sqrt(spread(left[1], left[2], overall) * spread(right[1], right[2], overall))
        return evidence

    names = ("sums.npy", "sizes.npy", "inner.npy")
    found = nearest_positive(work, table, groups, work.job.inputs["stars"], names, compare)
    write_features(work, out, "evidence", {"label_evidence": pc.if_else(table["is_positive"], pa.scalar(None, pa.float32()), found)})
