"""What the drop-in has beyond its model: caches, resume, ids and audit; and what it does not take."""

import copy
import gzip
import json
import os
import random
from pathlib import Path

import pytest

from flows.drop_in import mine_hard_negatives
from tasks.audit.build import latest_audit
from tasks.audit.records import read_round
from tasks.errors import InputError, UsageError
from tasks.sql import query_snapshot
from tasks.store.storage import open_storage


def test_another_format_or_filter_runs_no_model(pairs, ours, monkeypatch):
    dataset, corpus = pairs
    first = ours(dataset, corpus=corpus, range_max=20)
    monkeypatch.setattr("tasks.models.embedder.Embedder.encode", lambda *_, **__: pytest.fail("a text was embedded"))
    assert ours(dataset, corpus=corpus, range_max=20).to_list() == first.to_list()
    assert len(ours(dataset, corpus=corpus, range_max=20, max_score=0.6, output_format="labeled-list")) > 0


@pytest.mark.slow
def test_weights_changed_in_place_are_another_model(pairs, model, tmp_path):
    """The name stays the same: sentence-transformers' own cache would give the old vectors."""
    import torch

    dataset, corpus = pairs
    changed = copy.deepcopy(model)
    given = {"corpus": corpus, "root": str(tmp_path), "verbose": False, "name": "same"}
    before = mine_hard_negatives(dataset, changed, **given)
    with torch.no_grad():
        generator = torch.Generator().manual_seed(0)
        for weights in changed.parameters():
            weights += 0.05 * torch.randn(weights.shape, generator=generator)
    after = mine_hard_negatives(dataset, changed, **given)
    assert before.to_list() != after.to_list()
    assert read_round(open_storage(str(tmp_path)), "same").number == 2
    assert len(list((tmp_path / "models").iterdir())) == 2


