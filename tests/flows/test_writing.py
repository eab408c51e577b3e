"""SyNeg over a small round, with a scripted writer on loopback."""

import io
import json
import re

import pytest
from rich.console import Console

from flows.cache_only import Quiet
from flows.judged_recipe import with_judgements
from flows.mine import mine_round
from flows.query import answer
from flows.settings import MineSettings
from flows.stored import find_round, stored_stage, stored_table
from flows.writing import write_negatives
from flows.written_recipe import with_written
from tasks.audit.build import latest_audit
from tasks.audit.explain import show_query
from tasks.errors import UsageError
from tasks.judge.settings import JudgeSettings
from tasks.runner.inline import InlineExecutor
from tasks.runner.runner import Context
from tasks.select.recipe import Facts
from tasks.select.registry import compose_recipe
from tasks.select.rules.base import null_reason
from tasks.store.storage import open_storage
from tasks.store.tables import read_parts
from tasks.write.settings import WriteSettings
from tests.e2e.conftest import cross_encoder, write_collection
from tests.flows.test_judging import MODEL
from tests.remote.server import Behaviour, Endpoint, serving

assert cross_encoder  # a fixture that is used below


@pytest.fixture(scope="module")
def context(tmp_path_factory, cross_encoder):
    root = tmp_path_factory.mktemp("writing")
    folder = write_collection(root / "beir", positives_each=1)
    (folder / "qrels" / "test.tsv").rename(folder / "qrels" / "labelled.tsv")
    dataset = {"name": "toy", "format": "beir", "path": str(folder), "split": "labelled", "query_partitions": 1, "document_partitions": 2}
    teacher = {"path": str(cross_encoder), "max_length": 32, "dtype": "float32", "device": "cpu", "depth": 5}
    given = {"root": str(root / "mining"), "dataset": dataset, "model": MODEL, "teacher": teacher}
    given |= {"recipe": "top", "num_negatives": 3}
    context = Context(open_storage(given["root"]), lambda: InlineExecutor(2), Quiet())
    mine_round(MineSettings.model_validate({**given, "planted": 0, "retrieve": {"dense": {"top_k": 20}}, "truncate": True}), context)
    return context


def writer(messages, times):
    """A near miss, and a copy of the known answer, for most queries; nonsense or a refusal for some."""
    text = messages[1]["content"]
    aspect, subject = re.search(r"how is the (.+) of a (.+) found", text).groups()
    known = text.split("The known answer:\n")[1].split("\n\nWrite")[0].split("\n", 1)[1]
    if aspect == "fatigue":
        return Behaviour("", refusal="I do not write that")
    near = {
        "title": f"{subject} guessed",
        "text": f"The {aspect} of the {subject} was never measured, and stays unknown.",
        "contradicts": "x",
    }
    odd = {"title": "", "text": "Bananas are yellow.", "contradicts": "all"}
    documents = [near, odd if aspect == "drag" else {"title": "", "text": known, "contradicts": "nothing"}]
    return Behaviour(json.dumps({"documents": documents[1:] if aspect == "drag" else documents}))


def settings(endpoint, **more):
    model = {"url": endpoint.url, "model": "writer", "key_from": "", "backoff": 0.01}
    return WriteSettings.model_validate({"model": model, "least_share": 0.3, "teacher_margin": -100.0, **more})


