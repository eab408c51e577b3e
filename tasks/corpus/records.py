"""From rows to documents, queries and judgements: one function a role, and the rules for what a row must have.

A document is empty if both its title and its text are blank. What ids and texts may be: :mod:`tasks.corpus.fields`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from tasks.corpus.fields import Fields, RowError, grade, identifier, listed
from tasks.store.keys import input_hash

#: by role and field: the column names that are tried where the user gives none
ALIASES: dict[str, dict[str, tuple[str, ...]]] = {
    "corpus": {
        "doc_id": ("doc_id", "_id", "id", "docid"),
        "title": ("title",),
        "text": ("text", "contents", "body"),
        "group_id": ("group_id", "parent_id", "group"),
        "language": ("language", "lang"),
    },
    "queries": {
        "query_id": ("query_id", "_id", "id", "qid"),
        "query": ("query", "text", "question"),
        "answers": ("answers", "answer"),
        "query_group": ("group", "query_group"),
        "query_split": ("split",),
        "query_language": ("language", "lang"),
        "positive_ids": ("positive_ids", "positives"),
    },
    "qrels": {
        "query_id": ("query_id", "query-id", "qid"),
        "doc_id": ("doc_id", "corpus-id", "corpus_id", "docid", "pid"),
        "relevance": ("relevance", "score", "grade", "label"),
    },
    "chunk-labels": {name: (name,) for name in ("query_id", "doc_id", "chunk", "relevance")},
    "pairs": {
        "anchor": ("anchor", "query", "question"),
        "positive": ("positive", "document", "answer"),
        "title": ("title",),
        "group_id": ("group_id",),
        "language": ("language", "lang"),
        "query_group": ("group", "query_group"),
        "query_split": ("split",),
        "query_language": ("query_language", "language", "lang"),
    },
    "texts": {
        "title": ("title",),
        "text": ("text", "contents", "body", "positive", "document"),
        "group_id": ("group_id",),
        "language": ("language", "lang"),
    },
    "packages": {name: (name,) for name in ("doc_id", "title", "text", "group_id", "query")},
}

#: by role: the fields of which each file with a header must have a column
NEEDED: dict[str, tuple[str, ...]] = {
    "corpus": ("doc_id", "text"),
    "queries": ("query_id", "query"),
    "qrels": ("query_id", "doc_id"),
    "chunk-labels": ("query_id", "doc_id", "chunk"),
    "pairs": ("anchor", "positive"),
    "texts": ("text",),
    "packages": (),
}

#: roles by what they yield
GIVES_DOCUMENTS = ("pairs", "packages", "corpus", "texts")
GIVES_QUERIES = ("pairs", "packages", "queries")
GIVES_QRELS = ("pairs", "packages", "queries", "qrels", "chunk-labels")


class Document(NamedTuple):
    """A document; ``derived``: its id is the hash of its text, so a repeat is no mistake."""

    doc_id: str
    title: str
    text: str
    group_id: str | None
    language: str | None
    derived: bool


class Query(NamedTuple):
    """A query; ``derived`` as for documents."""

    query_id: str
    text: str
    answers: list[str] | None
    group: str | None
    split: str | None
    language: str | None
    derived: bool


class Judgement(NamedTuple):
    """One line of qrels; ``chunk``: the normalised text's hash of the document's chunk that it is about."""

    query_id: str
    doc_id: str
    relevance: int
    chunk: str | None = None


class Records(NamedTuple):
    """What one row gives, and whether some text of it was repaired."""

    documents: list[Document]
    queries: list[Query]
    judgements: list[Judgement]


def corpus(fields: Fields) -> Records:
    """A row of a corpus."""
    return Records([_document(fields, fields.identifier("doc_id"))], [], [])


def texts(fields: Fields) -> Records:
    """A row of a corpus beside pairs: its id is the hash of what it says, as theirs is."""
    return Records([_document(fields, None)], [], [])


def queries(fields: Fields) -> Records:
    """A row of a query file, with the ids of its relevant documents if it has them."""
    query_id, text = fields.identifier("query_id"), _filled(fields, "query")
    query = Query(query_id, text, _answers(fields), *_query_labels(fields), False)
    positives = listed(fields.value("positive_ids"), "positive_ids")
    return Records([], [query], [Judgement(query_id, identifier(one, "positive_ids"), 1) for one in positives or ()])


def qrels(fields: Fields) -> Records:
    """A row of a qrels file."""
    query_id, doc_id = fields.identifier("query_id"), fields.identifier("doc_id")
    return Records([], [], [Judgement(query_id, doc_id, grade(fields.value("relevance")))])


def chunk_labels(fields: Fields) -> Records:
    """A row of Hardmine's own: what was said of a chunk of a document."""
    query_id, doc_id = fields.identifier("query_id"), fields.identifier("doc_id")
    return Records([], [], [Judgement(query_id, doc_id, grade(fields.value("relevance")), fields.text("chunk"))])


def pairs(fields: Fields) -> Records:
    """A row of (anchor, positive or several); ids are hashes of the texts."""
    anchor = _filled(fields, "anchor")
    query = Query(input_hash("", anchor), anchor, None, *_query_labels(fields), True)
    value = fields.value("positive")
    positives = value if isinstance(value, list) else [value]
    if not positives or not all(isinstance(one, str) and one.strip() for one in positives):
        raise RowError("empty positive" if all(one is None or isinstance(one, str) for one in positives) else "positive is not text")
    title, group, language = fields.text("title"), fields.label("group_id"), fields.label("language")
    cleaned = [fields.clean(one) for one in positives]
    documents = [Document(input_hash(title, text), title, text, group, language, True) for text in cleaned]
    return Records(documents, [query], [Judgement(query.query_id, document.doc_id, 1) for document in documents])


def packages(fields: Fields) -> Records:
    """A docstring; its summary, if it is to be a query, has this document as a positive."""
    document = _document(fields, fields.identifier("doc_id"))._replace(derived=True)
    summary = fields.text("query")
    if not summary:
        return Records([document], [], [])
    query = Query(input_hash("", summary), summary, None, None, None, None, True)
    return Records([document], [query], [Judgement(query.query_id, document.doc_id, 1)])


PARSERS: dict[str, Callable[[Fields], Records]] = {
    "corpus": corpus,
    "texts": texts,
    "queries": queries,
    "qrels": qrels,
    "chunk-labels": chunk_labels,
    "pairs": pairs,
    "packages": packages,
}


def _document(fields: Fields, doc_id: str | None) -> Document:
    title, text = fields.text("title"), fields.text("text")
    if not text.strip() and not title.strip():
        raise RowError("empty text")
    return Document(doc_id or input_hash(title, text), title, text, fields.label("group_id"), fields.label("language"), doc_id is None)


def _query_labels(fields: Fields) -> tuple[str | None, str | None, str | None]:
    """Group, split and language."""
    return fields.label("query_group"), fields.label("query_split"), fields.label("query_language")


def _filled(fields: Fields, field: str) -> str:
    text = fields.text(field)
    if not text.strip():
        raise RowError(f"empty {field}")
    return text


def _answers(fields: Fields) -> list[str] | None:
    value = fields.value("answers")
    if isinstance(value, Mapping):
        value = value.get("text")
    answers = listed(value, "answers")
    if answers is None:
        return None
    if not all(isinstance(answer, str) for answer in answers):
        raise RowError("answers is not a list of strings")
    return [fields.clean(answer) for answer in answers]
