"""Writers of rounds and readers of audits, to be run in processes of their own."""

import time

import duckdb
import pyarrow as pa

from tasks import schema
from tasks.audit.build import build_audit, latest_audit
from tasks.audit.records import publish_round
from tasks.sql import query_snapshot
from tests.audit.library import estimate
from tests.audit.world import DOCS, candidate, decision, new_world, selection, stage

# What must hold in every snapshot: a name for each round that breaks it.
BROKEN = """
SELECT 'candidates' AS broken, dataset, round FROM rounds r
  WHERE candidates <> (SELECT count(*) FROM candidates c WHERE c.dataset = r.dataset AND c.round = r.round)
    OR candidates <> (settings->>'$.pairs')::BIGINT
UNION ALL SELECT 'rows', dataset, round FROM rounds r WHERE training_rows <>
  (SELECT count(*) FROM "rows" t WHERE t.dataset = r.dataset AND t.round = r.round AND t.selection_id = r.selection_id)
UNION ALL SELECT 'decisions', dataset, round FROM rounds r WHERE candidates <>
  (SELECT count(*) FROM decisions d WHERE d.dataset = r.dataset AND d.round = r.round AND d.selection_id = r.selection_id)
UNION ALL SELECT 'counts', dataset, round FROM rounds r WHERE candidates <>
  (SELECT sum(pairs) FROM decision_counts d WHERE d.dataset = r.dataset AND d.round = r.round AND d.selection_id = r.selection_id)
UNION ALL SELECT 'measures', dataset, round FROM rounds r WHERE 1 <>
  (SELECT count(*) FROM false_negatives f WHERE f.dataset = r.dataset AND f.round = r.round AND f.selection_id = r.selection_id)
UNION ALL SELECT 'stages', dataset, round FROM rounds r WHERE 3 <> (SELECT count(*) FROM stages s
  WHERE s.dataset = r.dataset AND s.round = r.round AND s.stage IN ('scored', 'select', 'measure'))
UNION ALL SELECT 'unknown', dataset, round FROM decisions ANTI JOIN rounds USING (dataset, round, selection_id)
UNION ALL SELECT 'absent', dataset, round FROM rounds WHERE NOT pairs_here
UNION ALL SELECT 'gap', dataset, max(round) FROM rounds GROUP BY dataset HAVING count(DISTINCT round) <> max(round)"""
SIZE = "SELECT count(*) AS n FROM rounds"


def write(root, name, seconds, results):
    """Publish rounds of 1 to 4 candidates, two at least, in turn of a dataset of its own and of one that all write; tell how many."""
    world = new_world(root)
    end, number = time.monotonic() + seconds, 0
    while time.monotonic() < end or number < 2:
        one_round(world, f"{name}{number}", number % 4 + 1, ("shared", name)[number % 2])
        build_audit(world.storage)
        number += 1
    results.put(("wrote", number))


def one_round(world, key, pairs, dataset):
    docs = DOCS[:pairs]
    decisions = [decision(key, doc, "negative" if doc != "a" else "positive") for doc in docs]
    chosen = selection(world.storage, key, "top", decisions, docs[1:])
    estimates = pa.Table.from_pylist([estimate("review", 0.5, 0.25, 0.75, 40)], schema=schema.ESTIMATES)
    measures = stage(world.storage, "measure", f"measure-{key}", {"estimates.parquet": estimates})
    scored = [candidate(doc, place + 1, 0.5) for place, doc in enumerate(docs)]
    record = world.round(key, scored, chosen.model_copy(update={"measures": measures, "shards": {}}), dataset=dataset)
    publish_round(world.storage, record.model_copy(update={"settings": {"pairs": pairs}}))


def read(root, sandbox, seconds, results):
    """Read the newest snapshot again and again, twice at least; tell how often, and what was wrong."""
    world = new_world(root)
    end, reads, size, wrong = time.monotonic() + seconds, 0, 0, []
    while time.monotonic() < end or reads < 2:
        path = latest_audit(world.storage)
        broken, found = _sandboxed(path) if sandbox else _opened(path)
        wrong += broken
        if found < size:
            wrong.append(("fewer rounds than before", size, found))
        size, reads = found, reads + 1
    results.put(("read", reads, wrong))


def _opened(path):
    with duckdb.connect(str(path), read_only=True) as database:
        return database.execute(BROKEN).fetchall(), database.execute(SIZE).fetchone()[0]


def _sandboxed(path):
    return query_snapshot(path, BROKEN).to_pylist(), query_snapshot(path, SIZE).to_pylist()[0]["n"]
