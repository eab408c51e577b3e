"""A round with declared judgements, then a review of it: its false negatives in the terminal, in SQL and in the report."""

import csv
import io

import pytest
from rich.console import Console

from flows.again import select_again
from flows.compare import CompareRequest, compare
from flows.measuring import round_truth
from flows.mine import mine_round
from flows.rates import shown, zero_notes
from flows.report import gather, report
from flows.report_names import compare_judged, compared
from flows.review import import_labels
from flows.review_sample import export_sample
from flows.settings import MineSettings
from flows.stored import find_round, measured, stored_settings, stored_stage, stored_table
from flows.summary import print_result, print_selection
from flows.versus import print_versus
from tasks.audit.build import latest_audit
from tasks.review.settings import ExportSettings
from tasks.sql import query_snapshot
from tasks.store.tables import read_parts
from tasks.truth.settings import SamplingSettings, TruthSettings
from tests.e2e.conftest import cross_encoder, round_settings, write_collection  # noqa: F401
from tests.retrieve.build import context


@pytest.fixture(scope="module")
def round_(tmp_path_factory, cross_encoder):  # noqa: F811
    """All three documents of a query are relevant to it; two are labelled, the third of queries 0 to 11 is an explicit zero."""
    folder = tmp_path_factory.mktemp("round")
    collection = write_collection(folder / "beir")
    with (collection / "qrels" / "test.tsv").open("a") as qrels:
        qrels.writelines(f"q{number}\td{number}-2\t0\n" for number in range(12))
    settings = round_settings(collection, cross_encoder, recipe="skip-n", recipes=["top"], root=str(folder / "root"))
    settings["dataset"]["judged"] = "exhaustive"
    setting = context(folder / "root")
    return setting, mine_round(MineSettings.model_validate(settings), setting)


def printed(function, *arguments):
    console = Console(file=io.StringIO(), width=200)
    function(console, *arguments)
    return console.file.getvalue()


def ask(setting, query):
    return [tuple(row.values()) for row in query_snapshot(latest_audit(setting.storage), query).to_pylist()]


def test_declared_judgements_give_exact_rates(round_):
    setting, result = round_
    found = result.selection.measures
    rate, _, _, pairs, note = found["estimates"]["judged"]
    assert (rate, pairs) == (0.0, found["negatives"]) and "as declared" in note and "explicit zeros are unknown" in note
    assert "false negatives, judged (exact)" in shown(found).values()
    # batches of 48: with the other labelled document of its own query in the batch, a row is hit
    assert found["estimates"]["in_batch_rows"][0] > 0.2 and "by the judgements" in found["estimates"]["in_batch_rows"][4]
    text = printed(print_selection, result.round, result.selection)
    assert "false negatives, judged (exact)" in text and "in-batch" in text
    query = (
        "SELECT DISTINCT recipe, rate FROM false_negatives WHERE estimator = 'judged' AND slice = 'dataset' AND value_of_slice = 'small'"
    )
    assert sorted(ask(setting, query)) == [("skip-n", 0.0), ("top", 0.0)]


def test_suspect_zeros_are_told_everywhere(round_):
    setting, result = round_
    (note,) = zero_notes(result.selection.measures)
    total = result.selection.measures["suspect_zeros"]
    assert 6 <= total <= 12 and note.startswith(f"{total} of 12 explicit zeros look relevant") and "(rank " in note
    assert note.split(":")[0] in " ".join(printed(print_result, result).split())
    query = "SELECT count(*), count(DISTINCT query_id), bool_and(doc_id = replace(query_id, 'q', 'd') || '-2') FROM suspect_zeros"
    assert ask(setting, query) == [(total, total, True)]  # once, though two selections were measured
    record = find_round(setting.storage, result.round)
    data = gather(setting.storage, record, record.selection(), comparison(setting, record), False)
    # a teacher of seeded weights tells nothing: the run's summary warns of it, and so does the report
    (warned,) = (one for one in result.notes if "the teacher cannot tell" in one)
    assert "do not trust its scores" in " ".join(printed(print_result, result).split())
    assert [one.casefold() for one in data.warnings] == [f"{warned}.".casefold()]
    assert data.zero_count == total and len(data.zeros) == min(total, 6)
    assert data.zeros[0].negative.doc_id.endswith("-2") and data.zeros[0].note


def comparison(setting, record):
    return compare(setting, record, CompareRequest(recipes=["top"], truncate=True, sweep_queries=0))


