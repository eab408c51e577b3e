"""The work of the embed stages: read texts, copy what is known, encode the rest, write vectors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from tasks.embed.known import facts, find
from tasks.embed.reuse import Hashes, Ints, Vectors, as_bytes, plan_reuse
from tasks.embed.segments import Pinned, Segment, put_marker, space_of
from tasks.embed.stage import EMBED_DOCUMENTS, EMBED_QUERIES
from tasks.errors import StorageError
from tasks.models.fingerprint import ModelSpec
from tasks.models.remote import open_embedder
from tasks.runner.stage import Stage, Work
from tasks.store.manifest import Part
from tasks.store.output import Output
from tasks.store.tables import read_array, read_table
from tasks.templates import document_inputs

HASHES = pa.schema([("input_hash", pa.string())])
_TEXTS, _FLOATS = 65_536, 1 << 26  # at most so many texts are encoded at once, and such vectors


def documents(work: Work, out: Output) -> None:
    """Write ``vectors.npy`` and ``hashes.parquet`` of a document partition."""
    table = work.table("documents", "docs.parquet", ["title", "text", "input_hash"])
    _embed(EMBED_DOCUMENTS, work, out, table)


def queries(work: Work, out: Output) -> None:
    """Write ``vectors.npy`` and ``hashes.parquet`` of a query partition."""
    table = work.table("queries", "queries.parquet", ["text", "input_hash"])
    _embed(EMBED_QUERIES, work, out, table.append_column("title", pa.nulls(table.num_rows, pa.string())))


def _embed(stage: Stage, work: Work, out: Output, table: pa.Table) -> None:
    """Counters: model_calls, texts that were encoded; cache_hits, texts whose vector was copied; moved, those of them from elsewhere."""
    spec = ModelSpec.model_validate(work.job.options["spec"])
    dtype = np.dtype(str(work.job.settings["vector_dtype"]))
    hashes = as_bytes(table["input_hash"])
    earlier = _earlier(work, dtype)
    plan = plan_reuse(hashes, earlier.hashes)
    pinned = Pinned.model_validate(work.job.options.get("known") or {})
    places, moved = find(work.storage, pinned, hashes[plan.first[plan.todo]])
    found, todo = plan.todo[places], np.delete(plan.todo, places)
    work.afford(len(todo), len(plan.first) - len(todo))
    work.report(len(hashes) - len(todo))
    known = earlier.facts or facts(work.storage, pinned)
    embedder = open_embedder(work.storage, spec) if len(todo) or known is None else None
    dim, similarity = (embedder.dim, embedder.similarity) if embedder else known or (0, "")
    old = np.flatnonzero(plan.old >= 0)
    out.count(model_calls=len(todo), cache_hits=len(old) + len(found), moved=len(found), tokens=0, truncated=0)
    with out.filled_array("vectors.npy", (len(hashes), dim), dtype) as rows:
        for some in _blocks(old, dim, work.pieces):
            plan.put(rows, some, np.asarray(earlier.vectors)[plan.old[some]])
        if moved is not None:
            plan.put(rows, found, moved)
        if embedder:
            for some in _blocks(todo, dim, work.pieces):
                made = embedder.encode(document_inputs(spec.title_template, table.take(pa.array(plan.first[some]))), work.report)
                plan.put(rows, some, made.vectors)
                out.count(tokens=made.tokens, truncated=made.truncated)
    out.table("hashes.parquet", table.select(["input_hash"]).cast(HASHES))
    out.meta.update(dim=dim, similarity=similarity, model=spec.fingerprint, dtype=spec.dtype, vector_dtype=dtype.name)
    if len(hashes):
        segment = Segment(hashes=out.files[-1], vectors=out.files[-2], dim=dim, similarity=similarity)
        put_marker(work.storage, space_of(spec.fingerprint, dtype.name), work.job.key(stage), segment)


def _blocks(places: Ints, dim: int, pieces: int) -> Iterator[Ints]:
    """Parts of what is to be encoded or copied, whose tokens and vectors are in memory together."""
    size = max(1, min(_TEXTS, _FLOATS // max(1, dim), -(-len(places) // pieces)))
    for start in range(0, len(places), size):
        yield places[start : start + size]


@dataclass(frozen=True)
class _Earlier:
    """The earlier part of the same partition: hashes, vectors and (dimension, similarity); nothing of it if it cannot serve."""

    hashes: Hashes
    vectors: Vectors | None = None
    facts: tuple[int, str] | None = None


def _earlier(work: Work, dtype: np.dtype[np.generic]) -> _Earlier:
    nothing = _Earlier(np.empty(0, dtype="S32"))
    given = work.job.options.get("previous")
    if not given:
        return nothing
    part = Part.model_validate(given)
    try:
        vectors = read_array(work.storage, part.file("vectors.npy"))
        hashes = as_bytes(read_table(work.storage, part.file("hashes.parquet"))["input_hash"])
    except StorageError:
        return nothing
    same_model = part.meta.get("model") == work.job.settings["model"]
    if not same_model or vectors.dtype != dtype or vectors.shape != (len(hashes), part.meta.get("dim")):
        return nothing
    return _Earlier(hashes, vectors, (int(part.meta["dim"]), str(part.meta["similarity"])))
