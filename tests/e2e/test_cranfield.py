"""A round on a collection where every pair is judged. Set HARDMINE_DATA to the folder that holds cranfield/."""

import os
from pathlib import Path

import numpy as np
import pytest

from flows.mine import mine_round
from flows.settings import MineSettings
from flows.stored import find_round, measured, stored_table
from tasks.models.location import packaged
from tasks.runner.inline import InlineExecutor
from tasks.runner.runner import Context
from tasks.store.manifest import read_stage
from tasks.store.storage import open_storage
from tasks.store.tables import read_parts, take_texts
from tests.runner.test_runner import Recorder

DATA = Path(os.environ.get("HARDMINE_DATA", "nowhere")) / "cranfield"

pytestmark = [pytest.mark.data, pytest.mark.skipif(not DATA.is_dir(), reason="HARDMINE_DATA is not set"), pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    """The packaged body with a seeded head: a trained network, whose rounding errors do not grow from layer to layer."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    torch.manual_seed(7)
    folder = tmp_path_factory.mktemp("teacher") / "model"
    AutoModelForSequenceClassification.from_pretrained(packaged(), num_labels=1, dtype=torch.float32).save_pretrained(folder)
    AutoTokenizer.from_pretrained(packaged()).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module", params=[("float32", 1e-3), ("bfloat16", 5e-3)], ids=lambda param: param[0])
def mined(request, teacher, tmp_path_factory):
    dtype, tolerance = request.param
    root = tmp_path_factory.mktemp("cranfield")
    settings = MineSettings.model_validate(
        {
            "root": str(root),
            "dataset": {"name": "cranfield", "format": "beir", "path": str(DATA), "split": "test"},
            "model": {"path": "packaged", "max_length": 256, "dtype": dtype},
            "teacher": {"path": str(teacher), "depth": 3, "max_length": 256, "dtype": dtype},
            "retrieve": {"dense": {"top_k": 50}, "bm25": {"top_k": 20}},
            "recipe": {"name": "top", "depth": 50},
            "formats": ["triplet"],
        }
    )
    context = Context(open_storage(str(root)), lambda: InlineExecutor(1), Recorder())
    return context, mine_round(settings, context), tolerance, teacher


def judged():
    rows = [line.split("\t") for line in (DATA / "qrels/test.tsv").read_text().splitlines()[1:]]
    return {(query, doc) for query, doc, grade in rows if int(grade) >= 1}


def test_no_negative_is_judged_relevant_and_all_ids_resolve(mined):
    context, result, _, _ = mined
    assert result.selection.gate["passed"]
    record = find_round(context.storage, "cranfield")
    selection = record.selection()
    rows = read_parts(context.storage, read_stage(context.storage, selection.select.stage, selection.select.key).parts, "rows.parquet")
    negatives = [(row["query_id"], row["doc_id"]) for row in rows.select(["query_id", "doc_id", "slot"]).to_pylist() if row["slot"] > 0]
    assert len(negatives) > 5000
    assert not set(negatives) & judged()


def test_explicit_zeros_that_look_relevant_are_named(mined):
    """Cranfield's 225 zeros are an artefact of the coding: many are among the first ranks, or above every positive."""
    context, result, _, _ = mined
    measures = result.selection.measures
    assert measures["zeros"] == 225
    assert 0 < measures["suspect_zeros"] <= 225 and len(measures["first_zeros"]) == 5
    listed = measured(context.storage, find_round(context.storage, "cranfield").selection(), "suspect_zeros.parquet")
    assert listed.num_rows == measures["suspect_zeros"]
    rows = [line.split("\t") for line in (DATA / "qrels/test.tsv").read_text().splitlines()[1:]]
    zeros = {(query, doc) for query, doc, grade in rows if int(grade) <= 0}
    assert set(zip(listed["query_id"].to_pylist(), listed["doc_id"].to_pylist(), strict=True)) <= zeros


def test_scores_agree_with_a_plain_computation(mined):
    from sentence_transformers import CrossEncoder, SentenceTransformer

    context, _, tolerance, folder = mined
    record = find_round(context.storage, "cranfield")
    table = stored_table(context.storage, record)
    scored = read_parts(context.storage, table.scored, "scored.parquet")
    scored = scored.filter(np.array([value is not None for value in scored["teacher_logit"].to_pylist()]))
    sample = scored.take(np.random.default_rng(0).choice(scored.num_rows, 300, replace=False))
    documents = take_texts(
        context.storage, table.documents, sample["doc_partition"].to_numpy(), sample["doc_row"].to_numpy(), ["title", "text"]
    )
    texts = [f"{row['title']} {row['text']}" if row["title"] else row["text"] for row in documents.to_pylist()]
    rows = read_parts(context.storage, table.queries, "queries.parquet", ["query_id", "text"]).to_pylist()
    queries = {row["query_id"]: row["text"] for row in rows}
    asked = [queries[query] for query in sample["query_id"].to_pylist()]
    model = SentenceTransformer(str(packaged()), device="cpu", local_files_only=True)
    model.max_seq_length = 256
    vectors = [model.encode(part, normalize_embeddings=True, show_progress_bar=False) for part in (asked, texts)]
    assert np.abs(np.einsum("ij,ij->i", *vectors) - sample["dense_score"].to_numpy()).max() < tolerance
    plain = CrossEncoder(str(folder), device="cpu", max_length=256, local_files_only=True)
    sigmoids = plain.predict(list(zip(asked, texts, strict=True)), show_progress_bar=False)
    assert np.abs(sigmoids - sample["teacher_sigmoid"].to_numpy()).max() < tolerance
