"""The review loop: a sample of what the recipes emitted goes to people, their labels come back as a rate and as labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from flows.mine import shard_settings
from flows.selection import Decided, compute_features, measure_selection
from flows.stored import find_round, stored_settings, stored_stage, stored_table
from tasks.audit.build import build_audit
from tasks.audit.records import RoundRecord, StageRef, publish_round
from tasks.errors import UsageError
from tasks.review.export import export_review
from tasks.review.labels import Answers, read_labels, read_manifest
from tasks.review.records import ReviewRecord, label_table, publish_review, read_reviews
from tasks.review.sample import SAMPLE, Manifest, Origin, Stratum
from tasks.review.settings import ExportSettings
from tasks.runner.runner import Context
from tasks.select.recipe import Recipe
from tasks.sql import run
from tasks.store.keys import digest
from tasks.store.storage import Storage
from tasks.store.tables import read_parts, take_texts
from tasks.truth.frame import LABELS, Sample, frame
from tasks.truth.review import Leak, leaks
from tasks.truth.sampling import draw, plan
from tasks.truth.settings import SamplingSettings
from tasks.truth.task import Review

_EMITTED = """
SELECT query_id, doc_id, list(recipe ORDER BY recipe) AS recipes FROM (SELECT DISTINCT query_id, doc_id, recipe FROM negatives)
GROUP BY query_id, doc_id ORDER BY query_id, doc_id"""

_JOINED = """
SELECT e.query_id, e.doc_id, e.recipes, s.query_row, s.doc_partition, s.doc_row, s.dense_rank, s.dense_score, s.teacher_logit,
       coalesce(s.teacher_calibrated, s.teacher_sigmoid)::DOUBLE AS prior, s.label_evidence, q."group"
FROM emitted e JOIN scored s USING (query_id, doc_id) LEFT JOIN queries q USING (query_id) ORDER BY e.query_id, e.doc_id"""


@dataclass(frozen=True)
class Imported:
    """What an import did.

    Args:
        record: the reviews of this sample so far, with the new labels.
        answers: what was read, what was set aside, what has no label yet.
        leaks: by recipe, of the round's present selections; a recipe without a sure answer has none yet.
        outside: recipes that cannot be measured, as they emit pairs that this sample was not drawn from.
    """

    record: ReviewRecord
    answers: Answers
    leaks: list[Leak]
    outside: list[str]

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        return {
            "round": f"{self.record.manifest.origin.dataset}/{self.record.manifest.origin.round}",
            "labels": len(self.answers.answers),
            "aside": [str(aside) for aside in self.answers.aside],
            "unreviewed": self.answers.unreviewed,
            "leaks": [leak.model_dump(mode="json") for leak in self.leaks],
            "outside": self.outside,
        }


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
    emitted = _emitted(context, record, recipes)
    members = frame(emitted).members
    prior = emitted["prior"].to_numpy(zero_copy_only=False).astype(np.float64)
    drawn_plan = plan(prior, emitted["dense_rank"].to_numpy(zero_copy_only=False).astype(np.float64), members, sampling)
    uniform = np.array([_uniform(seed, *pair) for pair in zip(emitted["query_id"].to_pylist(), emitted["doc_id"].to_pylist(), strict=True)])
    rows, inclusion = draw(drawn_plan, uniform)
    strata = tuple(
        Stratum(number=number, size=size, draws=draws)
        for number, (size, draws) in enumerate(zip(drawn_plan.sizes.tolist(), drawn_plan.draws.tolist(), strict=True))
    )
    origin = Origin(
        dataset=record.dataset,
        round=record.number,
        candidate_set_id=record.candidate_set_id,
        seed=seed,
        budget=sampling.budget,
        strata=strata,
    )
    chosen = emitted.take(pa.array(rows))
    sample = _with_texts(context.storage, record, chosen, drawn_plan.stratum[rows], inclusion)
    return export_review(sample, origin, target, settings)


def import_labels(context: Context, files: Sequence[Path]) -> Imported:
    """Take reviewers' labels back: they are kept under the root, measured, and count as labels from the next round on.

    Raises:
        InputError: the manifest beside the first file is missing or changed.
    """
    manifest = read_manifest(files[0])
    answers = read_labels(files, manifest)
    published = publish_review(context.storage, manifest, answers)
    record = find_round(context.storage, f"{manifest.origin.dataset}/{manifest.origin.round}")
    found, outside = review_leaks(context, record, published)
    _measure_again(context, record, published)
    build_audit(context.storage)
    return Imported(published, answers, found, outside)


def review_leaks(context: Context, record: RoundRecord, reviewed: ReviewRecord) -> tuple[list[Leak], list[str]]:
    """Leak of the round's selections by one review, as far as it has sure answers, and the recipes that it was not drawn from."""
    reach = {recipe for pair in reviewed.manifest.pairs for recipe in pair.recipes}
    outside = sorted({selection.recipe for selection in record.selections} - reach)
    inside = [selection.selection_id for selection in record.selections if selection.recipe in reach]
    if not inside:
        return [], outside
    emitted = _emitted(context, record, inside)
    labels = label_table(reviewed)
    place = {pair: row for row, pair in enumerate(zip(emitted["query_id"].to_pylist(), emitted["doc_id"].to_pylist(), strict=True))}
    rows = [place.get(pair, -1) for pair in zip(labels["query_id"].to_pylist(), labels["doc_id"].to_pylist(), strict=True)]
    there = np.array(rows) >= 0
    sample = Sample(
        rows=np.array(rows)[there],
        stratum=labels["stratum"].to_numpy()[there],
        inclusion=labels["inclusion"].to_numpy()[there],
        labels=np.array([LABELS[label] for label in labels["label"].to_pylist()], dtype=np.int8)[there],
    )
    every = frame(emitted)
    answered = every.members[sample.rows[sample.labels >= 0]].sum(axis=0)
    names = [name for at, name in enumerate(every.recipes) if answered[at]]
    return (leaks(frame(emitted, names), sample) if names else []), outside


