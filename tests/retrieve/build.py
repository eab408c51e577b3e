"""Small committed datasets for the tests of retrieval and features."""

import uuid
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from tasks.runner.inline import InlineExecutor
from tasks.runner.runner import Context, run_stage
from tasks.schema import DOCS, QRELS, QUERIES
from tasks.store.keys import input_hash, norm_hash, partition_of
from tasks.store.manifest import Part
from tasks.store.output import Output
from tasks.store.storage import open_storage


class Silent:
    """Counts units and says nothing."""

    def __init__(self):
        self.units = {}
        self.total = {}

    def start(self, stage, unit, total, done):
        self.total[stage] = total
        self.units[stage] = done

    def advance(self, stage, units):
        self.units[stage] += units

    def finish(self, manifest, cached):
        pass


class Dataset(NamedTuple):
    documents: list
    queries: list
    embed_documents: list
    embed_queries: list


def context(root, threads=1):
    return Context(open_storage(str(root)), lambda: InlineExecutor(threads), Silent())


def run(context, stage, jobs):
    return list(run_stage(context, stage, jobs).parts)


def commit(storage, stage, index, files):
    key = uuid.uuid4().hex
    out = Output(storage, f"data/{stage}/{key}")
    for name, content in files.items():
        (out.table if isinstance(content, pa.Table) else out.array)(name, content)
    return Part(stage=stage, key=key, index=index, files=tuple(out.files))


def dataset(storage, docs, queries, qrels=(), doc_parts=1, query_parts=1, vectors=None, dtype=np.float32, languages=None):
    """docs: (id, title, text); queries: (id, text); qrels: (query, doc, relevance); vectors: id → array; languages: id → code."""
    vectors, languages = vectors or {}, languages or {}
    address, documents, embed_documents = {}, [], []
    for number in range(doc_parts):
        held = sorted(doc for doc in docs if partition_of(doc[0], doc_parts) == number)
        address |= {doc[0]: (number, row) for row, doc in enumerate(held)}
        rows = [
            {
                "doc_id": name,
                "title": title,
                "text": text,
                "group_id": None,
                "language": languages.get(name),
                "position": 0,
                "input_hash": input_hash(title, text),
                "norm_hash": norm_hash(text, title),
            }
            for name, title, text in held
        ]
        documents.append(commit(storage, "documents", f"d{number:04d}", {"docs.parquet": pa.Table.from_pylist(rows, DOCS)}))
        embed_documents.append(_embedded(storage, "embed-documents", f"d{number:04d}", [doc[0] for doc in held], vectors, dtype))
    asked, embed_queries = [], []
    for number in range(query_parts):
        held = sorted(query for query in queries if partition_of(query[0], query_parts) == number)
        rows = [
            {
                "query_id": name,
                "text": text,
                "language": languages.get(name),
                "position": 0,
                "input_hash": input_hash("", text),
                "norm_hash": norm_hash(text),
            }
            for name, text in held
        ]
        names = {query[0] for query in held}
        judged = [
            {"query_id": query, "doc_id": doc, "relevance": grade, "fold": 7 * place % 100}
            | {"doc_partition": address[doc][0], "doc_row": address[doc][1]}
            for place, (query, doc, grade) in enumerate(sorted(qrels))
            if query in names
        ]
        files = {"queries.parquet": pa.Table.from_pylist(rows, QUERIES), "qrels.parquet": pa.Table.from_pylist(judged, QRELS)}
        asked.append(commit(storage, "queries", f"q{number:04d}", files))
        embed_queries.append(_embedded(storage, "embed-queries", f"q{number:04d}", [query[0] for query in held], vectors, dtype))
    return Dataset(documents, asked, embed_documents, embed_queries)


def _embedded(storage, stage, index, names, vectors, dtype):
    dim = len(next(iter(vectors.values()))) if vectors else 2
    array = np.array([vectors.get(name, np.zeros(dim)) for name in names], dtype=dtype).reshape(len(names), dim)
    return commit(storage, stage, index, {"vectors.npy": array})


def checksums(parts):
    return [[(file.name, file.checksum) for file in part.files] for part in parts]
