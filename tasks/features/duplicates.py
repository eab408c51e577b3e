"""Feature ``duplicates``: clusters of documents that are near copies of each other.

Copies are documents of one normal form, and those whose word shingles are alike (:mod:`tasks.features.copies`). Which documents are
together does not depend on partitions; the cluster's number, the least address of its documents, does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import Field

from tasks.features import signatures
from tasks.features.base import PLACES, Call, FeatureInputs, only, row_jobs, rows, write_features
from tasks.features.copies import near_copies
from tasks.features.nearest import Ints, addresses, by_partition, join
from tasks.features.settings import SignatureSettings
from tasks.runner.stage import Job, Stage, Work
from tasks.store.manifest import Part, StageManifest
from tasks.store.output import Output
from tasks.store.tables import read_array

CLUSTERS = Stage(name="feature-duplicates-clusters", version=1, function="tasks.features.duplicates:run_clusters", unit="documents")
STAGE = Stage(name="feature-duplicates", version=1, function="tasks.features.duplicates:run", unit="candidates")


class DuplicateSettings(SignatureSettings):
    """When two documents are near copies of each other."""

    threshold: float = Field(0.8, ge=0.5, le=1, description="Least estimated likeness of their word shingles.")
    measure: Literal["jaccard", "containment"] = Field(
        "jaccard",
        description="Shared shingles over all of both (jaccard), or over the shorter document's (containment; finds those of like length "
        "only, and a short text may chain longer ones together).",
    )


def build(call: Call, inputs: FeatureInputs, settings: DuplicateSettings) -> StageManifest:
    """Signatures, the clusters of all documents, then those of the candidates."""
    signed = call(signatures.STAGE, signatures.jobs(inputs.documents, SignatureSettings(shingle=settings.shingle)))
    found = call(CLUSTERS, cluster_jobs(inputs.documents, signed.parts, settings))
    return call(STAGE, jobs(inputs.scored, found.parts))


def cluster_jobs(documents: Sequence[Part], signed: Sequence[Part], settings: DuplicateSettings | None = None) -> list[Job]:
    """One job over all documents and their ``signatures``."""
    chosen = settings or DuplicateSettings()
    inputs = {"documents": only(documents, "docs.parquet"), "signatures": tuple(signed)}
    keyed = {"threshold": chosen.threshold, "measure": chosen.measure}
    return [Job(index="all", inputs=inputs, settings=keyed, units=rows(documents, "docs.parquet"))]


def jobs(scored: Sequence[Part], clusters: Sequence[Part]) -> list[Job]:
    """One job a part of the scored table."""
    return row_jobs(scored, {"clusters": tuple(clusters)})


def run_clusters(work: Work, out: Output) -> None:
    """Write ``0000.npy`` and so on, int64, row-aligned with the document partitions: the least address in each document's cluster.

    Meta: documents, clusters of two or more, documents in them.
    """
    settings = work.job.settings
    norms = [work.part_table(part, "docs.parquet", ["norm_hash"])["norm_hash"] for part in work.job.inputs["documents"]]
    address = np.concatenate([join(np.full(len(one), number), np.arange(len(one))) for number, one in enumerate(norms)])
    text, sample = _distinct(pa.chunked_array([chunk for one in norms for chunk in one.chunks], pa.string()))
    signed, sizes = (_stacked(work, name, sample) for name in ("signatures.npy", "shingles.npy"))
    together = near_copies(signed, sizes, float(settings["threshold"]), str(settings["measure"]))
    cluster = together[text]
    least = np.full(len(together), np.iinfo(np.int64).max)
    np.minimum.at(least, cluster, address)
    for number, piece in enumerate(np.split(least[cluster], np.cumsum([len(one) for one in norms])[:-1])):
        out.array(f"{number:04d}.npy", piece)
    members = np.bincount(cluster)
    out.meta.update(
        {"documents": len(address), "clusters": int((members > 1).sum()), "documents_in_clusters": int(members[members > 1].sum())}
    )
    out.count(model_calls=0)


def run(work: Work, out: Output) -> None:
    """Write ``duplicate_cluster``; every document has one, its own address if it is alone."""
    address = addresses(work.table("scored", "scored.parquet", PLACES))
    cluster = np.empty(len(address), dtype=np.int64)
    (found,) = work.job.inputs["clusters"]
    for number, places, row in by_partition(address, max(len(address), 1)):
        cluster[places] = read_array(work.storage, found.file(f"{number:04d}.npy"))[row]
    write_features(work, out, "duplicates", {"duplicate_cluster": cluster})


def _distinct(norms: pa.ChunkedArray) -> tuple[Ints, Ints]:
    """The number of each document's normal form in sorted order, and one document of each form."""
    encoded = norms.combine_chunks().dictionary_encode()
    order = pc.sort_indices(encoded.dictionary).to_numpy()
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order))
    text = rank[encoded.indices.to_numpy()]
    sample = np.empty(len(order), dtype=np.int64)
    sample[text] = np.arange(len(text))
    return text, sample


def _stacked(work: Work, name: str, chosen: Ints) -> NDArray[Any]:
    """Rows of an array over all partitions."""
    arrays = [read_array(work.storage, part.file(name)) for part in work.job.inputs["signatures"]]
    result = np.empty((len(chosen), *arrays[0].shape[1:]), dtype=arrays[0].dtype)
    number = np.searchsorted(np.cumsum([len(one) for one in arrays]), chosen, side="right")
    address = join(number, chosen - np.concatenate([[0], np.cumsum([len(one) for one in arrays])])[number])
    for place, places, row in by_partition(address, max(len(address), 1)):
        result[places] = arrays[place][row]
    return result
