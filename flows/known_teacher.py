"""What a given teacher has seen: one that was trained here on the dataset's own labels is calibrated on what it held out, or not at all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from tasks.audit.checkpoints import TrainingRecord, read_trainings
from tasks.models.fingerprint import part_digest
from tasks.models.settings import TeacherTraining
from tasks.store.manifest import StageManifest, read_stage
from tasks.store.storage import Storage

HeldOut = Literal["all"] | dict[str, float | int]
_FACT = "held_out"  # of a training's record: weights of each teacher, the share that it held out, and the seed


@dataclass(frozen=True)
class Unseen:
    """Queries that a teacher was not trained on.

    Args:
        held_out: as :func:`tasks.truth.calibrate.jobs` takes it; a holdout of 0: none but those of split calibration.
        note: why not all; empty: it was not trained on this dataset.
    """

    held_out: HeldOut = "all"
    note: str = ""


def unseen(storage: Storage, dataset: str, weights: str) -> Unseen:
    """Look a given teacher up among those that were trained on a dataset.

    Args:
        storage: the root.
        dataset: name.
        weights: the teacher's fingerprint.
    """
    found = list(_trainings(storage, dataset, weights))
    if not found:
        return Unseen()
    kept = {(fact["holdout"], fact["seed"]) if (fact := record.facts.get(_FACT)) and folds == 1 else None for record, folds in found}
    one = kept.pop() if len(kept) == 1 else None
    if one is not None:
        holdout, seed = one
        told = (
            f"the teacher was trained on labels of {dataset!r}: it is calibrated on the {holdout:.0%} of the query groups that it held out"
        )
        return Unseen({"holdout": float(holdout), "seed": int(seed)}, told)
    why = "each fold's teacher knows most queries" if any(folds > 1 for _, folds in found) else "what it held out is not recorded"
    told = f"the teacher was trained on labels of {dataset!r}, and {why}: only queries of split calibration calibrate it"
    return Unseen({"holdout": 0.0, "seed": 0}, told)


def unseen_by_all(each: Sequence[Unseen]) -> Unseen:
    """Queries that no teacher of an ensemble was trained on, of what is known of each.

    >>> held = Unseen({"holdout": 0.1, "seed": 0}, "the teacher …")
    >>> unseen_by_all([Unseen(), held]) == held, unseen_by_all([held, Unseen({"holdout": 0.1, "seed": 1}, "…")]).held_out
    (True, {'holdout': 0.0, 'seed': 0})
    """
    trained = [one for one in each if one.held_out != "all"]
    if not trained or all(one.held_out == trained[0].held_out for one in trained):
        return trained[0] if trained else each[0]
    told = (
        "teachers of the ensemble were trained on labels of this dataset, on different queries: only queries of split calibration calibrate"
    )
    return Unseen({"holdout": 0.0, "seed": 0}, told)


def held_out_facts(trained: StageManifest, training: TeacherTraining) -> dict[str, object]:
    """What a training's record keeps, so that :func:`unseen` finds its teachers wherever they lie."""
    return {_FACT: {"weights": [part_digest(part) for part in trained.parts], "holdout": training.holdout, "seed": training.seed}}


def _trainings(storage: Storage, dataset: str, weights: str) -> Iterator[tuple[TrainingRecord, int]]:
    """Trainings that made a teacher, and how many teachers each made."""
    for record in read_trainings(storage, dataset):
        if record.kind == "teacher":
            made = _weights(storage, record)
            if weights in made:
                yield record, len(made)


def _weights(storage: Storage, record: TrainingRecord) -> list[str]:
    """Fingerprints of a training's teachers; of records from before they were kept, from the stage's manifest."""
    kept = record.facts.get(_FACT)
    if kept is not None:
        return [str(one) for one in kept["weights"]]
    manifest = read_stage(storage, record.train.stage, record.train.key, check_files=False)
    return [part_digest(part) for part in manifest.parts] if manifest else []
