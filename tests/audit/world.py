"""Two rounds of a dataset, small enough to count by hand. Files and manifests are real."""

from dataclasses import dataclass

import pyarrow as pa

from tasks import schema
from tasks.audit.records import RoundRecord, SelectionRecord, ShardsRef, StageRef, publish_round
from tasks.store.manifest import Part, StageManifest, commit_stage
from tasks.store.output import Output
from tasks.store.storage import Storage, open_storage

DOCS = ["a", "b", "c", "d"]


def stage(storage, name, key, tables, meta=None, **counters) -> StageRef:
    """A committed stage. ``tables``: by file name, or a list of those, one a part."""
    parts = []
    for number, files in enumerate(tables if isinstance(tables, list) else [tables]):
        out = Output(storage, f"data/{name}/{key}/{number}" if number else f"data/{name}/{key}")
        for file, table in files.items():
            out.table(file, table)
        index, part_key = f"q{number:04}", f"p{number}-{key}"
        parts.append(Part(stage=name, key=part_key, index=index, files=tuple(out.files), counters=counters, meta=meta or {}, seconds=1.5))
    commit_stage(storage, StageManifest(stage=name, version=1, key=key, settings={}, parts=tuple(parts), counters=counters, seconds=1.5))
    return StageRef(stage=name, key=key)


def candidate(doc, rank, score, **other):
    base = {"query_id": "q", "doc_partition": 0, "doc_row": DOCS.index(doc), "is_positive": doc == "a", "query_row": 0}
    return {**base, "doc_id": doc, "dense_rank": rank, "dense_score": score, **other}


def decision(selection, doc, what, reasons=(), **other):
    reason = reasons[0] if reasons else "drawn"
    base = {"selection_id": selection, "stage": "main", "query_id": "q", "decision": what, "reason": reason, "reasons": list(reasons)}
    return {**base, "doc_id": doc, **other}


def rows(selection, negatives):
    return [
        {
            "selection_id": selection,
            "stage": "main",
            "epoch": 0,
            "row_no": 0,
            "query_id": "q",
            "positive_id": "a",
            "slot": slot,
            "doc_id": doc,
        }
        for slot, doc in enumerate(["a", *negatives])
    ]


def selection(storage, selection_id, recipe, decisions, negatives, asked=2) -> SelectionRecord:
    tables = {
        "decisions.parquet": pa.Table.from_pylist(decisions, schema=schema.DECISIONS),
        "rows.parquet": pa.Table.from_pylist(rows(selection_id, negatives), schema=schema.ROWS),
    }
    ref = stage(storage, "select", f"select-{selection_id}", tables)
    shards = stage(storage, "shards", f"shards-{selection_id}", {})
    folder = ShardsRef(stage="shards", key=shards.key, folder="data/shards/x/data")
    return SelectionRecord(selection_id=selection_id, recipe=recipe, select=ref, shards={"triplet": folder}, num_negatives=asked)


@dataclass(frozen=True)
class World:
    storage: Storage
    shared: tuple[StageRef, ...]

    def round(self, candidates, scored, chosen, created="2030-01-01T00:00:00Z", sources=("dense",), dataset="toy") -> RoundRecord:
        table = pa.Table.from_pylist(scored, schema=schema.scored(list(sources)))
        ref = stage(self.storage, "scored", f"scored-{candidates}", {"scored.parquet": table})
        return RoundRecord(
            dataset=dataset,
            candidate_set_id=candidates,
            selection_id=chosen.selection_id,
            created=created,
            selections=(chosen,),
            stages=(*self.shared, ref),
            settings={"seed": 0},
        )

    def first(self) -> RoundRecord:
        decisions = [
            decision("s1", "a", "positive"),
            decision("s1", "b", "negative", slot=1),
            decision("s1", "c", "rejected", ["max_score", "duplicate"]),
            decision("s1", "d", "negative", slot=2),
        ]
        scored = [candidate("a", 1, 0.9), candidate("b", 3, 0.6), candidate("c", 2, 0.8), candidate("d", 4, 0.5)]
        return self.round("c1", scored, selection(self.storage, "s1", "top", decisions, "bd"))

    def second(self) -> RoundRecord:
        decisions = [
            decision("s2", "a", "positive"),
            decision("s2", "b", "rejected", ["duplicate"]),
            decision("s2", "c", "negative", slot=1),
        ]
        scored = [candidate("a", 1, 0.95), candidate("b", None, 0.4, bm25_rank=1, bm25_score=7.0), candidate("c", 2, 0.7)]
        return self.round("c2", scored, selection(self.storage, "s2", "rocketqa", decisions, "c"), sources=("dense", "bm25"))

    def both(self) -> list[RoundRecord]:
        return [publish_round(self.storage, record) for record in (self.first(), self.second())]


def new_world(root) -> World:
    storage = open_storage(str(root))
    docs = pa.Table.from_pylist([{"doc_id": d, "title": f"T{d}", "text": f"text  of {d} " * 30} for d in DOCS], schema=schema.DOCS)
    rejected = pa.Table.from_pylist(
        [{"file": "docs.jsonl", "line": 3, "reason": "empty_text", "content": "{}"}], schema=schema.REJECTED_INPUT
    )
    queries = pa.Table.from_pylist([{"query_id": "q", "text": "which?"}], schema=schema.QUERIES)
    shared = (
        stage(storage, "documents", "documents-1", {"docs.parquet": docs, "rejected.parquet": rejected}),
        stage(storage, "queries", "queries-1", {"queries.parquet": queries, "rejected.parquet": rejected.slice(0, 0)}),
        stage(storage, "embed-documents", "embed-1", {}, model_calls=4, cache_hits=1),
    )
    return World(storage, shared)
