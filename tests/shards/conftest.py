"""A selection small enough to write its training files by hand."""

from dataclasses import dataclass, replace

import pyarrow as pa
import pytest

from tasks import schema
from tasks.runner.inline import InlineExecutor
from tasks.runner.runner import Context, run_stage
from tasks.shards import stage as shards
from tasks.shards.settings import ShardSettings
from tasks.store.manifest import Part, StageManifest
from tasks.store.output import Output
from tasks.store.storage import Storage, open_storage

DOCS = [[("a", "T0", "alpha"), ("b", "", "beta")], [("c", "T2", "gamma"), ("d", "", "delta"), ("e", "T4", "epsilon")]]
ADDRESS = {doc[0]: (p, r) for p, docs in enumerate(DOCS) for r, doc in enumerate(docs)}
QUERIES = ["zero?", "one?", "two?"]
# (query, positive, negatives, hardest first), in the order of row_no
ROWS = [(0, "a", "cd"), (1, "c", "e"), (0, "b", "cd"), (2, "e", "")]
SCORES = {(0, "a"): 0.9, (0, "b"): 0.8, (0, "c"): 0.75, (0, "d"): 0.5, (0, "e"): 0.7, (1, "c"): 0.9, (1, "e"): 0.5, (2, "e"): 0.4}
GRADES = {(0, "a"): 3, (0, "b"): 1, (1, "c"): 1}  # of (2, e) there is none: a pseudo-positive
UNSCORED = {(0, "d"), (2, "e")}


class Silent:
    def start(self, stage, unit, total, done): ...
    def advance(self, stage, units): ...
    def finish(self, manifest, cached): ...


def rows_table(rows=ROWS, stages=(("main", 0),)) -> pa.Table:
    lines = []
    for stage, epoch in stages:
        for number, (query, positive, negatives) in enumerate(rows):
            for slot, doc in enumerate([positive, *negatives]):
                partition, row = ADDRESS[doc]
                lines.append(("s", stage, epoch, number, f"q{query}", positive, slot, doc, float(slot == 0), 1.0, query, partition, row))
    return pa.table([list(column) for column in zip(*lines, strict=True)], schema=schema.ROWS)


@dataclass(frozen=True)
class World:
    storage: Storage
    select: Part
    scored: Part
    queries: Part
    documents: tuple[Part, ...]

    def jobs(self, name, **settings):
        return shards.jobs(
            name, "selection0123456", [self.select], [self.scored], [self.queries], self.documents, ShardSettings(**settings)
        )

    def write(self, name, **settings) -> StageManifest:
        return run_stage(Context(self.storage, lambda: InlineExecutor(1), Silent()), shards.STAGE, self.jobs(name, **settings))

    def with_splits(self, *splits) -> "World":
        """The same, each query with a split."""
        queries = pa.Table.from_pylist(
            [{"query_id": f"q{n}", "text": text, "split": split} for n, (text, split) in enumerate(zip(QUERIES, splits, strict=True))],
            schema=schema.QUERIES,
        )
        out = Output(self.storage, f"in/queries-{'-'.join(str(split) for split in splits)}")
        out.table("queries.parquet", queries)
        return replace(self, queries=self.queries.model_copy(update={"files": tuple(out.files)}))

    def with_rows(self, rows, stages=(("main", 0),)) -> "World":
        out = Output(self.storage, "in/other")
        out.table("rows.parquet", rows_table(rows, stages))
        return replace(self, select=replace_files(self.select, out))


def replace_files(part, out):
    return part.model_copy(update={"files": (part.file("decisions.parquet"), *out.files)})


def _part(storage, stage, index, tables) -> Part:
    out = Output(storage, f"in/{stage}/{index}")
    for name, table in tables.items():
        out.table(name, table)
    return Part(stage=stage, key=f"{stage}-{index}", index=index, files=tuple(out.files))


@pytest.fixture
def world(tmp_path) -> World:
    storage = open_storage(str(tmp_path))
    documents = tuple(
        _part(
            storage,
            "documents",
            f"d{number:04d}",
            {
                "docs.parquet": pa.Table.from_pylist(
                    [{"doc_id": i, "title": t, "text": x, "position": n} for n, (i, t, x) in enumerate(docs)], schema=schema.DOCS
                )
            },
        )
        for number, docs in enumerate(DOCS)
    )
    queries = pa.Table.from_pylist([{"query_id": f"q{n}", "text": text} for n, text in enumerate(QUERIES)], schema=schema.QUERIES)
    scored = pa.Table.from_pylist(
        [
            {
                "query_id": f"q{q}",
                "doc_id": d,
                "dense_score": s,
                "teacher_logit": None if (q, d) in UNSCORED else s * 10,
                "relevance": GRADES.get((q, d)),
            }
            for (q, d), s in SCORES.items()
        ],
        schema=schema.scored(["dense"]),
    )
    decisions = pa.Table.from_pylist(
        [
            {
                "stage": "main",
                "query_id": "q0",
                "doc_id": "e",
                "decision": "rejected",
                "reason": "where",
                "reasons": ["where", "max_score"],
            },
            {"stage": "main", "query_id": "q1", "doc_id": "d", "decision": "rejected", "reason": "where", "reasons": ["where"]},
            {"stage": "main", "query_id": "q1", "doc_id": "e", "decision": "negative", "reason": "drawn", "reasons": ["max_score"]},
        ],
        schema=schema.DECISIONS,
    )
    return World(
        storage,
        _part(storage, "select", "q0000", {"rows.parquet": rows_table(), "decisions.parquet": decisions}),
        _part(storage, "scored", "q0000", {"scored.parquet": scored}),
        _part(storage, "queries", "q0000", {"queries.parquet": queries}),
        documents,
    )
