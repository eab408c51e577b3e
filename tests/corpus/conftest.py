"""Small collections, and a run of the three stages over them."""

import json

import pytest

from tasks.corpus.dataset import ingest_dataset
from tasks.corpus.settings import DatasetSettings
from tasks.runner.inline import InlineExecutor
from tasks.runner.runner import Context
from tasks.store.storage import open_storage
from tasks.store.tables import read_parts


class Silent:
    def __init__(self):
        self.cached = {}

    def start(self, stage, unit, total, done):
        pass

    def advance(self, stage, units):
        pass

    def finish(self, manifest, cached):
        self.cached[manifest.stage] = cached


class Site:
    """A data folder and a storage root."""

    def __init__(self, folder):
        self.data = folder / "data"
        self.data.mkdir(exist_ok=True)
        self.storage = open_storage(str(folder / "root"))
        self.progress = Silent()

    def write(self, name, content):
        path = self.data / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)

    def jsonl(self, name, rows):
        return self.write(name, "".join(json.dumps(row) + "\n" for row in rows))

    def ingest(self, seed=0, threads=1, further=(), sight=None, **settings):
        values = {"name": "d", "format": "jsonl", "max_rejected": 1, **settings}
        context = Context(self.storage, lambda: InlineExecutor(threads), self.progress)
        return ingest_dataset(context, DatasetSettings(**values), seed, further=further, sight=sight)

    def docs(self, dataset):
        return read_parts(self.storage, dataset.documents, "docs.parquet")

    def queries(self, dataset):
        return read_parts(self.storage, dataset.queries, "queries.parquet")

    def qrels(self, dataset):
        return read_parts(self.storage, dataset.queries, "qrels.parquet")

    def rejected(self, dataset):
        parts = [part for stage in dataset.stages if stage.stage != "query-groups" for part in stage.parts]
        return read_parts(self.storage, parts, "rejected.parquet").to_pylist()


@pytest.fixture
def make_site(tmp_path_factory):
    return lambda: Site(tmp_path_factory.mktemp("site"))


@pytest.fixture
def site(make_site):
    return make_site()


@pytest.fixture
def small(site):
    """Three documents, two queries, three judgements; keyword arguments for ``ingest``."""
    return {
        "corpus": site.jsonl("c.jsonl", [{"doc_id": f"d{n}", "title": f"T{n}", "text": f"text {n}"} for n in range(3)]),
        "queries": site.jsonl("q.jsonl", [{"query_id": "a", "query": "first"}, {"query_id": "b", "query": "second", "group": "g"}]),
        "qrels": site.jsonl(
            "r.jsonl", [{"query_id": q, "doc_id": d, "relevance": r} for q, d, r in [("a", "d0", 2), ("a", "d1", 0), ("b", "d2", 1)]]
        ),
    }
