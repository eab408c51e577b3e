"""RLHN over a small round, with judges on loopback that know the truth."""

import io
import json
import re
import shutil
from zlib import crc32

import pyarrow as pa
import pytest
from rich.console import Console
from typer.testing import CliRunner

from flows.cache_only import Quiet
from flows.cli import app
from flows.judge_round import _relabelled, judge_round, keep_judging
from flows.judged_recipe import with_judgements, without_judgements
from flows.judgement import print_judged
from flows.judging import _PAIRS, check_judge, judge_recipe
from flows.labels import further_labels
from flows.mine import mine_round
from flows.query import answer
from flows.selection import decide
from flows.settings import MineSettings
from flows.stored import find_round, stored_settings, stored_stage, stored_table
from tasks.audit.build import latest_audit
from tasks.errors import ModelError, UsageError
from tasks.judge.settings import JudgeSettings
from tasks.remote.budget import Budget
from tasks.remote.settings import BudgetSettings
from tasks.review.labels import Answer
from tasks.review.records import publish_review
from tasks.review.sample import SAMPLE, Origin, Stratum, manifest_of
from tasks.runner.inline import InlineExecutor
from tasks.runner.runner import Context
from tasks.schema import PROMOTED
from tasks.select.recipe import Facts, Recipe
from tasks.select.registry import compose_recipe
from tasks.sql import run
from tasks.store.storage import open_storage
from tasks.store.tables import read_parts
from tests.e2e.conftest import write_collection
from tests.remote.server import Behaviour, Endpoint, serving

MODEL = {"path": "packaged", "max_length": 32, "dtype": "float32", "device": "cpu"}


@pytest.fixture(scope="module")
def context(tmp_path_factory):
    root = tmp_path_factory.mktemp("judging")
    folder = write_collection(root / "beir", positives_each=1)
    (folder / "qrels" / "test.tsv").rename(folder / "qrels" / "labelled.tsv")
    dataset = {"name": "toy", "format": "beir", "path": str(folder), "split": "labelled", "query_partitions": 1, "document_partitions": 1}
    given = {"root": str(root / "mining"), "dataset": dataset, "model": MODEL, "recipe": "top", "num_negatives": 4, "planted": 0}
    context = Context(open_storage(given["root"]), lambda: InlineExecutor(2), Quiet())
    mine_round(MineSettings.model_validate({**given, "retrieve": {"dense": {"top_k": 20}}, "truncate": True}), context)
    return context


def asked(messages):
    """Query number and document number of a judge's prompt."""
    text = messages[1]["content"]
    subject = re.search(r"how is the (.+) of a (.+) found", text)
    document = re.search(r"The (.+) of the (.+) was", text.rsplit("The document to judge:", 1)[1])
    return subject.groups() == document.groups()


def judge(wrong=lambda messages: False):
    def script(messages, times):
        relevant = asked(messages) != wrong(messages)
        return Behaviour(json.dumps({"relevant": relevant, "confidence": 0.9, "reason": "because"}))

    return script


@pytest.fixture
def models():
    def timid(messages):  # the cheap judge flags too much: every other document
        return len(messages[1]["content"]) % 2 == 0 and not asked(messages)

    with serving(Endpoint(judge(timid))) as cheap, serving(Endpoint(judge())) as strong:
        yield cheap, strong


def settings(models, name, **more):
    given = {role: {"url": one.url, "model": f"{role}-{name}", "key_from": "", "backoff": 0.01}
             for role, one in zip(("cheap", "strong"), models, strict=True)}  # fmt: skip
    return JudgeSettings.model_validate({**given, **more})


@pytest.fixture(scope="module")
def table(context):
    return stored_table(context.storage, find_round(context.storage, "toy"))


TOP = compose_recipe("top", Facts(4, 1))


def rows_of(context, manifest):
    rows = read_parts(context.storage, manifest.parts, "rows.parquet").to_pylist()
    return [row for row in rows if row["slot"] > 0], [row for row in rows if row["slot"] == 0]


def judged(context, table, chosen):
    """A judging, and the negatives and positives of the rows that the recipe then selects."""
    found = judge_recipe(context, table, TOP, chosen, 0)
    return found, *rows_of(context, decide(context, table, found.recipe, 0).decisions)


