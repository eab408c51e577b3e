"""Stage ``chunks``: long documents as chunks, and their labels moved to the chunks that they are meant for.

A chunk lies in its document's partition. A relevant document of which no chunk is meant (``labels: answer``, and no chunk holds one) is set
aside with that reason: its chunks are neither positives nor negatives of that query. Labels that people and signals gave of chunks go to
the chunks with the same text, whatever their ids are by now.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tasks.corpus.chunk_labels import chunk_labels
from tasks.corpus.chunk_settings import SEPARATOR, ChunkSettings
from tasks.corpus.documents import buckets
from tasks.corpus.order import concat_placed
from tasks.corpus.records import GIVES_QUERIES
from tasks.models.spans import Spans
from tasks.runner.stage import Job, Stage, Work
from tasks.schema import DOCS, REJECTED_INPUT
from tasks.store.keys import input_hash, norm_hash
from tasks.store.manifest import StageManifest
from tasks.store.output import Output

STAGE = Stage(name="chunks", version=3, function="tasks.corpus.chunks:run", unit="documents")
_EVERY = 1 << 14  # chunks of one document at most, for their places

Ints = NDArray[np.int64]


def jobs(
    ingest: StageManifest,
    documents: StageManifest,
    settings: ChunkSettings,
    tokenizer: tuple[str, str],
    query_partitions: int,
    positive_min_grade: int,
) -> list[Job]:
    """One job a document partition.

    Args:
        ingest: the read sources: queries are read from their buckets, where labels go by them.
        documents: whole ones.
        settings: of the chunks.
        tokenizer: folder and checksum, both empty where words are counted.
        query_partitions: how many.
        positive_min_grade: what a positive is.
    """
    folder, checksum = tokenizer
    keyed: dict[str, Any] = {**settings.model_dump(mode="json", exclude={"tokenizer"}), "tokenizer": checksum}
    keyed["positive_min_grade"] = positive_min_grade
    inputs, numbers = {}, {}
    if settings.labels in ("answer", "overlap"):
        for number in range(query_partitions):
            index = f"q{number:04d}"
            inputs[index], numbers[index] = buckets(ingest.parts, GIVES_QUERIES, f"queries-{index}.parquet")
    return [
        Job(
            part.index,
            {"documents": (part.only("docs.parquet", "qrels.parquet"),), **inputs},
            {**keyed, "numbers": numbers},
            {"folder": folder},
            part.file("docs.parquet").rows or 0,
        )
        for part in documents.parts
    ]


def run(work: Work, out: Output) -> None:
    """Write ``docs.parquet`` and ``qrels.parquet`` as the stage ``documents`` has them, and ``set_aside.parquet``."""
    settings = work.job.settings
    docs, qrels = work.table("documents", "docs.parquet"), work.table("documents", "qrels.parquet")
    texts, parent, place = cut(docs, Spans(str(work.job.options["folder"])), int(settings["tokens"]), settings["stride"])
    own = docs.take(pa.array(parent))
    ids = [f"{name}{SEPARATOR}{number:04d}" for name, number in zip(own["doc_id"].to_pylist(), place.tolist(), strict=True)]
    titles = own["title"].to_pylist()
    table = pa.table(
        {
            "doc_id": pa.array(ids, pa.string()),
            "title": own["title"],
            "text": pa.array(texts, pa.string()),
            "group_id": own["doc_id"],
            "language": own["language"],
            "position": pc.add(pc.multiply(own["position"], _EVERY), pa.array(place)),
            "input_hash": pa.array([input_hash(title or "", text) for title, text in zip(titles, texts, strict=True)], pa.string()),
            "norm_hash": pa.array([norm_hash(text, title or "") for title, text in zip(titles, texts, strict=True)], pa.string()),
            "parent": pa.array(parent),
        }
    ).sort_by("doc_id")
    chunks = table.select(DOCS.names).cast(DOCS).combine_chunks()
    out.table("docs.parquet", chunks)
    labels = chunk_labels(settings, _queries(work), qrels, chunks, table["parent"].to_numpy())
    out.table("qrels.parquet", labels.judged)
    out.table("set_aside.parquet", labels.aside)
    out.table("rejected.parquet", REJECTED_INPUT.empty_table())
    out.meta.update(documents=chunks.num_rows, merged=0, whole=docs.num_rows, set_aside=labels.unmeant, rejected={})
    out.meta.update(carried=labels.carried, moved=labels.moved, lost=labels.lost)
    work.report(docs.num_rows)


def cut(docs: pa.Table, spans: Spans, tokens: int, stride: int | None) -> tuple[list[str], Ints, Ints]:
    """Chunks of documents: text, row of the document, and number within it. A document without words is one chunk.

    Chunks begin and end between words: of so many words as have at most ``tokens`` tokens together (of one at least), and the next one
    begins at the first word that is ``stride`` tokens on. The last chunk ends where the document does, and is the only one that does.

    >>> table = pa.table({"text": ["one two three four five", ""]})
    >>> cut(table, Spans(""), 3, 2)[0]
    ['one two three', 'three four five', '']
    """
    texts, parent, place = [], [], []
    whole: list[str] = pc.fill_null(docs["text"], "").to_pylist()
    words = Spans("").of(whole)
    for row, (text, places, pieces) in enumerate(zip(whole, words, spans.of(whole), strict=True)):
        starts = np.array([start for start, _ in places], dtype=np.int64)
        # tokens before each word: those that end there at the latest, as many tokenizers' begin with the white space before a word
        before = np.searchsorted(np.array([end for _, end in pieces], dtype=np.int64), starts, side="right")
        for number, (first, last) in enumerate(_windows(np.append(before, len(pieces)), tokens, stride or tokens)):
            texts.append(text[places[first][0] : places[last - 1][1]] if places else text)
            parent.append(row)
            place.append(number)
    return texts, np.asarray(parent, dtype=np.int64), np.asarray(place, dtype=np.int64)


def _windows(before: Ints, tokens: int, step: int) -> Iterator[tuple[int, int]]:
    """First and last-but-one word of each chunk, by the tokens before each word (and in all)."""
    words, first = len(before) - 1, 0
    while True:
        last = max(first + 1, int(np.searchsorted(before, before[first] + tokens, side="right")) - 1)
        yield first, last
        if last >= words:
            return
        first = min(last, max(first + 1, int(np.searchsorted(before, before[first] + step, side="left"))))


def _queries(work: Work) -> dict[str, tuple[str, list[str]]]:
    """Text and answers by query id, where labels go by them."""
    found: dict[str, tuple[str, list[str]]] = {}
    for index, numbers in work.job.settings["numbers"].items():
        table = concat_placed(work, index, f"queries-{index}.parquet", numbers, "queries")
        for name, text, answers in zip(*(table[column].to_pylist() for column in ("query_id", "text", "answers")), strict=True):
            found.setdefault(name, (text, answers or []))
    return found
