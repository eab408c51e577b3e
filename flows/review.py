"""Labels that come back: kept under the root, measured on the selections that they were drawn from, labels of the next round."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from flows.selection import Decided, measure_selection, shard_settings
from flows.stored import find_round, measured, review_verdict, stored_settings, stored_stage, stored_table
from tasks.audit.build import build_audit
from tasks.audit.records import RoundRecord, SelectionRecord, StageRef, publish_round
from tasks.review.labels import Answers, read_labels, read_manifest
from tasks.review.records import ReviewRecord, label_table, publish_review, read_reviews, sure_labels
from tasks.review.sample import Drawn, Manifest
from tasks.runner.runner import Context
from tasks.select.recipe import Recipe
from tasks.store.storage import Storage
from tasks.truth.task import Review


class ReviewedRate(BaseModel):
    """What reviews say of one selection's negatives, as its stage ``measure`` has it.

    ``rate``, ``low``, ``high``: with the teacher's help (estimator ``review``); ``labels_alone``: the same without (``review_design``).
    """

    model_config = ConfigDict(frozen=True)

    recipe: str
    selection_id: str
    rate: float
    low: float
    high: float
    labels_alone: tuple[float, float, float]
    reviewed: int
    emitted: int
    note: str


@dataclass(frozen=True)
class Imported:
    """What an import did.

    Args:
        record: the reviews of this sample so far, with the new labels.
        answers: what was read, what was set aside, what has no label yet.
        rates: of the selections that the sample was drawn from; one without a sure answer has none yet.
        anew: recipes that were selected anew since the sample was drawn.
        outside: other recipes that the sample was not drawn from.
        others: how many other reviewed samples the round has: of each selection the one that says most of it counts.
        stale: the round's candidates are not those that the sample was drawn from, so nothing is measured.
        positives: pairs that all reviews of the dataset call relevant.
        zeros: pairs that all reviews of the dataset call not relevant.
        verdict: whether the teacher can tell relevant from not, by the round's review; none: no review says.
    """

    record: ReviewRecord
    answers: Answers
    rates: list[ReviewedRate]
    anew: list[str]
    outside: list[str]
    others: int
    stale: bool
    positives: int
    zeros: int
    verdict: str | None = None

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        return {
            "round": _round(self.record.manifest),
            "labels": len(self.answers.answers),
            "aside": [str(aside) for aside in self.answers.aside],
            "unreviewed": self.answers.unreviewed,
            "rates": [rate.model_dump(mode="json") for rate in self.rates],
            "anew": self.anew,
            "outside": self.outside,
            "others": self.others,
            "stale": self.stale,
            "positives": self.positives,
            "zeros": self.zeros,
            "verdict": self.verdict,
        }


def import_labels(context: Context, files: Sequence[Path]) -> Imported:
    """Take reviewers' labels back: they are kept under the root, measured, and count as labels from the next round on.

    Raises:
        InputError: the manifest beside the first file is missing or changed.
        UsageError: the root has no round of that name.
    """
    manifest = read_manifest(files[0])
    answers = read_labels(files, manifest)
    find_round(context.storage, _round(manifest))
    published = publish_review(context.storage, manifest, answers)
    record = apply_reviews(context, find_round(context.storage, _round(manifest)))
    build_audit(context.storage)
    inside, anew, outside = divided(record, manifest)
    found = [rate for rate in (_rate(context.storage, selection) for selection in inside) if rate is not None]
    labels = sure_labels(context.storage, manifest.origin.dataset)["relevant"].to_pylist()
    return Imported(
        record=published,
        answers=answers,
        rates=found,
        anew=anew,
        outside=outside,
        others=sum(one.review_id != published.review_id for one in _reviews(context.storage, record)),
        stale=record.candidate_set_id != manifest.origin.candidate_set_id,
        positives=sum(labels),
        zeros=len(labels) - sum(labels),
        verdict=review_verdict(context.storage, record),
    )


def apply_reviews(context: Context, record: RoundRecord) -> RoundRecord:
    """Measure the selections that the round's reviews were drawn from: one that is published again loses nothing of them."""
    reviews = _reviews(context.storage, record)
    frames = {review.review_id: _review(context.storage, record, review) for review in reviews}
    table, settings = stored_table(context.storage, record), stored_settings(record)
    changed, stages = [], []
    for selection in record.selections:
        own = [frames[review.review_id] for review in reviews if selection in divided(record, review.manifest)[0]]
        if not own:
            continue
        recipe = Recipe.model_validate(selection.recipe_settings)
        features = {name: stored_stage(context.storage, reference) for name, reference in selection.features.items()}
        outcome = Decided(selection.selection_id, stored_stage(context.storage, selection.select), features)
        reasons = shard_settings(settings, recipe).suspect_reasons
        *_, last = measure_selection(context, table, recipe, outcome, settings.seed, reasons, own)
        stages.append(StageRef(stage=last.stage, key=last.key))
        changed.append(selection.model_copy(update={"measures": stages[-1]}))
    if not changed:
        return record
    update = {"selections": tuple(changed), "stages": tuple(stages)}
    return publish_round(context.storage, record.model_copy(update=update), add_only=True)