@pytest.fixture(scope="module")
def before(context, table):
    return rows_of(context, decide(context, table, TOP, 0).decisions)[0]


def leaks(rows):
    return sum(row["query_id"][1:] == row["doc_id"][1:].split("-")[0] for row in rows)


def test_judged_negatives_are_replaced_until_none_is_relevant(context, table, models, before):
    assert leaks(before) > 48  # one positive of three is labelled, the others are hidden
    found, after, anchors = judged(context, table, settings(models, "a"))
    assert (leaks(after), len(after), len(anchors)) == (0, len(before), 48)
    told = found.record("toy", 1, "s")
    assert (told.waves > 1, told.unjudged) == (True, 0)
    assert told.relevant == leaks(before)
    cheap, strong = models
    assert (cheap.calls, strong.calls) == (told.pairs, told.flagged)
    assert told.relevant < told.flagged < told.pairs
    assert {(one.first, one.second): one.pairs for one in told.agreement} == {("cheap", "strong"): told.flagged}


@pytest.mark.slow
def test_a_judge_that_errs_now_and_then_leaves_little(context, table, models, before):
    models[0].chat = models[1].chat = judge(lambda messages: crc32(messages[1]["content"].encode()) % 10 == 0)
    _, after, _ = judged(context, table, settings(models, "noisy"))
    assert leaks(after) < leaks(before) / 3


@pytest.mark.slow
def test_a_pair_can_be_dropped_as_a_whole(context, table, models, before):
    bad = {row["query_id"] for row in before if leaks([row])}
    found, after, anchors = judged(context, table, settings(models, "a", action="drop_pair"))
    assert {row["query_id"] for row in anchors} == {f"q{n}" for n in range(48)} - bad
    assert leaks(after) == 0
    decisions = read_parts(context.storage, decide(context, table, found.recipe, 0).decisions.parts, "decisions.parquet").to_pylist()
    assert {row["query_id"] for row in decisions if row["reason"] == "judged_pair"} == bad


def test_what_a_reviewer_called_not_relevant_is_promoted_by_no_judge(context, table, models, tmp_path):
    chosen = settings(models, "r", action="relabel", labels=True)
    found = judge_recipe(context, table, TOP, chosen, 0)
    record = find_round(context.storage, "toy")
    every = _relabelled(context.storage, table, record, found)
    storage = open_storage(str(shutil.copytree(context.storage.root, tmp_path / "reviewed")))  # the other tests' root has no review
    strata = (Stratum(number=0, size=every.num_rows, draws=3),)
    origin = Origin(dataset="toy", round=1, candidate_set_id=record.candidate_set_id, seed=0, budget=3, strata=strata)
    drawn = [{**row, "stratum": 0, "inclusion": 3 / every.num_rows, "recipes": []} for row in every.to_pylist()[:3]]
    manifest = manifest_of(pa.Table.from_pylist(drawn, SAMPLE), origin)
    labels = zip(manifest.pairs, ("not", "not", "relevant"), strict=True)
    publish_review(storage, manifest, [Answer(pair=pair.pair, label=label) for pair, label in labels])
    assert _relabelled(storage, table, record, found).num_rows == every.num_rows - 2 > 0


def test_relabelled_pairs_are_positives_and_labels_of_the_next_round(context, table, models):
    chosen = settings(models, "a", action="relabel", labels=True)
    record = find_round(context.storage, "toy")
    found = judge_round(context, record, "top", chosen)
    after, anchors = rows_of(context, stored_stage(context.storage, found.selected.record.select))
    assert (leaks(anchors), leaks(after)) == (len(anchors), 0)
    assert len(anchors) == 48 + found.judged.relabelled > 90
    assert found.promoted == found.judged.relabelled
    (source,) = further_labels(context.storage, stored_settings(record).dataset)
    assert source.provenance == PROMOTED
    again = keep_judging(context.storage, table, record, found.selected, judge_recipe(context, table, TOP, chosen, 0))
    assert again[1] == 0
    console = Console(file=io.StringIO(), width=200)
    print_judged(console, found)
    snapshot = latest_audit(context.storage)
    answer(
        console, snapshot, "SELECT purpose, refused, seconds_median > 0 AS timed FROM asks WHERE model LIKE '%-a'", "csv", None, [], 30.0
    )
    query = f"SELECT count(*) AS pairs, sum((relevance >= 0.5)::INT) FROM judgements WHERE selection_id = '{found.judged.selection_id}'"
    answer(console, snapshot, query, "table", None, [], 30.0)
    answer(console, snapshot, "SELECT pairs, share FROM judge_agreement WHERE first = 'cheap'", "table", None, [], 30.0)


