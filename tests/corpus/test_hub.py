"""Datasets by name: real `datasets` code over a clone of a repository, and what is said where there is no network."""

import json
from collections import namedtuple
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks.corpus import hub
from tasks.corpus.settings import DatasetSettings
from tasks.errors import InputError, UsageError

CARD = """---
configs:
- config_name: corpus
  data_files: [{split: corpus, path: corpus/*.parquet}]
- config_name: queries
  data_files: [{split: queries, path: queries/*.parquet}]
- config_name: default
  data_files: [{split: test, path: qrels/test.parquet}, {split: train, path: qrels/train.parquet}]
---
"""


@pytest.fixture
def clone(tmp_path, monkeypatch):
    """A retrieval dataset as MTEB lays it out in a repository."""
    monkeypatch.setenv("HARDMINE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "datasets")
    folder = tmp_path / "scifact"
    tables = {
        "corpus/a": {"_id": ["1", "2"], "title": ["T", ""], "text": ["a text", "another"]},
        "queries/a": {"_id": ["q1", "q2"], "text": ["which text", "which other"]},
        "qrels/test": {"query-id": ["q1"], "corpus-id": ["1"], "score": [1]},
        "qrels/train": {"query-id": ["q2"], "corpus-id": ["2"], "score": [1]},
    }
    for name, columns in tables.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table(columns), folder / f"{name}.parquet")
    (folder / "README.md").write_text(CARD)
    return folder


def test_a_repository_of_corpus_queries_and_qrels(clone, site):
    dataset = site.ingest(format="huggingface", path=str(clone), split="test")
    assert site.docs(dataset).sort_by("doc_id")["text"].to_pylist() == ["a text", "another"]
    assert [(row["query_id"], row["doc_id"]) for row in site.qrels(dataset).to_pylist()] == [("q1", "1")]
    folder = hub.fetched_repository(str(clone))
    assert sorted(path.name for path in folder.iterdir()) == ["corpus", "qrels", "queries"]
    (clone / "corpus" / "a.parquet").unlink()
    assert site.ingest(format="huggingface", path=str(folder), split="train").counts["positives"] == 1, "fetched once"


@pytest.mark.parametrize(("kind", "name"), [("huggingface", "nobody/nothing"), ("mteb", "SciFact")])
def test_without_a_network_the_mend_is_said(clone, site, kind, name):
    with pytest.raises(InputError, match="the Hugging Face hub does not give it") as error:
        site.ingest(format=kind, path=name)
    assert "save_to_disk" in error.value.mend
    assert not list((Path(clone).parent / "cache" / "datasets").glob("*")), "nothing half fetched is left"


def test_ir_datasets_that_is_not_installed_or_not_reachable(clone, site):
    with pytest.raises((UsageError, InputError), match="ir_datasets") as error:
        site.ingest(format="ir_datasets", path="beir/scifact/test")
    assert "format: jsonl" in error.value.mend


def test_what_ir_datasets_gives_becomes_json_lines(tmp_path):
    document, query, judged = (
        namedtuple("D", "doc_id title text"),
        namedtuple("Q", "query_id text"),
        namedtuple("J", "query_id doc_id relevance"),
    )

    class Collection:
        def docs_iter(self):
            return iter([document("d1", "T", "body"), document("d2", "", "more")])

        def queries_iter(self):
            return iter([query("q1", "what")])

        def qrels_iter(self):
            return iter([judged("q1", "d1", 2)])

    hub.write_ir_dataset(Collection(), tmp_path)
    rows = {
        name: [json.loads(line) for line in (tmp_path / f"{name}.jsonl").read_text().splitlines()]
        for name in ("corpus", "queries", "qrels")
    }
    assert rows["corpus"] == [{"doc_id": "d1", "title": "T", "text": "body"}, {"doc_id": "d2", "title": "", "text": "more"}]
    assert rows["queries"] == [{"query_id": "q1", "query": "what"}]
    assert rows["qrels"] == [{"query_id": "q1", "doc_id": "d1", "relevance": 2}]


def test_names_are_no_paths(tmp_path):
    for kind, path in (("mteb", "SciFact"), ("ir_datasets", "beir/scifact/test"), ("huggingface", "mteb/scifact")):
        assert DatasetSettings(name="x", format=kind, path=path).resolved(tmp_path).path == path
    (tmp_path / "saved").mkdir()
    assert DatasetSettings(name="x", format="huggingface", path="./saved").resolved(tmp_path).path == str(tmp_path / "saved")
