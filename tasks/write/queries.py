"""Synthetic queries: what a writer is asked for a document, and which of its queries lead back to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from tasks.remote.ask import Question
from tasks.remote.prompts import Prompt, load_prompt
from tasks.remote.settings import BudgetSettings, ChatSettings
from tasks.schema import SYNTHETIC
from tasks.settings import Settings
from tasks.store.keys import digest, norm_hash, normalise

FIELDS = ("title", "document", "count", "instruction")
KEPT, COPY, AWAY, EMPTY = "kept", "same_query", "not_retrieved", "empty"


class QueryWriteSettings(Settings):
    """Queries written for documents, kept only where retrieval leads back to the document.

    Source: GPL (Wang et al. 2022, arXiv:2112.07577) [paper] for corpora without queries, Lu et al. 2021 [paper, in part] for a first
    training stage; the round trip as in Alberti et al. 2019 (arXiv:1906.05416) [paper].
    """

    model: ChatSettings = Field(description="The writer.")
    per_document: int = Field(3, ge=1, le=50, description="Queries that are asked for, a document.")
    documents: int = Field(0, ge=0, description="Documents to write for, chosen by hash; 0: all.")
    keep_rank: int = Field(1, ge=1, description="A query is kept where its document is retrieved at this rank or better.")
    prompt: str = Field("write-query-1", description="A prompt that comes along, or a .txt file of yours: docs/judges.md.")
    instruction: str = Field("", description="What is special about your queries, put into the prompt.")
    max_characters: int = Field(4000, ge=100, description="Of the document that is put into the prompt.")
    seed: int = Field(0, ge=0, description="Of the choice of documents.")
    budget: BudgetSettings = Field(BudgetSettings(), description="What one command may spend.")


class Queries(BaseModel):
    """A writer's answer."""

    queries: list[str] = Field(min_length=1)


@dataclass(frozen=True)
class Source:
    """A document that queries are written for, and its place: partition and row."""

    doc_id: str
    title: str
    text: str
    partition: int
    row: int


def query_prompt(settings: QueryWriteSettings) -> Prompt:
    """The prompt that the settings name.

    Raises:
        UsageError: it is missing, or shows the writer no document.
    """
    return load_prompt(settings.prompt, FIELDS, ("document",))


def query_questions(prompt: Prompt, settings: QueryWriteSettings, sources: Sequence[Source]) -> list[Question]:
    """One question a document."""
    common = {"count": settings.per_document, "instruction": settings.instruction}
    most = settings.max_characters
    return [
        Question(tuple(prompt.fill({**common, "title": one.title[:most], "document": one.text[:most]})), prompt.label) for one in sources
    ]


def written_queries(sources: Sequence[Source], answers: Sequence[Queries | None], known: frozenset[str]) -> list[dict[str, object]]:
    """Each written query with its document: query_id (by its text), text, doc_id, place (in ``sources``), status (kept so far).

    Args:
        sources: documents.
        answers: the writer's for each; ``None``: none of use.
        known: ``norm_hash`` of the queries that are there already.
    """
    seen, found = set(known), []
    for place, (source, answer) in enumerate(zip(sources, answers, strict=True)):
        for text in answer.queries if answer is not None else ():
            own = norm_hash(text)
            status = EMPTY if not normalise(text) else COPY if own in seen else KEPT
            seen.add(own)
            row: dict[str, object] = {"query_id": SYNTHETIC + digest(normalise(text))[:16], "text": text.strip(), "doc_id": source.doc_id}
            found.append({**row, "place": place, "status": status})
    return found


def round_trip(
    queries: NDArray[np.float32], documents: Sequence[NDArray[np.float32]], partition: Sequence[int], row: Sequence[int]
) -> NDArray[np.int64]:
    """The rank at which each query's own document is retrieved: 1 + the documents that score higher.

    Args:
        queries: float32, shape (n, dim).
        documents: of each partition, shape (m, dim); higher products are more similar.
        partition: (n,) of each query's document.
        row: (n,) its row there.

    >>> documents = [np.eye(3, dtype=np.float32)]
    >>> round_trip(np.array([[1, 0, 0], [0.2, 0.9, 0]], dtype=np.float32), documents, [0, 0], [0, 0]).tolist()
    [1, 2]
    """
    own = np.array(
        [np.dot(query, np.asarray(documents[p][r], dtype=np.float32)) for query, p, r in zip(queries, partition, row, strict=True)],
        dtype=np.float32,
    )
    ranks = np.ones(len(queries), dtype=np.int64)
    places = np.arange(len(queries))
    for number, vectors in enumerate(documents):
        for start in range(0, len(queries), 1024):
            some = places[start : start + 1024]
            scores = queries[some] @ np.asarray(vectors, dtype=np.float32).T
            mine = [place for place in some.tolist() if partition[place] == number]
            for place in mine:
                scores[place - start, row[place]] = -np.inf  # its own score differs in the last bits from that of the product of matrices
            ranks[some] += (scores > own[some, None]).sum(axis=1)
    return ranks


def counted(written: Sequence[Mapping[str, object]]) -> dict[str, int]:
    """Queries by status, kept ones first."""
    found: dict[str, int] = {KEPT: 0}
    for one in written:
        found[str(one["status"])] = found.get(str(one["status"]), 0) + 1
    return found
