"""The work of the embed stages: read texts, copy what is known, encode the rest, write vectors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tasks.embed.reuse import Hashes, plan_reuse
from tasks.errors import StorageError
from tasks.models.embedder import Embedder
from tasks.models.fingerprint import ModelSpec
from tasks.runner.stage import Work
from tasks.store.manifest import Part
from tasks.store.output import Output
from tasks.store.tables import read_array, read_table
from tasks.templates import document_inputs

HASHES = pa.schema([("input_hash", pa.string())])


def documents(work: Work, out: Output) -> None:
    """Write ``vectors.npy`` and ``hashes.parquet`` of a document partition."""
    table = work.table("documents", "docs.parquet", ["title", "text", "input_hash"])
    _embed(work, out, table)


def queries(work: Work, out: Output) -> None:
    """Write ``vectors.npy`` and ``hashes.parquet`` of a query partition."""
    table = work.table("queries", "queries.parquet", ["text", "input_hash"])
    _embed(work, out, table.append_column("title", pa.nulls(table.num_rows, pa.string())))


def _embed(work: Work, out: Output, table: pa.Table) -> None:
    spec = ModelSpec.model_validate(work.job.options["spec"])
    dtype = np.dtype(str(work.job.settings["vector_dtype"]))
    embedder = Embedder(spec)
    hashes = as_bytes(table["input_hash"])
    earlier_hashes, earlier = _earlier(work, dtype, embedder.dim)
    plan = plan_reuse(hashes, earlier_hashes)
    work.report(len(hashes) - len(plan.todo))
    texts = document_inputs(spec.title_template, table.take(pa.array(plan.first[plan.todo])))
    made = embedder.encode(texts, work.report)
    unique = np.empty((len(plan.first), embedder.dim), dtype=dtype)
    known = np.flatnonzero(plan.old >= 0)
    unique[known] = earlier[plan.old[known]]
    unique[plan.todo] = made.vectors.astype(dtype)
    out.array("vectors.npy", unique[plan.inverse])
    out.table("hashes.parquet", table.select(["input_hash"]).cast(HASHES))
    out.count(model_calls=len(plan.todo), cache_hits=len(known), tokens=made.tokens, truncated=made.truncated)
    out.meta.update(dim=embedder.dim, similarity=embedder.similarity, model=spec.fingerprint, dtype=spec.dtype, vector_dtype=dtype.name)


def _earlier(work: Work, dtype: np.dtype[Any], dim: int) -> tuple[Hashes, NDArray[Any]]:
    """Hashes and vectors of the earlier part; none of them if it cannot serve."""
    nothing = np.empty(0, dtype="S32"), np.empty((0, dim), dtype=dtype)
    given = work.job.options.get("previous")
    if not given:
        return nothing
    part = Part.model_validate(given)
    try:
        vectors = read_array(work.storage, part.file("vectors.npy"))
        hashes = as_bytes(read_table(work.storage, part.file("hashes.parquet"))["input_hash"])
    except StorageError:
        return nothing
    fits = vectors.dtype == dtype and vectors.shape == (len(hashes), dim) and part.meta.get("model") == work.job.settings["model"]
    return (hashes, vectors) if fits else nothing


def as_bytes(column: pa.ChunkedArray) -> Hashes:
    """A column of hex hashes as fixed-width bytes, shape (n,)."""
    return np.asarray(column.to_numpy(zero_copy_only=False), dtype="S32")
