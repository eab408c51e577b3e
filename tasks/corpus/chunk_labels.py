"""How labels come to chunks: from documents by a policy, from chunks of an earlier version by their text."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tasks.corpus.answers import holds, wanted
from tasks.corpus.documents import JUDGED
from tasks.schema import REJECTED_INPUT, REVIEWED
from tasks.store.keys import normalise

NO_ANSWER = "no chunk of the relevant document holds an answer"
GONE = "the text of the labelled chunk is in no chunk any more"
_WORD = re.compile(r"\w+")

Ints = NDArray[np.int64]
Queries = Mapping[str, tuple[str, list[str]]]


def chunk_labels(settings: Mapping[str, Any], queries: Queries, qrels: pa.Table, chunks: pa.Table, parent: Ints) -> ChunkLabels:
    """Judgements of chunks: those of documents by the policy, and those that people and signals gave of chunks.

    Args:
        settings: labels, lost_labels, positive_min_grade.
        queries: text and answers by query id, where labels go by them.
        qrels: :data:`tasks.corpus.documents.JUDGED`, of documents and of chunks by their text.
        chunks: :data:`tasks.schema.DOCS`.
        parent: (chunks,) row of each chunk's document, as ``doc_row`` counts them.
    """
    texts = chunks["text"].to_pylist()
    order = np.argsort(parent, kind="stable")
    starts = np.searchsorted(parent[order], np.arange(int(parent.max(initial=-1)) + 2))
    least, aside_grade = int(settings["positive_min_grade"]), min(-1, int(settings["positive_min_grade"]) - 1)
    found, to_document, hashes = _Expanded(), settings["lost_labels"] == "document", chunks["norm_hash"].to_pylist()
    for number, (query, doc, relevance, chunk) in enumerate(
        zip(*(qrels[name].to_pylist() for name in ("query_id", "doc_row", "relevance", "chunk")), strict=True)
    ):
        rows = order[starts[doc] : starts[doc + 1]]
        if chunk is not None:
            same = rows[np.asarray([hashes[row] == chunk for row in rows.tolist()], dtype=bool)]
            if len(same) or not to_document or relevance < least:
                found.add_chunk(number, same, relevance)
                continue
            found.moved += 1
        meant = _meant(str(settings["labels"]), rows, texts, queries.get(query)) if relevance >= least else rows
        if len(meant):
            found.add(number, meant, relevance, alone=len(rows) == 1)
        else:
            found.add(number, rows, aside_grade, alone=False)
            found.aside.append(number)
    return _tables(qrels, chunks, found)


@dataclass
class _Expanded:
    """Judgements of chunks: the row of what was judged, the chunk's row, the grade."""

    source: list[int] = field(default_factory=list)
    row: list[int] = field(default_factory=list)
    grade: list[int] = field(default_factory=list)
    yields: list[bool] = field(default_factory=list)  # it says what a policy made of a document's label
    aside: list[int] = field(default_factory=list)
    lost: list[int] = field(default_factory=list)
    of_chunks: list[int] = field(default_factory=list)
    moved: int = 0

    def add(self, number: int, rows: Ints, grade: int, alone: bool) -> None:
        """A document's judgement on some of its chunks; ``alone``: it has but one."""
        self._extend(number, rows, grade, not alone)

    def add_chunk(self, number: int, rows: Ints, grade: int) -> None:
        """A chunk's own judgement; without rows it is lost."""
        (self.of_chunks if len(rows) else self.lost).append(number)
        self._extend(number, rows, grade, False)

    def _extend(self, number: int, rows: Ints, grade: int, yields: bool) -> None:
        self.source += [number] * len(rows)
        self.row += rows.tolist()
        self.grade += [grade] * len(rows)
        self.yields += [yields] * len(rows)


class ChunkLabels(NamedTuple):
    """What became of judgements.

    Args:
        judged: :data:`tasks.corpus.documents.JUDGED`, of chunks.
        aside: positives that no chunk is meant by, and labels whose chunk is gone.
        unmeant: how many the former are.
        carried: labels of chunks that are labels of chunks with the same text.
        moved: those that became labels of the document.
        lost: those whose chunk is gone.
    """

    judged: pa.Table
    aside: pa.Table
    unmeant: int
    carried: int
    moved: int
    lost: int


def _tables(qrels: pa.Table, chunks: pa.Table, found: _Expanded) -> ChunkLabels:
    rows = pa.array(found.row, pa.int64())
    table = qrels.take(pa.array(found.source, pa.int64()))
    changed = {"relevance": pa.array(found.grade, pa.int32()), "doc_row": rows, "doc_id": chunks["doc_id"].take(rows)}
    for name, values in changed.items():
        table = table.set_column(table.schema.get_field_index(name), name, values)
    table = table.filter(pa.array(_standing(table, np.asarray(found.yields, dtype=bool))))
    by = [("query_partition", "ascending"), ("query_id", "ascending"), ("doc_id", "ascending"), ("position", "ascending")]
    aside = pa.concat_tables([_set_aside(qrels.take(pa.array(numbers, pa.int64())), reason) for numbers, reason in _reasons(found)])
    judged = table.sort_by(by).cast(JUDGED).combine_chunks()
    return ChunkLabels(judged, aside, len(found.aside), len(found.of_chunks), found.moved, len(found.lost))


def _reasons(found: _Expanded) -> tuple[tuple[list[int], str], tuple[list[int], str]]:
    return (found.aside, NO_ANSWER), (found.lost, GONE)


def _standing(table: pa.Table, yields: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """All but what a policy made of a document's label where a person has looked at that very chunk."""
    pairs = pc.binary_join_element_wise(table["query_id"], table["doc_id"], "\x1f").combine_chunks()
    said = pc.and_(pc.is_valid(table["chunk"]), pc.fill_null(pc.equal(table["provenance"], REVIEWED), False))
    known = pc.is_in(pairs, value_set=pairs.filter(pa.array(np.asarray(said) & ~yields)))
    found: NDArray[np.bool_] = ~(yields & np.asarray(known))
    return found


def _meant(policy: str, rows: Ints, texts: Sequence[str], query: tuple[str, list[str]] | None) -> Ints:
    """Of a relevant document's chunks, in order, those that are relevant."""
    if policy == "all":
        return rows
    if policy == "first":
        return rows[:1]
    text, answers = query or ("", [])
    if policy == "answer":
        asked = wanted(answers)
        held = [holds(normalise(texts[row]), asked) for row in rows.tolist()]
        return np.asarray(rows[np.asarray(held, dtype=bool)])
    words = set(_WORD.findall(normalise(text)))
    shared = [len(words & set(_WORD.findall(normalise(texts[row])))) for row in rows.tolist()]
    best = int(np.argmax(shared))
    return rows[best : best + 1]


def _set_aside(qrels: pa.Table, reason: str) -> pa.Table:
    """As rows that were set aside, with the reason."""
    rows = [
        {"file": row["file"], "line": row["line"], "reason": reason, "content": f"{row['query_id']} {row['doc_id']}"}
        for row in qrels.to_pylist()
    ]
    return pa.Table.from_pylist(rows, REJECTED_INPUT)
