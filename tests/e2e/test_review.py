"""The review loop through the command line: export, label, import, mine again."""

import csv
import json

import pytest

from tests.e2e.conftest import CommandLine, round_settings


@pytest.fixture(scope="module")
def mined(tmp_path_factory, prefect_server, collection):
    hardmine = CommandLine(tmp_path_factory.mktemp("review"), prefect_server)
    settings = round_settings(collection, recipe="top", recipes=["skip-n"], retrieve={"dense": {"top_k": 100}})
    hardmine.json("mine", hardmine.write(**settings))
    return hardmine


def relevant(query_id, doc_id):
    """The collection's own truth: document d7-2 is about query q7."""
    return doc_id.split("-")[0] == "d" + query_id[1:]


def test_labels_come_back_as_a_rate_and_as_positives(mined):
    exported = mined.json("review", "export", "small/1", "--out", "review.csv", "--budget", "120")
    assert exported["pairs"] == 120
    with (mined.folder / "review.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {"pair", "label", "note", "query", "positives", "text"} <= set(rows[0])
    for row in rows:
        row["label"] = "relevant" if relevant(row["query_id"], row["doc_id"]) else "not"
    rows[0]["label"] = "perhaps so"
    rows[1]["label"] = ""
    with (mined.folder / "review.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)

    found = mined.json("review", "import", "review.csv")
    assert (found["labels"], found["unreviewed"]) == (118, 2)  # one is malformed, one empty
    assert len(found["aside"]) == 1
    assert "review.csv:2" in found["aside"][0]
    rates = {leak["recipe"]: leak for leak in found["leaks"]}
    # top takes the third document of every query unless it is a near copy of a positive; skip-n passes over the first ten ranks
    query = "SELECT recipe, query_id, doc_id FROM decisions JOIN rounds USING (selection_id) WHERE decision = 'negative'"
    decided = json.loads(mined("sql", query, "--format", "json")[0])
    for recipe, leak in rates.items():
        emitted = [(row["query_id"], row["doc_id"]) for row in decided if row["recipe"] == recipe]
        truth = sum(relevant(*pair) for pair in emitted) / len(emitted)
        assert leak["assisted"]["low"] <= truth <= leak["assisted"]["high"]
        assert leak["emitted"] == len(emitted)
    shown = mined("review", "import", "review.csv")[0]
    assert "By the review" in shown

    labelled = sum(relevant(row["query_id"], row["doc_id"]) and row["label"] == "relevant" for row in rows)
    before = mined.json("rounds")[0]
    result = mined.json("mine", mined.folder / "run.yaml")
    assert labelled > 0
    assert result["number"] == 2
    assert result["selections"][0]["decisions"]["positive"] == 96 + labelled
    assert before["number"] == 1
    alone = mined.json("mine", mined.folder / "run.yaml", "--set", "dataset.reviews=false")
    assert alone["number"] == 1


def test_what_is_wrong_is_said(mined):
    mined.json("review", "export", "small/1", "--out", "again.csv", "--budget", "20", "--seed", "5")
    _, err = mined("review", "export", "small/1", "--out", "again.csv", code=1)
    assert "there already" in err
    (mined.folder / "elsewhere").mkdir()
    (mined.folder / "elsewhere/alone.csv").write_text("pair,label\np1,relevant\n")
    _, err = mined("review", "import", "elsewhere/alone.csv", code=1)
    assert "review.json" in err
    assert "Traceback" not in err
