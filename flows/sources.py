"""Further sources of candidates in a round: what the user brings, and other dense models. Wiring only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from flows.settings import MineSettings
from flows.stored import stored_stage
from tasks.audit.records import RoundRecord, list_rounds
from tasks.corpus.dataset import Dataset
from tasks.embed.task import embed_documents, embed_queries
from tasks.errors import InputError
from tasks.file_patterns import matches
from tasks.models.fingerprint import document_spec, query_spec
from tasks.models.settings import ModelSettings
from tasks.models.shape import check_one_space
from tasks.retrieve.candidates import Others
from tasks.retrieve.further_settings import FROM_FILES, FurtherSource
from tasks.retrieve.given.stage import Negatives
from tasks.retrieve.given.vector_files import check_vectors
from tasks.retrieve.settings import RetrieveSettings
from tasks.retrieve.task import given_source, given_vectors, retrieve_dense
from tasks.runner.runner import Context
from tasks.store.manifest import Part, StageManifest
from tasks.store.storage import Storage


@dataclass(frozen=True)
class Given:
    """What of a round's candidates, and of its vectors, was there before it.

    Args:
        candidates: stage ``given-candidates`` by source.
        vectors: stages of documents' and queries' vectors by source.
    """

    candidates: dict[str, StageManifest] = field(default_factory=dict)
    vectors: dict[str, tuple[StageManifest, StageManifest]] = field(default_factory=dict)

    @property
    def stages(self) -> list[StageManifest]:
        """All of them."""
        return [*self.candidates.values(), *(one for both in self.vectors.values() for one in both)]


def check_further(settings: MineSettings, storage: Storage | None = None) -> None:
    """Fail before anything runs where a further source's files or model cannot be used.

    Raises:
        InputError: a file is missing, or vectors of documents and queries differ in dimension.
        ModelError: a model is not there, or its two sides do not fit each other.
    """
    for source in settings.retrieve.further:
        if source.kind in FROM_FILES:
            matches(f"retrieve.further.{source.name}.files", source.files)
        elif source.kind == "vectors":
            check_vectors(source)
        elif source.kind == "encoder":
            model, own = _encoders(source)
            query_spec(model, storage)
            document_spec(own, storage)
            if source.document_model is not None:
                check_one_space(model, source.document_model, storage)


def given_candidates(context: Context, settings: MineSettings, retrieve: RetrieveSettings, dataset: Dataset) -> Given:
    """What is there already, by its place in the dataset. No model runs.

    Raises:
        InputError: a file names ids that the dataset has not, or a vector is missing.
    """
    made, prefix = Given(), settings.dataset.id_prefix
    for source in retrieve.further:
        if source.kind == "vectors":
            made.vectors[source.name] = given_vectors(context, source, check_vectors(source), dataset.documents, dataset.queries, prefix)
        elif source.is_given:
            files = matches(f"retrieve.further.{source.name}.files", source.files) if source.kind in FROM_FILES else []
            earlier = _earlier(context.storage, settings, source) if source.kind == "rounds" else ()
            if source.kind != "rounds" or earlier:
                read = (files, dataset.documents, dataset.queries, earlier, prefix, dataset.chunked)
                made.candidates[source.name] = given_source(context, source, *read)
    return made


def search_further(
    context: Context, settings: MineSettings, retrieve: RetrieveSettings, dataset: Dataset, given: Given, stages: list[StageManifest]
) -> Others:
    """Search by the vectors of further sources; ``stages`` gets what ran."""
    retrieved: dict[str, Sequence[Part]] = {}
    vectors: dict[str, tuple[Sequence[Part], Sequence[Part]]] = {}
    for source in retrieve.further:
        if source.is_given:
            continue
        if source.kind == "encoder":
            model, own = _encoders(source)
            documents = embed_documents(context, own, dataset.name, dataset.documents)
            queries = embed_queries(context, model, dataset.name, dataset.queries)
            stages += [documents, queries]
        else:
            documents, queries = given.vectors[source.name]
        search = retrieve.dense.model_copy(update={"top_k": source.depth})
        read = (documents.parts, queries.parts, dataset.queries, settings.chunk, retrieve.languages, dataset.documents)
        searched = retrieve_dense(context, search, *read)
        stages += searched
        retrieved[source.name] = searched[-1].parts
        vectors[source.name] = (documents.parts, queries.parts)
    return Others(retrieved, vectors, {name: manifest.parts[0] for name, manifest in given.candidates.items()})


def _encoders(source: FurtherSource) -> tuple[ModelSettings, ModelSettings]:
    assert source.model is not None, "the settings say so"
    return source.model, source.document_model or source.model


def _earlier(storage: Storage, settings: MineSettings, source: FurtherSource) -> list[Negatives]:
    """The rounds whose negatives are taken, the newest first: those named, else all that another checkpoint has mined.

    Raises:
        InputError: a round that is named is not there.
    """
    records = list_rounds(storage, settings.dataset.name)
    if source.rounds:
        there = {record.number: record for record in records}
        missing = [number for number in source.rounds if number not in there]
        if missing:
            known = ", ".join(map(str, sorted(there))) or "none"
            raise InputError(
                f"source {source.name}: dataset {settings.dataset.name} has no round {missing[0]}",
                f"its rounds are {known}; without `rounds` all that another checkpoint has mined are taken",
            )
        chosen = [there[number] for number in source.rounds]
    else:
        own = query_spec(settings.model, storage).fingerprint
        chosen = [record for record in records if _fingerprint(storage, record) != own]
    newest = sorted(chosen, key=lambda record: -record.number)
    return [_negatives(storage, record) for record in newest]


def _negatives(storage: Storage, record: RoundRecord) -> Negatives:
    selected = stored_stage(storage, record.selection(record.selection_id).select)
    return Negatives(record.number, selected.parts, stored_stage(storage, record.roles["scored"]).parts)


def _fingerprint(storage: Storage, record: RoundRecord) -> str:
    return str(stored_stage(storage, record.roles["query_vectors"]).parts[0].meta.get("model"))
