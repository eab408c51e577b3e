"""What a reader of a plan should know besides its numbers: what is assumed, and what nobody knows before the run."""

from __future__ import annotations

from collections.abc import Iterator

from flows.planning.encoders import Encoders
from flows.planning.facts import Facts
from flows.planning.look import Looked
from flows.settings import MineSettings
from tasks.plan.workload import Workload
from tasks.score.pair_store import segments
from tasks.store.storage import Storage

_SOURCES = {
    "ingested": "counts are those of the ingested dataset",
    "counted": "counts are those of the files; rows that ingest sets aside or merges are still among them",
    "estimated": "counts are estimated from a part of the files",
    "given": "counts are as given",
}


def notes(
    settings: MineSettings, storage: Storage | None, models: Encoders, facts: Facts, work: Workload, looked: Looked
) -> tuple[str, ...]:
    """All notes on a plan."""
    return tuple([*_about_the_corpus(facts, models), *_about_the_run(settings, work), *_about_the_caches(storage, models, work, looked)])


def _about_the_corpus(facts: Facts, models: Encoders) -> Iterator[str]:
    seen = f"{len(facts.documents_seen):,} documents and {len(facts.queries_seen):,} queries"
    by = "the models' own tokenizers" if models.documents.lengths.exact else "1.35 tokens a word (the model has no tokenizer.json)"
    yield f"{_SOURCES[facts.source]}; lengths are those of a sample of {seen}, by {by}"


def _about_the_run(settings: MineSettings, work: Workload) -> Iterator[str]:
    if work.candidates is None and work.depth.bm25:
        yield "dense and BM25 search are taken to share a third of the shorter list"
    if work.lazy:
        yield "teacher.lazy: the pairs are the most that the teacher may be asked for; how many are spared is not known"
    if work.index.nlist:
        yield f"the ivf index is taken to reach recall_floor with {work.index.nprobe} clusters searched; a run doubles them until it does"
    more = [source.name for source in settings.retrieve.further if source.kind == "encoder"]
    if more:
        yield f"embedding and searching by {', '.join(more)} (retrieve.further) is not in it, nor are the candidates that these add"
    if settings.teacher is not None and settings.teacher.ensemble:
        yield f"the teacher is counted once: {len(settings.teacher.ensemble)} more of its ensemble score the same pairs"
    if settings.trains:
        yield "this is one round of mining: training and evaluating checkpoints are not in it"
    if settings.cluster != "local":
        yield f"workers of {settings.cluster} are taken to be as fast as this machine"


def _about_the_caches(storage: Storage | None, models: Encoders, work: Workload, looked: Looked) -> Iterator[str]:
    for what, inputs in (("documents", work.embedded), ("queries", work.asked)):
        if inputs.known and f"embed-{what}" not in looked.finished:
            yield f"{100 * inputs.known:.0f} % of the sampled {what} have vectors by this model already"
    if models.fixed is not None and "embed-documents" not in looked.finished:
        yield "which vectors by the fixed encoder are stored is not known: all are counted as to be made"
    if storage is not None and models.teacher is not None and work.scored is not None and work.scored.known is None:
        stored = sum(record.rows or 0 for record in segments(storage, models.teacher.spec.fingerprint))
        yield f"the pair store holds {stored:,} pairs of this teacher: how many come again is not known, all count as to be scored"