def test_the_summary_ends_with_the_reason_to_be(round_):
    text = printed(print_versus, round_[1])
    assert text.index("Why mine with care") < text.index("false negatives, judged (exact)") < text.index("queries with all their negatives")
    assert "in-batch" not in text


def test_a_review_calibrates_and_is_told(round_, tmp_path):
    """After the import the teacher's rate is that of the review's calibration; expected stands beside found in SQL and in the report."""
    setting, result = round_
    record = find_round(setting.storage, result.round)
    target = tmp_path / "review.csv"
    export_sample(setting, record, [], target, SamplingSettings(budget=80), ExportSettings(format="csv"), 0)
    with target.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    for number, row in enumerate(rows):
        row["label"] = "relevant" if number % 5 == 0 else "not"
    with target.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    import_labels(setting, [target])
    checks = ask(setting, "SELECT recipe, calibration, pairs > 0, expected > 0, low <= observed AND observed <= high FROM review_check")
    assert {check[:2] for check in checks} >= {("top", "review"), ("skip-n", "review")} and all(all(check[2:4]) for check in checks)
    notes = ask(setting, "SELECT note FROM false_negatives WHERE estimator = 'calibrated_teacher' AND slice = 'all'")
    assert len(notes) == 2 and all("calibrated on the review" in note and "no count" not in note for (note,) in notes)
    fits = ask(setting, "SELECT DISTINCT source FROM calibration ORDER BY source")
    assert ("review",) in fits
    record = find_round(setting.storage, result.round)
    data = gather(setting.storage, record, record.selection(), comparison(setting, record), False)
    assert data.calibration.source.startswith("Fitted on a reviewed sample")
    assert {(one.recipe, one.calibration) for one in data.calibration.reviewed} >= {("top", "review"), ("skip-n", "review")}
    assert data.false_negatives[0].estimator == "review"
    assert {each.by for each in data.slices} >= {"dataset", "length", "positives", "difficulty"}


def test_a_selection_that_is_made_again_is_told_with_its_reviews(round_):
    """Mining and selecting again measure without the reviews first; what they give back is what the record has."""
    setting, result = round_
    record = find_round(setting.storage, result.round)
    (kept,) = {one.measures for one in record.selections if one.recipe == "skip-n"}
    again, selected = select_again(setting, record, "skip-n", None, [], False)
    settings = stored_settings(record)  # with the reviews as labels it would be another round
    dataset = settings.dataset.model_copy(update={"reviews": False})
    mined = mine_round(settings.model_copy(update={"root": setting.storage.root, "dataset": dataset}), setting)
    assert mined.round == result.round
    for found in (selected.result, mined.selection):
        assert found.measures["estimates"]["review"][3] > 0
        assert found.measures == stored_stage(setting.storage, kept).parts[0].meta
    assert "review" not in result.selection.measures["estimates"]
    assert selected.record.measures == again.selection(mined.selection_id).measures == kept


def test_two_selections_by_one_recipe_are_reported_each_at_its_own_settings(round_, tmp_path):
    setting, result = round_
    record, other = select_again(setting, find_round(setting.storage, result.round), {"name": "skip-n", "skip": 3}, 2, [], True)
    chosen, key = record.selection(), other.result.selection_id
    assert chosen.selection_id == result.selection_id != key
    first, second = f"skip-n {chosen.selection_id[:6]}", f"skip-n {key[:6]}"
    shown = compared(record, ["skip-n", "dpr", {"name": "skip-n", "skip": 4}])
    assert shown.wanted[:2] == ("skip-n", "top")  # as published: these have a curve
    assert shown.wanted[2] == record.selection(key).recipe_settings
    assert (shown.names, shown.baseline) == ((first, "top", second, "dpr", "skip-n"), "top")
    assert shown.labels == {chosen.selection_id: first, record.selection("top").selection_id: "top", key: second}

    request = CompareRequest(recipes=shown.wanted, truncate=True, sweep_queries=5)
    found = shown.named(compare(setting, record, request))
    assert [one.recipe for one in found.outcomes] == list(shown.names)
    assert {line.family for line in found.curves} >= {first, "skip-n"}
    assert set(found.outcomes[0].overlap) == {"top", second, "dpr", "skip-n"}
    # each selection's outcome counts its own negatives
    decided = {first: result.selection.decisions, second: other.result.decisions}
    per_query = {name: next(one.metrics.negatives_per_query for one in found.outcomes if one.recipe == name) for name in decided}
    assert per_query[second] < per_query[first]

    data = gather(setting.storage, record, chosen, found, False, shown.labels, shown.baseline)
    assert (data.facts.recipe, data.facts.baseline) == (first, "top")
    assert [(one.recipe, one.negatives) for one in data.funnels[:2] if one.recipe == first] == [(first, decided[first]["negative"])]
    assert {one.recipe for one in data.false_negatives} == {first, "top", second}
    for name, selection in ((first, chosen), (second, record.selection(key))):
        (judged,) = (row for row in measured(setting.storage, selection, "estimates.parquet").to_pylist() if is_judged(row))
        assert [one.rate for one in data.false_negatives if (one.recipe, one.estimator) == (name, "judged (exact)")] == [judged["rate"]]
    # the slices are the chosen one's: its share of queries served by query length
    yields = measured(setting.storage, chosen, "slices.parquet").to_pylist()
    expected = {(row["slice"], row["value_of_slice"]): row["served"] for row in yields if row["slice"] != "all"}
    assert {(one.by, one.name): one.values["yield"].value for one in data.slices if "yield" in one.values} == expected
    assert {one.recipe for one in data.calibration.reviewed} == {first, "top"}
    assert report(setting, record, tmp_path / "report.html", [], None, 0).stat().st_size > 0


