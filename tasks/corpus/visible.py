"""Stage ``visible-positives``: positives that the model cannot see the answer of are set aside.

A model is given a document's first tokens only. Where a query has answers, one of them lies in a relevant document, and none in the part
that is seen, training would teach to find a text that does not hold the answer. Such a pair is neither positive nor negative.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from tasks.corpus.answers import places, wanted
from tasks.corpus.queries import facts
from tasks.models.spans import Sight, Spans
from tasks.runner.stage import Job, Stage, Work
from tasks.schema import QRELS
from tasks.store.keys import normalise
from tasks.store.manifest import Part
from tasks.store.output import Output
from tasks.store.tables import take_texts
from tasks.templates import document_inputs

STAGE = Stage(name="visible-positives", version=2, function="tasks.corpus.visible:run", unit="queries")
CUT = "cut before its answer"
SET_ASIDE = pa.schema([("query_id", pa.string()), ("doc_id", pa.string()), ("relevance", pa.int32()), ("reason", pa.string())])


def jobs(queries: Sequence[Part], documents: Sequence[Part], sight: Sight, positive_min_grade: int) -> list[Job]:
    """One job a query partition.

    Args:
        queries: parts with queries.parquet and qrels.parquet.
        documents: all document partitions.
        sight: what the retriever sees of a document.
        positive_min_grade: what a positive is.
    """
    texts = tuple(part.only("docs.parquet") for part in documents)
    keyed = {**sight._asdict(), "positive_min_grade": positive_min_grade}
    tokenizer = keyed.pop("tokenizer")
    return [
        Job(
            part.index,
            {"queries": (part.only("queries.parquet", "qrels.parquet"),), "documents": texts},
            keyed,
            {"tokenizer": tokenizer},
            part.file("queries.parquet").rows or 0,
        )
        for part in queries
    ]


def run(work: Work, out: Output) -> None:
    """Write ``queries.parquet``, ``qrels.parquet`` and ``set_aside.parquet`` (:data:`SET_ASIDE`)."""
    settings, least = work.job.settings, int(work.job.settings["positive_min_grade"])
    queries, qrels = work.table("queries", "queries.parquet"), work.table("queries", "qrels.parquet")
    answers = {name: wanted(given) for name, given in _pairs(queries, "query_id", "answers")}
    rows = [row for row, (name, grade) in enumerate(_pairs(qrels, "query_id", "relevance")) if grade >= least and answers.get(name)]
    cut = np.zeros(qrels.num_rows, dtype=bool)
    if rows:
        asked = qrels.take(pa.array(rows))
        partition, row = asked["doc_partition"].to_numpy().astype(np.int64), asked["doc_row"].to_numpy()
        _, first, inverse = np.unique(np.stack([partition, row]), axis=1, return_index=True, return_inverse=True)
        found = take_texts(work.storage, work.job.inputs["documents"], partition[first], row[first], ["title", "text"])
        inputs = [str(settings["prompt"]) + one for one in document_inputs(str(settings["template"]), found)]
        ends = seen_ends(inputs, Spans(str(work.job.options["tokenizer"]), work.storage), int(settings["limit"]))
        for number, name, place in zip(rows, asked["query_id"].to_pylist(), inverse.reshape(-1).tolist(), strict=True):
            cut[number] = is_cut(inputs[place], ends[place], answers[name])
    aside = qrels.filter(pa.array(cut))
    grades = np.where(cut, min(-1, least - 1), qrels["relevance"].to_numpy()).astype(np.int32)
    table = qrels.set_column(qrels.schema.get_field_index("relevance"), "relevance", pa.array(grades)).cast(QRELS)
    out.table("queries.parquet", queries)
    out.table("qrels.parquet", table)
    columns = [aside["query_id"], aside["doc_id"], aside["relevance"], pa.array([CUT] * aside.num_rows, pa.string())]
    out.table("set_aside.parquet", pa.table(columns, schema=SET_ASIDE))
    out.meta.update(facts(queries, table, least), merged=0, outside_split=0, withheld=0, rejected={}, set_aside=aside.num_rows)


def seen_ends(inputs: Sequence[str], spans: Spans, limit: int) -> list[int]:
    """Where in each text a model's sight ends, in characters.

    Args:
        inputs: as the model is given them.
        spans: its tokenizer.
        limit: tokens, special ones among them.
    """
    room = max(1, limit - spans.special)
    return [places[room - 1][1] if len(places) > room else len(text) for text, places in zip(inputs, spans.of(inputs), strict=True)]


def is_cut(text: str, end: int, answers: Sequence[str]) -> bool:
    """Whether some answer stands in a text, and none in its part before ``end``; at word borders (:mod:`tasks.corpus.answers`).

    Args:
        text: as the model is given it.
        end: where its sight ends, in characters.
        answers: as :func:`tasks.corpus.answers.wanted` makes them.

    >>> is_cut("Paris is large and Lyon is old", 14, ["lyon"]), is_cut("Paris is large", 14, ["lyon"]), is_cut("Lyon", 4, ["lyon"])
    (True, False, False)
    """
    whole, seen = normalise(text), len(normalise(text[:end]))
    first = [next(places(whole, answer), None) for answer in answers]
    found = [place for place in first if place is not None]
    return bool(found) and min(found) > seen


def _pairs(table: pa.Table, *names: str) -> list[tuple[Any, ...]]:
    return list(zip(*(table[name].to_pylist() for name in names), strict=True))
