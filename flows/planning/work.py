"""A run's settings and its corpus as the workload that the formulas start from."""

from __future__ import annotations

from dataclasses import replace

from flows.planning.encoders import Encoder, Encoders, pair_lengths, text_lengths
from flows.planning.facts import Facts
from flows.planning.look import Looked
from flows.round import Depths, depths, recipes_for
from flows.settings import MineSettings
from tasks.corpus.dataset import fixed_partitions, wanted_partitions
from tasks.features.registry import FEATURES
from tasks.plan.workload import Depth, Index, Inputs, Training, Workload
from tasks.retrieve.clusters import auto_nlist
from tasks.retrieve.settings import DenseSettings
from tasks.score.known import known_share
from tasks.score.pair_store import segments
from tasks.score.stage import count as count_pairs
from tasks.select.hubs import STAGE as HUBS
from tasks.select.recipe import Facts as RecipeFacts
from tasks.select.recipe import Recipe
from tasks.store.storage import Storage
from tasks.templates import document_inputs

_BYTES = {"float32": 4, "float16": 2}
_CODE_BYTES = {"float32": 4, "sq8": 1}


def workload(
    settings: MineSettings, storage: Storage | None, models: Encoders, facts: Facts, looked: Looked, dim: int, known: tuple[float, float]
) -> Workload:
    """What is to be done.

    Args:
        settings: of the run.
        storage: the root, if it is there.
        models: the run's.
        facts: of the corpus.
        looked: what is finished.
        dim: of the vectors.
        known: shares of the documents and queries whose vectors are stored.
    """
    chunks = settings.query_chunks
    recipes = recipes_for(settings, RecipeFacts(settings.num_negatives, facts.max_positives, facts.documents, -(-facts.queries // chunks)))
    depth = depths(settings, recipes)
    partitions = _partitions(settings, storage, facts)
    queries = list(facts.queries_seen)
    documents = document_inputs(settings.document_encoder.title_template, facts.texts)
    work = Workload(
        documents=facts.documents,
        queries=facts.queries,
        positives=facts.positives,
        document_bytes=facts.document_bytes,
        query_bytes=facts.query_bytes,
        document_partitions=partitions["documents"],
        query_partitions=partitions["queries"],
        sources=facts.files,
        depth=_depth(depth),
        index=_index(depth.retrieve.dense, facts.documents, partitions["documents"]),
        dim=dim,
        vector_bytes=_BYTES[settings.model.vector_dtype],
        embedded=_inputs(models.documents, documents, known[0]),
        asked=_inputs(models.queries, queries, known[1]),
        read_seconds=facts.read_seconds,
        recipes=tuple(_features(recipe) for recipe in recipes),
        formats=len(settings.formats),
        num_negatives=settings.num_negatives,
        lazy=settings.teacher is not None and settings.teacher.lazy,
        planted=settings.planted > 0 and facts.max_positives > 1,
        chunks=chunks,
    )
    work = _with_fixed(work, settings, models, facts, queries)
    return _with_candidates(_with_teacher(work, settings, models, queries, facts), storage, models, depth, looked)


def _partitions(settings: MineSettings, storage: Storage | None, facts: Facts) -> dict[str, int]:
    fixed = fixed_partitions(storage, settings.dataset.name) if storage is not None and facts.source != "given" else None
    size = round(facts.documents * facts.document_bytes + facts.queries * facts.query_bytes)
    return fixed or wanted_partitions(settings.dataset, size, facts.documents, facts.queries)


def _depth(depth: Depths) -> Depth:
    found = depth.retrieve
    return Depth(
        dense=found.dense.top_k,
        bm25=found.bm25.top_k if found.bm25 else 0,
        random=found.random.count if found.random else 0,
        teacher=depth.teacher,
    )


def _index(dense: DenseSettings, documents: int, partitions: int) -> Index:
    """Clusters are counted as a run counts them; how many are searched is where a run begins: it doubles them until recall holds."""
    if dense.index == "flat" or (dense.index == "auto" and documents < dense.auto_ivf_rows):
        return Index()
    nlist = auto_nlist(-(-documents // partitions)) if dense.nlist == "auto" else dense.nlist
    return Index(nlist, min(dense.nprobe, nlist), _CODE_BYTES[dense.codes], dense.recall_sample)


def _inputs(encoder: Encoder, texts: list[str], known: float | None) -> Inputs:
    return Inputs(text_lengths(encoder, texts), encoder.spec.batch_tokens, encoder.spec.max_length, known)


def _features(recipe: Recipe) -> tuple[str, ...]:
    stages = [stage.name for name in sorted(recipe.needs.features) for stage in FEATURES[name].stages]
    return tuple([*stages, *([HUBS.name] if recipe.limits.are_global else [])])


def _with_fixed(work: Workload, settings: MineSettings, models: Encoders, facts: Facts, queries: list[str]) -> Workload:
    if models.fixed is None or settings.fixed_encoder is None:
        return work
    texts = document_inputs(settings.fixed_encoder.title_template, facts.texts)
    return replace(work, fixed=(_inputs(models.fixed[0], texts, None), _inputs(models.fixed[1], queries, None)))


def _with_teacher(work: Workload, settings: MineSettings, models: Encoders, queries: list[str], facts: Facts) -> Workload:
    if models.teacher is None or settings.teacher is None:
        return work
    texts = document_inputs(settings.teacher.title_template, facts.texts)
    scored = Inputs(pair_lengths(models.teacher, queries, texts), models.teacher.spec.batch_tokens, models.teacher.spec.max_length, None)
    train, body = settings.teacher.train, models.body
    if train is None or body is None:
        return replace(work, scored=scored, pairs_per_partition=settings.teacher.pairs_per_partition)
    training = Training(
        inputs=Inputs(pair_lengths(body, queries, texts), body.spec.batch_tokens, train.max_length),
        epochs=train.epochs,
        pairs_per_positive=1 + train.negatives + train.random_negatives,
        max_pairs=train.max_pairs,
        holdout=train.holdout,
        folds=None if train.folds == "auto" else train.folds,
        model_bytes=sum(file.stat().st_size for file in body.folder.glob("*.safetensors")),
    )
    return replace(work, scored=scored, training=training, pairs_per_partition=settings.teacher.pairs_per_partition)


def _with_candidates(work: Workload, storage: Storage | None, models: Encoders, depth: Depths, looked: Looked) -> Workload:
    """Exact counts where the candidates are there, and what the pair store has of them; without them an empty one is certain."""
    teacher = None if models.body is not None else models.teacher
    made = looked.manifests.get("candidates") if "candidates" in looked.finished else None
    if work.scored is not None and work.lazy:
        return work
    if storage is None or made is None:
        stored = storage is not None and teacher is not None and bool(segments(storage, teacher.spec.fingerprint))
        return work if stored or work.scored is None else replace(work, scored=replace(work.scored, known=0.0))
    rows = sum(part.file("candidates.parquet").rows or 0 for part in made.parts)
    if work.scored is None:
        return replace(work, candidates=rows)
    sources = [source for source in depth.retrieve.sources if source != "random"]
    pairs = count_pairs(storage, made.parts, depth.teacher, sources)
    known = known_share(storage, made.parts, teacher.spec.fingerprint, depth.teacher, sources) if teacher is not None else 0.0
    return replace(work, candidates=rows, pairs=pairs, scored=replace(work.scored, known=known))
