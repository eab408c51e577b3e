"""Recipes and thresholds are compared on the queries that may be trained on: nothing that is held out decides about them."""

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from flows.advising import AdviceRequest, find_threshold
from flows.compare import CompareRequest, compare
from flows.mine import mine_round
from flows.report import report
from flows.settings import MineSettings
from flows.stored import find_round, stored_table
from flows.training import evaluate_checkpoint
from tasks.audit.checkpoints import split_readers
from tasks.compare.truth import TRUTH, Truth
from tasks.errors import InputError, UsageError
from tasks.evaluate.settings import EvaluateSettings
from tasks.store.tables import read_parts
from tests.e2e.conftest import round_settings, write_collection
from tests.retrieve.build import context

SPLITS = {"train": 0.5, "dev": 0.2, "test": 0.3}


@pytest.fixture(scope="module")
def mined(tmp_path_factory):
    """A round with splits: (context, record, query ids by split)."""
    folder = tmp_path_factory.mktemp("tuning")
    settings = round_settings(write_collection(folder / "beir"), recipe="top", root=str(folder / "root"))
    settings["dataset"] |= {"splits": SPLITS, "near_duplicates": None}
    setting = context(folder / "root")
    result = mine_round(MineSettings.model_validate(settings), setting)
    record = find_round(setting.storage, result.round)
    table = read_parts(setting.storage, stored_table(setting.storage, record).queries, "queries.parquet", ["query_id", "split"])
    by = {name: set(table["query_id"].filter(pc.equal(table["split"], name)).to_pylist()) for name in SPLITS}
    return setting, record, by


def truth(relevant):
    """Judgements of all queries: the documents of a query, and of those in ``relevant`` those of the next one too."""
    rows = [{"query_id": f"q{n}", "doc_id": f"d{n}-{which}", "relevance": 1} for n in range(48) for which in range(3)]
    rows += [
        {"query_id": query, "doc_id": f"d{(int(query[1:]) + 1) % 48}-{which}", "relevance": 1} for query in relevant for which in range(3)
    ]
    pairs = pa.Table.from_pylist(rows, schema=TRUTH).sort_by([("query_id", "ascending"), ("doc_id", "ascending")])
    return Truth(pairs, pa.table({"query_id": pairs["query_id"].unique().sort()}))


def outcomes(found):
    return [one.model_copy(update={"seconds": 0.0}) for one in found.outcomes], found.curves


def test_judgements_of_held_out_queries_change_nothing(mined):
    setting, record, by = mined
    wanted = ("top", "nv-retriever")

    def measured(relevant, **more):
        return compare(setting, record, CompareRequest(recipes=wanted, truth=truth(relevant), sweep_queries=100, truncate=True, **more))

    plain = measured(())
    assert split_readers(setting.storage, record.dataset, "test") == ()
    assert plain.outcomes[0].metrics.queries == plain.outcomes[0].metrics.judged.queries == len(by["train"])
    assert plain.queries == f"{len(by['train'])} queries of split train (and of none)"
    assert plain.notes == ()
    assert outcomes(measured(by["test"] | by["dev"])) == outcomes(plain)
    assert outcomes(measured(by["train"])) != outcomes(plain)
    every = measured((), split="all")
    assert every.outcomes[0].metrics.queries == 48
    assert every.notes == (
        f"the truth of {len(by['test'])} queries of split test was read, and that is counted: what is chosen by it is not measured on test "
        "any more",
    )
    assert split_readers(setting.storage, record.dataset, "test") == (f"recipes of {record.dataset}/{record.number}",)
    with pytest.raises(UsageError, match="split 'test' was read before"):
        evaluate_checkpoint(setting, record, None, EvaluateSettings(split="test"))
    assert measured((), split="dev").notes == ()


def test_thresholds_are_found_on_the_same_queries(mined, tmp_path):
    setting, record, by = mined

    def found(relevant, split=""):
        request = AdviceRequest(rate=0.1, truth=truth(relevant), columns=("dense_score",), split=split)
        return find_threshold(setting, record, request)

    lines, advice, looked = found(())
    assert lines[0].queries == len(by["train"])
    assert looked.words.endswith("queries of split train (and of none)")
    assert found(by["test"] | by["dev"])[:2] == (lines, advice)
    assert found(by["train"])[0] != lines
    assert found((), "test")[0][0].queries == len(by["test"])
    assert "split test was read" in found((), "test")[2].notes[0]
    page = report(setting, record, tmp_path / "report.html", [], truth(()), 0).read_text()
    assert f"Compared on {len(by['train'])} queries of split train (and of none)." in page
    for name in (
        "all-MiniLM-L6-v2",
        "rows with one or more, by labels, batches of 48",
        "share of the batch&#39;s pairs",
        "shards: triplet",
    ):
        assert name in page.replace("batch's", "batch&#39;s")
    assert "in_batch_" not in page


def test_splits_that_are_not_there_and_a_truth_of_held_out_queries(mined):
    setting, record, by = mined
    with pytest.raises(UsageError, match="no query is of split 'other'") as refused:
        compare(setting, record, CompareRequest(recipes=("top",), split="other"))
    assert "dev, test, train" in refused.value.mend
    whole = truth(())
    held_out = Truth(whole.pairs, pa.table({"query_id": sorted(by["test"])}))
    with pytest.raises(InputError, match="none of its judged queries is of split 'train'") as refused:
        find_threshold(setting, record, AdviceRequest(rate=0.1, truth=held_out))
    assert "--split all" in refused.value.mend
