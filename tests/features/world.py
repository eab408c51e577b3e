"""A small collection with scored candidates, committed, for the tests of feature stages."""

import numpy as np
import pyarrow as pa

from tasks.features.task import FeatureInputs
from tasks.schema import DOCS, QUERIES
from tasks.schema import scored as scored_schema
from tasks.store.keys import input_hash, norm_hash, partition_of
from tasks.store.tables import read_table
from tests.retrieve.build import commit

SOURCES = ["dense"]


def world(storage, docs, queries, rows, doc_parts=1, query_parts=1):
    """docs and queries: dicts of their columns and ``vector``; rows: dicts of candidates, in the order of the scored table."""
    places, documents, document_vectors = {}, [], []
    for number in range(doc_parts):
        held = sorted((doc for doc in docs if partition_of(doc["doc_id"], doc_parts) == number), key=lambda doc: doc["doc_id"])
        places |= {doc["doc_id"]: (number, row) for row, doc in enumerate(held)}
        table = [
            {"title": "", "text": "", "position": 0, **doc, "input_hash": input_hash(doc.get("title", ""), doc.get("text", "")),
             "norm_hash": norm_hash(doc.get("text", ""), doc.get("title", ""))}
            for doc in held
        ]  # fmt: skip
        documents.append(commit(storage, "documents", f"d{number:04d}", {"docs.parquet": taken(table, DOCS), "qrels.parquet": EMPTY}))
        document_vectors.append(commit(storage, "embed-documents", f"d{number:04d}", {"vectors.npy": vectors(held)}))
    asked, query_vectors, scored = [], [], []
    for number in range(query_parts):
        held = sorted((one for one in queries if partition_of(one["query_id"], query_parts) == number), key=lambda one: one["query_id"])
        order = {one["query_id"]: row for row, one in enumerate(held)}
        index = f"q{number:04d}"
        table = [{"text": "", **one, "input_hash": "", "norm_hash": ""} for one in held]
        asked.append(commit(storage, "queries", index, {"queries.parquet": taken(table, QUERIES)}))
        query_vectors.append(commit(storage, "embed-queries", index, {"vectors.npy": vectors(held)}))
        candidates = [
            {"is_positive": False, **row, "query_row": order[row["query_id"]], "doc_partition": places[row["doc_id"]][0],
             "doc_row": places[row["doc_id"]][1]}
            for row in rows
            if row["query_id"] in order
        ]  # fmt: skip
        scored.append(commit(storage, "scored", index, {"scored.parquet": taken(candidates, scored_schema(SOURCES))}))
    return FeatureInputs(scored, asked, documents, document_vectors, query_vectors, SOURCES)


def values(storage, inputs, manifest):
    """By column, then by (query, document), what a feature's last stage wrote."""
    found = {}
    assert [part.index for part in manifest.parts] == [part.index for part in inputs.scored]
    for part, written in zip(inputs.scored, manifest.parts, strict=True):
        names = read_table(storage, part.file("scored.parquet"), ["query_id", "doc_id"]).to_pylist()
        table = read_table(storage, written.file("features.parquet"))
        assert table.num_rows == len(names)
        for column in table.column_names:
            cells = zip(names, table[column].to_pylist(), strict=True)
            found.setdefault(column, {}).update({(name["query_id"], name["doc_id"]): cell for name, cell in cells})
    return found


def of_query(column, query):
    """One query's values of a column, by document."""
    return {document: value for (asked, document), value in column.items() if asked == query}


def taken(rows, schema):
    """A table of the schema's columns; the others are left out."""
    return pa.Table.from_pylist([{name: row.get(name) for name in schema.names} for row in rows], schema)


def vectors(held):
    """(n, 2) float32; zeros where none is given."""
    return np.array([one.get("vector", (0, 0)) for one in held], dtype=np.float32).reshape(len(held), 2)


EMPTY = pa.table({"query_id": pa.array([], pa.string())})