def test_written_negatives_stand_beside_mined_ones_and_are_marked_everywhere(context):
    with serving(Endpoint(writer)) as endpoint:
        before = find_round(context.storage, "toy/1")
        found = write_negatives(context, before, "top", settings(endpoint, words=12))
        calls = endpoint.calls
        assert calls == 48
        assert "Write 2 documents of difficulty hard, each of about 12 words" in endpoint.requests[0][1]["messages"][1]["content"]
        again = write_negatives(context, before, "top", settings(endpoint, words=12))
        assert (endpoint.calls, again.round, again.selected.record.selection_id) == (calls, found.round, found.selected.record.selection_id)
    assert found.round == "toy/2"
    assert found.facts["drafts"] == {"kept": 40, "copy_of_document": 32}
    assert found.facts["drawn"] == 32  # the nonsense is trivial, refusals leave 8 queries without
    assert 0.5 <= found.facts["gap"] <= 1
    record = find_round(context.storage, "toy")
    table = stored_table(context.storage, record)
    scored = read_parts(context.storage, table.scored, "scored.parquet").to_pylist()
    written = [row for row in scored if row["synthetic_rank"] is not None]
    assert len(written) == 40
    assert all(row["doc_id"].startswith("synthetic:") and row["dense_rank"] is None for row in written)
    assert all(row["dense_score"] is not None and row["teacher_logit"] is not None for row in written)
    assert [row["doc_id"] for row in scored] == [row["doc_id"] for row in sorted(scored, key=lambda r: (r["query_row"], r["doc_id"]))]
    rows = read_parts(context.storage, stored_stage(context.storage, record.selection().select).parts, "rows.parquet").to_pylist()
    for query in range(48):
        own = [row["doc_id"].startswith("synthetic:") for row in rows if row["query_id"] == f"q{query}" and row["slot"] > 0]
        assert (len(own), sum(own)) == (4, 1 if query % 6 not in (2, 5) else 0)
    (shards,) = record.selection().shards.values()
    sidecars = [part for part in stored_stage(context.storage, shards).parts for part in [part]]
    names = {file.name for part in sidecars for file in part.files}
    texts = [read_parts(context.storage, sidecars, name).to_pylist() for name in sorted(names) if name.startswith("data/")]
    assert any("was never measured, and stays unknown" in line["negative"] for line in texts[0])
    story = show_query(context.storage, record, "q0")
    assert any("never measured" in one.text for one in story.candidates if one.doc_id.startswith("synthetic:"))
    out = io.StringIO()
    snapshot = latest_audit(context.storage)
    answer(
        Console(file=out, width=200),
        snapshot,
        "SELECT drawn, kept, gap > 0.4 AS told FROM writings WHERE round = 2",
        "table",
        None,
        [],
        30.0,
    )
    query = "SELECT status, count(*) AS n FROM written GROUP BY ALL ORDER BY ALL"
    answer(Console(file=out, width=200), snapshot, query, "table", None, [], 30.0)
    assert "copy_of_document" in out.getvalue()
    with pytest.raises(UsageError, match="has written negatives already"):
        write_negatives(context, record, None, settings(endpoint))


def test_the_teacher_and_a_judge_refuse_what_is_relevant(context):
    def judge(messages, times):
        return Behaviour(json.dumps({"relevant": "wing" in messages[1]["content"], "confidence": 1.0, "reason": ""}))

    with serving(Endpoint(writer)) as endpoint, serving(Endpoint(judge)) as judging:
        strong = {"url": judging.url, "model": "judge", "key_from": ""}
        found = write_negatives(context, find_round(context.storage, "toy/1"), "top", settings(endpoint, judge={"strong": strong}))
        assert found.facts["drawn"] == 32 - 4
        assert judging.calls == 32  # of written negatives alone
        reasons = found.selected.result.reasons
        assert (reasons["judged_relevant"], reasons["written_trivial"]) == (4, 8)
        out = io.StringIO()
        query = (
            f"SELECT count(*) AS n, count_if(relevance >= 0.5) FROM judgements WHERE selection_id = '{found.selected.record.selection_id}'"
        )
        answer(Console(file=out, width=200), latest_audit(context.storage), query, "table", None, [], 30.0)
        assert re.search(r"32\D+4", out.getvalue())
        known = {"strong": strong, "unjudged": "reject"}
        only = write_negatives(context, find_round(context.storage, "toy/1"), "top", settings(endpoint, judge=known))
        rows = read_parts(context.storage, stored_stage(context.storage, only.selected.record.select).parts, "rows.parquet").to_pylist()
        mined = [row for row in rows if row["slot"] > 0 and not row["doc_id"].startswith("synthetic:")]
        assert (only.facts["drawn"], len(mined)) == (28, 48 * 4 - 28)  # mined ones were not to be judged
        assert (endpoint.calls, judging.calls) == (48, 32)
        strict = write_negatives(context, find_round(context.storage, "toy/1"), "top", settings(endpoint, teacher_margin=100.0))
        assert strict.facts["drawn"] == 0
        assert strict.selected.result.reasons["written_relevant"] >= 32


