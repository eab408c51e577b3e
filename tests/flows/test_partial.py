"""Refreshing a part of a round: the queries' side, a share of the queries, new and changed documents. Counters prove it."""

import gzip
import json
import shutil

import numpy as np
import pytest

from flows.mine import mine_round
from flows.selection import compute_features
from flows.settings import MineSettings
from flows.stored import find_round, stored_stage, stored_table
from flows.training import evaluate_checkpoint, train
from tasks.errors import InputError, ModelError, UsageError
from tasks.evaluate.settings import EvaluateSettings
from tasks.models.location import packaged
from tasks.models.train_settings import TrainSettings
from tasks.runner.inline import InlineExecutor
from tasks.runner.runner import Context
from tasks.store.storage import open_storage
from tasks.store.tables import read_parts
from tests.e2e.conftest import cross_encoder, write_collection
from tests.runner.test_runner import Recorder

assert cross_encoder  # a fixture that is used below
MODEL = {"path": "packaged", "max_length": 32, "dtype": "float32", "device": "cpu"}


@pytest.fixture(scope="module")
def collection(tmp_path_factory):
    return write_collection(tmp_path_factory.mktemp("collection") / "beir")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """The packaged model with its last layer's weights scaled: what a training of the query side might leave."""
    from safetensors.numpy import load_file, save_file

    folder = tmp_path_factory.mktemp("checkpoint") / "model"
    shutil.copytree(packaged(), folder)
    weights = load_file(folder / "model.safetensors")
    save_file(
        {name: value * np.float32(1.3) if "layer.5.output.dense" in name else value for name, value in weights.items()},
        folder / "model.safetensors",
    )
    return str(folder)


def settings(root, collection, **changes):
    made = {
        "root": str(root),
        "dataset": {"name": "small", "format": "beir", "path": str(collection), "document_partitions": 3, "query_partitions": 2},
        "model": MODEL,
        "retrieve": {"dense": {"top_k": 20}, "bm25": {"top_k": 10}, "random": {"count": 3}},
        "recipe": {"name": "top", "depth": 20},
        "planted": 0,
        **changes,
    }
    return MineSettings.model_validate(made)


def mine(given):
    """The result, and counters by stage."""
    context = Context(open_storage(given.root), lambda: InlineExecutor(2), Recorder())
    result = mine_round(given, context)
    return context, result, {stage.stage: stage for stage in result.stages}


def test_a_new_query_checkpoint_embeds_no_document(tmp_path, collection, checkpoint):
    dataset = {"name": "small", "format": "beir", "path": str(collection), "splits": {"train": 0.5, "dev": 0.5}}
    _, first, costs = mine(settings(tmp_path, collection, dataset=dataset))
    assert (costs["embed-documents"].model_calls, costs["embed-queries"].model_calls) == (144, 48)
    frozen = settings(tmp_path, collection, dataset=dataset, model={**MODEL, "path": checkpoint}, document_model=MODEL)
    context, second, costs = mine(frozen)
    assert (costs["embed-documents"].cached, costs["embed-documents"].model_calls) == (True, 0)
    assert costs["embed-queries"].model_calls == 48
    assert second.round == "small/2"
    assert second.candidate_set_id != first.candidate_set_id
    record = find_round(context.storage, "small/2")
    table, earlier = stored_table(context.storage, record), stored_table(context.storage, find_round(context.storage, "small/1"))
    assert [part.checksum for part in table.document_vectors] == [part.checksum for part in earlier.document_vectors]
    assert [part.checksum for part in table.query_vectors] != [part.checksum for part in earlier.query_vectors]
    for model in (None, str(packaged())):  # of a checkpoint, too, only the queries are embedded
        recorder = Recorder()
        measured = evaluate_checkpoint(Context(context.storage, context.executor, recorder), record, model, EvaluateSettings())
        assert measured.queries > 0
        assert ("finish", "embed-documents", True) in recorder.events
    with pytest.raises(UsageError, match="trains one encoder for both sides"):
        train(context, record, record.selection(None), TrainSettings(), None)


def test_encoders_of_two_spaces_are_refused_before_a_model_runs(tmp_path, collection):
    with pytest.raises(ModelError, match="queries of 64 dimensions, document_model packaged documents of 384"):
        mine(settings(tmp_path, collection, model={**MODEL, "truncate_dim": 64}, document_model=MODEL))
    with pytest.raises(ModelError, match="compares by dot"):
        mine(settings(tmp_path, collection, model={**MODEL, "similarity": "dot"}, document_model=MODEL))
    assert not (tmp_path / "manifests").exists()


