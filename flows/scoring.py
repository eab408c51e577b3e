"""The teacher's part of a round: train it, ask it, and lay its scores beside the candidates. Wiring only.

A lazy teacher is asked in waves for what the run's recipes need, until nothing that they draw can change (:mod:`tasks.select.unsure`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from flows.known_teacher import Unseen, unseen, unseen_by_all
from flows.results import total_meta
from flows.settings import MineSettings
from tasks.corpus.dataset import Dataset
from tasks.features.base import Beyond
from tasks.features.task import FeatureInputs, features, scored
from tasks.folds import Fold
from tasks.models.fingerprint import teacher_spec
from tasks.models.materialise import materialise
from tasks.models.settings import TeacherSettings
from tasks.runner.runner import Context
from tasks.score.stage import count as count_pairs
from tasks.score.task import Asked, ensemble, score
from tasks.select.inputs import partial_mark
from tasks.select.recipe import Recipe
from tasks.select.task import ask
from tasks.store.keys import digest
from tasks.store.manifest import Part, StageManifest
from tasks.train.task import train_teacher
from tasks.truth.task import calibrate


@dataclass(frozen=True)
class Read:
    """Documents and queries alone, of a dataset that was ingested before."""

    documents: tuple[Part, ...]
    queries: tuple[Part, ...]


@dataclass(frozen=True)
class Candidates:
    """What the teacher and the scored table start from.

    Args:
        sources: the round's.
        teacher_depth: worst rank that the teacher scores.
        dataset: as ingested.
        merged: stage ``candidates``.
        document_vectors: stage ``embed-documents``.
        query_vectors: stage ``embed-queries``.
        fixed_documents: parts by the fixed encoder; none: there is none.
        fixed_queries: likewise.
    """

    sources: Sequence[str]
    teacher_depth: int
    dataset: Dataset | Read
    merged: StageManifest
    document_vectors: StageManifest
    query_vectors: StageManifest
    fixed_documents: Sequence[Part] = ()
    fixed_queries: Sequence[Part] = ()


@dataclass(frozen=True)
class Scoring:
    """The scored table, and what made it.

    Args:
        table: stage ``scored``.
        stages: all of them, in order; the table's is the last.
        facts: what the teachers' training says.
        calibration: stage ``calibrate``; none: no teacher, or a lazy one.
        bare: the table without a teacher's scores, where the teacher is lazy: what features are made from.
        partial: pairs, scored and saved, where the teacher is lazy.
        notes: what a reader should know of the teacher.
    """

    table: StageManifest
    stages: tuple[StageManifest, ...]
    facts: Mapping[str, Any] = field(default_factory=dict)
    calibration: StageManifest | None = None
    bare: StageManifest | None = None
    partial: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def score_candidates(
    context: Context, settings: MineSettings, given: Candidates, recipes: Sequence[Recipe], teachers: StageManifest | None = None
) -> Scoring:
    """Train a teacher if one is to be trained, ask it, and lay out the scored table.

    Args:
        context: storage, executor, progress.
        settings: of the run.
        given: the candidates.
        recipes: what a lazy teacher is asked for.
        teachers: trained by an earlier round, to be used instead of new ones.
    """
    if settings.teacher is None:
        table = _scored(context, settings, given)
        return Scoring(table, (table,))
    stages: list[StageManifest] = []
    trained: Sequence[Part | None] = (None,)
    if settings.teacher.train is not None:
        stages.append(teachers or _train(context, settings.teacher, given))
        trained = stages[-1].parts
    told = _facts([part for part in trained if part])
    asking = _Asking(context, settings, settings.teacher, given, trained, stages)
    if settings.teacher.lazy:
        bare, partial = asking.lazily(recipes)
        marks = [partial_mark(recipe, settings.seed) for recipe in recipes]
        table = _scored(context, settings, given, asking.pairs, partial=marks)
        return Scoring(table, (*stages, table), told, bare=bare, partial=partial)
    asking.answer()
    asking.with_others()
    known = _unseen(context, settings, len(trained))
    labelled = (given.merged.parts, asking.pairs, given.dataset.queries)
    calibration = calibrate(context, *labelled, asking.sources, given.teacher_depth, known.held_out, settings.truth.calibration)
    table = _scored(context, settings, given, asking.pairs, calibration)
    return Scoring(table, (*stages, calibration, table), told, calibration, notes=(known.note,) if known.note else ())


def extended_scores(
    context: Context,
    settings: MineSettings,
    sources: Sequence[str],
    depth: int,
    merged: StageManifest,
    queries: Sequence[Part],
    documents: Sequence[Part],
    trained: Sequence[Part],
    calibration: Sequence[Part],
) -> StageManifest:
    """The scored table of a round's candidates and some more: the round's own teachers score what they have not scored.

    Args:
        context: storage, executor, progress.
        settings: of the round.
        sources: the round's, and those of the new candidates.
        depth: worst rank that is scored.
        merged: all candidates.
        queries: parts of ``queries``.
        documents: parts of ``documents``, those of the new candidates last.
        trained: parts of ``train-teacher``; none: the teacher was given, or there is none.
        calibration: part of ``calibrate``, or none.
    """
    dataset = Read(tuple(documents), tuple(queries))
    given = Candidates(sources, depth, dataset, merged, merged, merged)  # vectors are read where features are made, which is not here
    pairs: Sequence[Part] = ()
    if settings.teacher is not None:
        asking = _Asking(context, settings, settings.teacher, given, list(trained) or [None], [])
        asking.answer()
        asking.with_others()
        pairs = asking.pairs
    fitted = calibration[0] if calibration else None
    read = (given.sources, merged.parts, dataset.queries, dataset.documents, pairs, (), (), _activation(settings), fitted)
    return scored(context, *read, (), settings.teacher is not None and bool(settings.teacher.ensemble))


@dataclass
class _Asking:
    """A teacher, or one for each fold of the queries, and what they have said."""

    context: Context
    settings: MineSettings
    teacher: TeacherSettings
    given: Candidates
    trained: Sequence[Part | None]
    stages: list[StageManifest]
    pairs: list[Part] = field(default_factory=list)

    @property
    def sources(self) -> list[str]:
        """Whose candidates are scored: those of every source that a model runs."""
        return [source for source in self.given.sources if source != "random"]

    def answer(self, asked: Asked | None = None) -> None:
        """Score all candidates, or those that are asked for."""
        storage = self.context.storage
        for number, part in enumerate(self.trained):
            judged = score(
                self.context,
                self.given.merged.parts,
                self.given.dataset.queries,
                self.given.dataset.documents,
                teacher_spec(self.teacher, materialise(storage, part) if part else None, storage),
                self.given.teacher_depth,
                self.sources,
                self.teacher.pairs_per_partition,
                part,
                Fold(number, len(self.trained)) if len(self.trained) > 1 else None,
                self.teacher.train.seed if self.teacher.train else 0,
                asked,
            )
            self.stages.append(judged)
            self.pairs += judged.parts

    def with_others(self) -> None:
        """Let the ensemble's other teachers score the same candidates, and take the mean of all."""
        if not self.teacher.ensemble:
            return
        given, members = self.given, [self.pairs]
        for member in self.teacher.members:
            spec = teacher_spec(member, None, self.context.storage)
            read = (given.merged.parts, given.dataset.queries, given.dataset.documents, spec, given.teacher_depth, self.sources)
            self.stages.append(score(self.context, *read, self.teacher.pairs_per_partition, None))
            members.append(list(self.stages[-1].parts))
        self.stages.append(ensemble(self.context, members, [part.index for part in given.merged.parts]))
        self.pairs = list(self.stages[-1].parts)

    def lazily(self, recipes: Sequence[Recipe]) -> tuple[StageManifest, dict[str, int]]:
        """Score what the recipes need; the table without a teacher's scores, and how many pairs there are, were scored and saved."""
        bare = _scored(self.context, self.settings, self.given)
        self.stages.append(bare)
        told = {"depth": self.given.teacher_depth, "sources": self.sources, "activation": _activation(self.settings)}
        key = digest([partial_mark(recipe, self.settings.seed) for recipe in recipes])
        waves = count(1)
        for recipe in recipes:
            inputs = self._feature_inputs(bare)
            found = {name: manifest.parts for name, manifest in features(self.context, recipe.needs.features, inputs).items()}
            for again in count(1):
                read = (bare.parts, self.pairs, recipe, self.given.sources, told, self.settings.seed, found, again)
                self.stages.append(ask(self.context, *read))
                total = total_meta(self.stages[-1], ("pairs", "scored", "asked"))
                if not total["asked"]:
                    break
                self.answer(Asked(self.stages[-1].parts, key, next(waves)))
        return bare, {"pairs": total["pairs"], "scored": total["scored"], "saved": total["pairs"] - total["scored"]}

    def _feature_inputs(self, bare: StageManifest) -> FeatureInputs:
        dataset, given, chunk = self.given.dataset, self.given, self.settings.chunk
        return FeatureInputs(
            scored=bare.parts,
            queries=dataset.queries,
            documents=dataset.documents,
            document_vectors=given.document_vectors.parts,
            query_vectors=given.query_vectors.parts,
            sources=given.sources,
            beyond=Beyond(chunk, self.settings.dataset.positive_min_grade) if chunk else None,
        )