def test_a_draft_that_is_another_document_of_the_corpus_is_set_aside(context):
    """Near copies of hidden positives, and of any document: not of the positive that the writer was shown alone."""

    def script(messages, times):
        subject = re.search(r"how is the (.+) of a", messages[1]["content"]).group(1)
        hidden = "The pressure of the wing was computed in experiment 0 at 3 speeds, and the wing held."
        return Behaviour(
            json.dumps({"documents": [{"title": "", "text": f"{hidden} So they say."}, {"text": f"Of {subject} nothing is known."}]})
        )

    with serving(Endpoint(script)) as endpoint:
        found = write_negatives(context, find_round(context.storage, "toy/1"), "top", settings(endpoint, words=55, containment=0.7))
        assert found.facts["drafts"] == {"kept": 48, "near_copy_of_document": 48}


def test_queries_that_do_not_train_get_no_written_negatives(tmp_path):
    folder = write_collection(tmp_path / "beir", positives_each=1)
    dataset = {"name": "toy", "format": "beir", "path": str(folder), "split": "test", "query_partitions": 1, "document_partitions": 1}
    given = {"root": str(tmp_path / "mining"), "dataset": dataset, "model": MODEL, "recipe": "top", "num_negatives": 3, "planted": 0}
    context = Context(open_storage(given["root"]), lambda: InlineExecutor(2), Quiet())
    mine_round(MineSettings.model_validate({**given, "retrieve": {"dense": {"top_k": 20}}, "truncate": True}), context)
    with serving(Endpoint(writer)) as endpoint:
        with pytest.raises(UsageError, match=r"no query with a training row may be trained on \(split train, or none\)"):
            write_negatives(context, find_round(context.storage, "toy/1"), "top", settings(endpoint))
        assert endpoint.calls == 0


@pytest.mark.slow
def test_a_budget_ends_writing_and_nothing_of_use_is_an_error(context):
    with serving(Endpoint(writer)) as endpoint:
        chosen = settings(endpoint, words=30, budget={"calls": 5})
        found = write_negatives(context, find_round(context.storage, "toy/1"), "top", chosen)
        assert (endpoint.calls, found.facts["answered"], found.facts["stopped"]) == (5, 5, "the budget of calls is used up")
        endpoint.chat = lambda messages, times: Behaviour("", refusal="no")
        with pytest.raises(UsageError, match="no written document is of use"):
            write_negatives(context, find_round(context.storage, "toy/1"), "top", settings(endpoint, words=31))


def test_rules_that_a_written_document_is_meant_to_defy_are_waived_for_it_alone():
    recipe = with_written(compose_recipe("hardmine", Facts(5, 1)), WriteSettings(model={"model": "m"}), True)
    first, *others = recipe.draws
    assert (recipe.num_negatives, first.take) == (6, 1)
    assert "likely_relevant" in first.waive
    assert "duplicate" not in first.waive
    assert all(draw.pool.endswith("synthetic_rank IS NULL") for draw in others)


def test_who_is_not_judged_is_not_rejected_for_it():
    """Mined documents where written ones are judged; written ones where mined ones were, by a recipe that draws judged ones alone."""
    strong = {"strong": {"model": "m"}}
    plain = compose_recipe("top", Facts(5, 1))
    unjudged = null_reason("judge_relevance")
    written, *mined = with_written(plain, WriteSettings.model_validate({"model": {"model": "m"}, "judge": strong}), False).draws
    assert (unjudged in written.waive, [unjudged in draw.waive for draw in mined]) == (False, [True])
    judged = with_judgements(plain, JudgeSettings.model_validate(strong), ("path", 1, "checksum"), "reject")
    written, *mined = with_written(judged, WriteSettings.model_validate({"model": {"model": "m"}}), False).draws
    assert (unjudged in written.waive, [unjudged in draw.waive for draw in mined]) == (True, [False])
