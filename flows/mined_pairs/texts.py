"""A script's pairs and corpus as a dataset of documents, queries and labels, each distinct text once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tasks.store.keys import bytes_checksum, digest


@dataclass(frozen=True)
class Texts:
    """Distinct texts in the order in which they first come, and each query's positives.

    Args:
        queries: texts by id.
        documents: texts by id: the corpus, then positives that are not in it.
        positives: ids of documents by id of the query, in the order of the rows.
    """

    queries: dict[str, str]
    documents: dict[str, str]
    positives: dict[str, list[str]]

    @property
    def name(self) -> str:
        """A name of a dataset for these texts and no others."""
        return f"pairs-{digest(list(self.queries), list(self.documents), self.positives)[:12]}"

    def write(self, folder: Path) -> dict[str, Any]:
        """Write corpus, queries and qrels, and give the fields of a dataset's settings that name them."""
        labels = [(query, document) for query, documents in self.positives.items() for document in documents]
        tables = {
            "corpus": {"doc_id": list(self.documents), "text": list(self.documents.values())},
            "queries": {"query_id": list(self.queries), "text": list(self.queries.values())},
            "qrels": {
                "query_id": [query for query, _ in labels],
                "doc_id": [document for _, document in labels],
                "relevance": [1] * len(labels),
            },
        }
        for name, columns in tables.items():
            pq.write_table(pa.table(columns), folder / f"{name}.parquet")
        return {"format": "parquet", **{name: [str(folder / f"{name}.parquet")] for name in tables}}


def texts_of(anchors: Sequence[str], positives: Sequence[str], corpus: Iterable[str] | None) -> Texts:
    """Rows of (anchor, positive) and a corpus. All rows of equal anchors are positives of one query.

    >>> found = texts_of(["a", "b", "a"], ["x", "x", "y"], ["z", "x"])
    >>> list(found.documents.values()), [len(one) for one in found.positives.values()]
    (['z', 'x', 'y'], [2, 1])
    """
    documents = {_id("d", text): text for text in [*(corpus or ()), *positives]}
    queries = {_id("q", text): text for text in anchors}
    labels: dict[str, dict[str, None]] = {query: {} for query in queries}
    for anchor, positive in zip(anchors, positives, strict=True):
        labels[_id("q", anchor)][_id("d", positive)] = None
    return Texts(queries, documents, {query: list(found) for query, found in labels.items()})


def _id(kind: str, text: str) -> str:
    return f"{kind}{bytes_checksum(text.encode('utf-8', 'surrogatepass'))[:24]}"
