"""Row for row what sentence-transformers' ``mine_hard_negatives`` gives: four formats, every filter, with and without a cross-encoder."""

import json

import pyarrow.parquet as pq
import pytest

from flows.mine import mine_round
from flows.selection import run_selection, shard_settings
from flows.settings import MineSettings
from flows.stored import find_round, stored_table
from tasks.runner.inline import InlineExecutor
from tasks.runner.runner import Context
from tasks.select.recipe import Facts
from tasks.select.registry import compose_recipe
from tasks.store.storage import open_storage
from tests.e2e.conftest import round_settings
from tests.runner.test_runner import Recorder

FORMATS = ("triplet", "n-tuple", "labeled-pair", "labeled-list")
FILTERS = [
    {},
    {"range_min": 2},
    {"range_min": 1, "range_max": 9},
    {"max_score": 0.6},
    {"min_score": 0.55},
    {"absolute_margin": 0.1},
    {"relative_margin": 0.05},
    {"range_min": 1, "range_max": 30, "max_score": 0.8, "min_score": 0.3, "absolute_margin": 0.02, "relative_margin": 0.01},
]


MIDDLE = (0.5, 0.5)  # max_score, min_score for the cross-encoder


@pytest.fixture(scope="module")
def mined(collection, cross_encoder, tmp_path_factory):
    """A round in which everything is retrieved and scored."""
    root = tmp_path_factory.mktemp("st")
    settings = MineSettings.model_validate(
        round_settings(
            collection,
            cross_encoder,
            root=str(root),
            retrieve={"dense": {"top_k": 144, "index": "flat"}, "bm25": None},
            recipe="sentence-transformers",
            teacher={"path": str(cross_encoder), "depth": 144, "max_length": 64, "dtype": "float32"},
        )
    )
    context = Context(open_storage(str(root)), lambda: InlineExecutor(1), Recorder())
    mine_round(settings, context)
    return context, settings


@pytest.fixture(scope="module")
def theirs(collection, cross_encoder, tmp_path_factory):
    """Their miner on the same texts: every labelled pair a row, all documents as the corpus."""
    import gzip

    from datasets import Dataset
    from sentence_transformers import CrossEncoder, SentenceTransformer
    from sentence_transformers.util import mine_hard_negatives

    from tasks.models.location import packaged

    model = SentenceTransformer(str(packaged()), device="cpu", local_files_only=True)
    model.max_seq_length = 64
    teacher = CrossEncoder(str(cross_encoder), device="cpu", max_length=64, local_files_only=True)
    documents = {}
    with gzip.open(collection / "corpus.jsonl.gz", "rt") as lines:
        for line in lines:
            row = json.loads(line)
            documents[row["_id"]] = f"{row['title']} {row['text']}"
    queries = {row["_id"]: row["text"] for row in map(json.loads, (collection / "queries.jsonl").open())}
    labels = [line.split("\t") for line in (collection / "qrels/test.tsv").read_text().splitlines()[1:]]
    pairs = Dataset.from_dict({"anchor": [queries[query] for query, _, _ in labels], "positive": [documents[doc] for _, doc, _ in labels]})

    cache = str(tmp_path_factory.mktemp("cache"))  # one model and one corpus: their cache is safe here

    def run(output_format, rescored, **filters):
        return mine_hard_negatives(
            pairs,
            model,
            corpus=list(documents.values()),
            cross_encoder=teacher if rescored else None,
            num_negatives=3,
            output_format=output_format,
            output_scores=False,
            verbose=False,
            cache_folder=cache,
            **filters,
        ).to_list()

    return run


CASES = [(filters, False) for filters in FILTERS] + [(filters, True) for filters in FILTERS[3:]]


@pytest.mark.parametrize(
    ("filters", "rescored"), CASES, ids=lambda case: "+".join(case) or "plain" if isinstance(case, dict) else str(case)
)
def test_rows_are_equal(mined, theirs, filters, rescored):
    context, settings = mined
    if rescored:  # the little teacher's scores lie close together
        shift = {"max_score": MIDDLE[0], "min_score": MIDDLE[1], "absolute_margin": 1e-4, "relative_margin": 1e-4}
        filters = {name: shift.get(name, value) for name, value in filters.items()}
    record = find_round(context.storage, "small")
    recipe = compose_recipe({"name": "sentence-transformers", "cross_encoder": rescored, **filters}, Facts(3, 2))
    selected = run_selection(context, stored_table(context.storage, record), recipe, FORMATS, shard_settings(settings, recipe), seed=0)
    for output_format in FORMATS:
        assert ours(selected.result.shards[output_format]) == ordered(theirs(output_format, rescored, **filters)), output_format


def test_the_filters_do_filter(theirs):
    """The comparison above would also hold for empty outputs: they are not empty, and not all alike."""
    outputs = [ordered(theirs("triplet", False, **filters)) for filters in FILTERS]
    assert min(map(len, outputs)) > 20
    assert len({json.dumps(rows) for rows in outputs}) == len(FILTERS)


def ours(folder):
    from pathlib import Path

    return ordered(row for path in sorted(Path(folder).glob("*.parquet")) for row in pq.read_table(path).to_pylist())


def ordered(rows):
    """Rows as JSON, sorted: theirs come by query, ours in hashed order."""
    return sorted(json.dumps(row, sort_keys=True) for row in rows)