def test_a_call_that_was_stopped_goes_on(pairs, model, tmp_path, monkeypatch):
    dataset, corpus = pairs
    given = {"corpus": corpus, "root": str(tmp_path), "verbose": False}
    with monkeypatch.context() as broken:
        broken.setattr("flows.round.retrieve_dense", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            mine_hard_negatives(dataset, model, **given)
    monkeypatch.setattr("tasks.models.embedder.Embedder.encode", lambda *_, **__: pytest.fail("a text was embedded again"))
    assert len(mine_hard_negatives(dataset, model, **given)) == 75


def test_every_decision_is_in_the_audit_under_ids(pairs, ours, root):
    dataset, corpus = pairs
    found = ours(dataset, corpus=corpus, name="audited", relative_margin=0.05)
    storage = open_storage(root)
    record = read_round(storage, "audited")
    rows = query_snapshot(
        latest_audit(storage),
        "SELECT decision, count(*) AS n FROM decisions WHERE dataset = 'audited' GROUP BY decision",
    ).to_pylist()
    counts = {row["decision"]: row["n"] for row in rows}
    negatives = {(row["question"], row["negative"]) for row in found}
    assert counts["negative"] == len(negatives)
    assert counts["rejected"] > 0
    assert record.selection().recipe == "sentence-transformers"
    assert set(record.selection().shards) == {"triplet"}


@pytest.mark.slow
def test_random_negatives_are_drawn_by_a_seed_from_the_range(pairs, ours):
    dataset, corpus = pairs
    given = {"corpus": corpus, "range_min": 2, "range_max": 20, "output_format": "n-tuple", "output_scores": True}
    whole = ours(dataset, **given, num_negatives=18)
    drawn = [ours(dataset, **given, sampling_strategy="random", seed=seed) for seed in (0, 0, 1)]
    assert drawn[0].to_list() == drawn[1].to_list() != drawn[2].to_list()
    for row, everything in zip(drawn[0], whole, strict=True):
        names = [row[f"negative_{number}"] for number in (1, 2, 3)]
        assert len(set(names)) == 3
        assert set(names) <= {everything[f"negative_{number}"] for number in range(1, 19)}
        assert row["scores"][1:] == sorted(row["scores"][1:], reverse=True)
    assert drawn[0].to_list() != ours(dataset, **given).to_list()


@pytest.mark.slow
def test_the_cache_folder_and_the_environment_name_the_root(pairs, model, tmp_path, monkeypatch):
    dataset, _ = pairs
    few = dataset.select(range(6))
    mine_hard_negatives(few, model, num_negatives=1, cache_folder=str(tmp_path / "cache"), verbose=False)
    assert (tmp_path / "cache" / "pointers" / "datasets.json").exists()
    monkeypatch.setenv("HARDMINE_ROOT", str(tmp_path / "environment"))
    mine_hard_negatives(few, model, num_negatives=1, verbose=False)
    assert (tmp_path / "environment" / "pointers" / "datasets.json").exists()


def test_what_cannot_be_taken_is_refused_before_anything_is_kept(pairs, model, scorer, tmp_path):
    import torch
    from sentence_transformers import CrossEncoder

    from tasks.models.location import packaged

    dataset, _ = pairs
    given = {"root": str(tmp_path / "unmade"), "verbose": False}
    other = copy.copy(model)
    other._similarity_fn_name = None
    other.similarity_fn_name = "euclidean"
    with pytest.raises(UsageError, match="compares vectors by euclidean"):
        mine_hard_negatives(dataset, other, **given)
    several = CrossEncoder(str(packaged()), num_labels=3, device="cpu", local_files_only=True)
    with pytest.raises(UsageError, match="has 3 outputs"):
        mine_hard_negatives(dataset, model, cross_encoder=several, max_score=0.5, **given)
    odd = copy.copy(scorer)
    odd.activation_fn = torch.nn.Tanh()
    with pytest.raises(UsageError, match="neither Sigmoid nor Identity"):
        mine_hard_negatives(dataset, model, cross_encoder=odd, max_score=0.5, **given)
    assert not (tmp_path / "unmade" / "manifests").exists()


def test_many_empty_texts_are_an_error_that_counts_them(pairs, ours):
    dataset, corpus = pairs
    with pytest.raises(InputError, match="empty text"):
        ours(dataset, corpus=[*corpus, "", " ", "\n", "  "])


@pytest.mark.slow
def test_several_processes_give_the_same(pairs, model, tmp_path):
    dataset, corpus = pairs
    one, two = (
        mine_hard_negatives(dataset, model, corpus=corpus, root=str(tmp_path / str(number)), use_multi_process=processes, verbose=False)
        for number, processes in enumerate((False, ["cpu", "cpu"]))
    )
    assert one.to_list() == two.to_list()


@pytest.mark.slow
def test_cranfield_in_both(model, tmp_path, cranfield):
    """Real abstracts: 1,400 documents and all labelled pairs; where two cosines are within 1e-6 either may come first."""
    from sentence_transformers.util import mine_hard_negatives as theirs

    dataset, corpus = cranfield
    given = {
        "corpus": corpus,
        "relative_margin": 0.05,
        "num_negatives": 5,
        "output_format": "n-tuple",
        "output_scores": True,
        "verbose": False,
    }
    expected = theirs(dataset, model, **given)
    found = mine_hard_negatives(dataset, model, root=str(tmp_path), **given)
    assert len(found) == len(expected) > 300
    for mine, other in zip(found["scores"], expected["scores"], strict=True):
        assert mine == pytest.approx(other, abs=2e-6)
    assert sum(mine["negative_1"] == other["negative_1"] for mine, other in zip(found, expected, strict=True)) >= 0.98 * len(found)


@pytest.fixture
def cranfield():
    from datasets import Dataset

    if not os.environ.get("HARDMINE_DATA"):
        pytest.skip("HARDMINE_DATA names no folder of collections")
    folder = Path(os.environ["HARDMINE_DATA"]) / "cranfield"
    rows = [json.loads(line) for line in gzip.decompress((folder / "corpus.jsonl.gz").read_bytes()).splitlines()]
    texts = {row["_id"]: f"{row['title']} {row['text']}".strip() for row in rows}
    queries = {row["_id"]: row["text"] for row in map(json.loads, (folder / "queries.jsonl").read_text().splitlines())}
    labels = [line.split("\t") for line in (folder / "qrels" / "test.tsv").read_text().splitlines()[1:]]
    pairs = [(queries[query], texts[document]) for query, document, grade in labels if int(grade) > 0 and texts[document]]
    random.Random(0).shuffle(pairs)
    return Dataset.from_dict({"anchor": [one for one, _ in pairs], "positive": [other for _, other in pairs]}), [
        text for text in texts.values() if text
    ]