def divided(record: RoundRecord, manifest: Manifest) -> tuple[list[SelectionRecord], list[str], list[str]]:
    """A round's selections, seen from a sample.

    Returns:
        Those that it was drawn from, as they were; the names of those that were selected anew since (a recipe that was there to be drawn,
        with another id or other decisions); the names of the others.
    """
    if record.candidate_set_id != manifest.origin.candidate_set_id:
        return [], [], sorted({selection.recipe for selection in record.selections})
    drawn = drawn_from(record, manifest)
    keys, names = {one.selection_id: one.key for one in drawn}, {one.recipe for one in drawn}
    inside = [selection for selection in record.selections if keys.get(selection.selection_id) == selection.select.key]
    rest = {selection.recipe for selection in record.selections if selection not in inside}
    return inside, sorted(rest & names), sorted(rest - names)


def drawn_from(record: RoundRecord, manifest: Manifest) -> tuple[Drawn, ...]:
    """The selections that a sample was drawn from; by the names of its pairs' recipes where its manifest does not list them."""
    if manifest.origin.selections:
        return manifest.origin.selections
    names = {recipe for pair in manifest.pairs for recipe in pair.recipes}
    return tuple(
        Drawn(selection_id=one.selection_id, recipe=one.recipe, key=one.select.key) for one in record.selections if one.recipe in names
    )


def _reviews(storage: Storage, record: RoundRecord) -> list[ReviewRecord]:
    """The reviews of samples of these candidates."""
    return [one for one in read_reviews(storage, record.dataset) if one.manifest.origin.candidate_set_id == record.candidate_set_id]


def _review(storage: Storage, record: RoundRecord, review: ReviewRecord) -> Review:
    """Its labels, and what was there to be drawn."""
    frame = [stored_stage(storage, StageRef(stage="select", key=one.key)) for one in drawn_from(record, review.manifest)]
    return Review(label_table(review), [part for manifest in frame for part in manifest.parts])


def _rate(storage: Storage, selection: SelectionRecord) -> ReviewedRate | None:
    table = measured(storage, selection, "estimates.parquet")
    rows = {row["estimator"]: row for row in (pa.Table.to_pylist(table) if table is not None else []) if row["slice"] == "all"}
    if "review" not in rows or selection.measures is None:
        return None
    row, alone = rows["review"], rows["review_design"]
    return ReviewedRate(
        recipe=selection.recipe,
        selection_id=selection.selection_id,
        rate=row["rate"],
        low=row["low"],
        high=row["high"],
        labels_alone=(alone["rate"], alone["low"], alone["high"]),
        reviewed=row["pairs"],
        emitted=int(stored_stage(storage, selection.measures).parts[0].meta["negatives"]),
        note=row["note"],
    )


def _round(manifest: Manifest) -> str:
    return f"{manifest.origin.dataset}/{manifest.origin.round}"
