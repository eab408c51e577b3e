"""Small scored tables for the tests of rules and recipes."""

import pyarrow as pa

from tasks.schema import OPTIONAL_FEATURES, score_columns, scored
from tasks.select.recipe import Facts
from tasks.select.registry import compose_recipe
from tasks.select.stage import select

SOURCES = ["dense", "bm25"]


def table(rows, sources=SOURCES, features=()):
    """A scored table from dicts; what is not given is NULL, positive_* is computed for given positives.

    Columns of optional features are there if a feature is named or some row gives them.
    """
    given = {name for row in rows for name in row}
    optional = [
        pa.field(*column) for name, columns in OPTIONAL_FEATURES.items() for column in columns if name in features or column[0] in given
    ]
    schema = pa.schema([*scored(sources), *optional])
    full = [
        {"query_id": "q", "is_positive": False, "query_row": 0, "doc_partition": 0, "doc_row": number, **row}
        for number, row in enumerate(rows)
    ]
    positives = {row["query_id"]: [] for row in full}
    for row in full:
        if row["is_positive"]:
            positives[row["query_id"]].append(row)
    for row in full:
        mine = positives[row["query_id"]]
        for score in score_columns(sources):
            values = [other[score] for other in mine if other.get(score) is not None]
            if values:
                row[f"positive_{score}_min"], row[f"positive_{score}_max"] = min(values), max(values)
                row[f"positive_{score}_mean"] = sum(values) / len(values)
    return pa.Table.from_pylist(sorted(full, key=lambda row: (row["query_id"], row["doc_id"])), schema=schema)


def ranked(scores, positives=(), query="q", **columns):
    """Documents d1, d2, … of one query with dense scores, ranked in the given order."""
    return [
        {
            "query_id": query,
            "doc_id": f"d{number}",
            "dense_rank": number,
            "dense_score": score,
            "is_positive": f"d{number}" in positives,
            "relevance": 1 if f"d{number}" in positives else None,
            **{name: values[number - 1] for name, values in columns.items()},
        }
        for number, score in enumerate(scores, start=1)
    ]


def positive(score=None, query="q", doc="p", **columns):
    """A labelled positive that no source retrieved."""
    return {"query_id": query, "doc_id": doc, "is_positive": True, "relevance": 1, "dense_score": score, **columns}


class Chosen:
    """What a published recipe decides about a small table, and the training rows."""

    def __init__(self, wanted, rows, number=2, seed=0, sources=SOURCES, documents=0, queries=0):
        self.recipe = compose_recipe(wanted, Facts(num_negatives=number, max_positives=1, documents=documents, queries=queries))
        decisions, layout = select(table(rows, sources, self.recipe.needs.features), self.recipe, sources, seed, "s")
        self.decisions, self.rows = decisions.to_pylist(), layout.to_pylist()

    def negatives(self, stage=None):
        """Documents that are drawn, by slot."""
        drawn = [row for row in self.decisions if row["decision"] == "negative" and stage in (None, row["stage"])]
        return [row["doc_id"] for row in sorted(drawn, key=lambda row: (row["query_id"], row["slot"]))]

    def draws(self, stage=None):
        """Name of the draw by document."""
        return {row["doc_id"]: row["draw"] for row in self.decisions if row["draw"] and stage in (None, row["stage"])}

    def why(self):
        """First reason by document, of what is rejected or was not scored."""
        return {row["doc_id"]: row["reason"] for row in self.decisions if row["decision"] in ("rejected", "unscored")}

    def shares(self):
        """Of all negatives, the share that each document id has."""
        drawn = self.negatives()
        return {doc: drawn.count(doc) / len(drawn) for doc in sorted(set(drawn))}


def many(rows, queries=2000):
    """The same candidates for many queries."""
    return [{**row, "query_id": f"q{number:04}"} for number in range(queries) for row in rows]
