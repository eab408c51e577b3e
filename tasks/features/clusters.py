"""Feature ``clusters``: the k-means cluster of each candidate's document and query, and whether a positive lies in the document's.

Source: candidates outside the positive's cluster, and TAS-Balanced's topics, which are clusters of queries (k 2000 there) [code].
Distances are Euclidean on the vectors as stored, for unit vectors the order of cosines.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from tasks.features import centroids
from tasks.features.base import PLACES, Call, FeatureInputs, groups_of, only, row_jobs, write_features
from tasks.features.nearest import addresses, by_partition
from tasks.groups import among_positives
from tasks.runner.stage import Job, Stage, Work
from tasks.settings import Settings
from tasks.store.manifest import Part, StageManifest
from tasks.store.output import Output
from tasks.store.tables import read_array

STAGE = Stage(name="feature-clusters", version=1, function="tasks.features.clusters:run", unit="candidates")


class ClusterSettings(Settings):
    """k-means by scikit-learn's MiniBatchKMeans, on one thread."""

    documents: int = Field(256, ge=1, description="Clusters of documents; at most one a document.")
    queries: int = Field(256, ge=1, description="Clusters of queries; at most one a query.")
    sample: int = Field(100_000, ge=1, description="Fit on so many documents, and so many queries, at most; chosen by hash.")
    seed: int = Field(0, ge=0, lt=2**32, description="Of the sample and of k-means.")


def build(call: Call, inputs: FeatureInputs, settings: ClusterSettings) -> StageManifest:
    """Centroids of the documents and of the queries, then each candidate's clusters."""
    common = {"sample": settings.sample, "seed": settings.seed}
    documents = centroids.jobs(inputs.document_vectors, inputs.documents, "docs.parquet", settings.documents, **common)
    queries = centroids.jobs(inputs.query_vectors, inputs.queries, "queries.parquet", settings.queries, **common)
    fitted = [call(stage, made).parts for stage, made in ((centroids.DOCUMENTS, documents), (centroids.QUERIES, queries))]
    return call(STAGE, jobs(inputs.scored, inputs.document_vectors, inputs.query_vectors, *fitted))


def jobs(
    scored: Sequence[Part],
    document_vectors: Sequence[Part],
    query_vectors: Sequence[Part],
    document_centroids: Sequence[Part],
    query_centroids: Sequence[Part],
) -> list[Job]:
    """One job a part of the scored table."""
    shared = {
        "documents": only(document_vectors, "vectors.npy"),
        "document_centroids": tuple(document_centroids),
        "query_centroids": tuple(query_centroids),
    }
    return row_jobs(scored, shared, {"queries": only(query_vectors, "vectors.npy")})


def run(work: Work, out: Output) -> None:
    """Write ``document_cluster``, ``query_cluster`` (numbers from 0) and ``in_positive_cluster``.

    The last is true for the positives themselves, and false throughout for a query without any.
    """
    table = work.table("scored", "scored.parquet", PLACES)
    document, query = _document_clusters(work, table), _query_clusters(work, table["query_row"].to_numpy())
    columns = {
        "document_cluster": document,
        "query_cluster": query,
        "in_positive_cluster": among_positives(groups_of(table), document.astype(np.int64)),
    }
    write_features(work, out, "clusters", columns)


def _document_clusters(work: Work, table: pa.Table) -> NDArray[np.int32]:
    """Each distinct document is compared once."""
    fitted = _centroids(work, "document_centroids")
    address, place = np.unique(addresses(table), return_inverse=True)
    found = np.empty(len(address), dtype=np.int32)
    for number, places, rows in by_partition(address):
        vectors = read_array(work.storage, work.job.inputs["documents"][number].file("vectors.npy"))
        found[places] = centroids.assign(vectors[rows], fitted)
    return found[place]


def _query_clusters(work: Work, rows: NDArray[np.int64]) -> NDArray[np.int32]:
    distinct, place = np.unique(rows, return_inverse=True)
    if not len(distinct):
        return np.zeros(0, dtype=np.int32)
    vectors = read_array(work.storage, work.job.inputs["queries"][0].file("vectors.npy"))
    return centroids.assign(vectors[distinct], _centroids(work, "query_centroids"))[place]


def _centroids(work: Work, role: str) -> NDArray[np.float32]:
    return read_array(work.storage, work.job.inputs[role][0].file("centroids.npy"))
