"""Rounds with made-up vectors, committed and published. Document n is the n-th unit vector, so a query's vector is its similarities."""

import itertools
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from tasks import schema
from tasks.audit.records import RoundRecord, SelectionRecord, StageRef
from tasks.store.keys import partition_of
from tasks.store.manifest import Part, StageManifest, commit_stage
from tasks.store.output import Output

DEPTH = 3
_number = itertools.count()


@dataclass(frozen=True)
class Given:
    """A round: similarities by query and document, and which negatives each query got. The first document of a query is its positive."""

    model: str
    similar: dict[str, dict[str, float]]
    rows: dict[str, str]  # by query: its positive, then its negatives
    splits: dict[str, str | None]
    teacher: dict[tuple[str, str], float] = field(default_factory=dict)
    recipe: str = "top"
    mined: tuple[str, ...] | None = None  # queries that were searched for; the others have their vectors only
    documents: str = "abcd"
    doc_parts: int = 1
    query_parts: int = 1


def round_of(storage, given: Given, dataset="toy", path="", search=None) -> RoundRecord:
    """A round about to be published. ``search``: meta of its dense search."""
    held = [[doc for doc in given.documents if partition_of(doc, given.doc_parts) == number] for number in range(given.doc_parts)]
    address = {doc: (part, row) for part, docs in enumerate(held) for row, doc in enumerate(docs)}
    every = sorted({*"abcd", *given.documents})
    eye = dict(zip(every, np.eye(len(every), dtype=np.float32), strict=True))
    none = {"rejected.parquet": schema.REJECTED_INPUT.empty_table()}
    documents = [{"docs.parquet": _table([{"doc_id": doc} for doc in docs], schema.DOCS), **none} for docs in held]
    vectors = [{"vectors.npy": np.array([eye[doc] for doc in docs], np.float32).reshape(len(docs), len(every))} for docs in held]
    asked, embedded, scored, select = [], [], [], []
    for number in range(given.query_parts):
        queries = sorted(query for query in given.similar if partition_of(query, given.query_parts) == number)
        table = _table([{"query_id": each, "split": given.splits[each]} for each in queries], schema.QUERIES)
        asked.append({"queries.parquet": table, **none})
        values = [[given.similar[query].get(doc, 0.0) for doc in every] for query in queries]
        embedded.append({"vectors.npy": np.array(values, np.float32).reshape(len(queries), len(every))})
        scored.append(
            {
                "scored.parquet": _table(
                    [row for query in queries for row in _scored(given, query) if query in (given.mined or queries)],
                    schema.scored(["dense"]),
                )
            }
        )
        rows = [row for place, query in enumerate(queries) for row in _rows(given, query, place, address)]
        select.append({"rows.parquet": _table(rows, schema.ROWS), "decisions.parquet": schema.DECISIONS.empty_table()})
    model = {"model": given.model}
    roles = {
        "documents": _commit(storage, "documents", documents),
        "queries": _commit(storage, "queries", asked),
        "document_vectors": _commit(storage, "embed-documents", vectors, model),
        "query_vectors": _commit(storage, "embed-queries", embedded, model),
        "scored": _commit(storage, "scored", scored),
    }
    stages = [*roles.values(), _commit(storage, "retrieve-dense", [{}], {"rows": 4, **(search or {"index": "flat"})})]
    chosen = _commit(storage, "select", select)
    name = f"selection-{next(_number)}"
    return RoundRecord(
        dataset=dataset,
        candidate_set_id=f"candidates-{next(_number)}",
        selection_id=name,
        created="2030-01-01T00:00:00Z",
        selections=(SelectionRecord(selection_id=name, recipe=given.recipe, select=chosen, num_negatives=2),),
        stages=(*stages, chosen),
        settings={"model": {"path": path}},
        roles=roles,
    )


def _scored(given, query):
    ranked = sorted(given.documents, key=lambda doc: (-given.similar[query].get(doc, 0.0), doc))[:DEPTH]
    for rank, doc in enumerate(ranked, 1):
        positive = given.rows.get(query, " ")[0] == doc
        similarity = given.similar[query].get(doc, 0.0)
        yield {
            "query_id": query, "doc_id": doc, "dense_rank": rank, "dense_score": similarity, "is_positive": positive, "planted": False,
            "teacher_logit": given.teacher.get((query, doc)),
        }  # fmt: skip


def _rows(given, query, place, address):
    for slot, doc in enumerate(given.rows.get(query, "")):
        yield {
            "stage": "main", "epoch": 0, "row_no": place, "query_id": query, "positive_id": given.rows[query][0], "slot": slot,
            "doc_id": doc, "label": float(slot == 0), "weight": 1.0, "doc_partition": address[doc][0], "doc_row": address[doc][1],
        }  # fmt: skip


def _commit(storage, stage, files, meta=None) -> StageRef:
    parts = []
    for number, held in enumerate(files):
        key = f"{stage}-{next(_number)}"
        out = Output(storage, f"data/{stage}/{key}")
        for name, content in held.items():
            (out.table if isinstance(content, pa.Table) else out.array)(name, content)
        parts.append(Part(stage=stage, key=key, index=f"p{number:04d}", files=tuple(out.files), meta=meta or {}))
    manifest = StageManifest(
        stage=stage, version=1, key=f"{stage}-all-{next(_number)}", settings={}, parts=tuple(parts), counters={}, seconds=0.0
    )
    commit_stage(storage, manifest)
    return StageRef(stage=stage, key=manifest.key)


def _table(rows, columns):
    return pa.Table.from_pylist([{name: row.get(name) for name in columns.names} for row in rows], schema=columns)
