"""Train a teacher by itself: a cross-encoder from a dataset's own labels, measured on queries that it was not trained on."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from flows.checks import check_models, check_new_folder, check_test_unread
from flows.known_teacher import held_out_facts
from flows.round import ScoredRound, mine_candidates, prepare_dataset
from flows.settings import MineSettings
from tasks.audit.checkpoints import EvaluationRecord, TrainingRecord, publish_evaluation, publish_training
from tasks.audit.records import StageRef
from tasks.corpus.splits import check_splits
from tasks.errors import UsageError
from tasks.evaluate.task import evaluate_teacher
from tasks.models.fingerprint import body_spec, part_digest
from tasks.models.materialise import materialise
from tasks.models.stored import reference
from tasks.runner.runner import Context
from tasks.store.keys import digest
from tasks.store.manifest import StageManifest
from tasks.store.storage import Storage

Figures = dict[str, dict[str, float]]


class Taught(BaseModel):
    """A teacher, and how good it is.

    Args:
        models: folders of the teachers: several where each leaves a fold of the queries out.
        fingerprints: of the same.
        facts: pairs, AUC and loss on held-out query groups before and after; the mean over folds.
        split: queries on which its ranking was measured; empty: there are none.
        queries: how many.
        measures: of the candidates in the teacher's order.
        gain: the same less those in the retriever's order.
    """

    model_config = ConfigDict(frozen=True)
    dataset: str
    models: tuple[str, ...]
    fingerprints: tuple[str, ...]
    facts: dict[str, Any]
    split: str = ""
    queries: int = 0
    measures: Figures = {}
    gain: Figures = {}


def teach(settings: MineSettings, context: Context, target: Path | None = None) -> Taught:
    """Retrieve, train the teacher, score, and measure its ranking. A round that is mined with these settings finds it all in the cache.

    The training and what was measured are recorded; the audit shows them once it is built anew.

    Args:
        settings: of a run with ``teacher.train``.
        context: storage, executor, progress.
        target: a new or empty folder for the teacher.

    Raises:
        UsageError: no teacher is to be trained, several are and one folder is given, or the folder is not empty.
    """
    if settings.teacher is None or settings.teacher.train is None:
        raise UsageError("the run trains no teacher", "set teacher: {train: {}}")
    check_new_folder(target)
    settings = settings.under(context.storage)
    check_models(settings, context.storage)
    scored = mine_candidates(context, settings, prepare_dataset(context, settings), ())
    folders = [materialise(context.storage, part) for part in scored.teachers.parts]
    if target is not None:
        if len(folders) > 1:
            raise UsageError(
                f"{len(folders)} teachers were trained, one a fold", "set teacher.train.folds: 0 for a single one, or leave out --out"
            )
        shutil.copytree(folders[0], target, dirs_exist_ok=True)
    fingerprints = tuple(part_digest(part) for part in scored.teachers.parts)
    record_teachers(context.storage, settings, 0, scored)
    measured = _measured(settings, context, scored, reference(scored.teachers.parts[0]) if len(folders) == 1 else "")
    meta = measured.parts[0].meta if measured else {}
    return Taught(
        dataset=settings.dataset.name,
        models=tuple(str(target or folder) for folder in folders),
        fingerprints=fingerprints,
        facts=dict(scored.teacher_facts),
        **{name: meta[name] for name in ("split", "queries", "measures", "gain") if name in meta},
    )


def teachers_digest(trained: StageManifest) -> str:
    """Fingerprint of all teachers that a run trained: several where each leaves a fold of the queries out."""
    return digest([part.checksum for part in trained.parts])


def record_teachers(storage: Storage, settings: MineSettings, number: int, scored: ScoredRound) -> None:
    """Keep in the audit that a run's teachers were trained, where it trains some; the same ones again change nothing.

    Args:
        storage: the root.
        settings: of the run.
        number: of the round that they were trained for; 0: none yet.
        scored: the round that they scored.
    """
    if settings.teacher is None or settings.teacher.train is None:
        return
    trained = scored.teachers
    record = TrainingRecord(
        dataset=settings.dataset.name,
        round=number,
        kind="teacher",
        train=StageRef(stage=trained.stage, key=trained.key),
        base=body_spec(settings.teacher.train, storage).weights,
        model=teachers_digest(trained),
        path="",
        facts={
            **scored.teacher_facts,
            "samples": int(scored.teacher_facts.get("pairs", 0)),
            "seconds": trained.seconds,
            **held_out_facts(trained, settings.teacher.train),
        },
    )
    publish_training(storage, record)


def _measured(settings: MineSettings, context: Context, scored: ScoredRound, path: str) -> StageManifest | None:
    """The ranking of held-out queries, recorded; none where no query is held out by a split."""
    storage, chosen = context.storage, settings.evaluate
    counts = check_splits(storage, scored.dataset.queries, scored.dataset.name)
    if not counts.get(chosen.split.lower()):
        return None
    model = teachers_digest(scored.teachers)
    check_test_unread(storage, settings.dataset.name, chosen, model)
    found = evaluate_teacher(context, scored.table.parts, scored.dataset.queries, chosen, settings.dataset.positive_min_grade)
    meta = found.parts[0].meta
    record = EvaluationRecord(
        dataset=settings.dataset.name,
        round=0,
        kind="teacher",
        model=model,
        path=path,
        split=chosen.split,
        evaluate=StageRef(stage=found.stage, key=found.key),
        queries=int(meta["queries"]),
        measures=meta["measures"],
    )
    publish_evaluation(storage, record)
    return found
