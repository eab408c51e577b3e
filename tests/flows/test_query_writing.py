"""Synthetic queries for a corpus that has none."""

import gzip
import io
import json
import re

import pytest
from rich.console import Console

from flows.cache_only import Quiet
from flows.query import answer
from flows.query_writing import write_queries
from flows.settings import MineSettings
from tasks.audit.build import latest_audit
from tasks.corpus.dataset import ingest_dataset
from tasks.errors import UsageError
from tasks.runner.inline import InlineExecutor
from tasks.runner.runner import Context
from tasks.store.storage import open_storage
from tasks.write.queries import QueryWriteSettings
from tests.remote.server import Behaviour, Endpoint, serving

WORDS = ["apples", "rivers", "engines", "violins", "planets", "glaciers"]


def writer(messages, times):
    word = re.search(r"all about (\w+)", messages[1]["content"]).group(1)
    away = WORDS[(WORDS.index(word) + 1) % len(WORDS)]
    return Behaviour(json.dumps({"queries": [f"what is known of {word}?", f"What is known of  {word}?", f"tell me of {away}", " "]}))


def six_pages(folder):
    """Six pages without queries, and how they are mined."""
    corpus = folder / "corpus.jsonl"
    corpus.write_text("".join(json.dumps({"_id": f"d{n}", "text": f"A page all about {word}."}) + "\n" for n, word in enumerate(WORDS)))
    (folder / "queries.jsonl").write_text("")
    dataset = {"name": "bare", "format": "jsonl", "corpus": [str(corpus)], "queries": [str(folder / "queries.jsonl")]}
    model = {"path": "packaged", "max_length": 32, "dtype": "float32", "device": "cpu"}
    return MineSettings.model_validate({"root": str(folder / "mining"), "dataset": dataset, "model": model})


def test_a_budget_ends_writing_and_the_same_command_goes_on(tmp_path):
    mined, out = six_pages(tmp_path), tmp_path / "out"
    context = Context(open_storage(mined.root), lambda: InlineExecutor(2), Quiet())
    with serving(Endpoint(writer)) as endpoint:
        given = {"model": {"url": endpoint.url, "model": "writer"}, "per_document": 4, "budget": {"calls": 4}}
        chosen = QueryWriteSettings.model_validate(given)
        first = write_queries(context, mined, chosen, out)
        assert (first.answered, first.stopped, endpoint.calls) == (4, "the budget of calls is used up", 4)
        assert len((out / "queries.jsonl").read_text().splitlines()) == first.queries["kept"] == 4
        with pytest.raises(UsageError, match="not empty"):  # other settings: another folder
            write_queries(context, mined, chosen.model_copy(update={"per_document": 5}), out)
        (out / "own.txt").write_text("of the user's")
        with pytest.raises(UsageError, match="not empty"):
            write_queries(context, mined, chosen, out)
        (out / "own.txt").unlink()
        told = io.StringIO()
        answer(Console(file=told), latest_audit(context.storage), "SELECT purpose, calls FROM asks", "table", None, [], 30.0)
        assert re.search(r"write queries\D+4", told.getvalue())
        second = write_queries(context, mined, chosen, out)
        assert (second.answered, second.stopped, second.queries["kept"], endpoint.calls) == (6, "", 6, 6)
        assert len((out / "queries.jsonl").read_text().splitlines()) == 6
        with pytest.raises(UsageError, match="not empty"):  # it is done
            write_queries(context, mined, chosen, out)
        assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
        (out / "written.json").write_text("[]")
        with pytest.raises(UsageError, match="not empty"):
            write_queries(context, mined, chosen, out)


def test_the_datasets_own_queries_are_not_written_again(tmp_path):
    mined = six_pages(tmp_path)
    (tmp_path / "queries.jsonl").write_text(json.dumps({"_id": "q1", "text": "What is KNOWN of rivers?"}) + "\n")
    context = Context(open_storage(mined.root), lambda: InlineExecutor(2), Quiet())
    with serving(Endpoint(writer)) as endpoint:
        chosen = QueryWriteSettings(model={"url": endpoint.url, "model": "writer"}, per_document=4)
        found = write_queries(context, mined, chosen, tmp_path / "out")
    assert (found.queries["kept"], found.queries["same_query"]) == (5, 7)
    assert "rivers" not in (tmp_path / "out" / "queries.jsonl").read_text()


def test_queries_are_kept_where_retrieval_leads_back(tmp_path):
    mined = six_pages(tmp_path)
    context = Context(open_storage(mined.root), lambda: InlineExecutor(2), Quiet())
    with serving(Endpoint(writer)) as endpoint:
        chosen = QueryWriteSettings(model={"url": endpoint.url, "model": "writer", "key_from": ""}, per_document=4)
        found = write_queries(context, mined, chosen, tmp_path / "out")
        assert (found.documents, found.answered, found.queries) == (6, 6, {"kept": 6, "same_query": 6, "empty": 6, "not_retrieved": 6})
        fewer = write_queries(context, mined, chosen.model_copy(update={"documents": 2}), tmp_path / "fewer")
        assert (fewer.documents, fewer.queries["kept"], endpoint.calls) == (2, 2, 6)
        with pytest.raises(UsageError, match="not empty"):
            write_queries(context, mined, chosen, tmp_path / "out")
    queries = [json.loads(line) for line in (tmp_path / "out" / "queries.jsonl").read_text().splitlines()]
    assert all(one["_id"].startswith("synthetic:") and one["metadata"] == {"synthetic": True} for one in queries)
    with gzip.open(tmp_path / "out" / "corpus.jsonl.gz", "rt") as file:
        texts = {row["_id"]: row["text"] for row in map(json.loads, file)}
    labels = [line.split("\t") for line in (tmp_path / "out" / "qrels" / "synthetic.tsv").read_text().splitlines()[1:]]
    by_id = {one["_id"]: one["text"] for one in queries}
    assert all(by_id[query].split()[-1].strip("?") in texts[document] for query, document, _ in labels)
    aside = [json.loads(line) for line in (tmp_path / "out" / "aside.jsonl").read_text().splitlines()]
    assert min(one["rank"] for one in aside if one["status"] == "not_retrieved") > 1
    read = {"name": "made", "format": "beir", "path": str(tmp_path / "out"), "split": "synthetic"}
    settings = MineSettings.model_validate({"root": mined.root, "dataset": read}).dataset
    assert ingest_dataset(context, settings, 0).counts["positives"] == 6  # it is a dataset like any other
