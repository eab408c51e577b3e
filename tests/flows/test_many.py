"""Several datasets in one run: counts, weights and prompts as asked, batches of one source, and what is refused before a model runs."""

import json
import os
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from flows.commands.common import load
from flows.many import mine_all
from flows.many_settings import ManySettings
from flows.stored import find_round, stored_settings, stored_table
from tasks.errors import InputError, UsageError
from tasks.runner.inline import InlineExecutor
from tasks.runner.runner import Context
from tasks.store.pointers import read_pointer
from tasks.store.storage import open_storage
from tasks.store.tables import read_parts
from tests.e2e.conftest import write_collection
from tests.runner.test_runner import Recorder

CURRICULUM = {
    "name": "two-steps",
    "needs": {"sources": {"dense": 8}},
    "draws": [{"name": "first", "stage": "easy"}, {"name": "second", "stage": "hard"}],
}
MODEL = {"path": "packaged", "max_length": 32, "dtype": "float32", "device": "cpu"}
PARTITIONS = {"document_partitions": 2, "query_partitions": 2}


def write_other(folder, documents, name):
    """JSON lines of another collection: a query for each document."""
    folder.mkdir()
    with (folder / "docs.jsonl").open("w") as docs, (folder / "queries.jsonl").open("w") as queries:
        for number in range(documents):
            docs.write(
                json.dumps({"doc_id": f"{name}{number}", "text": f"How to cook dish {number} of {name}, with salt and {number % 7} eggs"})
                + "\n"
            )
            queries.write(
                json.dumps({"query_id": f"{name}q{number}", "query": f"cooking {name} dish {number}", "positive_ids": [f"{name}{number}"]})
                + "\n"
            )
    return {"format": "jsonl", "corpus": str(folder / "docs.jsonl"), "queries": str(folder / "queries.jsonl"), **PARTITIONS}


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sources")
    beir = write_collection(folder / "beir")
    return {
        "wings": {"format": "beir", "path": str(beir), **PARTITIONS},
        "soups": write_other(folder / "soups", 20, "soup"),
        "cakes": write_other(folder / "cakes", 30, "cake"),
    }


def settings(root, sources, members=None, **changes):
    members = members or {name: {} for name in sources}
    given = {
        "root": str(root),
        "datasets": [{"dataset": {"name": name, **sources[name], **more.pop("dataset", {})}, **more} for name, more in members.items()],
        "model": MODEL,
        "retrieve": {"dense": {"top_k": 12}, "bm25": None},
        "recipe": {"name": "top", "depth": 8},
        "num_negatives": 2,
        "planted": 0,
        "formats": ["n-tuple", "flagembedding"],
        **changes,
    }
    return ManySettings.model_validate(given)


def run(settings):
    context = Context(open_storage(settings.root), lambda: InlineExecutor(1), Recorder())
    return context, mine_all(settings, context)


def rows_of(folder, ending="parquet"):
    files = sorted(Path(folder).glob(f"*.{ending}"))
    if ending == "parquet":
        return [row for file in files for row in pq.read_table(file).to_pylist()]
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def check_batches(result, size):
    """Each batch has one source, in the training files and in their sidecars; the counts are those that were said."""
    for mixed in result.mixture:
        sidecar = rows_of(str(mixed.folder).removesuffix("data") + "sidecar")
        rows = rows_of(mixed.folder, "jsonl" if mixed.format == "flagembedding" else "parquet")
        names = [row["dataset"] for row in sidecar]
        assert names == [row.get("dataset", row.get("dataset_name")) for row in rows]
        assert len(rows) == mixed.rows == sum(facts["written"] for facts in mixed.datasets.values())
        for start in range(0, len(names), size):
            assert len(set(names[start : start + size])) == 1, f"batch {start // size} mixes datasets"
            assert len(names[start : start + size]) == size
            queries = {row["query_id"] for row in sidecar[start : start + size]}
            assert len(queries) == size, f"batch {start // size} has a query twice"
            others = [{one for one in row["positive_ids"] if one is not None} for row in sidecar[start : start + size]]
            assert sum(map(len, others)) == len(set().union(*others)), f"batch {start // size} has a positive twice"
        assert {facts["clashing"] for facts in mixed.datasets.values()} == {0}
        assert {name: names.count(name) for name in set(names)} == {name: facts["written"] for name, facts in mixed.datasets.items()}