@pytest.mark.slow
def test_a_budget_ends_it_cleanly_and_the_same_command_goes_on(context, table, models):
    chosen = settings(models, "d", budget={"calls": 120})
    first, _, _ = judged(context, table, chosen)
    assert first.stopped == "the budget of calls is used up"
    assert models[0].calls + models[1].calls == 120
    assert first.unjudged > 0
    for _ in range(9):
        last, after, _ = judged(context, table, chosen)
        if not last.stopped:
            break
    assert (last.unjudged, leaks(after)) == (0, 0)
    bodies = [json.dumps(body) for one in models for body in one.bodies("completions")]
    assert len(bodies) == len(set(bodies))  # nothing was asked twice


@pytest.mark.slow
def test_what_no_judge_answers_for_stays_or_is_rejected(context, table, models, before):
    models[0].chat = models[1].chat = lambda messages, times: Behaviour("", refusal="no")
    kept, after, _ = judged(context, table, settings(models, "e"))
    assert (kept.relevant(), kept.unjudged, len(after)) == (0, kept.table.num_rows, len(before))
    assert any("refused, malformed, not taken or failed): they stay" in note for note in kept.notes)
    assert judged(context, table, settings(models, "e", unjudged="reject"))[1] == []


def test_the_cheap_judges_word_on_flagged_pairs_is_no_verdict_where_the_budget_ends(context, table, models, before):
    """Neither labels nor decisions come of it; the next run asks the strong judge, and the cheap one nothing again."""
    few = frozenset(f"q{number}" for number in range(6))
    pairs = len({(row["query_id"], row["doc_id"]) for row in before if row["query_id"] in few})
    chosen = settings(models, "stop", action="relabel", labels=True, budget={"calls": pairs})
    record = find_round(context.storage, "toy")
    found = judge_round(context, record, "top", chosen, few)
    assert (found.judged.stopped, models[0].calls, models[1].calls) == ("the budget of calls is used up", pairs, 0)
    assert (found.judged.relevant, found.judged.relabelled, found.promoted) == (0, 0, 0)
    assert found.judged.unjudged > 0
    assert found.judged.pairs + found.judged.unjudged == pairs
    after, anchors = rows_of(context, stored_stage(context.storage, found.selected.record.select))
    assert sorted((row["query_id"], row["doc_id"]) for row in after) == sorted((row["query_id"], row["doc_id"]) for row in before)
    assert len(anchors) == 48
    on = judge_round(context, record, "top", chosen.model_copy(update={"budget": BudgetSettings()}), few)
    assert (on.judged.stopped, on.judged.unjudged, on.judged.relevant > 0) == ("", 0, True)
    bodies = [json.dumps(body) for body in models[0].bodies("completions")]
    assert len(bodies) == len(set(bodies))
    assert models[1].calls == on.judged.flagged


def test_the_same_command_without_a_recipe_judges_the_same_one_again(context, models):
    """The published recipe has judgements in it by then, and pseudo-positives of them."""
    few = frozenset({"q30", "q31"})
    chosen = settings(models, "again", action="relabel", unjudged="reject")
    first = judge_round(context, find_round(context.storage, "toy"), "top", chosen, few)
    calls = models[0].calls + models[1].calls
    again = judge_round(context, find_round(context.storage, "toy"), None, chosen, few)
    assert [one.judged.recipe for one in (first, again)] == ["top-judged", "top-judged"]
    assert again.judged.model_dump(exclude={"created"}) == first.judged.model_dump(exclude={"created"})
    assert models[0].calls + models[1].calls == calls > 0
    with pytest.raises(UsageError, match="'top-judged' has judgements in it already"):
        check_judge(chosen, Recipe.model_validate(again.selected.record.recipe_settings))


