"""The review loop by its commands, in this process: export, label, import, promote, mine again."""

import csv
import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from flows.cli import app
from flows.mine import mine_round
from flows.progress import ManyProgress
from flows.round import prepare_dataset
from flows.settings import MineSettings
from flows.stored import find_round, stored_table
from tasks.errors import InputError, UsageError
from tasks.runner.inline import InlineExecutor
from tasks.runner.runner import Context
from tasks.store.storage import open_storage
from tasks.store.tables import read_parts
from tests.e2e.conftest import round_settings


class Commands:
    """``hardmine`` without a process of its own, so without Prefect."""

    def __init__(self, folder, settings):
        self.folder = folder
        self.settings = MineSettings.model_validate(settings).resolved(folder)

    def __call__(self, *arguments):
        before = Path.cwd()
        os.chdir(self.folder)
        try:
            found = CliRunner().invoke(app, [str(argument) for argument in arguments])
        finally:
            os.chdir(before)
        if found.exception is not None:
            raise found.exception
        return found.stdout

    def json(self, *arguments):
        return json.loads(self(*arguments, "--json").splitlines()[-1])

    def mine(self):
        return mine_round(self.settings, self.context)

    def version(self, **changes):
        dataset = self.settings.dataset.model_copy(update=changes)
        return prepare_dataset(self.context, self.settings.model_copy(update={"dataset": dataset})).version

    @property
    def context(self):
        return Context(open_storage(self.settings.root), lambda: InlineExecutor(2), ManyProgress([]))


@pytest.fixture(scope="module")
def mined(tmp_path_factory, collection):
    settings = round_settings(collection, recipe="top", recipes=["skip-n"], retrieve={"dense": {"top_k": 100}}, planted=0.3)
    settings["dataset"]["splits"] = {"train": 0.6, "dev": 0.4}
    hardmine = Commands(tmp_path_factory.mktemp("review"), settings)
    assert hardmine.mine().number == 1
    return hardmine


def relevant(query_id, doc_id):
    """The collection's own truth: document d7-2 is about query q7."""
    return doc_id.split("-")[0] == "d" + query_id[1:]


def read_rows(path):
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def write_rows(path, rows):
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def asked(hardmine, query):
    return json.loads(hardmine("sql", query, "--format", "json"))


def test_labels_come_back_as_rates_and_as_labels(mined):
    exported = mined.json("review", "export", "small/1", "--out", "review.csv", "--budget", "120")
    assert exported["pairs"] == 120
    rows = read_rows(mined.folder / "review.csv")
    assert {"pair", "label", "note", "query", "positives", "text"} <= set(rows[0])
    for row in rows:
        row["label"] = "relevant" if relevant(row["query_id"], row["doc_id"]) else "not"
    rows[0]["label"] = "perhaps so"
    rows[1]["label"] = ""
    rows[2]["label"] = "unsure"
    write_rows(mined.folder / "review.csv", rows)

    found = mined.json("review", "import", "review.csv")
    assert (found["labels"], found["unreviewed"], found["anew"], found["outside"], found["stale"]) == (118, 2, [], [], False)
    assert len(found["aside"]) == 1
    assert "review.csv:2" in found["aside"][0]
    sure = {(row["query_id"], row["doc_id"]): row["label"] for row in rows[3:]}
    positives = sum(label == "relevant" for label in sure.values())
    assert (found["positives"], found["zeros"]) == (positives, 117 - positives)
    assert positives > 0
    # one computation: what import says is what the audit says
    told = {row["recipe"]: row for row in asked(mined, "SELECT * FROM false_negatives WHERE estimator = 'review' AND slice = 'all'")}
    # top takes the third document of every query unless it is a near copy of a positive; skip-n passes over the first ten ranks
    query = "SELECT recipe, query_id, doc_id FROM decisions JOIN rounds USING (selection_id) WHERE decision = 'negative'"
    decided = asked(mined, query)
    for rate in found["rates"]:
        row = told.pop(rate["recipe"])
        assert [rate[name] for name in ("rate", "low", "high")] == pytest.approx([row[name] for name in ("rate", "low", "high")])
        assert (rate["reviewed"], rate["selection_id"], rate["note"]) == (row["pairs"], row["selection_id"], row["note"])
        emitted = [(one["query_id"], one["doc_id"]) for one in decided if one["recipe"] == rate["recipe"]]
        assert rate["low"] <= sum(relevant(*pair) for pair in emitted) / len(emitted) <= rate["high"]
        assert rate["emitted"] == len(emitted)
    assert told == {}
    shown = mined("review", "import", "review.csv")
    assert f"the next round takes {positives} pairs as positives and {117 - positives} as trusted zeros" in shown


def test_what_was_selected_anew_is_said(mined):
    mined("select", "small/1", "--recipe", "skip-n", "--num-negatives", "2")
    mined("select", "small/1", "--recipe", "ance", "--truncate")
    found = mined.json("review", "import", "review.csv")
    assert (found["anew"], found["outside"]) == (["skip-n"], ["ance"])
    assert sorted(rate["recipe"] for rate in found["rates"]) == ["skip-n", "top"]
    assert "skip-n was selected anew" in " ".join(mined("review", "import", "review.csv").split())