def test_three_datasets_with_weights_prompts_and_batches_of_one_source(tmp_path, sources):
    members = {
        "wings": {"weight": 0.5, "task": "engineering"},
        "soups": {"weight": 2.0, "recipe": {"name": "top", "depth": 6}},
        "cakes": {"dataset": {"max_queries": 12}},
    }
    prompts = {"wings": {"query": "Find the experiment: "}, "soups": {"query": "Find the recipe: ", "document": "recipe: "}}
    asked = settings(
        tmp_path / "root",
        sources,
        members,
        prompts=prompts,
        mixture={"batch_size": 4, "temperature": 2.0, "rows": 80, "max_rows_per_positive": 1},
    )
    context, result = run(asked)
    assert [mined.dataset for mined in result.rounds] == ["wings", "soups", "cakes"]
    assert [mined.queries for mined in result.rounds] == [48, 20, 12]
    check_batches(result, 4)
    facts = result.mixture[0].datasets
    sized = {"wings": 0.5 * 96**0.5, "soups": 2 * 20**0.5, "cakes": 12**0.5}
    for name, share in sized.items():
        assert facts[name]["share"] == pytest.approx(share / sum(sized.values()), abs=1e-5)
        assert facts[name]["batches"] == pytest.approx(20 * share / sum(sized.values()), abs=1)
    assert facts["soups"]["repeated"] == facts["soups"]["written"] - 20
    records = {name: stored_settings(find_round(context.storage, name)) for name in asked.names}
    assert records["wings"].model.query_prompt == "Find the experiment: "
    assert records["soups"].model.document_prompt == "recipe: "
    assert records["cakes"].model.query_prompt == ""
    assert result.rounds[1].selection.recipe == "top"
    jsonl = next(mixed for mixed in result.mixture if mixed.format == "flagembedding")
    told = {(row["dataset"], row["prompt"], row["task"]) for row in rows_of(jsonl.folder, "jsonl")}
    assert told == {
        ("wings", "Find the experiment: ", "engineering"),
        ("soups", "Find the recipe: ", "retrieval"),
        ("cakes", "", "retrieval"),
    }
    described = json.loads((Path(jsonl.folder).parent / "mixture.json").read_text())
    assert [(one["name"], one["weight"], one["prompts"]["query"]) for one in described["datasets"]] == [
        ("wings", 0.5, "Find the experiment: "),
        ("soups", 2.0, "Find the recipe: "),
        ("cakes", 1.0, ""),
    ]
    for name, first in (("wings", "d"), ("soups", "soup"), ("cakes", "cake")):
        table = stored_table(context.storage, find_round(context.storage, name))
        ids = read_parts(context.storage, table.scored, "scored.parquet", ["doc_id"])["doc_id"].to_pylist()
        assert all(one.startswith(first) for one in ids), "candidates never cross corpora"
    pointer = read_pointer(context.storage, "mixtures/mixture")
    assert pointer["rounds"] == [mined.round for mined in result.rounds]
    assert jsonl.folder.endswith(pointer["formats"]["flagembedding"]["folder"])


def test_candidates_cross_corpora_where_it_is_asked(tmp_path, sources):
    members = {"soups": {"search": ["cakes"]}, "cakes": {}}
    deep = {"dense": {"top_k": 40}, "bm25": None}
    context, result = run(settings(tmp_path / "root", sources, members, mixture={"batch_size": 4}, retrieve=deep))
    found = {}
    for name in members:
        table = stored_table(context.storage, find_round(context.storage, name))
        ids = read_parts(context.storage, table.scored, "scored.parquet", ["doc_id"])["doc_id"].to_pylist()
        found[name] = {one.rstrip("0123456789") for one in ids}
    assert found == {"soups": {"soup", "cake"}, "cakes": {"cake"}}
    assert [mined.documents for mined in result.rounds] == [50, 30]


def test_clashing_ids_stop_before_a_model_runs_and_a_prefix_parts_them(tmp_path, sources):
    folder = tmp_path / "other"
    other = write_other(folder, 20, "soup")
    (folder / "docs.jsonl").write_text((folder / "docs.jsonl").read_text().replace("salt", "pepper"))
    both = {"soups": sources["soups"], "spicy": other}
    clashing = settings(tmp_path / "root", both, mixture={"batch_size": 4})
    context = Context(open_storage(clashing.root), lambda: InlineExecutor(1), recorder := Recorder())
    with pytest.raises(InputError, match="soups and spicy: 20 document ids stand for different texts, as 'soup0' does") as error:
        mine_all(clashing, context)
    assert "id_prefix" in error.value.mend
    assert not [event for event in recorder.events if "embed" in str(event[1])]
    apart = settings(tmp_path / "root2", both, {"soups": {}, "spicy": {"dataset": {"id_prefix": "hot-"}}}, mixture={"batch_size": 4})
    context, _ = run(apart)
    table = stored_table(context.storage, find_round(context.storage, "spicy"))
    scored = read_parts(context.storage, table.scored, "scored.parquet", ["query_id", "doc_id", "is_positive"]).to_pylist()
    assert {(row["query_id"], row["doc_id"]) for row in scored if row["is_positive"]} == {
        (f"hot-soupq{number}", f"hot-soup{number}") for number in range(20)
    }


