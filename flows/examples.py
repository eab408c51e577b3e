"""Texts for the report: the hardest and the most suspicious negatives, and the documents that are negatives most often."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from flows.selection import HUBS
from flows.stored import measured, stored_stage, stored_table
from tasks.audit.explain import CandidateStory, show_query
from tasks.audit.records import RoundRecord, SelectionRecord
from tasks.report.examples import Example, Hub, Passage
from tasks.sql import run
from tasks.store.storage import Storage
from tasks.store.tables import read_parts, take_texts

_EXAMPLES = 6
_LENGTH = 2_000  # characters of an example's text
_SCORES = {"dense_score": "dense", "teacher_sigmoid": "teacher", "teacher_calibrated": "probability", "bm25_score": "bm25"}

_HARDEST = """
SELECT query_id, doc_id
FROM (SELECT DISTINCT query_id, doc_id FROM decided WHERE decision = 'negative') JOIN scored USING (query_id, doc_id)
QUALIFY row_number() OVER (PARTITION BY query_id ORDER BY dense_score DESC, doc_id) = 1
ORDER BY dense_score DESC, query_id LIMIT $n"""

_SUSPICIOUS = """
SELECT query_id, doc_id
FROM suspects JOIN (SELECT basis, min(place) AS first FROM suspects GROUP BY basis) USING (basis)
QUALIFY row_number() OVER (PARTITION BY query_id ORDER BY first, suspicion DESC, doc_id) = 1
ORDER BY first, suspicion DESC, query_id LIMIT $n"""


def hardest(storage: Storage, record: RoundRecord, chosen: SelectionRecord) -> tuple[Example, ...]:
    """The negatives nearest to their queries, one a query."""
    return _examples(storage, record, chosen, _pairs(storage, record, chosen, _HARDEST))


def suspicious(storage: Storage, record: RoundRecord, chosen: SelectionRecord) -> tuple[Example, ...]:
    """The negatives that are most likely relevant, one a query: by the best basis first, then by its value, as the measures list them."""
    return _examples(storage, record, chosen, _pairs(storage, record, chosen, _SUSPICIOUS))


def suspect_zeros(storage: Storage, record: RoundRecord, chosen: SelectionRecord) -> tuple[int, tuple[Example, ...]]:
    """How many documents that are labelled as not relevant look relevant, and the first few."""
    found = measured(storage, chosen, "suspect_zeros.parquet")
    if found is None:
        return 0, ()
    first = found.slice(0, _EXAMPLES)
    pairs = list(zip(first["query_id"].to_pylist(), first["doc_id"].to_pylist(), strict=True))
    made = _examples(storage, record, chosen, pairs)
    return found.num_rows, tuple(one.model_copy(update={"note": why}) for one, why in zip(made, first["why"].to_pylist(), strict=True))


def _pairs(storage: Storage, record: RoundRecord, chosen: SelectionRecord, query: str) -> list[tuple[str, str]]:
    tables = {}
    if "decided" in query:
        parts = stored_stage(storage, chosen.select).parts
        tables["decided"] = read_parts(storage, parts, "decisions.parquet", ["query_id", "doc_id", "decision"])
        tables["scored"] = read_parts(
            storage, stored_table(storage, record).scored, "scored.parquet", ["query_id", "doc_id", "dense_score"]
        )
    else:
        suspects = measured(storage, chosen, "suspects.parquet")
        if suspects is None:
            return []
        tables["suspects"] = suspects.append_column("place", pa.array(range(suspects.num_rows), pa.int64()))
    found = run(query, tables, {"n": _EXAMPLES})
    return list(zip(found["query_id"].to_pylist(), found["doc_id"].to_pylist(), strict=True))


def _examples(storage: Storage, record: RoundRecord, chosen: SelectionRecord, pairs: Sequence[tuple[str, str]]) -> tuple[Example, ...]:
    found = []
    for query_id, doc_id in pairs:
        story = show_query(storage, record, query_id, chosen.selection_id, shorten=_LENGTH)
        document = next(one for one in story.candidates if one.doc_id == doc_id)
        decision = document.decisions[0]
        found.append(
            Example(
                query_id=query_id,
                query=story.text,
                positives=tuple(_passage(one) for one in story.positives),
                negative=_passage(document),
                decision=decision.decision,
                reasons=tuple(decision.reasons),
            )
        )
    return tuple(found)


def _passage(one: CandidateStory) -> Passage:
    scores = {words: float(one.scores[name]) for name, words in _SCORES.items() if isinstance(one.scores.get(name), float)}
    return Passage(doc_id=one.doc_id, title=one.title, text=one.text, scores=scores)


def hubs(storage: Storage, record: RoundRecord, chosen: SelectionRecord) -> tuple[Hub, ...]:
    """The documents that are a negative for most queries, with their texts."""
    used = read_parts(storage, stored_stage(storage, chosen.select).parts, "usage.parquet")
    table = stored_table(storage, record)
    scored = read_parts(storage, table.scored, "scored.parquet", ["doc_id", "doc_partition", "doc_row"])
    top = run(
        """SELECT doc_id, sum(queries)::BIGINT AS queries, any_value(s.doc_partition) AS doc_partition, any_value(s.doc_row) AS doc_row
           FROM used JOIN (SELECT DISTINCT doc_id, doc_partition, doc_row FROM scored) s USING (doc_id)
           GROUP BY doc_id ORDER BY 2 DESC, doc_id LIMIT $n""",
        {"used": used, "scored": scored},
        {"n": HUBS},
    )
    texts = take_texts(storage, table.documents, top["doc_partition"].to_numpy(), top["doc_row"].to_numpy(), ["title", "text"])
    rows = zip(top["doc_id"].to_pylist(), top["queries"].to_pylist(), texts["title"].to_pylist(), texts["text"].to_pylist(), strict=True)
    return tuple(
        Hub(doc_id=name, uses=queries, queries=queries, title=title or "", text=(text or "")[:_LENGTH])
        for name, queries, title, text in rows
    )