def rows(context, name, columns):
    table = stored_table(context.storage, find_round(context.storage, name))
    return read_parts(context.storage, table.scored, "scored.parquet", columns), table


def test_chunks_are_disjoint_cover_all_and_keep_the_others_labels(tmp_path, collection):
    columns = ["query_id", "doc_id", "is_positive", "dense_rank", "dense_score", "bm25_rank", "random_rank"]
    context, everything, _ = mine(settings(tmp_path / "all", collection))
    full, table = rows(context, everything.round, columns)
    expected = {(row["query_id"], row["doc_id"]): row for row in full.to_pylist()}
    evidence = evidence_of(context, table)
    seen = []
    for chunk in range(3):
        context, result, costs = mine(settings(tmp_path / "chunks", collection, query_chunks=3, query_chunk=chunk))
        assert result.round == f"small/{chunk + 1}"
        found, table = rows(context, result.round, columns)
        mined = set(found["query_id"].to_pylist())
        assert result.queries == len(mined)
        assert any(f"chunk {chunk} of 3 (from 0) was mined: {len(mined)} of 48 queries" in note for note in result.notes)
        assert all(expected[row["query_id"], row["doc_id"]] == row for row in found.to_pylist())
        assert found.num_rows == sum(query in mined for query, _ in expected)
        assert costs["embed-queries"].model_calls == (48 if chunk == 0 else 0)
        part = evidence_of(context, table)
        assert part.keys() == {pair for pair in evidence if pair[0] in mined}
        assert all(part[pair] == pytest.approx(evidence[pair], abs=1e-5) for pair in part)
        seen += mined
        record = find_round(context.storage, result.round)
        assert (record.settings["query_chunk"], record.settings["facts"]["queries"]) == (chunk, len(mined))
    assert sorted(seen) == sorted({query for query, _ in expected})
    with pytest.raises(InputError, match="no query with a positive"):
        mine(settings(tmp_path / "chunks", collection, query_chunks=900, query_chunk=1))


def evidence_of(context, table):
    (manifest,) = compute_features(context, table, {"evidence": {}}).values()
    values = read_parts(context.storage, manifest.parts, "features.parquet")["label_evidence"].to_pylist()
    pairs = read_parts(context.storage, table.scored, "scored.parquet", ["query_id", "doc_id"]).to_pylist()
    return {(pair["query_id"], pair["doc_id"]): value for pair, value in zip(pairs, values, strict=True) if value is not None}


def test_two_changed_documents_of_144(tmp_path, collection, cross_encoder):
    folder = shutil.copytree(collection, tmp_path / "beir")
    teacher = {"path": str(cross_encoder), "depth": 8, "max_length": 32, "dtype": "float32", "device": "cpu"}
    given = settings(tmp_path / "root", folder, teacher=teacher)
    context, first, costs = mine(given)
    before = pairs_of(context, first.round)
    assert costs["score"].model_calls == len(before)
    with gzip.open(folder / "corpus.jsonl.gz", "rt") as lines:
        documents = [json.loads(line) for line in lines]
    for place in (3, 77):
        documents[place]["text"] += " The tunnel was closed that day."
    with gzip.open(folder / "corpus.jsonl.gz", "wt") as lines:
        lines.writelines(json.dumps(document) + "\n" for document in documents)
    context, second, costs = mine(given)
    assert second.round == "small/2"
    calls, hits, documents = computed(context, first, second, "embed-documents", "vectors.npy")
    assert (calls, hits) == (2, documents - 2)  # of the documents whose partition has a changed one
    assert costs["embed-queries"].cached
    assert not costs["retrieve-dense"].cached
    after = pairs_of(context, second.round)
    calls, _, pairs = computed(context, first, second, "score", "pairs.parquet")
    assert calls == len(after - before)
    assert 0 < calls < pairs / 4


def pairs_of(context, name):
    record = find_round(context.storage, name)
    parts = stored_stage(context.storage, record.stage("score")).parts
    table = read_parts(context.storage, parts, "pairs.parquet", ["query_hash", "doc_hash"])
    return set(zip(table["query_hash"].to_pylist(), table["doc_hash"].to_pylist(), strict=True))


def computed(context, first, second, stage, name):
    """Model calls, cache hits and rows of the partitions of a stage that the second round computed."""
    one, two = (find_round(context.storage, result.round).stage(stage) for result in (first, second))
    earlier = {part.key for part in stored_stage(context.storage, one).parts}
    parts = [part for part in stored_stage(context.storage, two).parts if part.key not in earlier]
    calls, hits = (sum(part.counters[counter] for part in parts) for counter in ("model_calls", "cache_hits"))
    return calls, hits, sum(part.file(name).rows for part in parts)