@pytest.mark.parametrize(
    ("members", "changes", "said"),
    [
        (
            {"soups": {"recipe": {"name": "top", "depth": 8, "num_negatives": 3}}, "cakes": {}},
            {},
            "soups have 3 negatives .* cakes 2",
        ),
        ({"soups": {"recipe": CURRICULUM}, "cakes": {}}, {"formats": ["triplet"]}, "the training stages easy, hard, which cannot be mixed"),
        (
            {"soups": {"dataset": {"splits": {"train": 0.0, "dev": 1.0}}}, "cakes": {}},
            {},
            "soups: no query with a positive is of split train",
        ),
    ],
)
def test_rows_that_cannot_be_mixed_are_refused_before_a_model_runs(tmp_path, sources, members, changes, said):
    asked = settings(tmp_path / "root", sources, members, mixture={"batch_size": 4}, **changes)
    context = Context(open_storage(asked.root), lambda: InlineExecutor(1), recorder := Recorder())
    with pytest.raises((InputError, UsageError), match=said) as error:
        mine_all(asked, context)
    assert error.value.mend
    assert not [event for event in recorder.events if "embed" in str(event[1])]


@pytest.mark.slow
def test_formats_without_columns_mix_recipes_of_any_number(tmp_path, sources):
    members = {"soups": {"recipe": {"name": "top", "depth": 8, "num_negatives": 3}}, "cakes": {"dataset": {"max_queries": 12}}}
    _, result = run(settings(tmp_path / "root", sources, members, formats=["triplet"], mixture={"batch_size": 4}))
    assert {name: facts["rows"] for name, facts in result.mixture[0].datasets.items()} == {"soups": 60, "cakes": 24}
    check_batches(result, 4)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"prompts": {"soup": {"query": "x"}}}, "there is no dataset 'soup': did you mean 'soups'"),
        ({"rounds": 2}, "rounds: one after the other is for one dataset"),
        ({"train": {}, "formats": ["flagembedding"]}, "is trained on as n-tuple or triplet"),
        ({"train": {}, "document_model": MODEL}, "one encoder is trained for both sides"),
        ({"formats": ["trec-run"]}, "can be mixed"),
        ({"members": {"soups": {"search": ["soups"]}}}, "which is no other dataset of the list"),
        ({"members": {"soups": {"weight": 0}}}, "greater than 0"),
        ({"dataset": {"name": "wings", "format": "beir", "path": "wings"}}, "dataset: it would not be read beside datasets"),
        ({"datasets": "soups"}, "valid tuple"),
    ],
)
def test_settings_that_do_not_fit(tmp_path, sources, changes, said):
    with pytest.raises(ValueError, match=said):
        settings(tmp_path / "root", sources, **changes)


def test_a_command_for_one_dataset_says_so(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text("datasets: [{dataset: {name: one, format: beir, path: one}}]\n")
    with pytest.raises(UsageError, match="this command takes one dataset") as error:
        load(path, None)
    assert "hardmine mine" in error.value.mend


@pytest.mark.skipif(not os.environ.get("HARDMINE_DATA"), reason="HARDMINE_DATA names no folder of real collections")
@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_three_real_collections(tmp_path):
    data = Path(os.environ["HARDMINE_DATA"])
    sources = {
        "cranfield": {"format": "beir", "path": str(data / "cranfield"), "split": "test"},
        "banking": {"format": "beir", "path": str(data / "banking77-thin"), "split": "labelled"},
        "xquad": {"format": "beir", "path": str(data / "xquad-en"), "split": "test"},
    }
    members = {"cranfield": {"weight": 1.0}, "banking": {"dataset": {"max_queries": 800}}, "xquad": {"weight": 2.0, "task": "qa"}}
    prompts = {"cranfield": {"query": "Find the abstract: "}, "banking": {"query": "Find the same request: "}}
    asked = settings(tmp_path / "root", sources, members, prompts=prompts, mixture={"batch_size": 16, "temperature": 2.0}, num_negatives=3)
    _, result = run(asked)
    assert [mined.documents for mined in result.rounds] == [1398, 924, 240], "two of cranfield are empty"
    assert [mined.queries for mined in result.rounds] == [225, 800, 1190]
    check_batches(result, 16)
    facts = result.mixture[0].datasets
    sized = {name: asked.datasets[place].weight * facts[name]["rows"] ** 0.5 for place, name in enumerate(asked.names)}
    for name, share in sized.items():
        assert facts[name]["share"] == pytest.approx(share / sum(sized.values()), abs=1e-5)
        assert facts[name]["written"] == pytest.approx(result.mixture[0].rows * facts[name]["share"], abs=16)
    jsonl = next(mixed for mixed in result.mixture if mixed.format == "flagembedding")
    told = {(row["dataset"], row["prompt"], row["task"]) for row in rows_of(jsonl.folder, "jsonl")}
    assert told == {
        ("cranfield", "Find the abstract: ", "retrieval"),
        ("banking", "Find the same request: ", "retrieval"),
        ("xquad", "", "qa"),
    }