@pytest.mark.parametrize("action", ["drop_negative", "drop_pair", "relabel"])
def test_judgements_can_be_taken_out_of_a_recipe_again(action):
    chosen = JudgeSettings.model_validate({"cheap": {"model": "m"}, "action": action})
    for recipe in (TOP, compose_recipe("hardmine", Facts(5, 1))):
        judged = with_judgements(recipe, chosen, ("path", 1, "checksum"), "reject")
        assert judged != recipe
        assert without_judgements(judged) == recipe == without_judgements(recipe)


def test_relabelled_pairs_are_counted_to_what_a_query_may_get(context, table, models):
    chosen = settings(models, "a", action="relabel", relabel_per_query=1)
    found = judge_recipe(context, table, TOP, chosen, 0, only=frozenset({"q40", "q41"}))
    anchors = rows_of(context, decide(context, table, found.recipe, 0).decisions)[1]
    assert (found.relevant(), found.record("toy", 1, "s").relabelled, len(anchors)) == (4, 2, 48 + 2)


def test_a_relevance_that_is_the_threshold_itself_is_counted_and_promoted_alike(context, models):
    record = find_round(context.storage, "toy")
    few = frozenset({"q20", "q21"})
    at = settings(models, "a", action="relabel", labels=True, relabel_from=0.9)  # these judges say 0.9 of all that is relevant
    found = judge_round(context, record, "top", at, few)
    assert found.judged.relevant > 0
    assert (found.judged.relabelled, found.promoted) == (0, 0)
    under = judge_round(context, record, "top", at.model_copy(update={"relabel_from": 0.899}), few)
    assert under.judged.relabelled == under.judged.relevant


def test_a_judge_is_shown_a_labelled_positive_and_none_that_a_judge_made():
    """Of q1 the least labelled one, not the pseudo-positive in slot 0; of q2, whose label was promoted, none."""
    place = {"doc_partition": 0, "doc_row": 0, "query_row": 0}
    rows = [("q1", 0, "a"), ("q1", 0, "m"), ("q1", 1, "x"), ("q1", 2, "y"), ("q2", 0, "p"), ("q2", 1, "x")]
    labels = [("q1", "m", True, None, 4), ("q1", "n", True, "reviewed", 5), ("q1", "b", True, "promoted", 6), ("q1", "c", False, None, 7),
              ("q2", "p", True, "promoted", 8)]  # fmt: skip
    tables = {
        "rows": pa.Table.from_pylist([{"query_id": query, "slot": slot, "doc_id": doc, **place} for query, slot, doc in rows]),
        "labelled": pa.Table.from_pylist([
            {"query_id": query, "doc_id": doc, "is_positive": yes, "provenance": given, "doc_partition": 1, "doc_row": row}
            for query, doc, yes, given, row in labels
        ]),
        "judged": pa.table({"query_id": ["q1"], "doc_id": ["y"]}),
    }  # fmt: skip
    found = run(_PAIRS, tables, {"promoted": PROMOTED}).to_pylist()
    assert [(one["query_id"], one["doc_id"], one["positive_partition"], one["positive_row"]) for one in found] == [
        ("q1", "x", 1, 4), ("q2", "x", None, None),
    ]  # fmt: skip


def test_what_was_asked_before_an_error_is_in_the_audit(context, table, models):
    models[0].chat = lambda messages, times: judge()(messages, times) if models[0].calls <= 3 else Behaviour(status=401)
    chosen = settings(models, "denied")
    chosen = chosen.model_copy(update={"cheap": chosen.cheap.model_copy(update={"concurrency": 1})})
    with pytest.raises(ModelError, match="answers HTTP 401"):
        judge_recipe(context, table, TOP, chosen, 0)
    out = io.StringIO()
    query = "SELECT answered, calls, stopped FROM asks WHERE model = 'cheap-denied'"
    answer(Console(file=out, width=200), latest_audit(context.storage), query, "table", None, [], 30.0)
    assert re.search(r"3 .* 4 .*ModelError: http://127.0.0.1:\d+ answers HTTP 401", out.getvalue())


def test_one_budget_bounds_all_rounds_of_a_command(context, table, models):
    chosen = settings(models, "shared", budget={"calls": 30})
    budget = Budget(chosen.budget)
    for number in (1, 2):
        found = judge_recipe(context, table, TOP, chosen, 0, number, budget=budget)
        assert found.stopped == "the budget of calls is used up"
    assert models[0].calls + models[1].calls == budget.spent.calls == 30


