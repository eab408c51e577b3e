"""The sample of a review: the union of what a round's recipes emitted, drawn with known probabilities, with texts for reviewers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from flows.stored import stored_stage, stored_table
from tasks.audit.records import RoundRecord, SelectionRecord
from tasks.errors import UsageError
from tasks.review.export import export_review
from tasks.review.sample import SAMPLE, Drawn, Manifest, Origin, Stratum
from tasks.review.settings import ExportSettings
from tasks.runner.runner import Context
from tasks.sql import run
from tasks.store.keys import digest
from tasks.store.storage import Storage
from tasks.store.tables import read_parts, take_texts
from tasks.truth.frame import frame
from tasks.truth.sampling import draw, plan
from tasks.truth.settings import SamplingSettings

_DECIDED = ["query_id", "doc_id", "decision"]
_SCORED = [
    "query_id",
    "doc_id",
    "doc_partition",
    "doc_row",
    "dense_rank",
    "dense_score",
    "teacher_logit",
    "teacher_sigmoid",
    "teacher_calibrated",
]
# recipes: of each pair the ids of the selections, which is what tells them apart; their names are for people
_EMITTED = """
WITH pairs AS (
  SELECT query_id, doc_id, list(selection_id ORDER BY selection_id) AS recipes, list(DISTINCT recipe ORDER BY recipe) AS names
  FROM negatives GROUP BY query_id, doc_id)
SELECT p.query_id, p.doc_id, p.recipes, p.names, s.doc_partition, s.doc_row, s.dense_rank, s.dense_score, s.teacher_logit,
       coalesce(s.teacher_calibrated, s.teacher_sigmoid)::DOUBLE AS prior
FROM pairs p JOIN scored s USING (query_id, doc_id) ORDER BY p.query_id, p.doc_id"""


def export_sample(
    context: Context,
    record: RoundRecord,
    recipes: Sequence[str],
    target: Path,
    sampling: SamplingSettings,
    settings: ExportSettings,
    seed: int,
) -> Manifest:
    """Draw a stratified probability sample of what the recipes emitted, and write it for reviewers.

    Args:
        context: storage, executor, progress.
        record: the round.
        recipes: selections by recipe or id; none: all of the round.
        target: the file to write.
        sampling: how many, and how they are spread.
        settings: the file's format.
        seed: another one draws another sample.

    Raises:
        InputError: the file is there already.
        UsageError: the round has no such selection.
    """
    chosen = _chosen(record, recipes)
    emitted = emitted_pairs(context.storage, record, chosen)
    prior, ranks = (emitted[name].to_numpy(zero_copy_only=False).astype(np.float64) for name in ("prior", "dense_rank"))
    planned = plan(prior, ranks, frame(emitted).members, sampling)
    pairs = zip(emitted["query_id"].to_pylist(), emitted["doc_id"].to_pylist(), strict=True)
    rows, inclusion = draw(planned, np.array([_uniform(seed, *pair) for pair in pairs]))
    strata = enumerate(zip(planned.sizes.tolist(), planned.draws.tolist(), strict=True))
    origin = Origin(
        dataset=record.dataset,
        round=record.number,
        candidate_set_id=record.candidate_set_id,
        seed=seed,
        budget=sampling.budget,
        strata=tuple(Stratum(number=number, size=size, draws=draws) for number, (size, draws) in strata),
        selections=tuple(Drawn(selection_id=one.selection_id, recipe=one.recipe, key=one.select.key) for one in chosen),
    )
    sample = _with_texts(context.storage, record, emitted.take(pa.array(rows)), planned.stratum[rows], inclusion)
    return export_review(sample, origin, target, settings)


def _chosen(record: RoundRecord, recipes: Sequence[str]) -> list[SelectionRecord]:
    found = {one.selection_id: one for one in ([record.selection(name) for name in recipes] if recipes else record.selections)}
    if not found:
        raise UsageError(f"round {record.dataset}/{record.number} has no selection", "select a recipe first: hardmine select")
    return list(found.values())


def emitted_pairs(storage: Storage, record: RoundRecord, chosen: Sequence[SelectionRecord]) -> pa.Table:
    """The union of the selections' negatives with what is known of each pair."""
    pieces = []
    for selection in chosen:
        decided = read_parts(storage, stored_stage(storage, selection.select).parts, "decisions.parquet", _DECIDED)
        negatives = run("SELECT DISTINCT query_id, doc_id FROM decided WHERE decision = 'negative'", {"decided": decided})
        for name, value in (("selection_id", selection.selection_id), ("recipe", selection.recipe)):
            negatives = negatives.append_column(name, pa.array([value] * negatives.num_rows, pa.string()))
        pieces.append(negatives)
    scored = read_parts(storage, stored_table(storage, record).scored, "scored.parquet", _SCORED)
    return run(_EMITTED, {"negatives": pa.concat_tables(pieces), "scored": scored})


def _with_texts(
    storage: Storage, record: RoundRecord, chosen: pa.Table, stratum: NDArray[np.int64], inclusion: NDArray[np.float64]
) -> pa.Table:
    table = stored_table(storage, record)
    queries = read_parts(storage, table.queries, "queries.parquet", ["query_id", "text"])
    texts = dict(zip(queries["query_id"].to_pylist(), queries["text"].to_pylist(), strict=True))
    asked = chosen["query_id"].to_pylist()
    documents = take_texts(storage, table.documents, chosen["doc_partition"].to_numpy(), chosen["doc_row"].to_numpy(), ["title", "text"])
    return pa.table(
        {
            "query_id": chosen["query_id"],
            "doc_id": chosen["doc_id"],
            "query": [texts[query] for query in asked],
            "title": documents["title"],
            "text": documents["text"],
            "positives": _positives(storage, record, set(asked), asked),
            "stratum": stratum,
            "inclusion": inclusion,
            "teacher_score": chosen["teacher_logit"],
            "dense_rank": chosen["dense_rank"],
            "dense_score": chosen["dense_score"],
            "recipes": chosen["names"],
        }
    ).cast(SAMPLE)


def _positives(storage: Storage, record: RoundRecord, wanted: set[str], order: Sequence[str]) -> list[list[str]]:
    """The texts of each query's positives."""
    table = stored_table(storage, record)
    scored = read_parts(storage, table.scored, "scored.parquet", ["query_id", "doc_partition", "doc_row", "is_positive"])
    labelled = run(
        "SELECT * FROM scored SEMI JOIN wanted USING (query_id) WHERE is_positive ORDER BY query_id, doc_partition, doc_row",
        {"scored": scored, "wanted": pa.table({"query_id": sorted(wanted)})},
    )
    documents = take_texts(storage, table.documents, labelled["doc_partition"].to_numpy(), labelled["doc_row"].to_numpy(), ["text"])
    by_query: dict[str, list[str]] = {query: [] for query in wanted}
    for query, text in zip(labelled["query_id"].to_pylist(), documents["text"].to_pylist(), strict=True):
        by_query[query].append(text)
    return [by_query[query] for query in order]


def _uniform(seed: int, query_id: str, doc_id: str) -> float:
    """A number between 0 and 1 by hash of the pair."""
    return (int(digest("review", seed, query_id, doc_id)[:13], 16) + 0.5) / 16.0**13