def test_pseudo_positives_are_promoted_where_two_signals_agree(mined):
    """A second teacher that knows the truth, and the evidence of labels, over a low threshold: it is the teacher that decides."""
    candidates = asked(mined, "SELECT query_id, doc_id, relevance FROM candidates")
    scores = [
        {"query_id": row["query_id"], "doc_id": row["doc_id"], "score": int(relevant(row["query_id"], row["doc_id"]))} for row in candidates
    ]
    write_rows(mined.folder / "scores.csv", scores)
    options = ["small/1", "--scores", "scores.csv", "--set", "label_evidence=-9", "--set", "per_query=1"]
    storage = open_storage(str(mined.folder / "mining"))
    queries = read_parts(storage, stored_table(storage, find_round(storage, "small/1")).queries, "queries.parquet").to_pylist()
    dev = {row["query_id"] for row in queries if row["split"] == "dev"}
    assert 5 < len(dev) < 43
    known = {(row["query_id"], row["doc_id"]) for row in candidates if row["relevance"] is not None}
    free = {(row["query_id"], row["doc_id"]) for row in candidates if relevant(row["query_id"], row["doc_id"])} - known
    reviewed = {(row["query_id"], row["doc_id"]): row["label"] for row in read_rows(mined.folder / "review.csv")}

    dry = mined.json("review", "promote", *options, "--dry-run")
    assert dry["refused"]["protected"] == sum(query in dev for query, _ in free)
    assert (dry["number"], dry["promoted"]) == (
        None,
        sum(query not in dev for query, _ in free),
    )  # one unlabelled relevant document a query
    assert sum(dry["by_signals"].values()) == dry["promoted"]
    assert asked(mined, "SELECT * FROM promotions") == []
    done = mined.json("review", "promote", *options)
    assert (done["number"], done["promoted"]) == (1, dry["promoted"])
    again = mined.json("review", "promote", *options)
    assert (again["number"], again["promoted"], again["refused"]["promoted"]) == (None, 0, dry["promoted"])
    told = asked(mined, "SELECT query_id, doc_id, round, second_score, signals FROM promotions")
    promoted = {(row["query_id"], row["doc_id"]) for row in told}
    assert promoted == {pair for pair in free if pair[0] not in dev}
    assert all(
        row["round"] == 1 and row["second_score"] == 1 and {"label_evidence", "second_teacher"} <= set(row["signals"]) for row in told
    )

    assert mined.mine().number == 2
    table = stored_table(storage, find_round(storage, "small/2"))
    labels = {(row["query_id"], row["doc_id"]): row for row in read_parts(storage, table.queries, "qrels.parquet").to_pylist()}
    sure = {pair: label for pair, label in reviewed.items() if label in ("relevant", "not")}
    assert {pair for pair, row in labels.items() if row["provenance"] == "reviewed"} == set(sure)
    assert all(labels[pair]["relevance"] == (label == "relevant") for pair, label in sure.items())
    later = promoted - set(sure)
    assert {pair for pair, row in labels.items() if row["provenance"] == "promoted"} == later
    assert len(later) > 3
    assert not {query for query, _ in later} & dev
    rows = asked(
        mined, 'SELECT DISTINCT query_id, positive_id, doc_id, slot FROM "rows" JOIN rounds USING (selection_id) WHERE rounds.round = 2'
    )
    assert later <= {(row["query_id"], row["positive_id"]) for row in rows}
    probes = asked(mined, "SELECT round, query_id, doc_id, provenance FROM candidates WHERE planted ORDER BY ALL")
    assert {row["provenance"] for row in probes} == {None}
    first, second = ([(row["query_id"], row["doc_id"]) for row in probes if row["round"] == number] for number in (1, 2))
    assert first == second != []  # what is hidden does not change with labels that are added
    zeros = {pair for pair, label in sure.items() if label == "not"}
    assert {(row["query_id"], row["doc_id"]) for row in rows if row["slot"]} & zeros  # a trusted zero may be a negative


def test_promotions_are_withdrawn_or_left_out(mined):
    every, without = mined.version(), mined.version(promoted=False)
    assert every != without != mined.version(promoted=False, reviews=False)
    with pytest.raises(UsageError, match="no promotion 7 that stands"):
        mined("review", "promote", "small/1", "--withdraw", "--number", "7")
    assert mined.json("review", "promote", "small/1", "--withdraw")["withdrawn"] == [1]
    assert mined.version() == without
    assert asked(mined, "SELECT count(withdrawn) = count(*) AS all_of_them FROM promotions") == [{"all_of_them": True}]
    with pytest.raises(UsageError, match="no promotion that stands"):
        mined("review", "promote", "small/1", "--withdraw")
    with pytest.raises(UsageError, match="names a promotion to withdraw"):
        mined("review", "promote", "small/1", "--number", "1")


def test_what_is_wrong_is_said(mined):
    mined.json("review", "export", "small/1", "--out", "again.csv", "--budget", "20", "--seed", "5")
    with pytest.raises(InputError, match="is there already"):
        mined("review", "export", "small/1", "--out", "again.csv")
    (mined.folder / "elsewhere").mkdir()
    (mined.folder / "elsewhere/alone.csv").write_text("pair,label\np1,relevant\n")
    with pytest.raises(InputError, match="no manifest of a review"):
        mined("review", "import", "elsewhere/alone.csv")
