"""Recipes beside each other, thresholds, and recipes of the user's own: through the command line, on a real round."""

import json
import os
from pathlib import Path

import pytest

from tests.e2e.conftest import CommandLine, round_settings, shard_bytes

RECIPES = "top,skip-n,hardmine,nv-retriever,{name: other-clusters, depth: 60, clusters: 12}"


@pytest.fixture(scope="module")
def mined(tmp_path_factory, prefect_server, collection):
    hardmine = CommandLine(tmp_path_factory.mktemp("compare"), prefect_server)
    settings = round_settings(collection, recipe="top", retrieve={"dense": {"top_k": 100}, "bm25": {"top_k": 50}})
    hardmine.json("mine", hardmine.write(**settings))
    return hardmine


@pytest.fixture(scope="module")
def truth(mined, collection):
    """As if every document of rank 1 to 3 that is not labelled were relevant to every third query."""
    query = "SELECT query_id, doc_id FROM candidates WHERE dense_rank <= 3 OR is_positive"
    found = json.loads(mined("sql", query, "--format", "json")[0])
    judged = sorted({row["query_id"] for row in found})[::3]
    path = mined.folder / "truth.tsv"
    lines = [f"{row['query_id']}\t{row['doc_id']}\t1" for row in found if row["query_id"] in judged]
    path.write_text("query-id\tcorpus-id\tscore\n" + "\n".join(lines) + "\n")
    return path, judged


def test_compare_measures_leaks_without_running_a_model(mined, truth):
    path, judged = truth
    found = mined.json("compare", "small/1", "--recipes", RECIPES, "--qrels", path, "--plot", "leak.svg")
    rows = {row["recipe"]: row for row in found["recipes"]}
    assert list(rows) == ["top", "skip-n", "hardmine", "nv-retriever", "other-clusters"]
    assert {row["queries"] for row in rows.values()} == {len(judged)}
    # the first three ranks hold the positives, their near copy and one or two more that are called relevant: top takes those first
    assert rows["top"]["leak"] > 0.3
    assert rows["skip-n"]["leak"] < 0.05
    assert rows["top"]["similarity"] > rows["skip-n"]["similarity"]
    assert rows["top"]["overlap"]["skip-n"]["share"] < rows["top"]["overlap"]["nv-retriever"]["share"] <= 1
    assert all(0 <= row["served"] <= 1 and row["seconds"] > 0 for row in rows.values())
    assert {line["family"] for line in found["curves"]} == {"skip-n", "hardmine", "nv-retriever"}
    assert (mined.folder / "leak.svg").read_text().lstrip().startswith("<?xml")
    stages = json.loads(mined("sql", "SELECT stage, model_calls FROM stages WHERE stage = 'select'", "--format", "json")[0])
    assert [stage["model_calls"] for stage in stages] == [0] * len(stages)


def test_compare_leaves_out_what_the_round_is_too_shallow_for(mined):
    found = mined.json("compare", "small/1", "--no-curves")
    assert "dense to rank 200" in found["left_out"]["ance"]
    assert "teacher" in found["left_out"]["rocketqa"]
    assert {"top", "hardmine", "in-batch"} <= {row["recipe"] for row in found["recipes"]}
    assert all(row["leak"] is None for row in found["recipes"])
    _, err = mined("compare", "small/1", "--recipes", "ance", code=2)
    assert "dense to rank 200 (mined: 100)" in err
    shown = mined("compare", "small/1", "--recipes", "top,skip-n", "--no-curves")[0]
    assert "hardness" in shown


def test_judgements_for_measuring_give_rates_and_change_no_byte_of_the_shards(mined, truth, collection):
    """A round from an empty root with ``truth.qrels`` beside one without."""
    depths = {"dense": {"top_k": 100}, "bm25": {"top_k": 50}}
    settings = round_settings(collection, recipe="top", retrieve=depths, root="judged", truth={"qrels": str(truth[0])})
    judged = mined.json("mine", mined.write("judged.yaml", **settings))
    plain = mined.json("mine", mined.folder / "run.yaml")  # from the cache
    shards = [{name: shard_bytes(folder) for name, folder in one["selections"][0]["shards"].items()} for one in (plain, judged)]
    assert shards[0] == shards[1]
    assert all(shards[0].values())
    query = "SELECT DISTINCT estimator FROM false_negatives WHERE estimator = 'judged'"
    assert [len(json.loads(mined("sql", query, "--format", "json", "--root", root)[0])) for root in ("mining", "judged")] == [0, 1]