def _train(context: Context, teacher: TeacherSettings, given: Candidates) -> StageManifest:
    to_score = count_pairs(context.storage, given.merged.parts, given.teacher_depth, given.sources)
    read = (given.merged.parts, given.dataset.queries, given.dataset.documents)
    return train_teacher(context, *read, teacher, given.sources, to_score)


def _scored(
    context: Context,
    settings: MineSettings,
    given: Candidates,
    pairs: Sequence[Part] = (),
    calibration: StageManifest | None = None,
    partial: Sequence[Mapping[str, Any]] = (),
) -> StageManifest:
    return scored(
        context,
        given.sources,
        given.merged.parts,
        given.dataset.queries,
        given.dataset.documents,
        pairs,
        given.fixed_documents,
        given.fixed_queries,
        _activation(settings),
        calibration.parts[0] if calibration else None,
        partial,
        settings.teacher is not None and bool(settings.teacher.ensemble),
    )


def _unseen(context: Context, settings: MineSettings, teachers: int) -> Unseen:
    """Queries that were scored by a teacher that had not been trained on them."""
    assert settings.teacher is not None, "nothing is calibrated without a teacher"
    training = settings.teacher.train
    if training is None:
        specs = [teacher_spec(one, storage=context.storage) for one in (settings.teacher, *settings.teacher.members)]
        return unseen_by_all([unseen(context.storage, settings.dataset.name, spec.weights) for spec in specs])
    return Unseen() if teachers > 1 else Unseen({"holdout": training.holdout, "seed": training.seed})


def _facts(trained: Sequence[Part]) -> dict[str, Any]:
    """What the teachers' training says: of one, or the mean over folds."""
    if len(trained) < 2:
        return dict(trained[0].meta) if trained else {}
    means = {}
    for name in trained[0].meta:
        known = [float(part.meta[name]) for part in trained if part.meta[name] is not None]
        means[name] = sum(known) / len(known) if known else None
    return {**means, "folds": len(trained)}


def _activation(settings: MineSettings) -> str:
    return "identity" if settings.teacher is not None and settings.teacher.activation == "identity" else "sigmoid"