def apply_reviews(context: Context, record: RoundRecord) -> None:
    """Measure a round's selections by the reviews that it had: a selection that was made anew loses nothing of them."""
    for reviewed in read_reviews(context.storage, record.dataset):
        if reviewed.manifest.origin.candidate_set_id == record.candidate_set_id:
            _measure_again(context, record, reviewed)


def _measure_again(context: Context, record: RoundRecord, reviewed: ReviewRecord) -> None:
    """Measure the round's selections anew, now that a review says something about them."""
    reach = {recipe for pair in reviewed.manifest.pairs for recipe in pair.recipes}
    inside = [selection for selection in record.selections if selection.recipe in reach]
    decided = {one.selection_id: stored_stage(context.storage, one.select) for one in inside}
    review = Review(label_table(reviewed), [part for manifest in decided.values() for part in manifest.parts])
    table, settings = stored_table(context.storage, record), stored_settings(record)
    measured, stages = [], []
    for selection in inside:
        recipe = Recipe.model_validate(selection.recipe_settings)
        found = {name: stored_stage(context.storage, reference) for name, reference in selection.features.items()}
        outcome = Decided(selection.selection_id, decided[selection.selection_id], found)
        reasons = shard_settings(settings, recipe).suspect_reasons
        *_, last = measure_selection(context, table, recipe, outcome, settings.seed, reasons, [review])
        stages.append(StageRef(stage=last.stage, key=last.key))
        measured.append(selection.model_copy(update={"measures": stages[-1]}))
    update = {"selections": tuple(measured), "stages": tuple(stages)}
    if measured:
        publish_round(context.storage, record.model_copy(update=update), add_only=True)


def _emitted(context: Context, record: RoundRecord, recipes: Sequence[str]) -> pa.Table:
    """The union of the selections' negatives with what is known of each pair; score: a teacher's logit, else evidence, else similarity."""
    table = stored_table(context.storage, record)
    chosen = [record.selection(name) for name in recipes] if recipes else list(record.selections)
    if not chosen:
        raise UsageError(f"round {record.dataset}/{record.number} has no selection", "select a recipe first: hardmine select")
    pieces = []
    for selection in chosen:
        decided = read_parts(context.storage, stored_stage(context.storage, selection.select).parts, "decisions.parquet", _COLUMNS)
        negatives = run("SELECT DISTINCT query_id, doc_id FROM decided WHERE decision = 'negative'", {"decided": decided})
        pieces.append(negatives.append_column("recipe", pa.array([selection.recipe] * negatives.num_rows, pa.string())))
    emitted = run(_EMITTED, {"negatives": pa.concat_tables(pieces)})
    (evidence,) = compute_features(context, table, {"evidence": {}}).values()
    scored = read_parts(context.storage, table.scored, "scored.parquet", _SCORES)
    scored = scored.append_column("label_evidence", read_parts(context.storage, evidence.parts, "features.parquet")["label_evidence"])
    queries = read_parts(context.storage, table.queries, "queries.parquet", ["query_id", "group"])
    joined = run(_JOINED, {"emitted": emitted, "scored": scored, "queries": queries})
    has_teacher = joined["teacher_logit"].null_count < joined.num_rows
    score = joined["teacher_logit" if has_teacher else "label_evidence"]
    return joined.append_column("score", score)


_COLUMNS = ["query_id", "doc_id", "decision"]
_SCORES = [
    "query_id",
    "doc_id",
    "query_row",
    "doc_partition",
    "doc_row",
    "dense_rank",
    "dense_score",
    "teacher_logit",
    "teacher_sigmoid",
    "teacher_calibrated",
]


def _with_texts(storage: Storage, record: RoundRecord, chosen: pa.Table, stratum: np.ndarray, inclusion: np.ndarray) -> pa.Table:
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
            "recipes": chosen["recipes"],
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
