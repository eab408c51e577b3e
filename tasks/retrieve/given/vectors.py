"""Stages ``given-document-vectors`` and ``given-query-vectors``: precomputed vectors, brought into the order of each partition's rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.errors import InputError
from tasks.retrieve.further_settings import FurtherSource
from tasks.retrieve.given.vector_files import VectorFiles
from tasks.runner.stage import Job, Stage, Work
from tasks.store.keys import file_checksum
from tasks.store.manifest import Part
from tasks.store.output import Output

DOCUMENTS = Stage(name="given-document-vectors", version=1, function="tasks.retrieve.given.vectors:documents", unit="documents")
QUERIES = Stage(name="given-query-vectors", version=1, function="tasks.retrieve.given.vectors:queries", unit="queries")


def jobs(source: FurtherSource, files: VectorFiles, side: str, parts: Sequence[Part], id_prefix: str = "") -> list[Job]:
    """One job a partition; keyed by the files' content.

    Args:
        source: of kind ``vectors``.
        files: of that side.
        side: ``documents`` or ``queries``.
        parts: of the stage of that name.
        id_prefix: what the dataset puts before its ids; files have them without.
    """
    name = "docs.parquet" if side == "documents" else "queries.parquet"
    keyed = {
        "columns": source.columns.model_dump(mode="json"),
        "similarity": source.similarity,
        "files": [file_checksum(path) for path in files.read],
        **({"id_prefix": id_prefix} if id_prefix else {}),
    }
    options = {"source": source.model_dump(mode="json")}
    return [Job(part.index, {side: (part.only(name),)}, keyed, options, part.file(name).rows or 0) for part in parts]


def documents(work: Work, out: Output) -> None:
    """Write ``vectors.npy`` of a document partition."""
    _run(work, out, "documents", work.table("documents", "docs.parquet", ["doc_id"])["doc_id"])


def queries(work: Work, out: Output) -> None:
    """Write ``vectors.npy`` of a query partition."""
    _run(work, out, "queries", work.table("queries", "queries.parquet", ["query_id"])["query_id"])


def _run(work: Work, out: Output, side: str, wanted: pa.ChunkedArray) -> None:
    """float32 rows; of length 1 for cosine.

    Raises:
        InputError: an id of the dataset has no vector, or one that is not finite, or zero where it must have a direction.
    """
    source = FurtherSource.model_validate(work.job.options["source"])
    files, prefix = VectorFiles(source, side), str(work.job.settings.get("id_prefix", ""))
    known = pa.array([prefix + one for one in files.ids()], pa.string())
    place = pc.index_in(wanted.combine_chunks(), value_set=known)
    if place.null_count:
        missing = wanted.filter(pc.is_null(place))[0].as_py()
        raise InputError(
            f"source {source.name}: {place.null_count:,} {side} of the dataset have no vector in {files.paths[0]}, the first {missing!r}",
            "give vectors of the whole dataset, under its ids",
        )
    vectors = files.rows(place.to_numpy(zero_copy_only=False).astype(np.int64))
    norms = np.sqrt(np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64))
    bad = np.flatnonzero(~np.isfinite(norms) | ((norms == 0) & (source.similarity == "cosine")))
    if len(bad):
        name = wanted[int(bad[0])].as_py()
        raise InputError(f"source {source.name}: {len(bad)} vectors are not finite or zero, the first of {name!r}", "compute them again")
    if source.similarity == "cosine":
        vectors = (vectors / norms[:, None]).astype(np.float32)
    out.array("vectors.npy", np.ascontiguousarray(vectors))
    out.meta.update(dim=files.dim, similarity=source.similarity)
