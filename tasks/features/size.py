"""Feature ``size``: how long a document is, and in which language document and query are."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tasks.features.base import PLACES, Call, FeatureInputs, only, row_jobs, write_features
from tasks.features.nearest import addresses, split
from tasks.runner.stage import Job, Stage, Work
from tasks.settings import Settings
from tasks.store.keys import normalise
from tasks.store.manifest import Part, StageManifest
from tasks.store.output import Output
from tasks.store.tables import take_texts

STAGE = Stage(name="feature-size", version=1, function="tasks.features.size:run", unit="candidates")

_WORD = re.compile(r"\w+")


class SizeSettings(Settings):
    """There is nothing to set."""


def build(call: Call, inputs: FeatureInputs, settings: SizeSettings) -> StageManifest:
    """The one stage."""
    return call(STAGE, jobs(inputs.scored, inputs.queries, inputs.documents))


def jobs(scored: Sequence[Part], queries: Sequence[Part], documents: Sequence[Part]) -> list[Job]:
    """One job a part of the scored table, with its queries and over all documents."""
    return row_jobs(scored, {"documents": only(documents, "docs.parquet")}, {"queries": only(queries, "queries.parquet")})


def run(work: Work, out: Output) -> None:
    r"""Write ``doc_tokens`` (words, ``\w+`` of the normal form, of title and text), ``doc_language`` and ``query_language``."""
    table = work.table("scored", "scored.parquet", PLACES)
    address, place = np.unique(addresses(table), return_inverse=True)
    documents = take_texts(work.storage, work.job.inputs["documents"], *split(address), ["title", "text", "language"])
    queries = work.table("queries", "queries.parquet", ["language"])
    columns = {
        "doc_tokens": (_words(documents["title"]) + _words(documents["text"]))[place],
        "doc_language": documents["language"].take(pa.array(place)),
        "query_language": queries["language"].take(table["query_row"]),
    }
    write_features(work, out, "size", columns)


def _words(texts: pa.ChunkedArray) -> NDArray[np.int32]:
    counts = (len(_WORD.findall(normalise(text or ""))) for text in texts.to_pylist())
    return np.fromiter(counts, dtype=np.int32, count=len(texts))
