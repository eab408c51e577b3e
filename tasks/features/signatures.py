"""Stage ``signatures``: what near-duplicate rules compare, for each document partition."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow.compute as pc

from tasks.features.minhash import PERMUTATIONS, WordHashes, distinct, shingles, signatures, words
from tasks.features.settings import SignatureSettings
from tasks.runner.stage import Job, Stage, Work
from tasks.store.manifest import Part
from tasks.store.output import Output

STAGE = Stage(name="signatures", version=1, function="tasks.features.signatures:run", unit="documents")

_DOCUMENTS = 512


def jobs(documents: Sequence[Part], settings: SignatureSettings | None = None) -> list[Job]:
    """One job a document partition."""
    keyed = (settings or SignatureSettings()).model_dump(mode="json")
    return [
        Job(index=part.index, inputs={"documents": (part.only("docs.parquet"),)}, settings=keyed, units=part.file("docs.parquet").rows or 0)
        for part in documents
    ]


def run(work: Work, out: Output) -> None:
    """Write ``signatures.npy`` (uint32, rows x 128) and ``shingles.npy`` (int32, distinct shingles), aligned with ``docs.parquet``.

    Shingles are over the text; over the title where the text is empty.
    """
    settings = SignatureSettings.model_validate(dict(work.job.settings))
    table = work.table("documents", "docs.parquet", ["title", "text"])
    result = np.empty((table.num_rows, PERMUTATIONS), dtype=np.uint32)
    sizes = np.empty(table.num_rows, dtype=np.int32)
    hashes = WordHashes()
    for start in range(0, table.num_rows, _DOCUMENTS):
        block = table.slice(start, _DOCUMENTS)
        text = pc.fill_null(block["text"], "")
        texts = pc.if_else(pc.equal(text, ""), pc.fill_null(block["title"], ""), text).to_pylist()
        hashed, counts = shingles(*words(texts, hashes), settings.shingle)
        rows = slice(start, start + len(texts))
        result[rows], sizes[rows] = signatures(hashed, counts), distinct(hashed, counts)
        work.report(len(texts))
    out.array("signatures.npy", result)
    out.array("shingles.npy", sizes)
    out.count(model_calls=0)
