"""Small scored tables for the tests of rules and recipes."""

import pyarrow as pa

from tasks.schema import score_columns, scored

SOURCES = ["dense", "bm25"]


def table(rows, sources=SOURCES):
    """A scored table from dicts; what is not given is NULL, positive_* is computed for given positives."""
    schema = scored(sources)
    full = [
        {"query_id": "q", "is_positive": False, "query_row": 0, "doc_partition": 0, "doc_row": number, **row}
        for number, row in enumerate(rows)
    ]
    for row in full:
        mine = [other for other in full if other["query_id"] == row["query_id"] and other["is_positive"]]
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
