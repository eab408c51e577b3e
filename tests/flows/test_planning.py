import json
import sys
from pathlib import Path

import pytest
from rich.console import Console

from flows.cache_only import CacheOnly, Quiet
from flows.configuration import validate
from flows.mine import mine_round
from flows.planning import kept
from flows.planning.calibrate import measure_speeds
from flows.planning.encoders import encoders
from flows.planning.facts import Facts, given_facts, look_at_files, spaced
from flows.planning.look import look
from flows.planning.outlays import outlays, print_outlays, total
from flows.planning.planner import Asked, plan_if_known, plan_run
from flows.planning.show import plan_json, print_plan
from flows.results import StageCost
from flows.round import prepare_dataset
from flows.settings import MineSettings
from tasks.audit.build import latest_audit
from tasks.audit.records import read_round
from tasks.errors import InputError, UsageError
from tasks.plan.plan import Plan, Prices
from tasks.plan.speeds import Curve
from tasks.plan.stage import StagePlan
from tasks.runner.inline import InlineExecutor
from tasks.runner.runner import Context
from tasks.sql import query_snapshot
from tasks.store.storage import open_storage
from tests.e2e.conftest import collection as collection
from tests.e2e.conftest import round_settings


@pytest.fixture
def settings(collection, tmp_path, monkeypatch):
    monkeypatch.setenv("HARDMINE_CACHE", str(tmp_path / "cache"))
    return validate(MineSettings, round_settings(collection, root=str(tmp_path / "root")))


@pytest.fixture
def fast(settings):
    """Kept speeds, made up."""
    models = encoders(settings, None)
    kept.keep(Curve(lengths=(16.0,), seconds=(1e-4,), start=2.0), *models.documents.key)
    from flows.planning import calibrate

    kept.keep(calibrate._Process(imports=5.0, resident=10**9), *calibrate._process_key(models))
    kept.keep(calibrate._Search(product=1e11, scan=1e10), *calibrate._search_key(settings, 384))
    return settings


def stage(plan, name):
    return next(one for one in plan.stages if one.stage == name)


def test_what_is_kept_is_found_until_its_form_changes(tmp_path, monkeypatch):
    monkeypatch.setenv("HARDMINE_CACHE", str(tmp_path))
    curve = Curve(lengths=(1.0,), seconds=(2.0,))
    assert kept.find(Curve, "speed", 1) is None
    assert kept.find_or_make(Curve, lambda: curve, False, "speed", 1) == curve
    assert kept.find_or_make(Curve, lambda: pytest.fail("made again"), False, "speed", 1) == curve
    other = Curve(lengths=(1.0,), seconds=(3.0,))
    assert kept.find_or_make(Curve, lambda: other, True, "speed", 1) == kept.find(Curve, "speed", 1) == other
    assert kept.find(Plan, "speed", 1) is None
    assert kept.find(Curve, "speed", 2) is None


def test_a_look_at_the_files(settings):
    facts = look_at_files(settings.dataset, None)
    # 8 subjects · 6 aspects: 48 queries, three documents each, two of them labelled
    assert (facts.source, facts.documents, facts.queries, facts.positives, facts.files) == ("counted", 144, 48, 96, 3)
    assert facts.max_positives == 2
    assert facts.documents_seen[0][0] == "wing measured"
    sizes = [len(title) + len(text) for title, text in facts.documents_seen]
    assert facts.document_bytes == sum(sizes) / 144
    more = facts.resized(288, 480)
    assert (more.documents, more.queries, more.positives, more.source) == (288, 480, 960, "given")
    assert more.read_seconds == pytest.approx(facts.read_seconds * 768 / 192)
    assert spaced(10, 3) == [0, 3, 6]
    assert given_facts(10, 5).document_bytes == 100 * 5 - 1


def test_a_plan_from_kept_speeds_loads_no_model(fast):
    loaded = "torch" in sys.modules
    plan = plan_run(fast, Asked(), lambda _: pytest.fail("measured"))
    assert ("torch" in sys.modules) == loaded
    documents = stage(plan, "embed-documents")
    assert (documents.units, documents.calls, documents.partitions, documents.start) == (144, 144, 4, 7.0)
    assert stage(plan, "retrieve-bm25").units == 48 * 4
    # nv-retriever deepens dense search; 144 documents are all there are
    assert stage(plan, "candidates").units == 48
    assert not any(one.cached for one in plan.stages)
    assert plan.notes[0].startswith("counts are those of the files")
    assert not Path(fast.root).exists(), "planning makes no root"
    assert plan_if_known(fast) == plan


def test_nothing_is_measured_unasked(settings):
    assert plan_if_known(settings) is None


def test_other_counts(fast):
    plan = plan_run(fast, Asked(documents=10**9, queries=10**6), lambda _: None)
    assert (plan.documents, plan.queries) == (10**9, 10**6)
    assert stage(plan, "embed-documents").partitions == 4_096
    assert stage(plan, "dense-clusters").partitions == 1
    assert plan.workers_within(3600) is None
    missing = fast.model_copy(update={"dataset": fast.dataset.model_copy(update={"path": "/nowhere"})})
    with pytest.raises(InputError, match="nowhere"):
        plan_run(missing, Asked(documents=100), lambda _: None)
    assert plan_run(missing, Asked(documents=100, queries=10), lambda _: None).documents == 100