def is_judged(row):
    return row["estimator"] == "judged" and row["slice"] == "all"


def test_a_truth_measures_and_does_nothing_else(round_, tmp_path):
    """All three documents of a query are relevant: rates are counted. No other stage has another key, so no training file another byte."""
    setting, result = round_
    record = find_round(setting.storage, result.round)
    truth, asked = tmp_path / "truth.tsv", tmp_path / "asked.txt"
    pairs = {(f"q{number}", f"d{number}-{which}") for number in range(40) for which in range(3)}
    truth.write_text("query-id\tcorpus-id\tscore\n" + "".join(f"{query}\t{doc}\t1\n" for query, doc in sorted(pairs)))
    asked.write_text("".join(f"q{number}\n" for number in range(20)))
    settings = stored_settings(record)
    dataset = settings.dataset.model_copy(update={"judged": "none", "reviews": False})
    given = {"root": setting.storage.root, "dataset": dataset, "truth": TruthSettings(qrels="truth.tsv", queries="asked.txt")}
    ran = mine_round(settings.model_copy(update=given).resolved(tmp_path), setting)
    assert {stage.stage for stage in ran.stages if not stage.cached} == {"measure"}
    again = find_round(setting.storage, ran.round)
    assert (again.number, again.candidate_set_id) == (record.number, record.candidate_set_id)
    before, after = record.selection(result.selection_id), again.selection(ran.selection_id)
    assert before.selection_id == after.selection_id and before.shards == after.shards and before.measures != after.measures

    found = ran.selection.measures["estimates"]
    counted = [pair in pairs for pair in mined_negatives(setting.storage, after) if int(pair[0][1:]) < 20]
    assert (found["judged"][0], found["judged"][3]) == (pytest.approx(sum(counted) / len(counted)), len(counted))
    assert found["judged"][4] == "counted: every relevant document is judged, explicit zeros as not relevant"
    assert found["in_batch_rows"][4] == "other rows' positives, by the judgements"
    # the report goes by them unless others are given: leak as it was counted, among the queries that they judge
    compared_ = compare_judged(setting, again, CompareRequest(recipes=["skip-n"], truncate=True, sweep_queries=0))
    (own,) = compared_.outcomes
    assert (own.metrics.leak.total.value, own.metrics.judged.queries) == (pytest.approx(found["judged"][0]), 20)
    assert (own.metrics.leak.total.low, own.metrics.leak.total.high) == pytest.approx(tuple(found["judged"][1:3]))
    other = again.model_copy(update={"settings": {**again.settings, "truth": {**again.settings["truth"], "judged": "trusted_zeros"}}})
    assert round_truth(setting.storage, other.settings) is None  # what is not listed is unknown: no truth to compare by
    truth.unlink()  # what was read is kept: the round is measured by it again
    assert stored_table(setting.storage, again).measuring.truth.file("queries.parquet").rows == 20


def mined_negatives(storage, selection):
    rows = read_parts(storage, stored_stage(storage, selection.select).parts, "rows.parquet", ["query_id", "doc_id", "slot", "label"])
    return {(row["query_id"], row["doc_id"]) for row in rows.to_pylist() if row["slot"] > 0 and row["label"] <= 0}
