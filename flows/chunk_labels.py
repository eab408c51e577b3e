"""What people and signals said of chunks, by the text that was seen: chunks' ids are of one version of a dataset only."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from tasks.audit.promotions import promoted_pairs, read_promotions
from tasks.audit.records import RoundRecord, list_rounds
from tasks.review.records import label_table, read_reviews
from tasks.sql import run
from tasks.store.manifest import read_stage
from tasks.store.storage import Storage
from tasks.store.tables import read_parts

_SEEN = pa.schema([("query_id", pa.string()), ("doc_id", pa.string()), ("chunk", pa.string()), ("label", pa.string())])
_NAMED = """
SELECT g.query_id, coalesce(s.group_id, CASE WHEN $chunked THEN regexp_replace(g.doc_id, $ending, '') ELSE g.doc_id END) AS doc_id,
       CASE WHEN $chunked THEN coalesce(s.norm_hash, '') END AS chunk, g.label
FROM given g LEFT JOIN seen s ON s.doc_id = g.doc_id WHERE g.label IS NOT NULL"""
_SURE = """
SELECT query_id, doc_id, chunk, min(label) = 'relevant' AS relevant FROM labels GROUP BY query_id, doc_id, chunk
HAVING count(DISTINCT label) = 1 AND min(label) IN ('relevant', 'not') ORDER BY ALL"""
_STANDING = """
SELECT DISTINCT query_id, doc_id, chunk, true AS relevant FROM promoted p
WHERE NOT EXISTS (FROM reviewed r WHERE NOT r.relevant AND r.query_id = p.query_id AND r.doc_id = p.doc_id
                  AND r.chunk IS NOT DISTINCT FROM p.chunk) ORDER BY ALL"""
_ENDING = r"#[0-9]{4,}$"


def reviewed_texts(storage: Storage, dataset: str) -> pa.Table:
    """What all reviews of a dataset together say for sure: query_id, doc_id, chunk, relevant.

    A label of a chunk has the id of the whole document, and in ``chunk`` the norm_hash of the text that was reviewed; it is empty, and
    fits no chunk, where the round that was reviewed is gone. A label of a whole document has NULL.
    """
    rounds = _rounds(storage, dataset)
    found = [_named(storage, rounds.get(one.manifest.origin.candidate_set_id), label_table(one)) for one in read_reviews(storage, dataset)]
    return run(_SURE, {"labels": pa.concat_tables([_SEEN.empty_table(), *found])})


def promoted_texts(storage: Storage, dataset: str, reviewed: pa.Table) -> pa.Table:
    """Standing promotions in the same columns, without those that ``reviewed`` calls not relevant."""
    rounds = _rounds(storage, dataset)
    found = []
    for one in read_promotions(storage, dataset):
        if not one.withdrawn:
            pairs = promoted_pairs(storage, one)
            label = pa.array(["relevant"] * pairs.num_rows, pa.string())
            found.append(_named(storage, rounds.get(one.candidate_set_id), pairs.append_column("label", label)))
    return run(_STANDING, {"promoted": pa.concat_tables([_SEEN.empty_table(), *found]), "reviewed": reviewed})


def _rounds(storage: Storage, dataset: str) -> dict[str, RoundRecord]:
    return {record.candidate_set_id: record for record in list_rounds(storage, dataset)}


def _named(storage: Storage, record: RoundRecord | None, given: pa.Table) -> pa.Table:
    """Labels by ids of a round as labels by documents and their texts; of a round that is gone by the ids' form."""
    if record is None:
        of_chunk = pc.match_substring_regex(given["doc_id"], _ENDING)
        both = [_told(given.filter(which), chunked, None) for which, chunked in ((of_chunk, True), (pc.invert(of_chunk), False))]
        return pa.concat_tables(both)
    if not record.settings["facts"].get("chunked"):
        return _told(given, False, None)
    reference = record.roles["documents"]
    documents = read_stage(storage, reference.stage, reference.key)
    wanted = given["doc_id"].combine_chunks()
    seen = read_parts(storage, documents.parts, "docs.parquet", ["doc_id", "group_id", "norm_hash"]) if documents else None
    return _told(given, True, seen.filter(pc.is_in(seen["doc_id"], value_set=wanted)) if seen else None)


def _told(given: pa.Table, chunked: bool, seen: pa.Table | None) -> pa.Table:
    if seen is None:
        seen = pa.table({name: pa.array([], pa.string()) for name in ("doc_id", "group_id", "norm_hash")})
    made = run(_NAMED, {"given": given.select(["query_id", "doc_id", "label"]), "seen": seen}, {"chunked": chunked, "ending": _ENDING})
    return made.cast(_SEEN)