def test_what_is_ingested_is_looked_up_and_not_counted_again(fast):
    assert look(fast, open_storage(fast.root)).dataset is None
    prepare_dataset(Context(open_storage(fast.root), InlineExecutor, Quiet()), fast)
    found = look(fast, open_storage(fast.root))
    assert found.finished == {"ingest", "documents", "query-groups", "queries"}
    plan = plan_run(fast, Asked(), lambda _: None)
    assert {one.stage for one in plan.stages if one.cached} == found.finished
    assert plan.notes[0].startswith("counts are those of the ingested dataset")
    assert plan_if_known(fast) == plan


def test_the_terminal_and_json(fast):
    plan = plan_run(fast, Asked(), lambda _: None)
    console = Console(width=72, record=True, file=open("/dev/null", "w"))  # noqa: PTH123, SIM115
    print_plan(console, plan, 1, Prices(hour=0.5, month=0.02), 0.001)
    text = console.export_text()
    assert max(map(len, text.splitlines())) <= 72
    for words in (
        "embed-documents",
        "smaller stages",
        "starting and ending included",
        "a worker at its peak",
        "cost",
        "no number of workers",
    ):
        assert words in text
    shown = json.loads(json.dumps(plan_json(plan, 2, Prices(), 1e9)))
    assert (shown["workers"], shown["workers_within"], shown["calls"]) == (2, 1, 144 + 48)
    assert [one["stage"] for one in shown["stages"]][:2] == ["ingest", "documents"]


def cost(stage, seconds, cached=False, calls=0):
    return StageCost(stage=stage, cached=cached, seconds=seconds, partitions=1, rows=1, bytes=10, model_calls=calls, cache_hits=0)


def test_planned_against_actual():
    stages = (
        StagePlan(stage="embed-documents", partitions=1, units=1, unit="documents", seconds=8.0, start=2.0, calls=5, bytes=7),
        StagePlan(stage="select", partitions=1, units=1, unit="rows", seconds=1.0),
        StagePlan(stage="queries", partitions=1, units=1, unit="rows", cached=True),
    )
    plan = Plan(dataset="d", documents=1, queries=1, stages=stages, resident=1)
    costs = [
        cost("queries", 0.0, cached=True),
        cost("embed-documents", 12.0, calls=5),
        cost("select", 0.5),
        cost("select", 0.7),
        cost("staleness", 3.0),
    ]
    found = outlays(plan, costs)
    assert [(one.stage, one.planned_seconds, one.seconds) for one in found] == [
        ("embed-documents", 10.0, 12.0), ("select", 1.0, 1.2), ("staleness", None, 3.0),
    ]  # fmt: skip
    whole = total(found)
    assert (whole.planned_seconds, whole.seconds, whole.model_calls, whole.bytes) == (11.0, 16.2, 5, 40)
    assert outlays(None, costs) == ()
    console = Console(width=100, record=True, file=open("/dev/null", "w"))  # noqa: PTH123, SIM115
    print_outlays(console, ())
    print_outlays(console, found)
    assert "all stages" in console.export_text()


def test_a_round_keeps_what_was_planned_and_what_it_took(fast):
    storage = open_storage(fast.root)
    result = mine_round(fast, Context(storage, InlineExecutor, Quiet()))
    found = {one.stage: one for one in result.outlays}
    # 144 texts, no two alike; 7 s are the made-up imports and load
    assert (found["embed-documents"].planned_calls, found["embed-documents"].model_calls) == (144, 144)
    assert found["embed-documents"].planned_seconds > 7 > 0 < found["embed-documents"].seconds
    assert found["embed-documents"].bytes == pytest.approx(found["embed-documents"].planned_bytes, rel=0.2)
    record = read_round(storage, "small")
    assert record.outlays == result.outlays
    again = mine_round(fast, Context(storage, CacheOnly, Quiet()))
    assert again.outlays == ()
    assert read_round(storage, "small").outlays == result.outlays  # those of the run that made it
    plan = plan_run(fast, Asked(), lambda _: None)
    assert (plan.computing, plan.calls) == (0.0, 0)
    assert plan.saved == 144 + 48
    other = fast.model_copy(update={"recipe": "top"})
    left = {one.stage for one in plan_run(other, Asked(), lambda _: None).stages if not one.cached}
    assert left == {"select", "gate", "measure", "shards"}
    query = "SELECT stage, planned_calls, model_calls FROM outlays WHERE stage LIKE 'embed%' ORDER BY stage"
    assert query_snapshot(latest_audit(storage), query).to_pylist() == [
        {"stage": "embed-documents", "planned_calls": 144, "model_calls": 144},
        {"stage": "embed-queries", "planned_calls": 48, "model_calls": 48},
    ]


def test_times_in_words():
    from flows.commands.planning import seconds_of

    assert [seconds_of(text) for text in ("90s", "1.5 h", "10min", "2d")] == [90.0, 5_400.0, 600.0, 172_800.0]
    for wrong in ("2", "h", "0s", "-1h", "2 weeks"):
        with pytest.raises(UsageError, match="not a time"):
            seconds_of(wrong)


@pytest.mark.slow
def test_a_calibration_is_of_the_stages_own_code_and_is_kept(settings):
    facts = Facts.model_validate(look_at_files(settings.dataset, None).model_dump())
    models = encoders(settings, None)
    told = []
    speeds = measure_speeds(settings, models, facts, 384, False, told.append)
    assert [text.split(" by ")[0] for text in told] == ["measuring embedding", "measuring search"]
    assert speeds.documents == speeds.queries
    assert speeds.documents.lengths[0] <= 32
    assert min(speeds.documents.seconds) > 0
    assert min(speeds.product, speeds.scan) > 1e8
    assert measure_speeds(settings, models, facts, 384, False, lambda _: pytest.fail("measured again")) == speeds