def test_a_prompt_of_the_users_own_is_sent(context, table, models, tmp_path):
    path = tmp_path / "mine-1.txt"
    path.write_text("[system]\n{{instruction}}\n[user]\nhow is: {{query}}\nThe document to judge:{{document}}")
    chosen = settings(models, "f", prompt=str(path), instruction="a strict judge", budget={"calls": 2})
    judge_recipe(context, table, TOP, chosen, 0)
    assert models[0].bodies("completions")[0]["messages"][0] == {"role": "system", "content": "a strict judge"}


def test_what_cannot_be_judged_is_refused_before_anything_is_asked(context, table, models):
    own = compose_recipe({"name": "own", "draws": [{}], "pseudo_positives": {"score": "dense_score"}}, Facts(4, 1))
    with pytest.raises(UsageError, match="pseudo-positives of its own"):
        judge_recipe(context, table, own, settings(models, "h", action="relabel"), 0)
    with pytest.raises(UsageError, match="has no prices"):
        judge_recipe(context, table, TOP, settings(models, "h", budget={"money": 1}), 0)
    with pytest.raises(ValueError, match="give a judge"):
        JudgeSettings()
    assert models[0].calls == 0


def test_a_round_can_be_judged_while_it_is_mined(context, models):
    record = find_round(context.storage, "toy")
    stored = stored_settings(record)
    dataset = stored.dataset.model_copy(update={"promoted": False})  # what the test above relabelled makes the next round another one
    given = stored.model_copy(update={"judge": settings(models, "a"), "root": context.storage.root, "dataset": dataset})
    result = mine_round(given, context)
    assert result.selections[0].recipe == "top-judged"
    published = find_round(context.storage, "toy")
    assert published.candidate_set_id == record.candidate_set_id
    after, _ = rows_of(context, stored_stage(context.storage, published.selection(result.selection_id).select))
    assert leaks(after) == 0
    assert any("judged negatives relevant" in note for note in result.notes)


def test_prompts_and_answers_by_file_on_the_command_line(context, tmp_path):
    settings = {role: {"url": "http://127.0.0.1:9/v1", "model": f"{role}-offline", "key_from": "NOT_SET"} for role in ("cheap", "strong")}
    (tmp_path / "judge.yaml").write_text(json.dumps(settings))
    (tmp_path / "ids.txt").write_text("q0\nq1\n")
    prompts, output = tmp_path / "prompts.jsonl", tmp_path / "output.jsonl"
    root = ["--root", context.storage.root]
    command = ["judge", "toy/1", str(tmp_path / "judge.yaml"), "--recipe", "top", "--queries", str(tmp_path / "ids.txt"), *root]

    def answer_batch():
        rows = []
        for line in map(json.loads, prompts.read_text().splitlines()):
            content = judge()(line["body"]["messages"], 1).content
            choice = {"message": {"role": "assistant", "content": content}, "finish_reason": "stop"}
            body = {"model": line["body"]["model"], "choices": [choice], "usage": {"prompt_tokens": 1, "completion_tokens": 1}}
            rows.append(json.dumps({"custom_id": line["custom_id"], "response": {"status_code": 200, "body": body}, "error": None}))
        output.write_text("\n".join(rows))
        return {json.loads(line)["body"]["model"] for line in prompts.read_text().splitlines()}

    asked = []
    for _ in range(12):
        prompts.unlink(missing_ok=True)
        done = CliRunner().invoke(app, [*command, "--export", str(prompts), "--json"])
        assert done.exit_code == 0, done.output
        if not prompts.exists():
            break
        asked.append(answer_batch())
        taken = CliRunner().invoke(app, ["answers", str(output), "--json", *root])
        assert json.loads(taken.output.splitlines()[-1])["by_status"].keys() == {"ok"}
        query = "SELECT 'imports', count(*) FROM asks WHERE model LIKE '%-offline' AND purpose LIKE '%(batch)'"
        told = io.StringIO()
        answer(Console(file=told, width=200), latest_audit(context.storage), query, "table", None, [], 30.0)
        assert re.search(rf"imports\D+{len(asked)}\b", told.getvalue())
    assert asked[:2] == [{"cheap-offline"}, {"strong-offline"}]
    found = json.loads(done.output.splitlines()[-1])
    assert found["judged"]["pairs"] == 8 + found["judged"]["relevant"]