def test_a_truth_of_another_collection_is_refused(mined):
    (mined.folder / "other.tsv").write_text("nobody\tnothing\t1\n")
    _, err = mined("compare", "small/1", "--qrels", "other.tsv", code=1)
    assert "none of its judged queries is in the round" in err


def test_advise_names_a_threshold_or_says_why_none(mined, truth):
    found = mined.json("advise", "small/1", "--rate", "0.3", "--min-yield", "0.5", "--qrels", truth[0], "--column", "dense_score_ratio")
    (advice,) = found["advice"]
    assert advice["threshold"] is not None
    assert advice["point"]["rate"]["high"] <= 0.3
    rates = [point["rate"]["value"] for point in found["curves"][0]["points"] if point["rate"]]
    assert rates[-1] > 0.3  # without a threshold the first three leak
    none = mined.json("advise", "small/1", "--column", "dense_score")["advice"][0]
    assert none["threshold"] is None
    assert "judged qrels" in none["statement"]
    _, err = mined("advise", "small/1", "--column", "dense_scor", code=2)
    assert "dense_score" in err


def test_own_recipe_in_a_file_beside_run_yaml(mined, collection):
    (mined.folder / "careful.yaml").write_text("rules: [{kind: rank_skip, n: 4, on_null: reject}]\nlimits: {queries_per_document: 2}\n")
    settings = round_settings(collection, recipe="careful.yaml", retrieve={"dense": {"top_k": 100}, "bm25": {"top_k": 50}})
    result = mined.json("mine", mined.write("own.yaml", **settings))
    (selection,) = result["selections"]
    assert selection["recipe"] == "careful"
    assert selection["reasons"]["rank_skip"] > 0
    assert max(queries for _, queries in selection["hubs"]) <= 2
    missing = round_settings(collection, recipe="nowhere.yaml")
    assert "nowhere.yaml: there is no such file" in mined("mine", mined.write("missing.yaml", **missing), code=2)[1]


def test_features_are_computed_for_a_round_that_is_there(mined):
    wanted = "{name: top, limits: {per_duplicate_cluster: 1, diversity: {trade_off: 0.5}}}"
    result = mined.json("select", "small/1", "--recipe", wanted)
    assert result["recipe"] == "top"
    assert mined("select", "small/1", "--recipe", "{name: top, limits: {per_cluster: 1}}", code=2)[1].count("per_duplicate_cluster") >= 1


@pytest.mark.data
@pytest.mark.skipif(not os.environ.get("HARDMINE_DATA"), reason="HARDMINE_DATA is not set")
def test_the_default_recipe_on_banking77_thin(hardmine):
    """Labels alone, no teacher: at most 5 % of the negatives are relevant, 99 % of the queries served, mean cosine 0.60 or more."""
    data = Path(os.environ["HARDMINE_DATA"]) / "banking77-thin"
    run = hardmine.write(root="mining", dataset={"name": "thin", "format": "beir", "path": str(data), "split": "labelled"})
    hardmine.json("mine", run)
    truth = ("--qrels", data / "qrels/exhaustive.tsv.gz", "--queries", data / "measured.txt")
    found = hardmine.json("compare", "thin/1", "--recipes", "hardmine,top,nv-retriever", "--no-curves", *truth)
    rows = {row["recipe"]: row for row in found["recipes"]}
    assert rows["hardmine"]["queries"] == 462
    assert rows["hardmine"]["leak"] <= 0.05
    assert rows["hardmine"]["served"] >= 0.99
    assert rows["hardmine"]["similarity"] >= 0.60
    assert rows["top"]["leak"] == pytest.approx(0.678, abs=0.01)  # as measured with other tools
    assert rows["nv-retriever"]["leak"] > 0.2
