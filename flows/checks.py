"""What is checked before a model runs."""

from __future__ import annotations

import pyarrow.compute as pc

from flows.settings import MineSettings
from tasks.corpus.dataset import Dataset
from tasks.errors import InputError
from tasks.folds import in_chunk
from tasks.models.fingerprint import body_spec, document_spec, query_spec, teacher_spec
from tasks.models.shape import check_one_space
from tasks.store.storage import Storage
from tasks.store.tables import read_parts


def check_models(settings: MineSettings) -> None:
    """Fail before anything runs if a model is not there.

    Raises:
        ModelError: which one, and how to get it; or the encoders of queries and documents do not fit each other.
    """
    document_spec(settings.document_encoder)
    if settings.document_model is not None:
        query_spec(settings.model)
        check_one_space(settings.model, settings.document_model)
    if settings.teacher is not None:
        if settings.teacher.train is not None:
            body_spec(settings.teacher.train)
        else:
            teacher_spec(settings.teacher)
    if settings.fixed_encoder is not None:
        document_spec(settings.fixed_encoder)


def mined_queries(storage: Storage, settings: MineSettings, dataset: Dataset) -> int:
    """How many queries the round mines.

    Raises:
        InputError: the chosen chunk has no query with a positive.
    """
    if settings.chunk is None:
        return dataset.query_count
    judged = read_parts(storage, dataset.queries, "qrels.parquet", ["query_id", "relevance"])
    positive = judged.filter(pc.greater_equal(judged["relevance"], settings.dataset.positive_min_grade))["query_id"]
    if not in_chunk(positive.to_pylist(), settings.chunk).any():
        raise InputError(
            f"dataset {dataset.name}: chunk {settings.query_chunk} of {settings.query_chunks} has no query with a positive",
            "mine in fewer chunks (query_chunks), or take another one (query_chunk)",
        )
    return int(
        in_chunk(read_parts(storage, dataset.queries, "queries.parquet", ["query_id"])["query_id"].to_pylist(), settings.chunk).sum()
    )
